"""Count the instructions of workloads by callgrind.

Other than times, the counts do not depend on what else the machine does.
They depend on the version and the build of Python.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from workloads import WORKLOADS

HERE = Path(__file__).resolve().parent
IMPORT = "import dbutils.pooled_db"
# What a request costs beyond what its driver needs for itself.
BEYOND = {
    "psycopg2, beyond the driver": (
        "psycopg2, request", "psycopg2, dedicated"),
    "PyMySQL, beyond the driver": ("PyMySQL, request", "PyMySQL, dedicated")}
_EMPTY = "empty"
NAMES = [*(name for name in WORKLOADS if name != _EMPTY), *BEYOND, IMPORT]

_CALLS = 200
# The least of some counts is taken where time matters: a thread that waits
# long, since other programs have the processor, looks around now and then, and
# threads in the background do so, too.
_TIMES = {**dict.fromkeys((
    "hand-over", "hand-over, ping=0", "cycle, keepalive", "cycle, refill",
    "cycle, leakafter", "cycle, maxidletime", "manager, min_idle",
    "like PyMySQL, cycle", "like PyMySQL, request", "psycopg2, request",
    ), 3), "PyMySQL, request": 5}
_SHIM = """
#include <valgrind/callgrind.h>
void start(void) { CALLGRIND_START_INSTRUMENTATION; }
void stop(void) { CALLGRIND_STOP_INSTRUMENTATION; }
"""
_COUNT = re.compile(r"^totals: (\d+)$", re.MULTILINE)


class MissingToolError(Exception):
    """A program for counting is not installed."""


def count(library, found, only=""):
    """Return the instructions of a call of each workload, by name.

    library: the folder in which the package is
    found: how the servers are reached, as variables of the environment
    only: a part of the names of what is counted

    Those of the loop and of an empty function are subtracted.  What the
    library or the machine does not have is left out.
    """
    wanted = {name for name in NAMES if only in name}
    for name in wanted & set(BEYOND):
        wanted.update(BEYOND[name])
    with tempfile.TemporaryDirectory() as folder:
        counter = _Counter(Path(folder), library, found)
        counts = counter.count([
            name for name in WORKLOADS if name in wanted])
        for name, (whole, part) in BEYOND.items():
            if whole in counts and part in counts:
                counts[name] = counts[whole] - counts[part]
        if IMPORT in wanted:
            counts[IMPORT] = counter.count_import()
    return counts


class _Counter:
    """Runs programs with a library under callgrind, in a folder."""

    def __init__(self, folder, library, found):
        self._folder = folder
        self._environment = dict(
            os.environ, PYTHONHASHSEED="0",
            PYTHONPATH=os.path.abspath(library),  # noqa: PTH100 - a text
            PYTHONPYCACHEPREFIX=str(folder / "cache"), **found)
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self._shim = str(_build_shim(folder))

    def count(self, names):
        """Return the instructions of a call of each workload, by name."""
        if not names:
            return {}
        said, counts = self._run(
            "no", str(HERE / "workloads.py"), self._shim, str(_CALLS), _EMPTY,
            *(name for name in names for _ in range(_TIMES.get(name, 1))))
        found = defaultdict(list)
        for name, process in map(json.loads, said.splitlines()):
            found[name].append(counts[process])
        empty = min(found.pop(_EMPTY))
        return {name: round((min(each) - empty) / _CALLS)
                for name, each in found.items()}

    def count_import(self):
        """Return the instructions of the import beyond an empty program."""
        empty, whole = (
            self._count_program(program) for program in ("import os", IMPORT))
        return whole - empty

    def _count_program(self, program):
        """Return the instructions of a program that was compiled before.

        The module `site` is left out, which may import whatever it finds.
        """
        self._run("no", "-S", "-c", program)
        _, counts = self._run("yes", "-S", "-c", program)
        return sum(counts.values())

    def _run(self, at_start, *command):
        """Return what a program says, and the counts by its processes."""
        said = subprocess.run(
            ["valgrind", "-q", "--tool=callgrind",
             f"--instr-atstart={at_start}",
             f"--callgrind-out-file={self._folder}/count.%p",
             sys.executable, *command], check=True, text=True,
            env=self._environment, cwd=str(self._folder),
            stdout=subprocess.PIPE).stdout
        counts = {}
        for path in self._folder.glob("count.*"):
            counts[int(path.suffix[1:])] = int(
                _COUNT.search(path.read_text())[1])
            path.unlink()
        return said, counts


def _build_shim(folder):
    """Build a library by which a program starts and stops the counting."""
    for program in ("valgrind", "gcc"):
        if not shutil.which(program):
            raise MissingToolError(f"{program} is not installed.")
    path = folder / "shim.so"
    done = subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O1", "-o", str(path), "-x", "c", "-"],
        input=_SHIM, text=True, capture_output=True, check=False)
    if done.returncode:
        raise MissingToolError(
            f"The headers of valgrind cannot be used: {done.stderr}")
    return path


def table(counts):
    """Return the counts of several releases as text."""
    heads = "".join(f"{release:>15}" for release in counts)
    lines = [f"{'instructions':<30}{heads}"]
    for name in NAMES:
        found = [counted.get(name) for counted in counts.values()]
        if any(found):
            lines.append(f"{name:<30}" + "".join(
                f"{'-' if number is None else format(number, ','):>15}"
                for number in found))
    return "\n".join(lines)
