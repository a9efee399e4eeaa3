"""What is known about drivers, also about those that need other servers."""

from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from dbutils._drivers.registry import driver_of
from dbutils._steady.decisions import Loss, reason_not_to_repeat
from dbutils.pooled_db import PooledDB
from dbutils.pooled_pg import PooledPg
from dbutils.steady_db import connect


def fake(module, **attributes):
    """Return a connection that looks like one of a driver."""
    kind = type("Connection", (), dict(attributes, __module__=module))
    return kind()


class DriverError(Exception):
    """An error of a driver."""


def error(*args, **attributes):
    problem = DriverError(*args)
    problem.__dict__.update(attributes)
    return problem


ORACLE = SimpleNamespace

# drivers, errors, and whether these mean that the connection is lost
LOSSES = [
    ("psycopg2.extensions", error(pgcode="57P01"), True),
    ("psycopg2.extensions", error(pgcode="08006"), True),
    ("psycopg2.extensions", error(pgcode="57014"), False),
    ("psycopg2.extensions", error(pgcode=None), None),
    ("psycopg", error(sqlstate="25P03"), True),
    ("psycopg", error(sqlstate="40001"), False),
    ("pg8000.dbapi", error({"C": "57P01"}), True),
    ("pg8000.dbapi", error({"C": "42601"}), False),
    ("pg8000.dbapi", error("network error"), True),
    ("pg8000.dbapi", error("something else"), None),
    ("pymysql.connections", error(2006, "gone"), True),
    ("pymysql.connections", error(1205, "lock"), False),
    ("pymysql.connections", error(0, ""), None),
    ("MySQLdb.connections", error(2013, "lost"), True),
    ("MySQLdb.connections", error(), None),
    ("mysql.connector.connection", error(errno=2055), True),
    ("mysql.connector.connection", error(errno=1064), False),
    ("mysql.connector.connection",
     error("MySQL Connection not available", errno=-1), True),
    ("mariadb.connections", error(errno=1927), True),
    ("oracledb.connection", error(ORACLE(code=3113, full_code="")), True),
    ("oracledb.connection",
     error(ORACLE(code=0, full_code="DPY-4011")), True),
    ("oracledb.connection",
     error(ORACLE(code=942, full_code="ORA-00942")), False),
    ("oracledb.connection", error(), None),
    ("pyodbc", error("08S01", "lost"), True),
    ("pyodbc", error("42000", "syntax"), False),
    ("pyodbc", error(), None),
    ("pymssql._pymssql", error(20006, "lost"), True),
    ("pymssql._pymssql", error(102, "syntax"), False),
    ("pymssql._pymssql", error("text"), None),
    ("sqlite3", error("database is locked"), None),
    ("duckdb", error("something"), None),
    ("nobody.knows", error(2006), None),
]


@pytest.mark.parametrize(("module", "problem", "lost"), LOSSES)
def test_the_code_of_an_error_tells_whether_it_is_a_loss(
        module, problem, lost):
    assert driver_of(fake(module)).is_loss(problem) is lost


@pytest.mark.parametrize(("module", "problem"), [
    ("psycopg2", error(pgcode="40P01")), ("pg8000", error({"C": "40001"})),
    ("pymysql", error(1213)), ("mysql.connector", error(errno=1205)),
    ("oracledb", error(ORACLE(code=60, full_code=""))),
    ("pyodbc", error("40001")), ("pymssql", error(1205))])
def test_some_errors_pass_when_the_transaction_is_repeated(module, problem):
    known = driver_of(fake(module))
    assert known.is_transient(problem)
    assert not known.is_transient(error("nothing"))


@pytest.mark.parametrize(("module", "problem"), [
    ("psycopg", error(sqlstate="25006")), ("pymysql", error(1290)),
    ("MySQLdb", error(1836)), ("mariadb", error(errno=1047)),
    ("mysql.connector", error(errno=1792)), ("pymssql", error(3906)),
    ("oracledb", error(ORACLE(code=16000, full_code="")))])
