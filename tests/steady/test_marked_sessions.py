"""What statements do to the session, also by what means they hide it."""

import subprocess
import sys

import drivers
import pytest
from classified import MARKS, READS, WORK
from drivers import ask
from folders import BENCHMARKS, ROOT

from dbutils._steady.cursor import Call
from dbutils._steady.statements import MARK, READ, UNKNOWN_WORK, kind_of
from dbutils.pooled_db import PooledDB


@pytest.mark.parametrize("statement", MARKS)
def test_what_may_change_the_session_marks_it(statement):
    assert kind_of(statement) is MARK
    assert kind_of(statement.encode()).marks


@pytest.mark.parametrize("statement", READS)
def test_what_only_reads_is_a_read(statement):
    assert kind_of(statement) is READ


@pytest.mark.parametrize("statement", WORK)
def test_what_only_works_marks_nothing(statement):
    assert kind_of(statement) == UNKNOWN_WORK


# Statements that are not texts.


class Interpolation:
    """What stands in a template string of Python 3.14."""

    def __init__(self, value, format_spec=""):
        self.value = value
        self.format_spec = format_spec


class Template:
    """Such a template string."""

    def __init__(self, *parts):
        self.strings = tuple(part for part in parts if isinstance(part, str))
        self.interpolations = tuple(
            part for part in parts if not isinstance(part, str))


@pytest.mark.parametrize(("parts", "kind"), [
    (["select ", Interpolation("set role x"), ""], READ),
    (["select * from ", Interpolation("t", "i"), " for update"],
     UNKNOWN_WORK),
    (["set role ", Interpolation("x", "i"), ""], MARK),
    (["select ", Interpolation("pg_advisory_lock", "i"), "(9)"], MARK),
    (["select 1; ", Interpolation(Template("set role x"), "q"), ""], MARK),
    (["select 1 where ", Interpolation(Template("a = ", Interpolation(1), ""),
                                       "q"), ""], READ)])
def test_template_strings_are_looked_at_by_their_text(parts, kind):
    assert kind_of(Template(*parts)) is kind


@pytest.mark.parametrize("name", ["psycopg", "psycopg2"])
def test_composed_statements_are_looked_at_by_their_text(name):
    sql = drivers.load(f"{name}.sql")
    compose = sql.SQL
    for statement, kind in [
            (compose("select 1"), READ),
            (compose("select {} from {} where {} = {}").format(
                sql.Identifier("a", "b"), sql.Identifier("set role"),
                sql.Literal("set role x"), sql.Placeholder()), READ),
            (compose("delete from {}").format(sql.Identifier("t")),
             UNKNOWN_WORK),
            (compose("set role {}").format(sql.Identifier("x")), MARK),
            (compose("select {}(9)").format(
                sql.Identifier("pg_catalog", "pg_advisory_lock")), MARK),
            (compose("select ") + compose("set_con") + compose(
                "fig('a', 'b', false)"), MARK),
            (compose("; ").join([compose("select 1"), compose("set a = 1")]),
             MARK)]:
        assert kind_of(statement) is kind, statement


@pytest.mark.parametrize("call", [
    Call("execute", ("set role x",), {}),
    Call("execute", (), {"query": "set role x"}),
    Call("execute", (), {"params": None, "query": "set role x"}),
    Call("execute", (), {"unheard_of": "set role x"}),
    Call("executemany", ("set role %s", [("x",)]), {}),
    Call("executescript", (), {"sql_script": "select 1; set role x"}),
    Call("stream", ("set role x",), {}),
    Call("callproc", ("p",), {}), Call("callfunc", ("f", int), {})], ids=str)
def test_statements_are_found_in_calls(call):
    assert call.kind() is MARK


def test_only_what_is_executed_once_can_be_repeated():
    assert Call("execute", ("select 1",), {}).kind() is READ
    assert Call("executemany", ("select 1", ()), {}).kind() is UNKNOWN_WORK
    assert Call("executescript", ("select 1",), {}).kind() is UNKNOWN_WORK
    assert Call("execute", (), {}).kind() is UNKNOWN_WORK


# The time that it takes.


