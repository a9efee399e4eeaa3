"""Connections of classic PyGreSQL that lead to one of several servers."""

import drivers
import mock_pg
import pytest
from hosting import FakePgHost, ReadOnlyError, host_of, role_of_pg

from dbutils._drivers.driver import DriverFacts
from dbutils._drivers.postgresql import DRIVERS
from dbutils._hosts.cluster import Cluster
from dbutils._steady.steady import session_of
from dbutils.hosts import NoServerError, Targets
from dbutils.persistent_pg import PersistentPg
from dbutils.pooled_pg import PooledPg
from dbutils.steady_pg import SteadyPgConnection, SteadyPgError

pytestmark = pytest.mark.portable


@pytest.fixture(autouse=True)
def _no_monitor(monkeypatch, pg):
    monkeypatch.setattr(Cluster, "_watch", lambda self: None)


@pytest.fixture
def a():
    return FakePgHost("a")


@pytest.fixture
def b():
    return FakePgHost("b", "standby")


def targets_of(*hosts, **options):
    return Targets(hosts, role=role_of_pg, **options)


def swap(old, new):
    old.role, new.role = "standby", "primary"


KINDS = [
    lambda targets, **options: SteadyPgConnection(targets=targets, **options),
    lambda targets, **options: PersistentPg(
        targets=targets, **options).connection(),
    lambda targets, **options: PooledPg(
        targets=targets, **options).connection()]
FAILOVERS = ["safe", "never", "always"]


@pytest.mark.parametrize("make", KINDS)
def test_by_default_the_primary_is_asked(a, b, make):
    db = make(targets_of(b, a), dbname="test")
    db.query("insert 1")
    assert (a.rows, b.rows) == (["1"], [])
    assert db.dbname == "test"


@pytest.mark.parametrize("failover", FAILOVERS)
@pytest.mark.parametrize("make", KINDS)
def test_the_first_refusal_to_write_turns_a_connection(a, b, make, failover):
    db = make(targets_of(a, b), setsession=["set it"], failover=failover)
    db.query("insert 1")
    swap(a, b)
    with pytest.raises(ReadOnlyError):
        db.query("insert 0")
    db.query("insert 2")
    assert (a.rows, b.rows) == (["1"], ["2"])
    assert host_of(db) == "b"
    assert b.cons[-1].session == ["it"]
    assert a.cons[-1].db is None


@pytest.mark.parametrize("failover", FAILOVERS)
@pytest.mark.parametrize("make", KINDS)
def test_a_lost_connection_is_replaced_by_one_to_another_server(
        a, b, make, failover):
    db = make(targets_of(a, b), failover=failover)
    a.stop()
    b.role = "primary"
    assert db.query("select 2") == "2"
    assert host_of(db) == "b"


@pytest.mark.parametrize("again", ["reopen", "reset"])
def test_a_connection_that_is_opened_again_goes_where_the_primary_is(
        a, b, again):
    db = SteadyPgConnection(targets=targets_of(a, b))
    db.debug = None
    a.stop()
    b.role = "primary"
    getattr(db, again)()
    assert host_of(db) == "b"


def test_a_transaction_is_not_turned_in_the_middle(a, b):
    pool = PooledPg(targets=targets_of(a, b))
    one, two = pool.connection(), pool.connection()
    one.begin()
    one.query("insert 1")
    swap(a, b)
    with pytest.raises(ReadOnlyError):
        two.query("insert 0")
    assert host_of(one) == "a"
    one.commit()
    one.query("insert 2")
    assert (a.rows, b.rows) == (["1"], ["2"])


def test_the_first_refusal_turns_all_connections_of_a_pool(a, b):
    pool = PooledPg(targets=targets_of(a, b))
    leases = [pool.connection() for _ in range(3)]
    pool.connection().close()
    swap(a, b)
    with pytest.raises(ReadOnlyError):
        leases[0].query("insert 0")
    assert pool.stats().idle == 0
    for number, lease in enumerate(leases):
        lease.query(f"insert {number}")
    leases.pop().close()
    pool.connection().query("insert 3")
    assert b.rows == ["0", "1", "2", "3"]


@pytest.mark.parametrize(("target", "name"), [
    (None, "a"), ("primary", "a"), ("standby", "b"), ("prefer-standby", "b")])
def test_a_request_names_its_target(a, b, target, name):
    pool = PooledPg(targets=targets_of(a, b), maxconnections=2)
    for _ in range(3):
        with pool.connection() as db:
            assert host_of(db) == "a"
        with pool.connection(target=target, maxwait=5) as db:
            assert host_of(db) == name
    assert pool.stats().opened <= 2


