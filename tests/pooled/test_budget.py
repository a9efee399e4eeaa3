"""The hot paths do not become longer by the way.

The instructions of whole pieces of work are counted by callgrind, since their
number does not depend on the mood of the machine.  It depends on the version
of Python and how that was built, so budgets are kept for one.  A change that
makes a path shorter lowers its budget, to 5 % above the count.
"""

import json
import platform
import sys
from pathlib import Path

import pytest
from drivers import BY_NAME, IN_CI, ready
from folders import BENCHMARKS

import dbutils

PYTHON = (3, 13)
# What a workload without the library takes, which tells whether Python was
# built in the same way.
GAUGE, GAUGED = "raw, new cursor", 2_362

BUDGETS = {
    "cycle": 12_960,
    "cycle, ping=0": 10_280,
    "cycle, ping by the driver": 13_340,
    "block": 15_780,
    "cycle, maxlifetime": 67_300,
    "cycle, maxidletime": 67_100,
    "cycle, keepalive": 66_300,
    "cycle, refill": 66_300,
    "cycle, leakafter": 66_300,
    "cycle, reset=False": 59_800,
    "cycle, maxshared=3": 185_000,
    "manager": 14_300,
    "manager, min_idle": 81_500,
    "dynamic": 12_970,
    "health check": 12_960,
    "allocation": 13_330,
    "performance": 13_950,
    "simple": 5_540,
    "simple, threadsafety 2": 10_300,
    "persistent": 11_780,
    "persistent, ping=0": 3_040,
    "request": 30_490,
    "steady, kept cursor": 5_560,
    "steady, new cursor": 17_140,
    "hand-over": 76_000,
    "hand-over, ping=0": 67_200,
    "like psycopg2, cycle": 21_180,
    "like psycopg2, request": 43_300,
    "like PyMySQL, cycle": 26_870,
    "like PyMySQL, request": 48_420,
    "psycopg2, beyond the driver": 38_420,
    "PyMySQL, beyond the driver": 38_250,
    "import dbutils.pooled_db": 283_000_000,
}

pytestmark = [
    # all are counted at once, which takes long on a busy machine
    pytest.mark.slow, pytest.mark.timeout(1200)]


def unavailable(problem):
    """Skip the tests; in CI that is a failure."""
    if IN_CI:
        pytest.fail(problem)
    pytest.skip(problem)


@pytest.fixture(scope="module")
def counts(servers_running):
    """The instructions of all workloads, by name."""
    if sys.version_info[:2] != PYTHON or platform.machine() != "x86_64":
        pytest.skip("the budgets are those of another Python")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import instructions
    found = {}
    for name in ("psycopg2", "pymysql"):
        driver = ready(BY_NAME[name], servers_running)
        found[driver.family.upper()] = json.dumps(
            [name, driver.parameters()])
    try:
        counted = instructions.count(
            Path(dbutils.__file__).resolve().parents[1], found)
    except instructions.MissingToolError as missing:
        unavailable(str(missing))
    if abs(counted[GAUGE] / GAUGED - 1) > 0.02:
        unavailable(
            f"Python was built in another way: {counted[GAUGE]} instructions"
            f" instead of {GAUGED} for what the library has no part in.")
    return counted


@pytest.mark.parametrize("name", BUDGETS)
def test_a_piece_of_work_keeps_to_its_budget(counts, name):
    assert counts[name] <= BUDGETS[name]


def test_each_count_of_the_library_has_a_budget(counts):
    of_others = {
        GAUGE, "raw, kept cursor", "hand-over, smallest", "hand-over, queue",
        "psycopg2, dedicated", "psycopg2, its pool", "psycopg2, request",
        "PyMySQL, dedicated", "PyMySQL, request"}
    assert set(counts) - of_others == set(BUDGETS)