def test_some_errors_say_that_the_server_takes_no_writes(module, problem):
    known = driver_of(fake(module))
    assert known.is_read_only(problem)
    assert not known.is_read_only(error("nothing"))


@pytest.mark.parametrize("module", [
    "psycopg2", "psycopg", "pgdb", "pg", "pg8000", "pymysql", "MySQLdb",
    "mysql.connector", "mariadb", "sqlite3", "oracledb", "pyodbc", "pymssql",
    "duckdb"])
def test_what_is_missing_means_unknown(module):
    known = driver_of(fake(module, server_status=0, open=True,
                              get_autocommit=lambda self: False))
    assert known.is_known
    con = fake(module, server_status=0, open=True,
               get_autocommit=lambda self: False)
    assert known.in_transaction(con) is None
    assert known.descriptor(con) is None
    assert known.is_closed(con) in {None, False, module == "pg"}
    assert known.is_private(con) is False


def test_a_driver_that_tells_about_transactions_is_believed():
    telling = driver_of(fake("nobody.knows", in_transaction=True))
    assert telling.is_telling
    assert not telling.is_known
    assert telling.in_transaction(fake("x", in_transaction=False)) is False
    silent = driver_of(fake("nobody.knows", in_transaction="maybe"))
    assert not silent.is_telling


def test_the_class_of_a_connection_can_be_derived_or_wrapped():
    class Derived(type(fake("psycopg2.extensions"))):
        """A connection of the program's own."""

    class Wrapper:
        """A connection in a wrapper that shows what is inside."""

        @property
        def __class__(self):
            return Derived

    assert type(driver_of(Derived())).__name__ == "_Psycopg2"
    assert type(driver_of(Wrapper())).__name__ == "_Psycopg2"


def test_sessions_are_reset_in_the_way_of_the_driver():
    calls = []
    cursor = MagicMock()
    con = fake(
        "mariadb.connections", autocommit=True,
        reset=lambda self: calls.append("reset"), cursor=lambda self: cursor)
    for role, is_clean in (
            (None, True), ("NONE", True), ("a", False), (b"a", False)):
        cursor.fetchall.return_value = [(None, role)]
        assert driver_of(con).clean(con) is is_clean
    assert calls == ["reset"] * 4
    con = fake("pyodbc")
    assert not driver_of(con).clean(con)


NOTHING = Loss(
    in_transaction=False, has_work=False, is_marked=False, is_private=False,
    is_read=True, is_exhausted=False, is_forbidden=False)


def test_a_read_is_repeated_if_nothing_is_lost():
    assert reason_not_to_repeat(NOTHING) is None


@pytest.mark.parametrize(("change", "reason"), [
    ({"in_transaction": True}, "begin"), ({"has_work": True}, "before"),
    ({"is_marked": True}, "session"), ({"is_private": True}, "data"),
    ({"is_read": False}, "already"), ({"is_exhausted": True}, "once"),
    ({"is_forbidden": True}, "never")])
def test_each_thing_that_can_be_lost_is_a_reason_not_to_repeat(
        change, reason):
    assert reason in reason_not_to_repeat(NOTHING._replace(**change))


@pytest.mark.parametrize(("options", "kind"), [
    ({"failover": "perhaps"}, ValueError), ({"failover": True}, ValueError),
    ({"ping": 9}, ValueError), ({"ping": 1.5}, TypeError),
    ({"ping": (1, 2, 3)}, TypeError), ({"failures": "Error"}, TypeError),
    ({"failures": (1, 2)}, TypeError),
    ({"failures": BaseException}, TypeError),
    ({"isfatal": 1}, TypeError), ({"maxusage": "1"}, TypeError),
    ({"reset": "clean"}, ValueError), ({"setsession": "set a"}, TypeError)])
def test_what_makes_no_sense_is_refused_at_once(options, kind, dbapi, pg):
    with pytest.raises(kind):
        PooledDB(dbapi, **options)
    with pytest.raises(kind):
        PooledPg(**options)
    if "reset" not in options:
        with pytest.raises(kind):
            connect(dbapi, **options)
    assert dbapi.server.connections == []
