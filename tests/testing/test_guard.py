"""The plugin for pytest, in programs of its own."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

HEAD = """
import pytest
from dbutils.pooled_db import PooledDB
from dbutils import SimplePooledDB
from dbutils.testing import ScriptedDriver

driver = ScriptedDriver()
pool = PooledDB(driver, maxconnections=20)
simple = SimplePooledDB(driver, 2)
earlier = pool.connection()
"""


def run(folder, code, *options):
    (folder / "test_it.py").write_text(HEAD + code)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
         "-o", "usefixtures=dbutils_pool_guard", *options, "test_it.py"],
        cwd=str(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=300, check=False)
    return done.stdout


@pytest.mark.parametrize("code", [
    "    pool.connection().close()\n",
    "    with pool.connection() as db: db.cursor()\n",
    "    simple.connection().close()\n",
    "    db = pool.connection(); db = None\n",
    "    cycle = [pool.connection()]; cycle.append(cycle)\n",
    "    earlier.cursor()\n",
    "    own = PooledDB(driver, 1); own.connection().close()\n"])
def test_a_test_that_gives_all_back_passes(tmp_path, code):
    assert "1 passed" in run(tmp_path, "def test_it():\n" + code)


@pytest.mark.parametrize("code", [
    "    kept.append(pool.connection())  # here\n",
    "    own = PooledDB(driver); kept.append(own.connection())  # here\n",
    ("    own = PooledDB(driver, mincached=3)\n"
     "    kept.append((own.connection(), own.connection()))  # here\n"),
    ("    own = PooledDB(driver, maxshared=3)\n"
     "    kept.append(own.connection())  # here\n"),
])
def test_a_test_that_keeps_a_connection_fails_with_the_place(tmp_path, code):
    code = "kept = []\ndef test_it():\n" + code
    output = run(tmp_path, code)
    line = 1 + next(
        number for number, line in enumerate((HEAD + code).splitlines())
        if "# here" in line)
    assert "1 error" in output
    assert "The test has left connections in use" in output
    assert f"test_it.py:{line}" in output


def test_a_simple_pool_knows_no_places(tmp_path):
    output = run(
        tmp_path,
        "kept = []\ndef test_it():\n    kept.append(simple.connection())\n")
    assert "a place that is not known" in output


def test_a_fixture_may_have_a_connection(tmp_path):
    output = run(tmp_path, """
@pytest.fixture
def db():
    with pool.connection() as db:
        yield db

def test_it(db):
    db.cursor().execute("select 1")
""")
    assert "1 passed" in output


def test_without_the_fixture_nobody_is_watched(tmp_path):
    output = run(
        tmp_path,
        "kept = []\ndef test_it():\n    kept.append(pool.connection())\n",
        "-o", "usefixtures=")
    assert "1 passed" in output
