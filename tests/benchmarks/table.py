"""Measure a checkout and the reference release, row by row.

Usage: python tests/benchmarks/table.py
    [--library FOLDER] [--reference FOLDER] [--rounds N] [--only TEXT]

The folders are those in which the package `dbutils` is; without them, this
checkout is measured, and the reference release is installed into a temporary
directory.  Only public interfaces are used, so that the same program can
measure an older checkout.  It is to be run with a Python that has the
drivers and the libraries to compare with.

The first rows are instructions, which can be compared between runs with the
same Python.  The others are medians of interleaved rounds; of these only
ratios can be compared.  A ratio above 1 means that the checkout is better.
"""

import argparse
import os
import platform
import tempfile
from contextlib import contextmanager
from statistics import median

import instructions
from compare import ROOT, Worker, databases, install_reference, tell
from libraries import LIBRARIES
from scenarios import HIGHER_IS_BETTER, SCENARIOS

OURS, THEIRS = "dbutils", "reference"
PEERS = [name for name in LIBRARIES
         if name not in {OURS, THEIRS, "smallest"}]
TIMES = [name for name in SCENARIOS if name in {
    "8 threads, per second", "64 threads, per second",
    "crowd: of the smallest", "crowd: Jain's index", "two threads, one, ns",
    "1,000 waiting, ms a s", "3,000 waiting, ms a s",
    "served: 3,000 over 100", "refusal, many used, us",
    "one shared by one, ns", "1000 shared over 10", "each text is a new one",
    "bytes of an idle one", "bytes of one never used"}]
_WITH_PEERS = {"8 threads, per second", "64 threads, per second"}


@contextmanager
def checkouts(library, reference):
    """Yield the folders of both releases by name."""
    with tempfile.TemporaryDirectory() as folder:
        folders = {OURS: library}
        if reference or install_reference(folder):
            folders[THEIRS] = reference or folder
        yield folders


def count(folders, only):
    """Return the instructions by release."""
    counts = {}
    with databases() as found:
        for release, folder in folders.items():
            tell(f"counting the instructions: {release}")
            counts[release] = instructions.count(folder, found, only)
    return counts


def time(folders, given):
    """Return the figures of each round, by work and library."""
    workers = {
        name: Worker(name, folders.get(name, ROOT), given.seconds, {})
        for name in [*folders, *PEERS]}
    try:
        return {name: measure(workers, name, folders, given.rounds)
                for name in TIMES if given.only in name}
    finally:
        for worker in workers.values():
            worker.end()


def measure(workers, scenario, folders, rounds):
    """Return the figures of a scenario by library, in interleaved rounds."""
    figures = {library: [] for library in workers
               if library in folders or scenario in _WITH_PEERS}
    for _ in range(rounds):
        for library, found in figures.items():
            tell(f"{scenario}: {library}")
            found.append(workers[library].measure(scenario))
    return {library: found for library, found in figures.items()
            if None not in found}


def rows(counts, figures):
    """Yield the rows of the table: a name, both figures and their ratio."""
    for name in instructions.NAMES:
        theirs, ours = (
            counts.get(release, {}).get(name) for release in (THEIRS, OURS))
        if theirs or ours:
            yield name, theirs, ours, (
                theirs / ours if theirs and ours else None)
    for name, found in figures.items():
        for peer in (THEIRS, *PEERS):
            if peer == THEIRS or peer in found:
                yield row_of(name, found, peer)


def row_of(name, found, peer):
    """Return the row of a scenario; the ratio is the median of the rounds."""
    theirs, ours = found.get(peer), found.get(OURS)
    ratios = [their / our for their, our in zip(theirs or (), ours or ())]
    if name in HIGHER_IS_BETTER:
        ratios = [1 / ratio for ratio in ratios]
    return (name if peer == THEIRS else f"  with {peer}", *[
        median(numbers) if numbers else None
        for numbers in (theirs, ours, ratios)])


def line(name, *cells):
    """Return a line of the table."""
    return f"| {name:<30}|" + "".join(f"{cell:>13} |" for cell in cells)


def shown(number):
    """Return a number as text."""
    if number is None:
        return "-"
    return f"{number:,.2f}" if number < 100 else f"{number:,.0f}"


def main():
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--library", default=os.fspath(ROOT))
    parser.add_argument("--reference")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument(
        "--only", default="", help="measure what has this in its name")
    given = parser.parse_args()
    with checkouts(given.library, given.reference) as folders:
        counts = count(folders, given.only)
        figures = time(folders, given)
    print(f"Python {platform.python_version()}, {platform.machine()}\n")
    print(line("work", "reference", "this", "ratio"))
    print(f"|{'-' * 31}|" + f"{'-' * 13}:|" * 3)
    for name, *numbers in rows(counts, figures):
        print(line(name, *map(shown, numbers)))


if __name__ == "__main__":
    main()
