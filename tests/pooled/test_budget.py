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
    "cycle": 6_220,
    "cycle, ping=0": 6_220,
    "cycle, ping by the driver": 7_180,
    "block": 9_010,
    "cycle, maxlifetime": 9_540,
    "cycle, maxidletime": 9_820,
    "cycle, keepalive": 9_540,
    "cycle, refill": 6_220,
    "cycle, leakafter": 9_560,
    "cycle, reset=False": 6_230,
    "cycle, maxshared=3": 34_800,
    "manager": 8_670,
    "manager, min_idle": 9_640,
    "dynamic": 6_220,
    "health check": 6_220,
    "allocation": 6_220,
    "performance": 9_610,
    "simple": 4_300,
    "simple, threadsafety 2": 6_650,
    "persistent": 2_440,
    "persistent, ping=0": 2_440,
    "request": 19_800,
    "steady, kept cursor": 4_310,
    "steady, new cursor": 13_170,
    "hand-over": 26_100,
    "hand-over, ping=0": 26_100,
    "like psycopg2, cycle": 11_450,
    "like psycopg2, request": 27_400,
    "like PyMySQL, cycle": 27_600,
    "like PyMySQL, request": 44_200,
    "psycopg2, beyond the driver": 29_000,
    "PyMySQL, beyond the driver": 31_270,
    "import dbutils.pooled_db": 67_500_000,
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
