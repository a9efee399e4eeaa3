"""The module uri_pool and pyDAL's connection module do the same.

Subclasses that override its hooks run on both.
"""

import importlib
import os
from contextlib import suppress
from threading import Thread

import drivers
import mock_db
import pytest

from dbutils import uri_pool

pytestmark = [pytest.mark.slow, pytest.mark.portable]

URI = "fake://one"


class Module:
    """One of the modules, and what is to be cleaned in it."""

    def __init__(self, pools, things):
        self.base = pools.ConnectionPool
        self.locals = things.THREAD_LOCAL
        self.locker = things.GLOBAL_LOCKER


@pytest.fixture(params=["pydal", "dbutils"])
def module(request, monkeypatch, dbapi):
    """Either module, without any pools."""
    if request.param == "pydal":
        drivers.load("pydal")
        found = Module(
            importlib.import_module("pydal.connection"),
            importlib.import_module("pydal._globals"))
    else:
        found = Module(uri_pool, uri_pool)
    monkeypatch.setattr(found.base, "POOLS", {})
    yield found
    found.base.set_folder("")


class Adapter:
    """Overrides the hooks in the manner of an adapter, and notes them."""

    def __init__(self, uri, pool_size=0, after=None):
        self.calls = []
        super().__init__()
        self.uri = uri
        self.pool_size = pool_size
        self._after_connection = after
        self.bad = set()
        self._find_work_folder()
        self.set_connection(None)

    def note(self, *what):
        self.calls.append(" ".join(map(str, what)))

    def connector(self):
        self.note("connector")
        return mock_db.connect()

    def set_connection(self, connection, run_hooks=False):
        self.note("set", connection is not None, run_hooks)
        super().set_connection(connection, run_hooks)

    def execute(self, operation):
        """Note which connection has executed a statement."""
        self.cursor.execute(operation)
        name, serial, _ = mock_db.server.log[-1]
        assert name == "execute"
        self.note(operation, "by", serial)
        return serial

    def test_connection(self):
        if self.execute("select test") in self.bad:
            raise ValueError("bad connection")

    def close_connection(self):
        self.note("close")
        self.connection.close()
        self.set_connection(None)

    def after_connection_hook(self):
        self.note("hook", self._first_connection)
        super().after_connection_hook()

    def _after_first_connection(self):
        self.execute("select first")

    def after_connection(self):
        self.execute("select after")

    def commit(self):
        self.note("commit")
        self.connection.commit()

    def rollback(self):
        self.note("rollback")
        self.connection.rollback()

    def fail(self):
        self.note("fail")
        raise ValueError("failed")

    def use(self):
        self.get_connection()
        return self.execute("select use")


@pytest.fixture
def make(module):
    """Make pools with such hooks of either module."""
    return type("Adapting", (Adapter, module.base), {})


NEW = [
    "connector", "set True True", "hook True", "select after by {0}",
    "select test by {0}"]
FIRST = [
    "connector", "set True True", "hook False", "select first by {0}",
    "select after by {0}", "select test by {0}"]
KEPT = ["set True False", "select test by {0}"]
CLOSED = ["close", "set False False", "set False False"]


def calls(*groups):
    """Return the calls of groups, each with the number of a connection."""
    return [
        call.format(number) for number, group in groups for call in group]


def taken(pool):
    """Return what was noted since the last look."""
    noted, pool.calls = pool.calls, []
    return noted


def test_a_new_connection_is_prepared_and_a_kept_one_tested(make, server):
    pool = make(URI, 1)
    assert taken(pool) == ["set False False"]
    assert pool._first_connection is False
    connection = pool.get_connection()
    assert taken(pool) == calls((1, FIRST))
    assert pool._first_connection is True
    assert pool.get_connection() is connection
    assert pool.connection is connection
    pool.close()
    assert taken(pool) == ["commit", "set False False"]
    pool.close()
    assert taken(pool) == []
    pool.get_connection()
    assert taken(pool) == calls((1, KEPT))
    pool.close("rollback")
    assert taken(pool) == ["rollback", "set False False"]
    pool.get_connection(use_pool=False)
    assert taken(pool) == calls((2, NEW))
    assert server.calls["connect"] == 2


def test_the_given_hook_comes_between_the_others(make):
    pool = make(URI, 0, lambda pool: pool.execute("select given"))
    pool.get_connection()
    assert [call for call in pool.calls if call.startswith("select")] == [
        f"select {name} by 1" for name in ("first", "given", "after", "test")]


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize(("action", "noted", "really"), [
    ("commit", ["commit"], True), ("rollback", ["rollback"], True),
    ("commit", ["commit"], False), ("rollback", ["rollback"], False),
    (None, [], True), (None, [], False), ("", [], True),
    ("use", ["select use by 1"], True),
    (lambda given: given.note("ended"), ["ended"], True),
    # without "really", see the differences
    ("fail", ["fail"], True), (lambda given: given.fail(), ["fail"], True)])
