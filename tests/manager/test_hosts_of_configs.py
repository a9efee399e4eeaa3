"""Managed pools for several servers."""

import pytest
from drivers import load
from hosting import FakeHost, host_of, insert

from dbutils import ConnectionConfig, DBConnectionPoolManager
from dbutils._drivers.postgresql import DRIVERS
from dbutils._drivers.standing import Standing
from dbutils._hosts.cluster import Cluster
from dbutils._manager.config import configs_of_hosts
from dbutils._manager.connector import Connector
from dbutils.hosts import Targets
from dbutils.steady_db import connect
from dbutils.uri_pool import ConnectionPool

pytestmark = pytest.mark.portable


def config_of(hosts, **options):
    return ConnectionConfig(
        "postgresql", hosts=hosts, driver="psycopg2", **options)


@pytest.mark.parametrize("hosts", [
    ["db1", "db2:5433"], ("db1", "db2:5433"), "db1, db2:5433"])
def test_each_host_has_a_configuration(hosts):
    config = config_of(hosts, port=5432, user="me")
    assert config.hosts == ("db1", "db2:5433")
    found = configs_of_hosts(config)
    assert [(name, one.host, one.port) for name, one in found.items()] == [
        ("db1", "db1", 5432), ("db2:5433", "db2", 5433)]
    assert {one.user for one in found.values()} == {"me"}


@pytest.mark.parametrize(("name", "host", "port"), [
    ("::1", ":", 1), ("[::1]", "::1", None), ("[::1]:7", "::1", 7)])
def test_addresses_with_colons_have_brackets(name, host, port):
    one = configs_of_hosts(config_of([name]))[name]
    assert (one.host, one.port) == (host, port)


def test_a_url_and_variables_can_have_several_hosts():
    config = ConnectionConfig.from_url("postgresql:///base?hosts=a,b:7")
    assert config.hosts == ("a", "b:7")
    variables = {"DB_TYPE": "postgresql", "DB_HOSTS": "a,b:7"}
    config = ConnectionConfig.from_env(environ=variables)
    assert config.hosts == ("a", "b:7")


def test_the_key_depends_on_the_hosts():
    keys = {config_of(hosts).key for hosts in (
        None, [], ["a"], ["a", "b"], ["b", "a"])}
    assert len(keys) == 4


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="'hosts', or one 'host'"):
        config_of(["a"], host="b")
    for hosts in (["a:b"], "a,,b", [":5432"]):  # no host is not the local one
        with pytest.raises(ValueError, match="like 'db1:5432'"):
            config_of(hosts)


class Servers:
    """Two servers, of which the second one is the primary."""

    def __init__(self):
        self.hosts = {"a": FakeHost("a", "standby"), "b": FakeHost("b")}
        self.passwords = []

    def connect(self, connector, password, arguments):
        self.passwords.append(password)
        return self.hosts[arguments.parameters["host"]]()

    def swap(self):
        a, b = self.hosts.values()
        a.role, b.role = b.role, a.role


@pytest.fixture
def servers(monkeypatch):
    load("psycopg2")
    servers = Servers()
    monkeypatch.setattr(Cluster, "_watch", lambda self: None)
    monkeypatch.setattr(
        Connector, "_connect",
        lambda *arguments: servers.connect(*arguments))
    monkeypatch.setattr(
        "dbutils._hosts.cluster.driver_of", lambda con, dbapi: _Roles())
    return servers


def test_a_managed_pool_leads_to_the_primary(servers):
    manager = DBConnectionPoolManager()
    config = config_of(["a", "b"], password="old")
    pool = manager.get_pool(config)
    with pool.connection() as db:
        assert host_of(db) == "b"
    with pool.get_connection(target="standby") as db:
        assert host_of(db) == "a"
    pool.close()
    manager.update_credentials(config.key, "new")
    pool.connection().close()
    assert {*servers.passwords} == {"old", "new"}
    manager.shutdown()


@pytest.mark.parametrize("as_text", [True, False])
def test_a_configuration_with_several_hosts_stands_for_all(servers, as_text):
    config = "postgresql+psycopg2:///base?hosts=a,b" if as_text else (
        config_of(["a", "b"]))
    targets = Targets([config])
    assert list(targets.states()) == ["a", "b"]
    assert host_of(connect(targets)) == "b"


@pytest.mark.parametrize("size", [0, 2])
@pytest.mark.parametrize("by", ["uri", "connector"])
def test_a_pool_by_its_uri_leads_to_the_primary(servers, size, by):
    uri = "postgresql+psycopg2:///base?hosts=a,b"
    options = {"uri": uri} if by == "uri" else {"connector": Targets([uri])}
    prepared = []
    database = ConnectionPool(
        pool_size=size, after_connection=prepared.append, **options)
    insert(database.connection, 1)
    assert host_of(database.connection) == "b"
    servers.swap()
    with pytest.raises(servers.hosts["b"].dbapi.OperationalError):
        insert(database.connection, 0)
    insert(database.connection, 2)
    assert host_of(database.connection) == "a"
    assert prepared == [database] * 2
    database.close()
    assert database.connection is not None
    assert [host.rows for host in servers.hosts.values()] == [[2], [1]]
    database.close()
    database.POOLS.pop(uri, None)


class _Roles(type(DRIVERS["psycopg2"])):
    """Let scripted servers say their roles as PostgreSQL does."""

    def standing(self, con):
        return Standing(con.host.role)

    def descriptor(self, con):
        return None

    def in_transaction(self, con):
        return con.in_transaction
