"""The hot paths do not become longer by the way.

The instructions of whole pieces of work are counted by callgrind, since their
number does not depend on the mood of the machine.  It depends on the version
of Python and how that was built, so budgets are kept for one.  A change that
makes a path shorter lowers its budget, to 3 % above the count.
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
    "cycle": 5_670,
    "cycle, ping=0": 5_690,
    "cycle, ping by the driver": 6_900,
    "block": 8_140,
    "cycle, maxlifetime": 8_320,
    "cycle, maxidletime": 8_330,
    "cycle, keepalive": 8_330,
    "cycle, refill": 5_680,
    "cycle, leakafter": 8_550,
    "cycle, reset=False": 5_740,
    "cycle, maxshared=3": 38_280,
    "manager": 8_390,
    "manager, min_idle": 8_040,
    "dynamic": 5_690,
    "health check": 5_690,
    "allocation": 5_690,
    "performance": 9_250,
    "simple": 4_280,
    "simple, threadsafety 2": 6_600,
    "persistent": 2_440,
    "persistent, ping=0": 2_440,
    "request": 15_780,
    "steady, kept cursor": 3_750,
    "steady, new cursor": 10_320,
    "cycle, targets": 5_740,
    "cycle, several targets": 6_530,
    "steady, kept cursor, targets": 3_760,
    "steady, new cursor, targets": 10_310,
    "hand-over": 25_000,
    "hand-over, ping=0": 25_000,
    "like psycopg2, cycle": 8_680,
    "like psycopg2, request": 19_600,
    "like PyMySQL, cycle": 10_270,
    "like PyMySQL, request": 21_410,
    "psycopg2, beyond the driver": 17_900,
    "PyMySQL, beyond the driver": 18_900,
    "import dbutils.pooled_db": 57_500_000,
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


@pytest.mark.parametrize(
    "name", ["steady, kept cursor", "steady, new cursor"])
def test_a_statement_costs_the_same_with_targets(counts, name):
    assert counts[f"{name}, targets"] <= 1.02 * counts[name]


def test_each_count_of_the_library_has_a_budget(counts):
    of_others = {
        GAUGE, "raw, kept cursor", "hand-over, smallest", "hand-over, queue",
        "psycopg2, dedicated", "psycopg2, its pool", "psycopg2, request",
        "PyMySQL, dedicated", "PyMySQL, request"}
    assert set(counts) - of_others == set(BUDGETS)
