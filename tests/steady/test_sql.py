"""What statements may do."""

import pytest

from dbutils._steady import statements as _sql
from dbutils._steady.statements import kind_of

READS = [
    "select 1", "  SELECT 1", "-- why\nselect 1", "/* why */ select 1",
    "# why\nselect 1", "(select 1) union (select 2)", "select 1;",
    "show tables", "explain select 1", "describe t", "desc t", "values (1)",
    "table t", b"select 1", "select 'set'", "select update_time from t",
]
WORK = [
    "insert into t values (1)", "update t set a = 1", "delete from t",
    "select * from t for update", "select * from t FOR NO KEY UPDATE",
    "select * from t for key share", "select * from t lock in share mode",
    "select * into t from s", "select 1; delete from t",
    "explain analyze delete from t", "explain (analyze) delete from t",
    "with t as (delete from s returning *) select * from t",
    "select nextval('s')", "select pg_advisory_xact_lock(1)", "begin",
    "commit", "create table t (id integer)", "select /*+ hint */ 1; drop t",
    "select pg_terminate_backend(1)", "select lo_unlink(1)",
    "insert into t values ('set x')", "set local a = 1",
    "set transaction read only", "", "  ",
    "select set_config('a', 'b', true)", 42, None, "pragma foreign_keys",
    "pragma table_info(t)", "pragma main.foreign_keys ;",
]
MARKS = [
    "set a = 1", "SET ROLE somebody", "reset all", "listen it",
    "unlisten it", "prepare p as select 1", "deallocate p", "use other",
    "declare c cursor with hold for select 1", "discard all",
    "lock tables t write", "unlock tables", "pragma foreign_keys = on",
    "pragma main.synchronous(1)",
    "attach 'file' as other", "create temp table t (id integer)",
    "CREATE TEMPORARY TABLE t AS SELECT 1", "create local temporary table t",
    "create or replace temp view v as select 1", "create table #t (id int)",
    "select * into temp t from s", "select a into @a from t",
    "select set_config('a', 'b', false)", "select pg_advisory_lock(1)",
    "select pg_try_advisory_lock(1)", "select get_lock('a', 1)",
    "insert into t values (1); set a = 1", "alter session set a = 1",
    "load 'library'", "/* why */ set a = 1", "selection", "call something()",
]


@pytest.mark.parametrize("statement", READS)
def test_a_read_changes_nothing(statement):
    assert kind_of(statement) == (True, False)


@pytest.mark.parametrize("statement", WORK)
def test_all_else_counts_as_work(statement):
    assert kind_of(statement) == (False, False)


@pytest.mark.parametrize("statement", MARKS)
def test_some_work_marks_the_session(statement):
    assert kind_of(statement) == (False, True)


class Composed:
    """Something like the statements that psycopg composes."""

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return f"Composed([SQL({self.text!r}), Identifier('somebody')])"


def test_a_composed_statement_is_work():
    assert kind_of(Composed("select ")) == (False, False)
    assert kind_of(Composed("set role ")) == (False, True)


def test_only_so_many_statements_are_remembered():
    for number in range(3000):
        kind_of(f"select {number}")
    assert 0 < len(_sql.seen) <= 1000
    kind_of("select " + 10_000 * "1")
    assert max(map(len, _sql.seen)) < 10_000


def test_something_that_cannot_be_remembered_is_looked_at():
    assert kind_of(bytearray(b"select 1")) == (True, False)
    assert kind_of(["select 1"]) == (False, False)
