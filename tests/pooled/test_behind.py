"""Pools behind a proxy that gives each transaction another session."""

import logging
import sqlite3
from contextlib import ExitStack, closing, suppress
from types import SimpleNamespace

import pytest
from drivers import BY_NAME, POSTGRESQL, ask, load, start
from patience import PATIENCE, in_threads, join

from dbutils import (
    ConnectionConfig,
    DBConnectionPoolManager,
    PersistentDB,
    PersistentPg,
    PoolConfig,
    PooledDB,
    PooledPg,
    SteadyPgConnection,
    connect,
)
from dbutils._drivers.poolers import as_options, lasting
from dbutils._steady.opener import Opener
from dbutils._steady.steady import session_of
from dbutils.hosts import Targets
from dbutils.testing import ScriptedDriver

pytestmark = pytest.mark.portable


@pytest.fixture(scope="module")
def pgbouncer():
    """The port of a PgBouncer, whose databases are called as its modes."""
    with ExitStack() as stack:
        yield start(stack, "pgbouncer").port


@pytest.fixture
def proxy(pgbouncer):
    """The same; it is noticed in each connection.

    Of the numbers that it makes up for sessions, one of a thousand could be
    that of a process.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dbutils._drivers.postgresql._MOST", 0)
        yield pgbouncer


@pytest.fixture(params=POSTGRESQL, ids=repr)
def driver(request):
    request.param.load()
    return request.param


def parameters(driver, port, mode):
    found = driver.parameters_for(port) if driver.port else None
    if found is None:
        found = {"host": f"127.0.0.1:{port}"} if driver.name == "pgdb" else {
            "host": "127.0.0.1", "port": port}
        found["user"] = "postgres"
    for name in ("dbname", "database"):
        if name in driver.kwargs:
            found[name] = mode
    return found


def make(driver, port, mode="transaction", **options):
    return PooledDB(
        driver.load(), **options, **parameters(driver, port, mode))


def warnings(caplog):
    return [record.getMessage() for record in caplog.records
            if record.levelno >= logging.WARNING]


def behind(pool):
    return pool._backend.behind


def test_transaction_mode_is_recognised(driver, proxy, caplog):
    pool = make(driver, proxy, mincached=3)
    assert behind(pool) == "transaction-pooler"
    warning, = warnings(caplog)
    for word in ("LISTEN", "advisory locks", "SET", "PgBouncer"):
        assert word in warning
    with pool.connection() as db:
        assert ask(db, "select 1") == 1
    pool.shutdown()


def test_it_is_recognised_by_the_numbers_of_sessions(driver, pgbouncer):
    pool = make(driver, pgbouncer, mincached=3)
    assert behind(pool) == "transaction-pooler"
    pool.shutdown()


@pytest.mark.parametrize("overlooked", [1, 2, 5])
def test_it_can_be_overlooked_in_some_connections(
        proxy, monkeypatch, caplog, overlooked):
    """They do not stay in the pool once it is recognised."""
    driver = BY_NAME["psycopg2"]
    driver.load()
    numbers = [*range(1, overlooked + 1), -1]
    with monkeypatch.context() as patch:
        patch.setattr("dbutils._drivers.postgresql._MOST", 2 ** 22)
        patch.setattr(
            "dbutils._drivers.postgresql._PostgreSql.session_number",
            lambda *_: numbers.pop(0))
        pool = make(driver, proxy, setsession=SETTINGS)
        leases = [pool.connection() for _ in range(overlooked)]
        assert behind(pool) == "auto"
        leases.append(pool.connection())
    assert behind(pool) == "transaction-pooler"
    assert len(warnings(caplog)) == 1
    for lease in leases:
        lease.close()
    assert pool.stats().idle == max(overlooked - 3, 0) + 1
    with pool.connection() as db:
        assert ask(db, "show application_name") == "my shop's"
    pool.shutdown()


def test_one_whose_question_has_failed_leaves_the_pool(proxy, monkeypatch):
    """Such as one that could open no other connection for it."""
    pool = make(BY_NAME["psycopg2"], proxy)

    def recognise(session):
        monkeypatch.undo()
        raise session.opener.failure("no more connections allowed")

    monkeypatch.setattr("dbutils._pooled.behind.recognise", recognise)
    leases = [pool.connection()]
    assert behind(pool) == "auto"
    leases.append(pool.connection())
    assert behind(pool) == "transaction-pooler"
    for lease in leases:
        lease.close()
    assert pool.stats().idle == 1
    pool.shutdown()


def test_one_that_is_recognised_at_the_same_time_is_adapted_to(
        proxy, monkeypatch):
    """By the connection in which it was overlooked, too."""
    driver = BY_NAME["psycopg"]
    driver.load()
    pool = make(driver, proxy)
    leases = []

    def may_be_pooled(facts, con):
        monkeypatch.undo()
        leases.append(pool.connection())
        return False

    monkeypatch.setattr(
        "dbutils._drivers.postgresql._PostgreSql.may_be_pooled",
        may_be_pooled)
    leases.append(pool.connection())
    assert [lease.prepare_threshold for lease in leases] == [None, None]
    pool.shutdown(0)


def test_session_mode_is_no_reason_to_warn(driver, proxy, caplog):
    pool = make(driver, proxy, "session")
    pool.connection().close()
    assert behind(pool) is None
    assert warnings(caplog) == []
    pool.shutdown()


def test_a_server_is_not_asked_without_a_proxy(
        driver, servers_running, caplog):
    """Not even a second connection is opened."""
    port = servers_running("postgresql")
    opened = []

    def connect(**options):
        opened.append(None)
        return driver.load().connect(**options)

    connect.dbapi = driver.load()
    pool = PooledDB(connect, **parameters(driver, port, "postgres"))
    pool.connection().close()
    assert (behind(pool), len(opened)) == ("auto", 1)
    assert warnings(caplog) == []
    pool.shutdown()


@pytest.mark.parametrize(("mode", "value"), [
    ("transaction", None), ("session", "transaction-pooler")])
def test_the_program_can_say_what_there_is(proxy, caplog, mode, value):
    pool = make(BY_NAME["psycopg2"], proxy, mode, behind=value)
    pool.connection().close()
    assert behind(pool) is value
    assert warnings(caplog) == []
    pool.shutdown()


@pytest.mark.parametrize(("options", "expected"), [
    ({}, None), ({"prepare_threshold": 3}, 3)], ids=str)
def test_statements_are_not_prepared(proxy, options, expected):
    """A program that says how often has its way; so has one that asks."""
    driver = BY_NAME["psycopg"]
    driver.load()
    pool = make(driver, proxy, mincached=2, **options)
    with pool.connection() as db, pool.connection() as other:
        assert db.prepare_threshold == other.prepare_threshold == expected
        db.prepare_threshold = 7
        assert db.prepare_threshold == 7
    for _ in range(2):
        with pool.connection() as db:
            assert db.prepare_threshold == expected
    pool.shutdown()


def test_statements_are_prepared_without_a_proxy(servers_running):
    driver = BY_NAME["psycopg"]
    driver.load()
    pool = make(driver, servers_running("postgresql"), "postgres")
    with pool.connection() as db:
        assert db.prepare_threshold == 5
    pool.shutdown()


def test_many_threads_repeat_a_statement(proxy):
    """What one session has prepared is unknown to another one."""
    driver = BY_NAME["psycopg"]
    driver.load()
    pool = make(driver, proxy, maxconnections=12, maxwait=PATIENCE)
    answers = []

    def work():
        for number in range(20):
            with pool.connection() as db, closing(db.cursor()) as cursor:
                cursor.execute("select %s::int + 1", (number,))
                answers.append(cursor.fetchone()[0] - number)

    join(in_threads(work, 12))
    assert answers == [1] * 240
    pool.shutdown()


def test_a_connection_that_was_replaced_is_adapted_too(proxy):
    driver = BY_NAME["psycopg"]
    driver.load()
    pool = make(driver, proxy)
    with pool.connection() as db:
        db.dbapi_connection.close()
    with pool.connection() as db:
        assert ask(db, "select 1") == 1
        assert db.prepare_threshold is None
    pool.shutdown()


def test_the_connection_that_finds_the_proxy_counts(proxy, monkeypatch):
    """Of two that look at the same time, one can be without luck."""
    driver = BY_NAME["psycopg"]
    driver.load()
    pool = make(driver, proxy)
    leases = []

    def recognise(session):
        monkeypatch.undo()
        leases.append(pool.connection())

    monkeypatch.setattr("dbutils._pooled.behind.recognise", recognise)
    leases.append(pool.connection())
    assert behind(pool) == "transaction-pooler"
    assert [lease.prepare_threshold for lease in leases] == [None, None]
    pool.shutdown(0)


@pytest.mark.parametrize("reset", [True, "session"])
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_session_that_is_not_ours_is_not_cleaned(proxy, mode, reset):
    """A "discard all" would hit the session of another program."""
    driver = BY_NAME["psycopg2"]
    driver.load()
    said = []
    psycopg2 = driver.load()
    extensions = __import__("psycopg2.extensions").extensions

    class Cursor(extensions.cursor):
        def execute(self, statement, *args):
            said.append(statement)
            super().execute(statement, *args)

    pool = PooledDB(
        psycopg2, reset=reset, cursor_factory=Cursor,
        **parameters(driver, proxy, mode))
    with pool.connection() as db, db.cursor() as cursor:
        cursor.execute("set lock_timeout to 1000")
    with pool.connection() as db, db.cursor() as cursor:
        cursor.execute("select 1")
    assert ("discard all" in said) is (mode == "session")
    assert pool.stats().opened == 1
    pool.shutdown()


def test_the_proxy_of_each_server_is_recognised(proxy):
    """The question goes to the server that the connection leads to."""
    driver = BY_NAME["psycopg2"]
    options = parameters(driver, proxy, "transaction")
    with ExitStack() as stack:
        ports = [proxy, start(stack, "pgbouncer").port]
        hosts = Targets(
            [{"host": "127.0.0.1", "port": port} for port in ports],
            driver.load(), target="any", order="round-robin")
        del options["host"], options["port"]
        pool = PooledDB(hosts, **options)
        with pool.connection() as db, pool.connection() as other:
            assert behind(pool) == "transaction-pooler"
            leases = db, other
            assert [lease.info.port for lease in leases] == ports
            assert [session_of(lease._con).route.host.name
                    for lease in leases] == [
                        f"127.0.0.1:{port}" for port in ports]
        pool.shutdown()


def test_settings_that_reach_others_are_warned_of(proxy, caplog):
    pool = make(
        BY_NAME["psycopg2"], proxy, behind="transaction-pooler", mincached=2,
        setsession=["set search_path to shop", "set timezone to 'UTC'"])
    warning, = warnings(caplog)
    assert "'set search_path to shop' in 'setsession' reaches" in warning
    assert "timezone" not in warning
    with pool.connection() as db:
        assert ask(db, "show timezone") == "UTC"
    pool.shutdown()


def towards(number, driver, port):
    """Return a creator, and parameters, for a number of equal servers."""
    options = parameters(driver, port, "transaction")
    if not number:
        return driver.load(), options
    host = {name: options.pop(name) for name in ("host", "port")}
    return Targets([host] * number, driver.load()), options


@pytest.mark.parametrize("value", ["auto", "transaction-pooler"])
@pytest.mark.parametrize("hosts", [0, 1, 2])
def test_a_name_that_its_session_had_already_is_kept(proxy, hosts, value):
    """PgBouncer takes no note of a SET that does not change anything."""
    driver = BY_NAME["psycopg2"]
    connect = driver.load().connect
    options = parameters(driver, proxy, "transaction")
    set_before = connect(**options)
    ask(set_before, SETTINGS[0] + "; select 1")
    set_before.commit()
    creator, given = towards(hosts, driver, proxy)
    pool = PooledDB(creator, setsession=SETTINGS, behind=value, **given)
    lease = pool.connection()
    others = [
        connect(**options, application_name="others") for _ in range(5)]
    for other in others:  # all sessions at the same time
        ask(other, "select 1")
    for other in others:
        other.rollback()
    assert ask(lease, "show application_name") == "my shop's"
    lease.close()
    for con in (set_before, *others):
        con.close()
    pool.shutdown()


SETTINGS = ["set application_name to 'my shop''s'", "set timezone to 'UTC'"]


def test_settings_take_precedence_over_the_options_of_a_host(proxy):
    driver = BY_NAME["psycopg2"]
    creator, options = towards(0, driver, proxy)
    targets = Targets([
        {"port": proxy}, {"port": proxy, "application_name": "other"}],
        creator, target="any", order="round-robin")
    del options["port"]
    pool = PooledDB(
        targets, setsession=SETTINGS, behind="transaction-pooler", **options)
    leases = [pool.connection() for _ in range(2)]
    assert {ask(lease, "show application_name") for lease in leases} == {
        "my shop's"}
    pool.shutdown(0)


def test_a_host_can_have_its_statements_prepared(proxy):
    driver = BY_NAME["psycopg"]
    creator, options = towards(0, driver, proxy)
    targets = Targets([
        {"port": proxy}, {"port": proxy, "prepare_threshold": 3}],
        creator, target="any", order="round-robin")
    del options["port"]
    pool = PooledDB(targets, behind="transaction-pooler", **options)
    leases = [pool.connection() for _ in range(2)]
    assert [lease.prepare_threshold for lease in leases] == [None, 3]
    pool.shutdown(0)


def test_each_of_several_servers_is_looked_at(proxy):
    """That the first one shares no sessions says nothing of the second."""
    driver = BY_NAME["psycopg"]
    creator, options = towards(0, driver, proxy)
    targets = Targets([
        {"port": proxy, "dbname": mode} for mode in ("session", "transaction")
        ], creator, target="any", order="round-robin")
    del options["port"]
    opened = []
    pool = PooledDB(targets, onconnect=opened.append, **options)
    leases = [pool.connection()]
    assert behind(pool) == "auto"
    leases.append(pool.connection())
    assert behind(pool) == "transaction-pooler"
    assert [lease.prepare_threshold for lease in leases] == [5, None]
    assert len(opened) == 4
    pool.shutdown(0)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_proxy_counts_for_the_server_behind_it(
        pgbouncer, servers_running, is_first):
    """Sessions of another server are cleaned as ever."""
    driver = BY_NAME["psycopg"]
    options = parameters(driver, pgbouncer, "postgres")
    hosts = [
        {"port": servers_running("postgresql")},
        {"port": pgbouncer, "dbname": "transaction"}]
    del options["port"]
    targets = Targets(
        hosts[::-1] if is_first else hosts, driver.load(), target="any",
        order="round-robin")
    pool = PooledDB(targets, **options)
    leases = [pool.connection(), pool.connection()]
    assert behind(pool) == "transaction-pooler"
    leases.sort(key=lambda lease: lease.info.port == pgbouncer)
    assert [lease.prepare_threshold for lease in leases] == [5, None]
    leases[1].close()
    ask(leases[0], "set lock_timeout to 1234")
    leases[0].commit()
    leases[0].close()
    leases = [pool.connection(), pool.connection()]
    leases.sort(key=lambda lease: lease.info.port == pgbouncer)
    assert ask(leases[0], "show lock_timeout") == "0"
    assert pool.stats().opened == 2
    pool.shutdown(0)


def test_a_connection_that_goes_behind_a_proxy_is_adapted(proxy):
    driver = BY_NAME["psycopg"]
    options = parameters(driver, proxy, "transaction")
    hosts = [{"port": proxy, "dbname": "session"}, {"port": proxy}]
    del options["port"]
    pool = PooledDB(Targets(
        hosts, driver.load(), target="any", order="round-robin"), **options)
    leases = [pool.connection() for _ in range(2)]
    seen = []
    for _ in range(2):
        leases[0].dbapi_connection.close()
        assert ask(leases[0], "select 1") == 1
        seen.append((leases[0].info.dbname, leases[0].prepare_threshold))
    assert set(seen) == {("session", 5), ("transaction", None)}
    pool.shutdown(0)


def test_a_server_is_looked_at_once(proxy):
    """One that shares no sessions costs one more connection."""
    driver = BY_NAME["psycopg2"]
    creator, options = towards(0, driver, proxy)
    targets = Targets([
        {"port": proxy, "dbname": "session"}], creator)
    del options["port"]
    opened = []
    pool = PooledDB(targets, onconnect=opened.append, **options)
    leases = [pool.connection() for _ in range(3)]
    assert len(opened) == len(leases) + 1
    pool.shutdown(0)


def test_the_first_session_is_waited_for(proxy, monkeypatch):
    """Only the time for the second one is limited.

    A server that is slow at first would count as one without a proxy.
    """
    driver = BY_NAME["psycopg2"]
    driver.load()
    said, before = [], []
    extensions = __import__("psycopg2.extensions").extensions
    open_another = Opener.open_another

    class Cursor(extensions.cursor):
        def execute(self, statement, *args):
            super().execute(statement, *args)
            said.append(statement)

    def note(opener):
        before.extend(said)
        return open_another(opener)

    monkeypatch.setattr(Opener, "open_another", note)
    pool = make(driver, proxy, cursor_factory=Cursor)
    pool.connection().close()
    assert before == ["select pg_backend_pid()"]
    assert behind(pool) == "transaction-pooler"
    pool.shutdown()


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_settings_are_options_where_the_driver_has_them(driver, proxy, mode):
    """They hold in all connections, however they were set."""
    pool = make(driver, proxy, mode, setsession=SETTINGS)
    leases = [pool.connection() for _ in range(3)]
    for _ in range(2):
        for lease in leases:
            assert ask(lease, "show application_name") == "my shop's"
            assert ask(lease, "show timezone") == "UTC"
            lease.rollback()
    assert pool._setsession == tuple(SETTINGS[mode == "transaction":])
    pool.shutdown(0)


@pytest.mark.parametrize("value", ["auto", "transaction-pooler"])
def test_what_the_proxy_was_told_is_not_set_again(proxy, value):
    driver = BY_NAME["psycopg2"]
    driver.load()
    said = []
    extensions = __import__("psycopg2.extensions").extensions

    class Cursor(extensions.cursor):
        def execute(self, statement, *args):
            said.append(statement)
            super().execute(statement, *args)

    pool = make(
        driver, proxy, behind=value, cursor_factory=Cursor,
        setsession=["SET NAMES 'latin1'", *SETTINGS])
    leases = [pool.connection() for _ in range(3)]
    assert {lease.encoding for lease in leases[1:]} == {"LATIN1"}
    # unless it is to be found out, with the first connection and another one
    times = 2 if value == "auto" else 0
    assert said.count(SETTINGS[0]) == times
    leases[0].dbapi_connection.close()
    assert ask(leases[0], "show application_name") == "my shop's"
    assert leases[0].encoding == "LATIN1"
    assert said.count(SETTINGS[0]) == times
    pool.shutdown()


def test_a_function_of_the_program_gets_no_options(proxy):
    driver = BY_NAME["psycopg2"]
    module, options = driver.load(), parameters(driver, proxy, "transaction")

    def connect():
        return module.connect(**options)

    connect.dbapi = module
    pool = PooledDB(
        connect, setsession=SETTINGS, behind="transaction-pooler")
    with pool.connection() as db:
        assert ask(db, "show application_name") == "my shop's"
    pool.shutdown()


@pytest.mark.parametrize(("statement", "found"), [
    ("set application_name = 'a ''b'", {"application_name": "a 'b"}),
    ("SET SESSION application_name TO Shop;", {"application_name": "shop"}),
    ("set names 'UTF8'", {"charset": "UTF8"}),
    ("set client_encoding to latin1", {"charset": "latin1"}),
    ("set application_name to default", {}), ("set names default", {}),
    ("set local application_name to 'shop'", {}),
    ("set application_name to 'a'; set role b", {}),
    (r"set application_name to E'\x41'", {}), ("set timezone to 'UTC'", {}),
    ("set application_names to 'x'", {}), ("set namesake", {})])
def test_settings_that_can_be_options_are_found(statement, found):
    names = {"application_name": "application_name", "charset": "charset"}
    rest = () if found else (statement,)
    assert as_options([statement], names) == (found, rest)
    assert as_options([statement], {}) == ({}, (statement,))


def test_an_interrupt_loses_no_setting(monkeypatch):
    """The options are noted before the statements are dropped."""
    opened = []

    class Interrupted(PooledDB):
        is_due = False

        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            if self.is_due:
                type(self).is_due = False
                raise KeyboardInterrupt

    def open_one(**options):
        opened.append(options)
        return sqlite3.connect(":memory:")

    def move(setsession, kwargs, *_):
        return ((), {**kwargs, "charset": "x"}) if setsession else (
            setsession, kwargs)

    open_one.dbapi = sqlite3
    for part in ("_pooled.behind", "_drivers.poolers"):
        monkeypatch.setattr(f"dbutils.{part}.connecting_with", move)
    pool = Interrupted(
        open_one, setsession=["set names 'x'"], behind="transaction-pooler")
    Interrupted.is_due = True
    with pytest.raises(KeyboardInterrupt):
        pool._open()
    pool._open().close()
    assert opened == [{"charset": "x"}]


@pytest.mark.parametrize(("statement", "lasts"), [
    ("set search_path to shop", True), ("SET SESSION work_mem = 9", True),
    ("set shop.user = 'x'", True), ("set local work_mem = 9", False),
    ("set timezone to 'UTC'", False), ("SET TIME ZONE 'UTC'", False),
    ("set names 'UTF8'", False), ("select 1", False),
    ("set role shop", True)])
def test_settings_that_last_are_found(statement, lasts):
    assert lasting([statement]) == [statement] * lasts


def test_a_proxy_that_gives_no_second_session_is_left_in_time(
        proxy, monkeypatch):
    """A pool of the proxy may be too small for the question."""
    monkeypatch.setattr("dbutils._steady.deadlines.LIMIT", 0.2)
    driver = BY_NAME["psycopg2"]
    driver.load()
    options = parameters(driver, proxy, "session")
    with ExitStack() as stack:
        for _ in range(9):  # of the ten that there are
            con = stack.enter_context(
                closing(driver.load().connect(**options)))
            con.cursor().execute("select 1")
        pool = make(driver, proxy, "session")
        with pool.connection() as db:
            assert ask(db, "select 1") == 1
        assert behind(pool) is None
        pool.shutdown()


def test_a_full_proxy_is_waited_for(proxy):
    driver = BY_NAME["psycopg2"]
    driver.load()
    options = parameters(driver, proxy, "transaction")
    with ExitStack() as stack:
        others = []
        with suppress(driver.error):
            while len(others) < 100:  # it takes 60
                others.append(stack.enter_context(
                    closing(driver.load().connect(**options))))
        pool = make(driver, proxy, behind=None)
        with pytest.raises(driver.error, match="no more connections allowed"):
            pool.connection()
        served = []
        threads = in_threads(lambda: served.append(
            pool.connection(maxwait=PATIENCE)), 1)
        others.pop().close()
        join(threads)
        assert len(served) == 1
        served[0].close()
        pool.shutdown()


@pytest.mark.parametrize("value", ["pgbouncer", True, 1])
def test_other_words_are_refused(value):
    with pytest.raises(ValueError, match=(
            r"^'behind' must be 'auto', 'transaction-pooler' or None, not ")):
        PooledDB(ScriptedDriver(), behind=value)


# Connections that belong to no pool, and those of classic PyGreSQL.

@pytest.fixture
def statements(monkeypatch):
    """What psycopg2 and PyGreSQL have sent, and a cursor that notes it."""
    said = []
    extensions = __import__("psycopg2.extensions").extensions

    class Cursor(extensions.cursor):
        def execute(self, statement, *args):
            said.append(statement)
            super().execute(statement, *args)

    pg = load("pg")
    query = pg.DB.query

    def tell(self, statement, *args):
        said.append(statement)
        return query(self, statement, *args)

    monkeypatch.setattr(pg.DB, "query", tell)
    return SimpleNamespace(said=said, cursor=Cursor)


SINGLE = [
    lambda *args, **options: connect(*args, closeable=False, **options),
    lambda *args, **options: PersistentDB(*args, **options).connection()]


@pytest.mark.parametrize("make_one", SINGLE, ids=["steady", "persistent"])
@pytest.mark.parametrize("value", [None, "transaction-pooler"])
def test_a_single_connection_can_be_behind_a_proxy(
        proxy, statements, value, make_one):
    driver = BY_NAME["psycopg2"]
    db = make_one(
        driver.load(), behind=value, setsession=SETTINGS,
        cursor_factory=statements.cursor, **parameters(
            driver, proxy, "transaction"))
    for _ in range(2):
        assert ask(db, "show application_name") == "my shop's"
        ask(db, "set lock_timeout to 1000")
        db.close()
    is_told = value is not None
    assert ("discard all" not in statements.said) is is_told
    assert (SETTINGS[0] not in statements.said) is is_told
    db._own_session.close()


@pytest.mark.parametrize("make_one", SINGLE, ids=["steady", "persistent"])
def test_a_single_connection_prepares_no_statements(proxy, make_one):
    driver = BY_NAME["psycopg"]
    db = make_one(
        driver.load(), behind="transaction-pooler",
        **parameters(driver, proxy, "transaction"))
    assert db.prepare_threshold is None
    db.dbapi_connection.close()
    assert ask(db, "select 1") == 1
    assert db.prepare_threshold is None
    db._own_session.close()


CLASSIC = [
    lambda **options: SteadyPgConnection(closeable=False, **options),
    lambda **options: PersistentPg(**options).connection(),
    lambda **options: PooledPg(**options)]


@pytest.mark.parametrize(
    "make_one", CLASSIC, ids=["steady", "persistent", "pool"])
@pytest.mark.parametrize("value", [None, "transaction-pooler"])
def test_classic_connections_can_be_behind_a_proxy(
        proxy, statements, value, make_one):
    made = make_one(
        behind=value, host="127.0.0.1", port=proxy, user="postgres",
        dbname="transaction", setsession=["set timezone to 'UTC'"])
    for _ in range(2):
        db = made.connection() if isinstance(made, PooledPg) else made
        db.query("set lock_timeout to 1000")
        db.close()
    assert ("discard all" not in statements.said) is (value is not None)
    assert statements.said.count("set timezone to 'UTC'") == (
        1 if value else 3)
    if made is db:
        made._own_session.close()


LASTING = "set search_path to {}"


@pytest.mark.parametrize("number", range(len(SINGLE + CLASSIC)))
def test_single_connections_warn_once_of_what_reaches_others(
        proxy, caplog, number):
    make_one = (SINGLE + CLASSIC)[number]
    options = {
        "behind": "transaction-pooler", "host": "127.0.0.1", "port": proxy,
        "user": "postgres", "dbname": "transaction",
        "setsession": [LASTING.format(f"shop{number}")]}
    if number < len(SINGLE):
        module = (BY_NAME["psycopg2"].load(),)
    else:
        module = ()
        pytest.importorskip("pg")
    for _ in range(2):
        made = make_one(*module, **options)
        db = made.connection() if isinstance(made, PooledPg) else made
        db.close()
        db._own_session.close() if db is made else made.shutdown()
    warning, = warnings(caplog)
    assert f"shop{number}' in 'setsession' reaches" in warning


@pytest.mark.parametrize("make_one", [
    connect, PersistentDB, lambda driver, **options: PooledPg(**options),
    lambda driver, **options: PersistentPg(**options),
    lambda driver, **options: SteadyPgConnection(**options)])
@pytest.mark.parametrize("value", ["auto", "pgbouncer", True])
def test_other_words_for_single_connections_are_refused(make_one, value):
    with pytest.raises(ValueError, match=(
            r"^'behind' must be 'transaction-pooler' or None.*DBU-03")):
        make_one(ScriptedDriver(), behind=value)


@pytest.mark.parametrize("value", ["auto", "transaction-pooler", None])
def test_a_manager_can_say_what_there_is(value):
    manager = DBConnectionPoolManager.isolated()
    pool = manager.get_pool(
        ConnectionConfig("sqlite", database=":memory:"),
        pool_config=PoolConfig(behind=value))
    assert behind(pool) == value
    manager.shutdown()


def test_a_manager_refuses_other_words():
    with pytest.raises(ValueError, match="'behind' must be 'auto', "):
        PoolConfig(behind="pgbouncer")
