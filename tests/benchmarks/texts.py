"""Measure what a statement costs whose text was never seen before.

Usage: python tests/benchmarks/texts.py [--rounds N] [--texts N]

One cursor executes many different texts, and in the same round a single text
of the same kind as often.  All is measured in one process, by the time of the
thread.  The table shows the medians: the microseconds of a known text, and
those that each new text adds.
"""

import argparse
import sys
from pathlib import Path
from statistics import median
from time import thread_time

sys.path.append(str(Path(__file__).resolve().parents[2]))

import nothing

from dbutils.steady_db import connect

_COLUMNS = ", ".join(
    f"t{number % 5}.some_column_{number} AS t{number % 5}_some_column_{number}"
    for number in range(20))
FORMS = {
    "a number": "select * from t where id = {0}",
    "a string": "select a, b from t where name = 'x{0}' and c > '2020-01-01'",
    "an insert": "insert into t (a, b, c) values ({0}, 'x{0}', {0}.5)",
    "an update": "update t set a = {0}, updated_at = now() where id = {0}",
    "a long select": (
        f"SELECT {_COLUMNS} FROM t0 LEFT OUTER JOIN t1 ON t0.id = t1.t0_id"
        " WHERE t0.id = {0}"),
    "a comment": "select * from t where id = %s /* trace='{1:x}', at='/a' */",
    "a name": "select c{1:x} from t where id = 5",
    "two readings": "select * from t where id = {0} -- why",
}


def texts(form, number):
    """Return different texts of a form."""
    return [
        form.format(one, one * 0x9E3779B97F4A7C15 % 2**61)
        for one in range(number)]


def each(execute, statements):
    """Return the microseconds that it takes to execute one of them."""
    begin = thread_time()
    for statement in statements:
        execute(statement)
    return (thread_time() - begin) / len(statements) * 1e6


def measure(rounds, number=20_000):
    """Return the times of known texts, and what new texts add, by form."""
    execute = connect(nothing).cursor().execute
    times = {name: [] for name in FORMS}
    for _ in range(rounds):
        for name, form in FORMS.items():
            new = texts(form, number)
            known = each(execute, new[-1:] * number)
            times[name].append((known, each(execute, new) - known))
    return times


def table(times):
    """Return the table as text."""
    lines = [f"{'what differs':<24}{'known':>8}{'new adds':>10}"]
    for name, pairs in times.items():
        known, added = map(median, zip(*pairs))
        lines.append(f"{name:<24}{known:8.2f}{added:10.2f}")
    return "\n".join(lines)


def main():
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--texts", type=int, default=20_000)
    given = parser.parse_args()
    print(table(measure(given.rounds, given.texts)))


if __name__ == "__main__":
    main()