@pytest.mark.slow
def test_the_time_that_a_look_takes_can_be_measured():
    text = subprocess.run(
        [sys.executable, "statements.py", "10"], check=True,
        cwd=str(BENCHMARKS),
        stdout=subprocess.PIPE).stdout.decode()
    assert len(text.splitlines()) == 9
    assert text.count("microseconds") == 8


# Each is something that could make a search begin again and again.
HOSTILE = r"""
import resource
resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
from dbutils._steady.statements import kind_of
for text in [
        "'", '"', "`", "-", "/*", "/*/ ", "*", "#\n", "[a", " [a'", "$a$",
        "$$", "\\'", "e'\\'", "e'\'\'", "; ", " ", "x", "(", "create a ",
        "create ", "into ", "into a.", "set a ", "set_config(", "a,",
        "set_config(%(a)s", "for no ", "lock", "lo_", "release_", "update ",
        "with(", "begin ", "pragma a.", "@:=", "\u0130", "{call ", "%s",
        "insert into t values ('x', 1); -- y\n"]:
    for begin in ("", "select 'a' from ", "'", "/*", "select e'", "$x$",
                  "create ", "into ", "set_config(", "pragma "):
        for end in ("", "pg_settings _lock temp # into @", "'"):
            much = text * (250_000 // len(text))
            kind_of(begin + much + end)
print("done")
"""


@pytest.mark.slow
def test_long_statements_do_not_cost_more_than_their_length():
    """The processor time of a program of its own is limited."""
    done = subprocess.run(
        [sys.executable, "-c", HOSTILE], capture_output=True, text=True,
        cwd=str(ROOT), check=False)
    assert done.stdout.strip() == "done", done.stderr


# On real servers.

NAME = "select current_setting('application_name')"
LOCKS = (
    "select count(*) from pg_locks"
    " where locktype = 'advisory' and pid = pg_backend_pid()")
TABLES = (
    "select count(*) from pg_class where relname like 'hidden%%'"
    " and relpersistence = 't'")
SETTING = "set_config('application_name', 'hidden', false)"
ON_POSTGRESQL = [
    ("select 1; -- x\n set application_name = 'hidden'", NAME),
    ("/* a /* b */ c */ set application_name = 'hidden'", NAME),
    (f"do $$ begin perform {SETTING}; end $$", NAME),
    ("select set_config/* x */('application_name', 'hidden', false)", NAME),
    (f'select "set_config"{SETTING[10:]}', NAME),
    (f"select set_config('a.b', 'c', true), {SETTING}", NAME),
    (f'select U&"\\0073et_config"{SETTING[10:]}', NAME),
    ("update pg_settings set setting = 'hidden' where name ~ '^app.*name'",
     NAME),
    ("call hide()", NAME),
    ("begin; set application_name = 'hidden'; commit", NAME),
    ('select "pg_advisory_lock"(9)', LOCKS),
    ("select pg_catalog . pg_advisory_lock (9)", LOCKS),
    ("create table pg_temp.hidden (id integer)", TABLES),
    ('create table "pg_temp".hidden (id integer)', TABLES),
    ("select 1 as a into local temporary hidden", TABLES),
    ("create/**/temp/**/table hidden (id integer)", TABLES)]
ON_MARIADB = [
    ("/*!40101 set @hidden = 5 */", "select @hidden"),
    ("/*M!100000 set @hidden = 5 */", "select @hidden"),
    ("select @hidden := 5", "select @hidden"),
    ("select @`hidden`:=5", "select @hidden"),
    ("select 5 into@hidden", "select @hidden"),
    ("set/* */@hidden = 5", "select @hidden"),
    ("# x\nset @hidden = 5", "select @hidden"),
    ("call hide()", "select @hidden"),
    ("execute immediate 'set @hidden = 5'", "select @hidden"),
    ("begin not atomic set @hidden = 5; end", "select @hidden"),
    ("set local group_concat_max_len = 1024",
     "select @@group_concat_max_len"),
    ("do get_lock('hidden', 0)", "select is_used_lock('hidden') is null"),
    ("select get_lock /* x */ ('hidden', 0)",
     "select is_used_lock('hidden') is null")]
