"""Compare this library with others that do the same.

Usage: python tests/benchmarks/compare.py [--quick] [--json] [--rounds N]

Each library works in a process of its own, and the rounds are interleaved,
so that what else the machine does hits all of them.  Those that are not
installed are left out; the reference release is installed into a temporary
directory, if that is possible.  What is shown are the medians, and in
brackets the median of the ratios to this library round by round: above 1
means that this library is better.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from statistics import median

from libraries import LIBRARIES
from scenarios import HIGHER_IS_BETTER, SCENARIOS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
REFERENCE = "DBUtils==3.2.0"


class Worker:
    """The process of a library."""

    def __init__(self, name, path, seconds):
        environment = dict(os.environ, PYTHONPATH=os.fspath(path))
        self._process = subprocess.Popen(
            [sys.executable, os.fspath(HERE / "worker.py"), name,
             str(seconds)],
            env=environment, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE)

    def measure(self, scenario):
        """Return the figure of a scenario, None if that is impossible."""
        self._process.stdin.write(scenario + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        return json.loads(line) if line else None

    def end(self):
        """Let the process end."""
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


def measure(rounds, seconds):
    """Return the figures by scenario and library, a list for each."""
    with tempfile.TemporaryDirectory() as folder:
        names = [name for name in LIBRARIES
                 if name != "reference" or install_reference(folder)]
        workers = {
            name: Worker(
                name, folder if name == "reference" else ROOT, seconds)
            for name in names}
        figures = {scenario: {name: [] for name in names}
                   for scenario in SCENARIOS}
        try:
            for scenario, name in product(list(SCENARIOS) * rounds, names):
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


def main():
    """Measure, and show what came out."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="take less than a minute")
    parser.add_argument(
        "--json", action="store_true", help="print all figures as JSON")
    parser.add_argument(
        "--rounds", type=int, default=None, help="how often all is measured")
    options = parser.parse_args()
    rounds = options.rounds or (3 if options.quick else 9)
    figures = measure(rounds, 0.05 if options.quick else 0.3)
    if options.json:
        print(json.dumps(figures, indent=1))
    else:
        print(shown(summary(figures)))


if __name__ == "__main__":
    main()
