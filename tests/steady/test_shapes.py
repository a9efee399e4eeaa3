"""Statements are classified by their shapes, which are remembered."""

import re
import subprocess
import sys
from threading import Barrier, Thread

import classified
import pytest
from folders import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbutils._steady import statements as _sql
from dbutils._steady.account import _effect_of
from dbutils._steady.statements import AHEAD, READ, UNKNOWN_WORK, kind_of, seen

pytestmark = pytest.mark.portable

STATEMENTS = [
    statement for name, table in vars(classified).items() if name.isupper()
    for statement in table if isinstance(statement, str)]
WORDS = r'''
    select insert update delete from into set begin commit with create
    table temp temporary set_config( get_lock( pg_temp advisory_lock nextval(
    dblink_open lo_x( sleep( pg_ for lock drop exec if then end pragma info(
    local role a b1 x 12 7 0 00 1.5 $1 $ $$ $a$ ' '' 'a' 'it''s' " "a'b" "a;b"
    ` `a` `a'` -- - /* */ / * /**/ /*! /*M!5 /*'*/ /*"*/ \ # [ [a ] [it's]
    & u&" U&' q' nq' 'q' e' E'a\'b' @ := @x ( ) , ; ;; = %s %(a)s ?
'''
FRAGMENTS = [
    *WORDS.split(),
    "set transaction", "set a 5", "set a", "statistics 5", "a b",
    " ", "\n", "\t", "\0", "\xe9", "\u0130", "\u017fet", "\u212a", "\ud800"]
STRANGERS = ["a", "5", "", "-", "--", "/*", "#", ";", '"', "`", "[", " q", "x"]

fragments = st.lists(st.sampled_from(FRAGMENTS), max_size=8)


@st.composite
def changed_statements(draw):
    """Draw one of the known statements, with fragments in it."""
    text = draw(st.sampled_from(STATEMENTS))
    for fragment in draw(fragments)[:3]:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + fragment + text[at + draw(st.integers(0, 2)):]
    return text


comments = fragments.map(" ".join).map("/*{}*/".format)
texts = st.one_of(
    fragments.map(" ".join), fragments.map("".join), changed_statements(),
    st.tuples(changed_statements(), comments).map("".join))


def with_other_values(text, random):
    """Return a text of the same shape, if the quotes are those of strings."""
    parts = text.split("'")
    for number, part in enumerate(parts):
        if number % 2:
            parts[number] = "".join(
                random.choice([one, random.choice(STRANGERS)]) for one in part)
        else:
            parts[number] = re.sub(
                "[0-9]+", lambda _: str(random.choice([1, 22, 304])), part)
    return "'".join(parts)


def assert_same_kind(text):
    assert _sql._kind_of_text(text) is _sql._classify(text)


@pytest.mark.parametrize("text", STATEMENTS)
def test_a_shape_tells_the_kind_of_each_known_statement(text):
    assert_same_kind(text)
    assert_same_kind(text.upper())
    assert_same_kind(text + " /* why */")


@settings(
    max_examples=3000, deadline=None, database=None, derandomize=True,
    suppress_health_check=list(HealthCheck))
@given(texts, st.randoms(use_true_random=False))
def test_a_shape_tells_what_a_look_at_the_whole_statement_tells(text, random):
    """Shapes are kept from one example to the next, as in a program."""
    for _ in range(3):
        assert_same_kind(text)
        text = with_other_values(text, random)


@pytest.mark.parametrize("alike", [
    ['select "b`c"d`e \'x\' /* y */',
     'select "b`c"d`e \'`; set role x; \' /* y */'],
    ["/* a */ /**/", "/* a */ set role x */"], ["*/* x */"],
    ["select 1 /*/", "select 1 /**/", "select 1; set a = 5 /*/"],
    ["select 1 /* it's */", "select 1 /*! it's */", "select 1 /* \\ */"],
    ["select e'a' /* \\ */", "select e'a\\' /* */"],
    ["set a 5", "set a x", "set a "], ["select 1 set a", "select 1 set a 5"],
    ['select \'x\', "it\'s", \'y\'', 'select \';\', "it\'s", \'set a 5\'']])
def test_statements_whose_shapes_look_alike_have_their_own_kinds(alike):
    for _ in range(2):
        for text in alike:
            assert_same_kind(text)


@pytest.fixture
def looks(monkeypatch):
    """Forget all statements; note those that are not classified by shape."""
    looks = []
    _sql.seen.clear()
    _sql._shapes.clear()
    for name in "_judge", "_classify":
        look_at = getattr(_sql, name)
        monkeypatch.setattr(
            _sql, name,
            lambda text, look_at=look_at: looks.append(text) or look_at(text))
    return looks


@pytest.mark.parametrize(("form", "kind"), [
    ("select * from t where id = {}", READ),
    ("select a from t where b = 'x{0}' and c > -{0}.5 /* trace='{0}' */",
     READ),
    ("insert into t values ({0}, 'it''s {0}', '{{\"a\": [{0}]}}')",
     UNKNOWN_WORK),
    ('update "t" set "a{0}" = {0}', UNKNOWN_WORK)])
def test_statements_that_differ_in_values_are_looked_at_once(
        looks, form, kind):
    for number in range(3 * _sql._LIMIT):
        assert kind_of(form.format(number)) is kind
    assert len(looks) <= 3


