"""The commands of `python -m dbutils`.

Without a command, a demonstration runs.  "doctor" examines a database and
recommends sizes of pools, "drivers" shows what the library knows about
drivers, "top" what the pools of another process do, "explain" what is wrong
with them, and "bench" compares this library with others.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Sequence

from .. import __version__
from .demo import demonstrate
from .doctor import diagnose
from .known_drivers import show_drivers
from .terminal import complain
from .top import explain_process, show_process

_BENCHMARK = (
    Path(__file__).parents[2] / "tests" / "benchmarks" / "compare.py")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dbutils",
        description="Without a command, this shows what a pool does.")
    parser.add_argument(
        "--version", action="version", version=f"DBUtils {__version__}")
    parser.add_argument(
        "--database", metavar="URI", default="",
        help="a database to be used by the demonstration, such as"
        " postgresql://user@host/database; nothing is changed in it")
    parser.set_defaults(command=_demonstrate)
    commands = parser.add_subparsers(title="commands")
    for add in _add_doctor, _add_drivers, _add_top, _add_explain, _add_bench:
        add(commands)
    return parser


def _add_doctor(commands: Any) -> None:
    doctor = commands.add_parser(
        "doctor", help="examine a database, and recommend sizes of pools")
    doctor.add_argument(
        "uri", metavar="URI", nargs="?",
        help="such as postgresql://user@host/database; the default is the"
        " variable DATABASE_URL")
    doctor.add_argument(
        "-W", "--password", action="store_true",
        help="ask for the password instead of reading it from PGPASSWORD,"
        " MYSQL_PWD or DB_PASSWORD")
    for name in ("processes", "threads"):
        doctor.add_argument(
            f"--{name}", type=_number, metavar="N",
            default=1 if name == "processes" else 16,
            help="the number of threads in each process"
            if name == "threads" else "the number of processes")
    doctor.add_argument(
        "--json", action="store_true", help="print the results as JSON")
    doctor.set_defaults(command=diagnose, refuse=doctor.error)


def _add_drivers(commands: Any) -> None:
    known = commands.add_parser(
        "drivers", help="show what is known about the installed drivers")
    known.add_argument(
        "modules", metavar="MODULE", nargs="*",
        help="a driver to show instead of all known ones")
    known.add_argument(
        "--json", action="store_true", help="print the facts as JSON")
    known.set_defaults(command=show_drivers)


def _add_top(commands: Any) -> None:
    top = commands.add_parser(
        "top", help="show what the pools of another process do")
    _add_process(top)
    top.add_argument(
        "--interval", type=float, metavar="SECONDS", default=1.0,
        help="the time between two looks")
    top.add_argument(
        "--once", action="store_true", help="look only once")
    top.add_argument(
        "--json", action="store_true", help="print JSON, a line for each look")
    top.set_defaults(command=show_process)


def _add_explain(commands: Any) -> None:
    explain = commands.add_parser(
        "explain",
        help="tell in words what is wrong with the pools of another process")
    _add_process(explain)
    explain.add_argument(
        "--json", action="store_true", help="print the texts as JSON")
    explain.set_defaults(command=explain_process)


def _add_process(command: Any) -> None:
    command.add_argument(
        "process", metavar="PROCESS", nargs="?",
        help="the number of the process, or its socket; it must have called"
        " dbutils.top.serve()")


def _add_bench(commands: Any) -> None:
    bench = commands.add_parser(
        "bench", help="compare this library with others on this machine",
        add_help=False)
    bench.set_defaults(command=_bench)


def _demonstrate(arguments: Any) -> int:
    return demonstrate(arguments.database)


def _number(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError("it must be at least 1 [DBU-90]")
    return number


def _bench(arguments: Any) -> int:
    """Run the benchmarks, which are not installed with the package."""
    if not _BENCHMARK.exists():
        complain(
            "The benchmarks are only part of the source distribution and of"
            " the repository. Run this command there.")
        return 2
    return subprocess.call(  # noqa: S603 - our own program
        [sys.executable, str(_BENCHMARK), *arguments.others],
        env={**os.environ, "DBUTILS_COMMAND": "python -m dbutils bench"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return the exit status."""
    known, others = _parser().parse_known_args(arguments)
    known.others = others
    if others and known.command is not _bench:
        _parser().error(f"unrecognized arguments: {' '.join(others)}")
    try:
        return int(known.command(known))
    except KeyboardInterrupt:
        complain("\nThat was the end.")
        return 130
    except BrokenPipeError:
        # as of "| head"; the rest is not written when the interpreter ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
