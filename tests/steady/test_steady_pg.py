"""Hardened classic PyGreSQL connections."""

import sys

import pytest

from dbutils.steady_pg import InvalidConnectionError, SteadyPgConnection


@pytest.fixture
def con(pg):
    return SteadyPgConnection()


def test_a_connection_is_one_of_pygresql(pg):
    con = SteadyPgConnection(dbname="test", user="me")
    assert isinstance(con._con, pg.DB)
    assert (con.dbname, con.user) == ("test", "me")
    assert con.query("select one") == "one"
    assert con._usage == 1


def test_positional_arguments_reach_the_driver(pg):
    con = SteadyPgConnection(0, None, True, None, "me")
    assert (con.dbname, con.user) == (None, "me")


def test_pygresql_is_needed_to_connect(monkeypatch):
    monkeypatch.setitem(sys.modules, "pg", None)
    with pytest.raises(ImportError, match=r"pip install DBUtils\[pg\]"):
        SteadyPgConnection()


@pytest.mark.parametrize("options", [
    {"maxusage": "many"}, {"failures": 42}, {"isfatal": "no"},
    {"ping": (1, 2, 3)}, {"setsession": "set x"}])
def test_senseless_options_are_rejected_by_name(pg, server, options):
    with pytest.raises(TypeError, match=f"'{next(iter(options))}'"):
        SteadyPgConnection(**options)
    assert server.connections == []


def test_a_connection_that_cannot_be_prepared_is_closed(pg, server):
    with pytest.raises(pg.ProgrammingError):
        SteadyPgConnection(setsession=["nonsense"])
    assert not server.connections[0].status


def test_a_lost_connection_is_reset_and_the_query_repeated(pg, server):
    con = SteadyPgConnection(setsession=["set a"])
    server.on_call = lambda name, inner: name == "query" and inner.cut()
    query = con.query
    server.on_call = None
    con._con.db.cut()
    assert query("select one") == "one"
    assert con._con.db.session == ["a"]
    assert server.calls["reset"] == 1


def cut_at_next(server, call):
    """Let the connection get lost at the next call of this name."""
    def on_call(name, inner):
        if name == call:
            server.on_call = None
            inner.cut()
    server.on_call = on_call


def test_a_query_that_loses_the_connection_is_repeated(server, con):
    cut_at_next(server, "query")
    assert con.query("select one") == "one"
    assert server.calls["query"] == 2
    assert con._usage == 1


@pytest.mark.parametrize(("name", "args", "result"), [
    ("get_tables", (), ["test"]), ("get", ("table", {}), {}),
    ("insert", ("table", {}), {}), ("update", ("table", {}), {}),
    ("delete", ("table", {}), {})])
def test_all_that_asks_the_database_is_hardened(
        server, con, name, args, result):
    con._con.db.cut()
    assert getattr(con, name)(*args) == result
    assert server.calls["reset"] == 1
    assert con._usage == 1


def test_what_cannot_be_reset_is_reopened(server, con):
    con.close()
    assert con.valid is False
    assert con.query("select one") == "one"
    assert con.valid is True
    assert con._con.db.serial == 2


def test_without_a_server_the_error_is_raised(pg, server, con):
    server.is_down = True
    con._con.db.cut()
    with pytest.raises(pg.InternalError):
        con.query("select one")
    server.is_down = False
    assert con.query("select one") == "one"


def test_an_error_with_a_good_status_is_raised_at_once(pg, server, con):
    with pytest.raises(pg.ProgrammingError):
        con.query("nonsense")
    assert server.calls["query"] == 1
    assert con._usage == 0


def test_failures_count_as_a_loss_in_spite_of_a_good_status(pg, server):
    con = SteadyPgConnection(failures=pg.ProgrammingError)
    assert con._failures is pg.ProgrammingError
    with pytest.raises(pg.ProgrammingError):
        con.query("nonsense")
    assert server.calls["query"] == 2
    assert server.calls["reset"] == 1


def test_isfatal_can_veto(pg, server):
    con = SteadyPgConnection(isfatal=lambda error: False)
    cut_at_next(server, "query")
    with pytest.raises(pg.InternalError):
        con.query("select one")
    assert server.calls["query"] == 1