def test_a_transaction_names_its_target(a, b):
    pool = PooledPg(targets=targets_of(a, b))
    with pool.transaction(target="standby") as db:
        assert host_of(db) == "b"
    assert pool.run(host_of, target="standby") == "b"
    assert pool.run(host_of) == "a"


def test_requests_wait_for_a_server_at_its_limit(a, b):
    pool = PooledPg(targets=targets_of(a, b, limits={"b": 1}))
    with pool.connection(target="standby"):
        with pytest.raises(NoServerError, match="which is its limit"):
            pool.connection(target="standby")
        with pool.connection(target="prefer-standby") as db:
            assert host_of(db) == "a"
    with pool.connection(target="standby") as db:
        assert host_of(db) == "b"


@pytest.mark.parametrize("failover", ["safe", "never"])
def test_a_connection_that_cannot_be_prepared_is_not_used(a, failover):
    """The next use opens another one instead."""
    prepared, is_ready = [], True

    def prepare(con):
        if not is_ready:
            raise mock_pg.ProgrammingError("not ready")
        prepared.append(con.db)

    db = SteadyPgConnection(
        targets=targets_of(a), onconnect=prepare, failover=failover)
    session_of(db).con.db.cut()
    is_ready = False
    with pytest.raises(mock_pg.ProgrammingError, match="not ready"):
        db.query("select 1")
    is_ready = True
    db.query("select 1")
    assert session_of(db).con.db is prepared[-1]


def test_a_pool_without_targets_says_that_it_has_none():
    with pytest.raises(TypeError, match="This pool has no targets"):
        PooledPg().connection(target="standby")


def test_a_token_tells_what_a_standby_must_have_replayed(a, b, monkeypatch):
    classic = DRIVERS["pg"]
    monkeypatch.setattr(
        type(classic), "position",
        lambda self, con: f"0/{con.host.position:X}")
    pool = PooledPg(targets=targets_of(a, b, catchup=0))
    a.position = 5
    with pool.connection() as db:
        db.query("insert 1")
        token = db.position()
    assert token == "0/5"
    for position, name in [(4, "a"), (5, "b")]:
        b.position = position
        with pool.connection(target="prefer-standby", after=token) as db:
            assert host_of(db) == name


def test_a_server_without_positions_says_so(monkeypatch):
    monkeypatch.setattr(DriverFacts, "position", lambda self, con: None)
    db = SteadyPgConnection()
    with pytest.raises(SteadyPgError, match="does not tell how far"):
        db.position()


@pytest.mark.parametrize("targets", [mock_pg, "a", {"host": "a"}])
@pytest.mark.parametrize("make", KINDS)
def test_what_is_no_targets_is_named(make, targets):
    with pytest.raises(TypeError, match="'targets' must be the Targets of"):
        make(targets)


@pytest.mark.parametrize("make", KINDS)
def test_targets_can_be_a_sequence_of_hosts(make):
    db = make([{"dbname": "one"}], user="me")
    assert session_of(db).con.args == ((), {"dbname": "one", "user": "me"})


def test_a_sequence_of_hosts_makes_one_cluster_for_a_pool():
    pool = PooledPg(targets=[{"dbname": "one"}])
    leases = [pool.connection() for _ in range(2)]
    routes = [session_of(lease).route for lease in leases]
    assert routes[0].cluster is routes[1].cluster
    with pytest.raises(NoServerError):
        pool.connection(target="standby")


def test_a_real_server_tells_what_it_is(servers_running, monkeypatch):
    monkeypatch.undo()
    module = drivers.load("pg")
    targets = Targets(
        [{"host": "127.0.0.1", "port": servers_running("postgresql")}],
        module, target="prefer-primary")
    with PooledPg(targets=targets, user="postgres", dbname="postgres") as pool:
        db = pool.connection()
        before = db.position()
        db.query("create temporary table t (n integer)")
        assert db.query("select $1::pg_lsn > $2::pg_lsn", (
            db.position(), before)).getresult() == [(True,)]
        session = session_of(db)
        assert session.driver.has_reached(session.con, before)
        module.set_bool(False)
        try:
            assert session.driver.standing(session.con).role == "primary"
        finally:
            module.set_bool(True)
        db.reset()
        assert db.query("select 1").getresult() == [(1,)]
        assert list(targets.states().values()) == ["primary"]
