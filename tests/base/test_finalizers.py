"""An exception that hits a finalizer is not printed, and nothing is lost."""

import gc
import io
import signal
import sys
import threading
from threading import Event

import pytest
from everywhere import HERE, Interrupt, sweep
from patience import PATIENCE, wait_until

from dbutils.pooled_db import PooledDB
from dbutils.simple_pooled_db import PooledDB as SimplePooledDB
from dbutils.steady_db import SteadyDBConnection, SteadyDBCursor, connect
from dbutils.steady_pg import SteadyPgConnection

LIMIT = 2


class Reports:
    """What Python prints since nobody could catch it.

    What hits the finalizer itself before its first statement, or after the
    last one, can only be printed.
    """

    def __init__(self):
        self._texts = []
        self._stream = io.StringIO()
        self._patch = pytest.MonkeyPatch()

    def __enter__(self):
        # here, since pytest has a hook of its own during the test
        if hasattr(sys, "unraisablehook"):
            self._patch.setattr(sys, "unraisablehook", self._note)
        else:
            self._patch.setattr(sys, "stderr", self._stream)

    def __exit__(self, *exc):
        self._patch.undo()

    def _note(self, report):
        places = []
        trace = report.exc_traceback
        while trace is not None:
            code = trace.tb_frame.f_code
            if code.co_filename.startswith(HERE):
                places.append(code.co_name)
            trace = trace.tb_next
        self._texts.append(f"{report.object!r}: {places}")
        if places[-1:] == ["__del__"]:
            self._texts.pop()

    def read(self):
        """Return the reports, or some of them."""
        texts = self._stream.getvalue().split("Exception ignored in: ")[1:]
        return self._texts + [
            text for text in texts if ", in __del__" not in "".join(
                place for place in text.split("  File ")[1:]
                if HERE in place).split("\n")[-3]]


@pytest.fixture
def reports():
    gc.collect()
    gc.disable()
    yield Reports()
    gc.enable()


def assert_sound(pool):
    leases = [pool.dedicated_connection(maxwait=0) for _ in range(LIMIT)]
    assert len({id(lease._con) for lease in leases}) == LIMIT
    for lease in leases:
        lease.close()


@pytest.mark.parametrize("maxshared", [0, 1])
def test_a_lease_is_dropped(dbapi, reports, maxshared):
    def prepare():
        pool = PooledDB(dbapi, maxconnections=LIMIT, maxshared=maxshared)
        held = [pool.connection()]
        held[0].begin()
        return held.clear, lambda: assert_sound(pool)

    with reports:
        assert sweep(prepare) > 100
    assert reports.read() == []


def test_a_cursor_is_dropped(dbapi, reports):
    def prepare():
        pool = PooledDB(dbapi, maxconnections=LIMIT)
        lease = pool.connection()
        held = [lease.cursor()]

        def check():
            lease.close()
            assert_sound(pool)
        return held.clear, check

    with reports:
        assert sweep(prepare) > 10
    assert reports.read() == []


def test_a_steady_connection_is_dropped(dbapi, server, reports):
    def prepare():
        held = [connect(dbapi)]
        held[0].begin()
        return held.clear, lambda: None

    with reports:
        assert sweep(prepare) > 10
    assert reports.read() == []


def test_a_pool_is_dropped(dbapi, reports):
    def prepare():
        held = [PooledDB(dbapi, 2, maxconnections=LIMIT)]
        return held.clear, lambda: None

    with reports:
        assert sweep(prepare) > 100
    assert reports.read() == []


def test_what_was_dropped_in_the_middle_of_an_answer_does_not_stay(
        monkeypatch, dbapi, reports):
    """A cursor that reads the rest of a result was interrupted."""
    # what tells whether it is in a transaction gets the safe rules
    monkeypatch.setattr(
        dbapi.Connection, "in_transaction", False, raising=False)
    pool = PooledDB(dbapi, maxconnections=1)
    with pool.connection() as db:
        con, cursor = db.dbapi_connection, db.cursor()

        def interrupted_close(cursor):
            raise Interrupt

        with monkeypatch.context() as patch:
            patch.setattr(dbapi.Cursor, "close", interrupted_close)
            del cursor
    assert len(pool._idle_cache) == 0
    assert pool.connection(maxwait=0).dbapi_connection is not con


@pytest.mark.parametrize("steady_class", [
    SteadyDBConnection, SteadyDBCursor, SteadyPgConnection])
def test_what_was_not_even_begun_to_be_made_can_be_dropped(
        reports, steady_class):
    """An interrupt can come before its first attribute is set."""
    unborn = object.__new__(steady_class)
    assert not hasattr(unborn, "_own_session")
    with reports:
        del unborn
    assert reports.read() == []


def test_ctrl_c_in_a_finalizer_is_not_lost(monkeypatch, dbapi, reports):
    """Python would print it, and the program would go on."""
    assert threading.current_thread() is threading.main_thread()
    # it may be ignored, as in a program in the background
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    con = connect(dbapi)
    patience = Event()

    def interrupted_close():
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(con.dbapi_connection, "close", interrupted_close)

    def work():
        nonlocal con
        con = None
        patience.wait(20)

    try:
        with reports, pytest.raises(KeyboardInterrupt):
            work()
    finally:
        signal.signal(signal.SIGINT, before)
    assert reports.read() == []


@pytest.mark.parametrize("error", [Interrupt, SystemExit, ValueError])
def test_what_else_hits_a_finalizer_is_logged(
        monkeypatch, dbapi, reports, caplog, error):
    con = connect(dbapi)

    def interrupted_close():
        raise error

    monkeypatch.setattr(con.dbapi_connection, "close", interrupted_close)
    with reports, caplog.at_level("DEBUG", "dbutils"):
        del con
    assert error.__name__ in caplog.text
    assert reports.read() == []


@pytest.mark.parametrize("is_shared", [False, True])
def test_where_finalizers_run_at_any_moment_they_ask_no_server(
        monkeypatch, dbapi, is_shared):
    monkeypatch.setattr("dbutils._pooled.base.anywhere", True)
    pool = PooledDB(dbapi, maxshared=int(is_shared), maxconnections=1)
    lease = pool.connection()
    con = lease.dbapi_connection
    lease.begin()
    asked = []
    monkeypatch.setattr(con, "rollback", lambda: asked.append(1))
    del lease
    assert not asked
    with pool.connection(maxwait=0) as lease:
        assert lease.dbapi_connection is con
        assert asked


def test_where_finalizers_run_at_any_moment_a_waiter_has_what_was_dropped(
        monkeypatch, dbapi):
    monkeypatch.setattr("dbutils._pooled.simple.anywhere", True)
    monkeypatch.setattr(dbapi, "threadsafety", 1)
    pool = SimplePooledDB(dbapi, 1)
    lease = pool.connection()
    con = lease._con
    served = []
    waiter = threading.Thread(
        target=lambda: served.append(pool.connection()._con), daemon=True)
    waiter.start()
    wait_until(lambda: pool._store._core.waiting)
    del lease
    waiter.join(PATIENCE)
    assert served == [con]