def test_long_statements_are_classified_by_their_shapes(looks):
    for letter in "abc":
        text = f"insert into t values ('{letter * 2 * _sql._LONGEST}')"
        assert kind_of(text) is UNKNOWN_WORK
        assert text not in seen
    assert len(looks) == 1


@pytest.mark.parametrize("text", [
    "select 'a\\'b'", "select 1 -- {}", "select 1 # {}", "select $a${}$a$",
    "select \"it's\", {}", "select 1 /*! {} */", "select 1 /* a */ /* b */"])
def test_what_databases_read_differently_is_looked_at_each_time(looks, text):
    for number in range(3):
        kind_of(text.format(number))
        seen.clear()
    assert len(looks) >= 3


@pytest.mark.parametrize("form", [
    "select {}", "select '{}'", "select a{}b", "select '{0}', {0} from t{0}"])
def test_only_so_many_statements_are_remembered(form):
    for number in range(3 * _sql._LIMIT):
        kind_of(form.format(f"{number:x}"))
    for remembered in (seen, _sql._shapes):
        assert 0 < len(remembered) <= _sql._LIMIT
        assert len(remembered._order) <= _sql._LIMIT
    kind_of("select " + 2 * _sql._LONGEST * "x")
    assert max(map(len, seen)) <= _sql._LONGEST
    assert max(map(len, _sql._shapes)) <= _sql._LONGEST


def test_only_the_oldest_statement_is_forgotten_for_a_new_one():
    seen.clear()
    seen._order.clear()
    for number in range(_sql._LIMIT + 1):
        kind_of(f"select {number}")
    assert "select 0" not in seen
    assert "select 1" in seen
    assert f"select {_sql._LIMIT}" in seen


def test_a_lookup_classifies_a_new_text():
    """So the first execution is as fast as those that follow."""
    seen.clear()
    assert seen["select 1 from new"] is READ
    assert "select 1 from new" in seen


@pytest.mark.parametrize("statement", [
    "set transaction read only", b"select 1", 42, None, ("select 1",)])
def test_a_lookup_leaves_what_is_unusual_to_who_asks(statement):
    with pytest.raises(KeyError):
        seen[statement]
    assert statement not in seen


def test_a_setting_of_what_follows_is_told_each_time():
    for _ in range(2):
        assert kind_of("set transaction read only") is AHEAD


def test_threads_remember_at_the_same_time():
    barrier, mistakes = Barrier(4), []

    def remember(name):
        barrier.wait()
        for number in range(2 * _sql._LIMIT):
            for text in (f"select '{number}'", f"select {name}{number:x}"):
                if kind_of(text) is not READ:
                    mistakes.append(text)
    threads = [Thread(target=remember, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mistakes == []
    assert len(seen) <= _sql._LIMIT
    assert len(_sql._shapes) <= _sql._LIMIT


@pytest.mark.parametrize("is_before", [True, False])
def test_what_a_slow_thread_adds_late_is_forgotten_as_well(is_before):
    """Other threads add more than is kept while it remembers one text."""
    class Recent(_sql._Recent):
        def __setitem__(self, key, kind):
            if is_before and key == "slow":
                add_others(self)
            super().__setitem__(key, kind)
            if not is_before and key == "slow":
                add_others(self)

    def add_others(kinds):
        for number in range(_sql._LIMIT + 1):
            kinds.add(f"{number}", READ)

    recent = Recent()
    recent.add("slow", READ)
    for number in range(_sql._LIMIT):
        recent.add(f"later {number}", READ)
    assert "slow" not in recent
    assert len(recent) == len(recent._order) == _sql._LIMIT


COMPILED = """
import dbutils.pooled_db
from dbutils._steady.statements import LazyPattern
from dbutils._steady import account, statements
patterns = [
    value for module in (account, statements)
    for value in vars(module).values() if isinstance(value, LazyPattern)]
for rules in (statements._MARKS, statements._WRITES):
    patterns += [pattern for _, pattern in rules[True]]
assert len(patterns) > 40
print(sum(len(vars(pattern)) > 1 for pattern in patterns))
statements.kind_of("select a from t")
print(sum(len(vars(pattern)) > 1 for pattern in patterns))
"""


def test_an_import_compiles_no_patterns():
    done = subprocess.run(
        [sys.executable, "-c", COMPILED], cwd=str(ROOT), check=True,
        stdout=subprocess.PIPE)
    before, after = map(int, done.stdout.split())
    assert before == 0
    assert 0 < after < 5


# The effect on transactions, of which there is no shape.


@pytest.mark.parametrize(("text", "effect"), [
    ("begin", "begin"), ("  START\ttransaction", "begin"),
    ("select 1;begin", "begin"), ("select 1 ;\n\n savepoint a", "begin"),
    ("-- why\n begin", "begin"), ("/* why */ xa start 'a'", "begin"),
    ("/**/set session autocommit = 0", "begin"),
    ("set implicit_transactions on", "begin"), ("\r\nbegin", "begin"),
    ("commit", "end"), (" Rollback work ; ", "end"),
    ("select begin", None), ("select a from begin", None),
    ("beginning", None), ("select 2 */ 3", None), ("select 1 / begin", None),
    ("select * begin", None), ("rollback to a", None), ("xa", None),
    ("insert into t values (1, 'a')", None), ("set a = autocommit", None)])
def test_what_a_statement_does_with_the_transaction(text, effect):
    assert _effect_of(text) == effect
