"""What programs see of the library: all that has no underscore is for them.

What only the library calls must not appear here: give it an underscore, or
make it a function of its module.
"""

import re

import mock_db
import pytest
from folders import DOCS
from manuals import texts

import dbutils
from dbutils import drivers, keyed_pool, pool_manager, simple_pooled_pg
from dbutils._core.lease import Lease
from dbutils._pooled.attributes import Forwarded
from dbutils._steady.cursor import DriverAttribute
from dbutils.uri_pool import ConnectionPool

POOL = (
    "cache close connection drain explain holders observe pause resume run"
    " shutdown stats"
    " steady_connection transaction unobserve version wait")
POOLED_DB = f"{POOL} dedicated_connection unshare"
LEASE = "begin close commit cursor position rollback valid"
STEADY = "begin close commit rollback valid version"
SIMPLE = "addConnection connection getConnection returnConnection version"
KEYED = "closeall connection explain getconn health_check putconn stats"

# Each public class, and the names that it and its objects have.
FACES = {
    "AbstractConnectionPool": "closed maxconn minconn",
    "Allocation": (
        "choose limit reserve set_ageing set_barging set_priority"
        " set_strategy with_priority"),
    "ConnectionConfig": (
        "application_name autocommit charset connection_timeout database"
        " db_type driver from_env from_url host hosts key options password"
        " port socket_timeout ssl ssl_ca ssl_cert ssl_key user"),
    "ConnectionPool": (
        "POOLS after_connection after_connection_hook check_active_connection"
        " close close_all_instances close_connection commit connection"
        " connector cursor explain folder get_connection pool_size reconnect"
        " reset_cursor rollback set_connection set_folder test_connection"
        " uri"),
    "DBConnectionPoolManager": (
        "clear_idle_pools explain get_connection get_pool get_pool_by_name"
        " get_pool_info get_statistics health_check isolated list_pools"
        " remove_pool set_default_pool_config set_max_pools"
        " set_pool_idle_timeout shutdown update_credentials"),
    "DynamicPooledDB": (
        f"{POOLED_DB} auto_cleanup dynamic_adjust_config dynamic_expand"
        " dynamic_shrink"),
    "DynamicSize": "adjust cleanup expand shrink",
    "HealthCheck": "check drop_invalid report",
    "HealthCheckPooledDB": (
        f"{POOLED_DB} auto_cleanup_invalid health_check health_report"),
    "KeyedConnection": f"{LEASE} closed",
    "LeaseHolder": (
        "busy count file function ident idle index line seconds stack tag"
        " thread"),
    "ManagedPool": f"{POOLED_DB} config get_connection key pool_config",
    "Performance": (
        "optimize_acquisition optimize_cache optimize_concurrency report"
        " tune"),
    "PerformanceOptimizedPooledDB": (
        f"{POOLED_DB} optimize_cache_strategy optimize_concurrency"
        " optimize_connection_acquisition performance_report"
        " set_performance_tuning_config"),
    "PersistentDB": (
        "connection dedicated_connection steady_connection thread version"),
    "PersistentPg": "connection steady_connection thread version",
    "PoolConfig": (
        "behind max_idle max_idle_time max_lifetime max_total max_usage"
        " max_wait_time min_idle test_on_borrow"),
    "PoolStats": (
        "borrowed ceiling closed closed_cleared closed_dead closed_expired"
        " closed_idle closed_surplus connect_max connect_seconds count errors"
        " idle in_use index leaked maxcached maxconnections maxshared"
        " maxwaiting mincached name oldest opened pings reconnects refused"
        " returned shared timed timeouts use_max use_seconds wait_max"
        " wait_seconds waited waiting"),
    "PooledDB": POOLED_DB,
    "PooledDedicatedDBConnection": LEASE,
    "PooledPg": f"{POOL} pooled_connection",
    "PooledPgConnection": "close reopen",
    "PooledSharedDBConnection": f"{LEASE} cancel",
    "ResourceAllocationPooledDB": (
        f"{POOLED_DB} dynamic_adjust_strategy ensure_fairness limit"
        " optimize_efficiency priority reserve set_allocation_strategy"
        " set_priority"),
    "Scaling": "expand_at interval patience shrink_at step",
    "SharedDBConnection": "con share shared unshare",
    "SimpleConnectionPool": f"closed maxconn minconn {KEYED}",
    "SimplePooledDB": SIMPLE,
    "SimplePooledDBConnection": "close",
    "SimplePooledPg": f"{SIMPLE} cache",
    "SimplePooledPgConnection": "close",
    "SteadyDBConnection": (
        f"{STEADY} cancel cursor dbapi dbapi_connection ping position"
        " threadsafety"),
    "SteadyDBCursor": (
        "close connection dbapi_cursor execute executemany fetchall fetchmany"
        " fetchone no_failover setinputsizes setoutputsize"),
    "SteadyPgConnection": f"{STEADY} end position reopen reset",
    "ThreadedConnectionPool": f"closed maxconn minconn {KEYED}",
}

# What programs say about drivers.
DRIVER = (
    "aborted autocommit autocommit_name clean close closed_name code"
    " descriptor has_transactions idle in_transaction is_aborted is_closed"
    " is_embedded is_loss is_private is_read_only is_transient lost_codes"
    " question read_only_codes settings socket_name transaction_name"
    " transient_codes")

# Names of DBUtils 3.x that programs read, and that the manual does not teach.
UNEXPLAINED = "con count index pooled_connection share thread unshare"


def names_of(thing):
    """Return the public names, without those that drivers have."""
    return {
        name for name in dir(thing) if not name.startswith("_")
        and not isinstance(
            getattr(thing, name, None), (Forwarded, DriverAttribute))}


