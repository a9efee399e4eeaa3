"""What the tests have in common."""

import sys
from contextlib import ExitStack

import drivers
import mock_db
import mock_pg
import pytest
import servers

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


class Kind:
    """A kind of pool of steady connections, its module, and its class."""

    def __init__(self, module, pool_class, *first):
        self.module = module
        self.pool_class = pool_class
        self._first = first

    def make(self, *args, pool_class=None, **options):
        """Return a pool of this kind."""
        return (pool_class or self.pool_class)(*self._first, *args, **options)

    @staticmethod
    def driver_con(lease):
        """Return the driver's connection behind a lease."""
        return getattr(lease._con._con, "db", lease._con._con)

    @staticmethod
    def idle(pool):
        """Return how many connections are idle."""
        if isinstance(pool, PooledPg):
            return pool._cache.qsize()
        return len(pool._idle_cache)

    @staticmethod
    def in_use(pool):
        """Return how many connections are in use."""
        return pool._core.stats().in_use

    @staticmethod
    def is_open(con):
        """Tell whether a driver's connection is open."""
        return bool(getattr(con, "valid", getattr(con, "status", None)))


@pytest.fixture(params=["db", "pg"])
def kind(request, dbapi, pg):
    """Both kinds, which keep one contract."""
    if request.param == "pg":
        return Kind(pooled_pg, PooledPg)
    return Kind(pooled_db, PooledDB, dbapi)


@pytest.fixture
def _restless():
    """Let threads be interrupted by others all the time."""
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


def start(stack, family):
    """Start a server; where it is not installed, skip, or fail in CI."""
    try:
        return stack.enter_context(servers.running(servers.KINDS[family]))
    except servers.MissingServerError as missing:
        if drivers.IN_CI:
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture(params=drivers.POSTGRESQL + drivers.MARIADB, ids=repr)
def driver(request, servers_running):
    """A real driver, and its server."""
    return ready(request.param, servers_running)


def entry_of(manager, pool):
    """Return what a manager knows of one of its pools."""
    return manager._registry.entries[pool.key]


def ready(driver, servers_running):
    """Return a driver that knows where its server is."""
    driver.load()
    driver.port = servers_running(driver.family)
    return driver