def test_an_end_is_like_the_other(make, server, size, action, noted, really):
    pool = make(URI, size)
    connection = pool.get_connection()
    taken(pool)
    has_failed = "fail" in noted
    with suppress(ValueError):  # which pyDAL does not raise
        pool.close(action, really)
    is_closed = really and (has_failed or not size)
    end = CLOSED if is_closed else ["set False False"]
    assert taken(pool) == [*noted, *end]
    assert server.calls["close"] == int(is_closed)
    del connection


def test_a_kept_connection_that_fails_its_test_is_not_used(make, server):
    pools = [make(URI, 3) for _ in range(3)]
    for pool in pools:
        pool.get_connection()
    for pool in pools:
        pool.close()
    assert len(make.POOLS[URI]) == 3
    pool = pools[0]
    taken(pool)
    pool.bad = {3, 2}
    assert pool.use() == 1
    assert taken(pool) == [*calls((3, KEPT), (2, KEPT), (1, KEPT)),
                           "select use by 1"]
    assert len(make.POOLS[URI]) == 0
    pool.close("commit")
    pool.bad = {1}
    assert pool.use() == 4
    assert taken(pool)[-7:] == [
        *calls((1, KEPT), (4, NEW))[-6:], "select use by 4"]


def test_the_connection_that_was_kept_last_comes_first(make):
    pools = [make(URI, 2) for _ in range(3)]
    assert [pool.use() for pool in pools] == [1, 2, 3]
    for pool in pools:
        pool.close()
    assert len(make.POOLS[URI]) == 2  # the third was closed
    assert "close" in pools[2].calls
    assert [pool.use() for pool in pools] == [2, 1, 4]
    assert len(make.POOLS[URI]) == 0
    assert not make.POOLS[URI]


def test_without_the_look_no_test_is_made(make):
    class Trusting(make):
        check_active_connection = False

    pool = Trusting(URI, 1)
    for _ in range(2):
        pool.get_connection()
        pool.close()
    assert "select test by 1" not in pool.calls


def test_a_thread_has_its_things_under_their_names(make, module):
    pool, other = make(URI), make(URI)
    name, cursors = pool._connection_uname_, pool._cursors_uname_
    assert name == f"_pydal_connection_{id(pool)}_{os.getpid()}"
    assert cursors == f"_pydal_cursor_{id(pool)}_{os.getpid()}"
    assert getattr(module.locals, name) is None
    connection = pool.get_connection()
    assert getattr(module.locals, name) is connection
    cursor = getattr(module.locals, cursors)
    assert cursor is pool.cursor
    assert getattr(module.locals, other._connection_uname_, None) is None
    pool.reset_cursor()
    assert getattr(module.locals, cursors) is not cursor
    assert getattr(module.locals, cursors) is pool.cursor
    seen = []
    thread = Thread(target=lambda: seen.append(
        getattr(module.locals, name, "none") in {None, "none"}))
    thread.start()
    thread.join()
    assert seen == [True]
    pool.close()
    assert getattr(module.locals, name) is None
    assert getattr(module.locals, cursors) is None


def test_what_a_program_puts_there_is_used(make, module, dbapi):
    pool = make(URI)
    mine = dbapi.connect()
    cursor = mine.cursor()
    setattr(module.locals, pool._connection_uname_, mine)
    setattr(module.locals, pool._cursors_uname_, cursor)
    assert pool.get_connection() is mine
    assert pool.cursor is cursor
    delattr(module.locals, pool._cursors_uname_)
    delattr(module.locals, pool._connection_uname_)
    assert pool.get_connection() is not mine
    assert mine.valid
    module.locals.own = 5
    assert module.locals.own == 5
    del module.locals.own
    for name in ("own", "_pydal_connection_1_1"):
        assert not hasattr(module.locals, name)


def test_a_connection_can_be_set_with_and_without_the_hooks(make, dbapi):
    pool = make(URI)
    taken(pool)
    mine, another = dbapi.connect(), dbapi.connect()
    pool.set_connection(mine)
    assert pool.connection is mine
    assert taken(pool) == ["set True False", "select test by 1"]
    pool.set_connection(another, run_hooks=True)
    assert taken(pool) == calls((2, FIRST))[1:]
    assert pool.use() == 2
    assert pool.connection is another
    pool.set_connection(None)
    assert mine.valid
    assert another.valid
    assert pool.use() == 3