def is_error(thing):
    return isinstance(thing, type) and issubclass(thing, Exception)


CLASSES = [
    name for name in dbutils.__all__ if name not in {"DatabaseType", "local"}
    and isinstance(getattr(dbutils, name), type)
    and not is_error(getattr(dbutils, name))]
ERRORS = [name for name in dbutils.__all__ if is_error(
    getattr(dbutils, name))]


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_has_only_the_names_that_are_for_programs(name):
    assert names_of(getattr(dbutils, name)) <= {*FACES[name].split()}


def test_the_table_has_no_class_that_is_gone():
    assert {*FACES} == {*CLASSES}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_like_any_other(name):
    assert names_of(getattr(dbutils, name)) == names_of(Exception)


def test_a_kind_of_database_is_a_text():
    kinds = {kind.name for kind in pool_manager.DatabaseType}
    assert names_of(pool_manager.DatabaseType) - names_of(str) <= kinds


def test_a_driver_has_only_the_names_that_are_for_programs():
    assert names_of(drivers.Driver()) == {*DRIVER.split()}


# Objects, which can have more names than their classes.

def objects(dbapi):
    """Yield objects of the classes, without what the driver has itself."""
    pool = dbutils.PooledDB(dbapi, maxconnections=4, maxshared=1)
    for kind in (
            dbutils.PooledDB, dbutils.DynamicPooledDB,
            dbutils.HealthCheckPooledDB, dbutils.ResourceAllocationPooledDB,
            dbutils.PerformanceOptimizedPooledDB, dbutils.PersistentDB):
        yield kind(dbapi)
    for feature in (
            dbutils.DynamicSize, dbutils.HealthCheck, dbutils.Allocation,
            dbutils.Performance):
        free, used = feature(), feature()
        yield free
        yield used
        dbutils.PooledDB(dbapi, features=[used])
    lease = pool.dedicated_connection()
    yield lease
    yield lease.cursor()
    yield pool.connection()
    yield pool._shared_cache[0]
    yield pool.steady_connection()
    for kind in (
            keyed_pool.SimpleConnectionPool,
            keyed_pool.ThreadedConnectionPool,
            keyed_pool.AbstractConnectionPool):
        yield kind(1, 1, creator=dbapi)
    yield keyed_pool.SimpleConnectionPool(1, 1, creator=dbapi).getconn()
    yield dbutils.PoolConfig()
    yield dbutils.Scaling()


def test_the_objects_have_only_the_names_that_are_for_programs(dbapi):
    driver = names_of(mock_db.connect()) | names_of(mock_db)
    seen = set()
    for thing in objects(dbapi):
        name = type(thing).__name__
        face = {*FACES[name].split()}
        if isinstance(thing, Lease):  # which has what the connection has
            face.update(FACES["SteadyDBConnection"].split())
        assert names_of(thing) - face <= driver, name
        seen.add(name)
    assert len(seen) == 21


def test_the_objects_of_classic_pygresql_have_only_such_names(pg):
    import pg as module
    driver = names_of(module.DB())
    pool = dbutils.PooledPg(maxconnections=1)
    simple = dbutils.SimplePooledPg(1)
    for thing in (
            pool, pool.connection(), pool.steady_connection(),
            dbutils.PersistentPg(), simple):
        kind = type(thing)
        prefix = "Simple" if kind.__module__ == (
            simple_pooled_pg.__name__) else ""
        face = {*FACES[prefix + kind.__name__].split()}
        if isinstance(thing, Lease):
            face.update(FACES["SteadyPgConnection"].split())
        assert names_of(thing) - face <= driver, kind


@pytest.mark.parametrize("threadsafety", [1, 2])
def test_a_simple_pool_has_only_such_names(dbapi, threadsafety):
    dbapi.threadsafety = threadsafety
    pool = dbutils.SimplePooledDB(dbapi, 1)
    assert names_of(pool) == {*SIMPLE.split()}
    assert names_of(pool.connection()) - {"close"} <= names_of(
        mock_db.connect())


def test_what_a_manager_returns_has_only_such_names(tmp_path):
    with pool_manager.DBConnectionPoolManager.isolated() as manager:
        config = pool_manager.ConnectionConfig(
            "sqlite", database=str(tmp_path / "one.db"))
        pool = manager.get_pool(config)
        pool.get_connection().close()
        manager.health_check()
        assert names_of(config) == {*FACES["ConnectionConfig"].split()}
        assert names_of(pool) == {*FACES["ManagedPool"].split()}
        assert names_of(manager) == {
            *FACES["DBConnectionPoolManager"].split()}


@pytest.mark.portable
def test_what_a_uri_leads_to_has_only_such_names(tmp_path):
    uri = f"sqlite:///{tmp_path}/one.db"
    database = ConnectionPool(uri, pool_size=1)
    database.cursor.execute("select 1")
    database.close()
    assert names_of(database) == {*FACES["ConnectionPool"].split()}
    assert names_of(ConnectionPool.POOLS[uri]) == {*POOLED_DB.split()}
    ConnectionPool.POOLS.pop(uri).shutdown()


@pytest.mark.skipif(
    not DOCS.is_dir(), reason="there is no checkout around these tests")
@pytest.mark.parametrize("name", [*CLASSES, "Driver"])
def test_the_manual_explains_the_names(name):
    text, _ = texts(("reference/", "explanation/"))
    words = {
        word for quoted in re.findall(r"``(.+?)``", text, re.DOTALL)
        for word in re.findall(r"\w+", quoted)}
    face = DRIVER if name == "Driver" else FACES[name]
    assert {*face.split()} - {*UNEXPLAINED.split()} <= words
