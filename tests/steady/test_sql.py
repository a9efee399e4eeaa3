"""What statements may do."""

import pytest
from classified import PLAIN_MARKS, PLAIN_READS, PLAIN_WORK

from dbutils._steady.statements import kind_of


@pytest.mark.parametrize("statement", PLAIN_READS)
def test_a_read_changes_nothing(statement):
    assert kind_of(statement) == (True, False)


@pytest.mark.parametrize("statement", PLAIN_WORK)
def test_all_else_counts_as_work(statement):
    assert kind_of(statement) == (False, False)


@pytest.mark.parametrize("statement", PLAIN_MARKS)
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


def test_something_that_cannot_be_remembered_is_looked_at():
    assert kind_of(bytearray(b"select 1")) == (True, False)
    assert kind_of(["select 1"]) == (False, False)
