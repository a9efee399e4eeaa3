"""Django and SQLAlchemy work with the connections that a pool lends."""

import os
import subprocess
import sys
from pathlib import Path

import drivers
import pytest
from conftest import ready
from test_manual import DOCS, MANUALS, blocks

from dbutils.pooled_db import PooledDB

FOLDER = Path(__file__).parent / "orms"

without_docs = pytest.mark.skipif(
    not DOCS.is_dir(), reason="there is no checkout around these tests")


@pytest.fixture(params=["psycopg2", "psycopg"])
def driver(request, servers_running):
    """A driver that both know."""
    return ready(drivers.BY_NAME[request.param], servers_running)


def of_the_manual(manual, name, driver):
    """Return the code that the manual shows for a driver."""
    codes = [block.values[1] for block in blocks(manual, name)]
    return next(
        code for code in codes
        if name == "django" or (
            (driver == "psycopg") == ("+psycopg:" in code)))


@pytest.mark.slow
@without_docs
@pytest.mark.parametrize("manual", MANUALS)
@pytest.mark.parametrize("name", ["django", "sqlalchemy"])
def test_programs_run_on_a_pool(name, manual, driver, tmp_path):
    drivers.load(name)
    package = tmp_path / "lending"
    package.mkdir()
    code = package / "base.py"
    code.write_text(
        of_the_manual(manual, name, driver.name), encoding="utf-8")
    path = os.pathsep.join(filter(None, [
        str(FOLDER.parent.parent), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, FOLDER / f"{name}_program.py", driver.name,
         str(driver.port), tmp_path if name == "django" else code],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": path})
    assert (done.stdout, done.returncode) == ("all is well\n", 0), done.stderr


def test_what_only_takes_real_connections_says_so(driver):
    module = driver.load()
    pool = PooledDB(module, maxconnections=1, **driver.parameters())
    with pool.connection() as lease:
        if driver.name == "psycopg2":
            from psycopg2.extras import register_uuid
            take = register_uuid
            args = (None, lease), (None, lease.dbapi_connection)
        else:
            from psycopg.types import TypeInfo
            take = TypeInfo.fetch
            args = (lease, "uuid"), (lease.dbapi_connection, "uuid")
        with pytest.raises(TypeError, match=r"must be|expected"):
            take(*args[0])
        assert take(*args[1])
