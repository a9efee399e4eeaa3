"""What can be done from the command line.

Without arguments this is a demonstration.  "doctor" examines a database and
says how large pools should be, "drivers" tells what is known about drivers,
and "bench" compares this library with others.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any, Sequence

from .. import __version__
from .demo import demonstrate
from .doctor import diagnose
from .known_drivers import show_drivers
from .terminal import complain

_BENCHMARK = (
    Path(__file__).parents[2] / "tests" / "benchmarks" / "compare.py")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dbutils",
        description="Without a command, this shows what a pool does.")
    parser.add_argument(
        "--version", action="version", version=f"DBUtils {__version__}")
    parser.set_defaults(command=lambda _: demonstrate())
    commands = parser.add_subparsers(title="commands")
    doctor = commands.add_parser(
        "doctor", help="examine a database, and say how large pools should be")
    doctor.add_argument(
        "uri", metavar="URI", nargs="?",
        help="such as postgresql://user@host/database; if it is left out, it"
        " is taken from the variable DATABASE_URL")
    doctor.add_argument(
        "-W", "--password", action="store_true",
        help="ask for the password, which is also taken from PGPASSWORD,"
        " MYSQL_PWD or DB_PASSWORD")
    for name in ("processes", "threads"):
        doctor.add_argument(
            f"--{name}", type=_number, metavar="N",
            default=1 if name == "processes" else 16,
            help=f"how many {name} there are (in each process)"
            if name == "threads" else f"how many {name} there are")
    doctor.add_argument(
        "--json", action="store_true", help="print the results as JSON")
    doctor.set_defaults(command=diagnose, refuse=doctor.error)
    known = commands.add_parser(
        "drivers", help="tell what is known about the installed drivers")
    known.add_argument(
        "modules", metavar="MODULE", nargs="*",
        help="a driver to tell about instead of all that are known")
    known.add_argument(
        "--json", action="store_true", help="print that as JSON")
    known.set_defaults(command=show_drivers)
    bench = commands.add_parser(
        "bench", help="compare this library with others on this machine",
        add_help=False)
    bench.set_defaults(command=_bench)
    return parser


def _number(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("it must be at least 1")
    return number


def _bench(arguments: Any) -> int:
    """Run the benchmarks of the project, which are not installed with it."""
    if not _BENCHMARK.exists():
        complain(
            "The benchmarks are in the source distribution and in the"
            " repository; run this in one of these.")
        return 2
    return subprocess.call(  # noqa: S603 - it is our own
        [sys.executable, str(_BENCHMARK), *arguments.others])


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say; return the exit status."""
    known, others = _parser().parse_known_args(arguments)
    known.others = others
    if others and known.command is not _bench:
        _parser().error(f"unrecognized arguments: {' '.join(others)}")
    try:
        return int(known.command(known))
    except KeyboardInterrupt:
        complain("\nThat was the end.")
        return 130