def test_the_things_of_a_thread_can_be_cleaned(make, module, server):
    pool = make(URI)
    connection = pool.get_connection()
    pool._clean_tlocals()
    assert getattr(module.locals, pool._connection_uname_, None) is None
    assert pool.get_connection() is not connection
    assert server.calls["connect"] == 2


def test_another_visit_can_be_begun(make):
    pool = make(URI, 1)
    pool.use()
    taken(pool)
    pool.reconnect()
    assert taken(pool) == ["commit", "set False False", *calls((1, KEPT))]


def test_the_folder_is_that_of_the_thread(make, module):
    assert make(URI).folder == ""
    make.set_folder("/somewhere")
    pool = make(URI)
    assert pool.folder == module.locals._pydal_folder_ == "/somewhere"
    module.locals._pydal_folder_ = "/elsewhere"
    pool._find_work_folder()
    assert pool.folder == "/elsewhere"
    seen = []
    thread = Thread(target=lambda: seen.append(make(URI).folder))
    thread.start()
    thread.join()
    assert seen == [""]


def test_the_first_connection_can_be_had_before_or_again(make):
    pool = make(URI)
    pool._first_connection = True
    pool.get_connection()
    assert taken(pool)[1:] == calls((1, NEW))
    pool.close()
    pool._first_connection = False
    taken(pool)
    pool.get_connection()
    assert taken(pool) == calls((2, FIRST))


def test_a_function_is_called_with_none_at_the_end(make):
    seen = []
    pool = make(URI, 1)
    pool.get_connection()
    make.close_all_instances(seen.append)
    assert seen[-1] is None
    assert set(seen) <= {pool, None}
    pool.close()


def test_the_lock_can_be_taken(module, make):
    with module.locker, module.locker:
        assert make(URI).use() == 1


# What is different on purpose.

@pytest.fixture
def ours(monkeypatch, dbapi):
    """Pools that are ours."""
    monkeypatch.setattr(uri_pool.ConnectionPool, "POOLS", {})
    return type("Adapting", (Adapter, uri_pool.ConnectionPool), {})


def test_a_failure_is_told_and_nothing_of_it_is_kept(ours, server):
    """Not so in pyDAL: it is silent, and keeps it without "really"."""
    pool = ours(URI, 1)
    for really in True, False:
        pool.get_connection()
        with pytest.raises(ValueError, match="failed"):
            pool.close("fail", really)
        assert not server.connections[-1].valid
        assert len(ours.POOLS[URI]) == 0
    pool.bad = {3}
    with pytest.raises(ValueError, match="bad connection"):
        pool.get_connection()
    assert not server.connections[-1].valid  # pyDAL goes on with it
    assert pool.use() == 4


def test_the_first_error_of_all_comes_after_the_function(ours):
    seen = []
    pool = ours(URI, 1)
    pool.get_connection()

    def act(given):
        seen.append(given)
        if given is not None:
            raise ValueError("failed")
    with pytest.raises(ValueError, match="failed"):
        ours.close_all_instances(act)
    assert seen == [pool, None]


def test_a_cursor_opens_the_connection(ours):
    """In pyDAL this is an AttributeError."""
    pool = ours(URI)
    pool.cursor.execute("select 1")
    assert mock_db.server.log[-1][0] == "execute"


def test_a_subclass_may_wrap_its_connections(ours, dbapi, server):
    class Wrapper:
        """Has what the connection has."""

        def __init__(self, con):
            self.con = con

        def __getattr__(self, name):
            return getattr(self.con, name)

    class Wrapping(ours):
        """Gives wrapped connections to its program."""

        def set_connection(self, connection, run_hooks=False):
            super().set_connection(
                connection and Wrapper(connection), run_hooks)

    pool = Wrapping(URI, 1)
    assert pool.use() == 1
    pool.close()
    assert pool.use() == 1
    assert isinstance(pool.connection, Wrapper)
    pool.close()
    assert len(ours.POOLS[URI]) == 1
    assert pool.use() == 1
    with pytest.raises(ValueError, match="failed"):
        pool.close("fail")
    assert len(ours.POOLS[URI]) == 0
    assert not server.connections[0].valid


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("act", [
    lambda pool: pool.close(), lambda pool: pool.connection.close(),
    lambda pool: pool.close_connection(),
    lambda pool: pool.set_connection(None)])
def test_an_action_may_end_everything_itself(ours, server, size, act):
    """In pyDAL this is an AttributeError, or opens another connection."""
    pool = ours(URI, size)
    pool.get_connection()
    pool.close(act)
    assert server.calls["connect"] == 1
    assert getattr(uri_pool.THREAD_LOCAL, pool._connection_uname_) is None