PROCEDURES = {
    "postgresql": (
        "create or replace procedure hide() language plpgsql"
        f" as $$ begin perform {SETTING}; end $$"),
    "mariadb": "create or replace procedure hide() set @hidden = 5"}

ways = pytest.mark.parametrize(
    ("name", "way", "probe"),
    [(name, *way) for name in ("psycopg2", "psycopg")
     for way in ON_POSTGRESQL]
    + [(name, *way) for name in ("pymysql", "mysql.connector")
       for way in ON_MARIADB])


@pytest.fixture
def pool_of(servers_running):
    """Make a pool with one connection to a real server."""
    pools = []

    def make(name):
        driver = drivers.BY_NAME[name]
        driver.load()
        driver.port = servers_running(driver.family)
        driver.run(PROCEDURES[driver.family])
        pool = PooledDB(
            driver.load(), maxconnections=1, **driver.parameters())
        pools.append(pool)
        return pool
    yield make
    for pool in pools:
        pool.close()


def run(con, statement):
    """Execute a statement, and read its answer to the end."""
    cursor = con.cursor()
    cursor.execute(statement)
    more = True
    while more and cursor.description:
        cursor.fetchall()
        more = con.dbapi().__name__ != "psycopg2" and cursor.nextset()
    cursor.close()


@ways
def test_the_next_borrower_does_not_see_what_was_done(
        pool_of, name, way, probe):
    pool = pool_of(name)
    with pool.connection() as con:
        before = ask(con, probe)
        run(con, way)
        con.commit()
        assert ask(con, probe) != before  # it really does something
    with pool.connection() as con:
        assert ask(con, probe) == before


@pytest.mark.parametrize("name", ["psycopg2", "pymysql", "mysql.connector"])
def test_what_a_procedure_does_is_not_seen_by_the_next_borrower(
        pool_of, name):
    pool = pool_of(name)
    is_postgresql = name == "psycopg2"
    probe = NAME if is_postgresql else "select @hidden"
    with pool.connection() as con:
        before = ask(con, probe)
        cursor = con.cursor()
        if is_postgresql:  # there it calls functions
            cursor.callproc("set_config", ("application_name", "x", False))
        else:
            cursor.callproc("hide")
        cursor.close()
        con.commit()
        assert ask(con, probe) != before
    with pool.connection() as con:
        assert ask(con, probe) == before


def test_a_lock_on_all_tables_is_not_left_to_the_next_borrower(pool_of):
    pool = pool_of("pymysql")
    drivers.BY_NAME["pymysql"].new_table("locked")
    with pool.connection() as con:
        ask(con, "flush tables with read lock")
    with pool.connection() as con:
        ask(con, "insert into locked values (1, 1)")
        con.commit()
        assert ask(con, "select count(*) from locked") == 1


def test_copies_and_streams_are_looked_at_as_well(pool_of):
    pool = pool_of("psycopg")
    with pool.connection() as con:
        list(con.cursor().stream(f"select {SETTING}"))
        con.commit()
        assert ask(con, NAME) == "hidden"
    with pool.connection() as con:
        assert ask(con, NAME) == ""


def test_ordinary_work_keeps_the_session(pool_of):
    pool = pool_of("psycopg2")
    drivers.BY_NAME["psycopg2"].new_table("ordinary")
    with pool.connection() as con:
        ask(con, "prepare unnoticed as select 1")
        con._con._own_session.is_marked = False  # as if nobody had seen it
        for statement in (
                "insert into ordinary values (1, 1)", "select 'set role x'",
                "update ordinary set value = 2", "delete from ordinary",
                "set local application_name = 'x'"):
            ask(con, statement)
        con.commit()
    with pool.connection() as con:
        assert ask(con, "select count(*) from pg_prepared_statements") == 1
        ask(con, "deallocate unnoticed")


def test_methods_of_classic_pygresql_mark_as_well(servers_running):
    drivers.load("pg")
    from dbutils.steady_pg import SteadyPgConnection
    port = servers_running("postgresql")
    db = SteadyPgConnection(
        dbname="postgres", host=drivers.HOST, port=port, user="postgres")
    assert not db._own_session.is_marked
    db.set_parameter("application_name", "hidden")
    assert db._own_session.is_marked
    db.close()
