"""The fixtures that all tests share."""

import gc
import sys
from contextlib import ExitStack

import drivers
import mock_db
import mock_pg
import pytest
from drivers import ready, start
from kinds import Kind

from dbutils import pooled_db, pooled_pg
from dbutils.pooled_db import PooledDB
from dbutils.pooled_pg import PooledPg


@pytest.fixture
def dbapi():
    """A DB-API 2 driver on which nothing has happened."""
    mock_db.reset()
    return mock_db


@pytest.fixture
def server(dbapi):
    """The server of the driver."""
    return dbapi.server


@pytest.fixture
def pg(monkeypatch, dbapi):
    """Classic PyGreSQL, as far as the library can tell."""
    monkeypatch.setitem(sys.modules, "pg", mock_pg)
    return mock_pg


@pytest.fixture(params=["db", "pg"])
def kind(request, dbapi, pg):
    """Both kinds, which keep one contract; or a class that keeps it, too."""
    if request.param == "pg":
        return Kind(pooled_pg, PooledPg)
    pool_class = PooledDB if request.param == "db" else request.param
    return Kind(pooled_db, pool_class, dbapi)


@pytest.fixture(scope="module")
def _frozen():
    """Let the collector have little to do in the tests of a module."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(params=[False, True], ids=["", "collecting"])
def _collector(request, _frozen):
    """Switch the collector off, or keep it at work all the time."""
    gc.collect()
    threshold = gc.get_threshold()
    if request.param:
        gc.enable()
        gc.set_threshold(5, 2, 2)
    else:
        gc.disable()
    yield
    gc.enable()
    gc.set_threshold(*threshold)


@pytest.fixture
def _restless():
    """Switch between threads all the time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(scope="session")
def servers_running():
    """The ports of the servers that were started, until the end."""
    with ExitStack() as stack:
        ports = {}

        def port_of(family):
            if family not in ports:
                ports[family] = start(stack, family).port
            return ports[family]
        yield port_of


@pytest.fixture(scope="session")
def secure_servers():
    """The servers that encrypt, of either family, until the end."""
    with ExitStack() as stack:
        servers = {}

        def server_of(family):
            if family not in servers:
                servers[family] = start(stack, f"secure {family}")
            return servers[family]
        yield server_of


@pytest.fixture(params=drivers.POSTGRESQL + drivers.MARIADB, ids=repr)
def driver(request, servers_running):
    """A real driver, and its server."""
    return ready(request.param, servers_running)


