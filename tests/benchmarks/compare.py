"""Compare this library with others that do the same.

Usage: python -m dbutils bench, or python tests/benchmarks/compare.py
    [--quick] [--json | --chart] [--rounds N] [--only TEXT]
    [--options | --texts | --instructions]

Each library works in a process of its own, and the rounds are interleaved,
so that what else the machine does hits all of them.  Those that are not
installed are left out; the reference release is installed into a temporary
directory, if that is possible.  What is shown are the medians, and in
brackets the median of the ratios to this library round by round: above 1
means that this library is better.

Where the programs of PostgreSQL and MariaDB are installed, servers are
started on loopback for what is measured on them, and stopped at the end.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import deque
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median

import instructions
import options
import texts
from libraries import LIBRARIES
from scenarios import HIGHER_IS_BETTER, LONG_ONES, SCENARIOS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.append(os.fspath(HERE.parent / "support"))

import drivers
import servers

REFERENCE = "DBUtils==3.2.0"
_FEW = 3  # rounds
_UNIT, _WIDE = 6, 10  # characters for a ratio of 1, and the longest bar


@contextmanager
def databases():
    """Start the servers that there are; yield how they are reached."""
    found = {}
    with ExitStack() as stack:
        for family, name in (
                ("postgresql", "psycopg2"), ("mariadb", "pymysql")):
            driver = drivers.BY_NAME[name]
            with suppress(servers.MissingServerError):
                server = stack.enter_context(
                    servers.running(servers.KINDS[family]))
                driver.port = server.port
                found[family.upper()] = json.dumps(
                    [name, driver.parameters()])
        yield found


class Worker:
    """The process of a library."""

    def __init__(self, name, path, seconds, found):
        environment = dict(os.environ, PYTHONPATH=os.fspath(path), **found)
        self._process = subprocess.Popen(
            [sys.executable, os.fspath(HERE / "worker.py"), name,
             str(seconds)],
            env=environment, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE)

    def measure(self, scenario):
        """Return the figure of a scenario, None if that is impossible."""
        try:
            self._process.stdin.write(scenario + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None  # it has failed before, which it has reported
        line = self._process.stdout.readline()
        return json.loads(line) if line else None

    def end(self):
        """End the process."""
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def install_reference(folder):
    """Try to install the reference release; tell whether that worked."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps",
         "--target", folder, REFERENCE], check=False,
        stderr=subprocess.DEVNULL)
    return done.returncode == 0


def count(only):
    """Return the instructions by release: of this one, and the reference."""
    with tempfile.TemporaryDirectory() as folder, databases() as found:
        counts = {"dbutils": instructions.count(ROOT, found, only)}
        if install_reference(folder):
            counts["reference"] = instructions.count(folder, found, only)
    return counts


def plan(rounds, only):
    """Yield the scenarios in the order in which they are measured.

    What takes long is measured once if there are few rounds.
    """
    for number in range(rounds):
        for scenario in SCENARIOS:
            if only in scenario and (
                    number == 0 or rounds > _FEW
                    or scenario not in LONG_ONES):
                yield scenario


def in_turn(order, names):
    """Yield which library measures which scenario, each as the first once."""
    names = deque(names)
    for scenario in order:
        for name in names.copy():
            yield scenario, name
        names.rotate(-1)


def tell(text):
    """Show what is going on, to who watches it."""
    if sys.stderr.isatty():
        print(text.ljust(60), end="\r", file=sys.stderr)


def measure(rounds, seconds, only=""):
    """Return the figures by scenario and library, a list for each."""
    with tempfile.TemporaryDirectory() as folder, databases() as found:
        names = [name for name in LIBRARIES
                 if name != "reference" or install_reference(folder)]
        workers = {
            name: Worker(
                name, folder if name == "reference" else ROOT, seconds,
                found)
            for name in names}
        order = list(plan(rounds, only))
        figures = {scenario: {name: [] for name in names}
                   for scenario in order}
        try:
            for scenario, name in in_turn(order, names):
                tell(f"{scenario}: {name}")
                figures[scenario][name].append(
                    workers[name].measure(scenario))
        finally:
            for worker in workers.values():
                worker.end()
    return figures


def summary(figures):
    """Return the medians, and the medians of the ratios to this library."""
    table = {}
    for scenario, libraries in figures.items():
        ours = libraries["dbutils"]
        row = table[scenario] = {}
        if None in ours:
            continue  # a server is missing, or a driver
        for name, theirs in libraries.items():
            if None in theirs:
                continue
            ratios = [their / our for our, their in zip(ours, theirs)]
            if scenario in HIGHER_IS_BETTER:
                ratios = [1 / ratio for ratio in ratios]
            row[name] = {"median": median(theirs), "ratio": median(ratios)}
    return table


def shown(table):
    """Return the table as text."""
    names = [name for name in LIBRARIES
             if any(name in row for row in table.values())]
    lines = [" " * 24 + "".join(f"{name:>19}" for name in names)]
    for scenario, row in table.items():
        cells = []
        for name in names:
            cell = "-"
            if name in row:
                figure, ratio = row[name]["median"], row[name]["ratio"]
                number = f"{figure:,.2f}" if figure < 10 else f"{figure:,.0f}"
                cell = number if name == "dbutils" else (
                    f"{number} ({ratio:.2f})")
            cells.append(f"{cell:>19}")
        lines.append(f"{scenario:<24}" + "".join(cells))
    return "\n".join(lines)


def charted(table):
    """Return the ratios as bars; the longer, the better is this library."""
    lines = []
    for scenario, row in table.items():
        lines.append(scenario)
        for name, cell in row.items():
            if name != "dbutils":
                ratio = cell["ratio"]
                bar = "#" * max(round(min(ratio, _WIDE) * _UNIT), 1)
                lines.append(f"  {name:<14}{ratio:>8.2f} {bar}")
    return "\n".join([*lines, f"(1.00 is {'#' * _UNIT})"])


def main():
    """Measure, and show what came out."""
    parser = argparse.ArgumentParser(
        prog=os.environ.get("DBUTILS_COMMAND"),
        description=__doc__.split("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="take about two minutes")
    parser.add_argument(
        "--json", action="store_true", help="print all figures as JSON")
    parser.add_argument(
        "--chart", action="store_true", help="draw the ratios as bars")
    parser.add_argument(
        "--only", default="", help="measure what has this in its name")
    parser.add_argument(
        "--rounds", type=int, default=None, help="how often all is measured")
    parser.add_argument(
        "--options", action="store_true",
        help="compare the options of a pool instead")
    parser.add_argument(
        "--texts", action="store_true",
        help="measure statements that were never seen before instead")
    parser.add_argument(
        "--instructions", action="store_true",
        help="count instructions by callgrind instead")
    given = parser.parse_args()
    if given.instructions:
        print(instructions.table(count(given.only)))
        return
    if given.options:
        print(options.table(options.measure(given.rounds or 31)))
        return
    if given.texts:
        print(texts.table(texts.measure(given.rounds or 9)))
        return
    rounds = given.rounds or (2 if given.quick else 9)
    figures = measure(rounds, 0.05 if given.quick else 0.3, given.only)
    if given.json:
        print(json.dumps(figures, indent=1))
    else:
        show = charted if given.chart else shown
        print(show(summary(figures)))


if __name__ == "__main__":
    main()