def test_in_a_transaction_errors_are_raised_and_nothing_repeated(
        pg, server, con):
    con.begin()
    con.query("set a")
    con._con.db.cut()
    with pytest.raises(pg.InternalError):
        con.query("set b")
    assert not con._transaction
    assert server.calls["reset"] == 0
    assert con.query("select one") == "one"


@pytest.mark.parametrize("has_methods", [False, True])
def test_transactions_are_made_by_queries_or_methods(
        server, con, has_methods):
    server.has_begin = has_methods
    states = []
    for verb in ("begin", "end", "begin", "commit", "begin", "rollback"):
        getattr(con, verb)()
        states.append(con._transaction)
    assert con.session == [
        "begin", "end", "begin", "commit", "begin", "rollback"]
    assert states == [True, False] * 3
    con.begin("begin")
    assert con._transaction


def test_a_context_is_a_transaction(con):
    with con as same:
        assert same is con
    assert con.session == ["begin", "commit"]
    with pytest.raises(KeyError), con:
        raise KeyError
    assert con.session[2:] == ["begin", "rollback"]


def test_the_connection_is_reset_when_it_was_used_often_enough(pg, server):
    con = SteadyPgConnection(maxusage=2, setsession=["set a"])
    usages = []
    for _ in range(5):
        con.query("select one")
        usages.append(con._usage)
    assert usages == [1, 2, 1, 2, 1]
    assert server.calls["reset"] == 2
    con.begin()
    for _ in range(5):
        con.query("set b")
    assert con.session == ["a", "begin"] + 5 * ["b"]


def test_a_connection_marked_as_not_valid_is_reset(server, con):
    con.valid = False
    con.query("select one")
    assert con.valid is True
    assert server.calls["reset"] == 1


@pytest.mark.parametrize(("ping", "calls"), [
    ((4, "select ping"), 2), ((1, "select ping"), 0), ("select ping", 0)])
def test_the_check_can_be_an_sql_statement(pg, server, ping, calls):
    con = SteadyPgConnection(ping=ping)
    con.query("select one")
    con.query("select two")
    asked = [entry for entry in server.log if entry[-1] == "select ping"]
    assert len(asked) == calls


def test_a_dead_connection_is_reset_before_the_query(pg, server):
    con = SteadyPgConnection(ping=(4, lambda con: False))
    assert con.query("select one") == "one"
    assert server.calls["reset"] == 1
    server.is_down = True
    with pytest.raises(pg.InternalError):
        con.query("select one")


def test_reset_and_reopen_can_be_called(server, con):
    con.begin()
    con.reset()
    assert not con._transaction
    assert server.calls["reset"] == 1
    con.reopen()
    assert con._con.db.serial == 2


def test_reopening_in_vain_ends_the_transaction(server, con):
    con.begin()
    server.is_down = True
    con.reopen()
    assert not con._transaction
    con.reset()
    server.is_down = False
    assert con.query("select one") == "one"


def test_a_session_that_cannot_be_prepared_again_is_rolled_back(
        pg, server):
    con = SteadyPgConnection(setsession=["set a"])
    server.fail("query", times=3)
    con.reset()
    assert server.calls["reopen"] == 1
    assert con.query("select one") == "one"


def test_close_can_be_called_again(server, con):
    con.close()
    con.close()
    assert server.calls["close"] == 1


def test_a_connection_that_is_not_closeable_stays_open(pg, server):
    con = SteadyPgConnection(closeable=False)
    con.close()
    assert con._con.db.status
    con.begin()
    con.close()
    assert not con._transaction
    assert server.calls["reset"] == 1


def test_a_dropped_connection_is_closed(pg):
    con = SteadyPgConnection()
    inner = con._con.db
    del con
    assert not inner.status


def test_a_connection_has_what_the_drivers_connection_has(con):
    assert con.num_queries == 0
    with pytest.raises(AttributeError):
        con.nothing()
    con._con = None
    with pytest.raises(InvalidConnectionError, match="never opened"):
        con.query("select one")
    con._closed = True


def test_inner_names_of_dbutils_3_can_be_read(pg):
    con = SteadyPgConnection(5, ("set a",), False)
    assert (con._maxusage, con._setsession_sql) == (5, ("set a",))
    assert (con._usage, con._transaction, con._closed) == (0, False, False)
    assert (con._ping, con._pinger, con._isfatal) == (1, None, None)
    assert con._closeable is False
