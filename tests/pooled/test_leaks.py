"""Leases that last for too long: they are reported, and taken back."""

import gc
import logging
import threading
import warnings
from threading import Event, Thread

import pytest
from patience import PATIENCE, in_threads, join, wait_until

from dbutils._base import callers
from dbutils._core import refusals
from dbutils._core.leaks import duration
from dbutils._core.lease import permit_of
from dbutils.pooled_db import PooledDB
from dbutils.steady_db import SteadyDBConnection

pytestmark = [
    pytest.mark.portable,
    pytest.mark.filterwarnings("ignore::ResourceWarning")]

LONG = 1000  # seconds that no test takes


def make(kind, **options):
    """Return a pool whose housekeeper takes overdue leases back."""
    return kind.make(leakafter=LONG, reclaim=True, **options)


def age(lease, seconds=2 * LONG):
    """Let a lease have lasted for longer."""
    permit = permit_of(lease)
    permit.taken = (permit.taken[0] - seconds, *permit.taken[1:])


def look(pool):
    """Let the housekeeper make its round now."""
    pool._core.maintenance._tick()


def counts(pool):
    stats = pool.stats()
    return stats.in_use, stats.borrowed, stats.returned, stats.leaked


def test_a_lease_can_be_taken_back_while_the_oldest_is_looked_for(
        kind, monkeypatch):
    pool = make(kind, track=True)
    lease = pool.connection()
    age(lease)
    holder_of = refusals.holder_of

    def look_meanwhile(permit):
        holder = holder_of(permit)
        look(pool)
        return holder

    monkeypatch.setattr(refusals, "holder_of", look_meanwhile)
    for _ in range(2):
        pool.stats()
    assert pool.stats().oldest is None


def test_a_report_shows_what_the_thread_does_once_a_lease(kind, caplog):
    pool = kind.make(leakafter=LONG)
    held, done = Event(), Event()

    def work_for_long():
        held.set()
        done.wait(PATIENCE)

    def hold():
        lease = pool.connection()
        age(lease)
        work_for_long()
        lease.close()

    thread = Thread(target=hold, name="the worker", daemon=True)
    thread.start()
    assert held.wait(PATIENCE)
    with caplog.at_level(logging.WARNING, "dbutils"):
        for _ in range(3):
            look(pool)
        done.set()
        join([thread])
        text, = caplog.messages
        lease = pool.connection()  # with the same connection
        age(lease)
        look(pool)
    assert len(caplog.messages) == 2
    assert "not given back by the worker" in text
    assert f"taken at {__file__}:" in text
    assert "in work_for_long" in text


def test_the_report_of_a_thread_that_has_ended_says_so(kind, caplog):
    pool = kind.make(leakafter=LONG)
    leases = []
    thread = Thread(target=lambda: leases.append(pool.connection()))
    thread.start()
    join([thread])
    age(leases[0])
    with caplog.at_level(logging.WARNING, "dbutils"):
        look(pool)
    assert caplog.messages[0].endswith("That thread has ended.")


def test_without_the_gil_no_other_thread_is_looked_at(
        kind, caplog, monkeypatch):
    monkeypatch.setattr(callers, "_has_gil", lambda: False)
    pool = kind.make(leakafter=LONG)
    leases, done = [], Event()

    def work():
        leases.append(pool.connection())
        done.wait(PATIENCE)

    threads = in_threads(work, 1)
    wait_until(lambda: leases)
    age(leases[0])
    look(pool)
    assert pool.holders()[0].stack() == ""
    assert "work()" in pool.explain()
    done.set()
    join(threads)
    assert caplog.messages[0].endswith("cannot be seen without the GIL.")


def test_an_overdue_lease_is_taken_back_and_its_slot_is_free(kind):
    pool = make(kind, maxconnections=1)
    lease = pool.connection()
    look(pool)
    assert counts(pool) == (1, 1, 0, 0)
    age(lease)
    look(pool)
    assert counts(pool) == (0, 1, 1, 1)
    assert pool.stats().closed == pool.stats().closed_dead == 1
    other = pool.connection(maxwait=0)
    lease.close()  # has no effect on anybody
    assert counts(pool) == (1, 2, 1, 1)
    other.close()
    assert counts(pool) == (0, 2, 2, 1)
    assert pool.stats().opened == 2


def test_a_lease_is_counted_once_when_it_is_reported_and_dropped(kind):
    pool = kind.make(leakafter=LONG)
    lease = pool.connection()
    age(lease)
    for _ in range(2):
        look(pool)
        assert counts(pool) == (1, 1, 0, 1)
    del lease
    assert counts(pool) == (0, 1, 1, 1)
    for number in range(2, 4):
        lease = pool.connection()
        age(lease)
        look(pool)
        lease.close()
        assert counts(pool) == (0, number, number, number)
    lease = pool.connection()
    del lease
    assert counts(pool) == (0, 4, 4, 4)


def test_a_slot_is_free_before_it_is_told_that_it_was_taken_back(kind):
    pool = make(kind)
    lease = pool.connection()
    age(lease)
    story, texts = pool._core.story, []
    own = story.tell

    def tell(name, *details, **facts):
        if name == "reclaimed":
            texts.append(lease._closed_text("commit"))
            assert counts(pool) == (0, 1, 1, 1)
        own(name, *details, **facts)

    story.tell = tell
    look(pool)
    assert len(texts) == 1
    assert "taken back" in texts[0]


def test_all_later_use_says_that_it_was_taken_back(kind):
    pool = make(kind)
    lease = pool.connection()
    age(lease, 167 + LONG)
    look(pool)
    for use in (
            lambda: lease.begin(), lambda: lease.commit(),
            lambda: lease.anything, lambda: lease.rollback()):
        with pytest.raises(
                kind.module.InvalidConnectionError,
                match=r"taken back by its pool after 19 min 27 s.*"
                rf"taken at {__file__}:"):
            use()


def test_the_cursors_of_the_lease_say_so_too(dbapi):
    pool = PooledDB(dbapi, leakafter=LONG, reclaim=True)
    with pool.connection() as db:
        early = db.cursor()
    lease = pool.connection()
    cursor = lease.cursor()
    age(lease)
    look(pool)
    for use in (
            lambda: cursor.execute("select test"),
            lambda: cursor.executemany("select test", [()]),
            lambda: cursor.callproc("test"), lambda: cursor.fetchone()):
        with pytest.raises(Exception, match="was taken back by its pool"):
            use()
    with pytest.raises(Exception, match="given back to its pool"):
        early.execute("select test")  # it was closed by the program


def test_the_connection_is_closed_by_its_holder(kind, server):
    pool = make(kind)
    lease = pool.connection()
    age(lease)
    look(pool)
    con, = server.connections
    assert kind.is_open(con)  # a statement may be in progress
    del lease
    gc.collect()
    assert not kind.is_open(con)


def test_a_waiter_is_served(kind):
    pool = make(kind, maxconnections=1, blocking=True)
    lease = pool.connection()
    thread = Thread(target=lambda: pool.connection().close(), daemon=True)
    thread.start()
    wait_until(lambda: pool.stats().waiting == 1)
    age(lease)
    look(pool)
    join([thread])
    assert counts(pool) == (0, 2, 2, 1)


def test_a_statement_in_progress_is_not_done_again_elsewhere(dbapi, server):
    pool = PooledDB(
        dbapi, 1, leakafter=LONG, reclaim=True, failover="safe")
    lease = pool.connection()
    cursor = lease.cursor()
    session = cursor._own_session
    opened = server.calls["connect"]
    age(lease)
    look(pool)
    with pytest.raises(dbapi.Error, match="was taken back by its pool"):
        session.reconnect()  # as for a statement whose connection is lost
    assert server.calls["connect"] == opened


def test_either_the_holder_or_the_pool_ends_a_lease(kind):
    pool = make(kind, maxconnections=2, blocking=True)
    stop = Event()

    def hold():
        for _ in range(100):
            lease = pool.connection()
            permit = lease._permit
            if permit.taken is not None:
                permit.taken = (
                    permit.taken[0] - 2 * LONG, *permit.taken[1:])
            del permit
            lease.close()

    def watch():
        with warnings.catch_warnings():
            while not stop.is_set():
                look(pool)

    threads = [Thread(target=hold, daemon=True) for _ in range(3)]
    watcher = Thread(target=watch, daemon=True)
    for thread in [*threads, watcher]:
        thread.start()
    join(threads)
    stop.set()
    join([watcher])
    in_use, borrowed, returned, leaked = counts(pool)
    assert (in_use, borrowed, returned) == (0, 300, 300)
    # one can come back by itself after it was reported
    assert pool.stats().closed_dead <= leaked
    assert pool.stats().idle <= 2


def test_a_share_is_taken_back_and_others_go_on(dbapi):
    pool = PooledDB(
        dbapi, maxshared=1, leakafter=LONG, reclaim=True)
    overdue, other = pool.connection(), pool.connection()
    cursor, going_on = overdue.cursor(), other.cursor()
    age(overdue)
    look(pool)
    assert counts(pool)[1:] == (2, 1, 1)
    going_on.execute("select test")
    with pytest.raises(Exception, match="was taken back by its pool"):
        cursor.execute("select test")
    with pytest.raises(Exception, match="was taken back by its pool"):
        overdue.begin()
    other.close()
    overdue.close()
    assert counts(pool) == (0, 2, 2, 1)
    assert pool.stats().closed == 1
    with pool.connection() as db, db.cursor() as newer:
        newer.execute("select test")


def test_a_share_without_others_is_taken_back(dbapi):
    pool = PooledDB(dbapi, maxshared=1, leakafter=LONG, reclaim=True)
    lease = pool.connection()
    age(lease)
    look(pool)
    assert counts(pool) == (0, 1, 1, 1)
    assert pool.stats().shared == 0
    with pytest.raises(Exception, match="was taken back by its pool"):
        lease.cursor()
    assert pool.connection()._con is not lease


def test_a_share_that_has_left_the_pool_disturbs_no_other(dbapi):
    pool = PooledDB(dbapi, maxshared=1, leakafter=LONG, reclaim=True)
    gone = [pool.connection() for _ in range(2)]
    permit = permit_of(gone[0])
    permits = pool._core.permits_in_use
    pool._core.permits_in_use = lambda: [permit]  # read before it has left
    pool.drain()
    leases = [pool.connection() for _ in range(2)]  # in the same place
    assert pool.stats().shared == 1
    age(gone[0])
    look(pool)
    assert counts(pool)[3] == 1
    assert pool.stats().shared == 1
    pool._core.permits_in_use = permits
    permit = None
    for lease in [*gone, *leases]:
        lease.close()
    assert pool.stats().in_use == pool.stats().shared == 0


def test_a_transaction_that_is_open_ends_with_the_error(kind):
    pool = make(kind)

    def work():
        with pool.transaction() as db:
            age(db)
            look(pool)

    with pytest.raises(
            kind.module.InvalidConnectionError, match="was taken back"):
        work()


def test_reclaim_needs_to_know_after_how_long(kind):
    with pytest.raises(ValueError, match="'reclaim' needs 'leakafter'"):
        kind.make(reclaim=True)


@pytest.mark.parametrize(("seconds", "text"), [
    (0.25, "0.25 s"), (59.9, "59.9 s"), (167, "2 min 47 s"),
    (3720, "1 h 2 min")])
def test_a_duration_in_words(seconds, text):
    assert duration(seconds) == text


# Leases that do nothing for long.

def idle_messages(caplog, pool):
    caplog.clear()
    with caplog.at_level(logging.WARNING, "dbutils"):
        look(pool)
    return [text for text in caplog.messages if "without a statement" in text]


def test_a_place_that_holds_without_a_statement_is_reported_once(
        kind, caplog):
    pool = kind.make(idleafter=100)
    leases = [pool.connection() for _ in range(2)]
    for lease in leases:
        age(lease, 167)
    text, = idle_messages(caplog, pool)
    assert f": {__file__}:" in text
    assert " held 2 min 47 s, 100.0 % of it without a statement." in text
    assert not idle_messages(caplog, pool)


def test_statements_are_no_rest(dbapi, caplog):
    pool = PooledDB(dbapi, idleafter=100)
    lease = pool.connection()
    cursor = lease.cursor()
    age(lease, 50)
    cursor.execute("select test")
    age(lease, 60)
    assert not idle_messages(caplog, pool)  # the last one was just now
    busy = cursor._own_session.busy
    busy.begin(lease._checkout)
    busy.ended -= 200
    assert not idle_messages(caplog, pool)  # another one goes on
    busy.end()
    busy.ended -= 105
    assert idle_messages(caplog, pool)


def test_of_those_who_share_no_rest_is_known(dbapi, caplog):
    pool = PooledDB(
        dbapi, maxshared=1, maxconnections=2, idleafter=LONG, track=True)
    lease = pool.connection()
    lease.cursor().execute("select test")
    age(lease)
    look(pool)
    holder, = pool.holders()
    assert (holder.busy, holder.idle) == (None, None)
    assert caplog.messages == []


def test_holders_tell_how_busy_they_are(kind):
    pool = kind.make(track=True)
    lease = pool.connection()
    holder, = pool.holders()
    assert (holder.busy, holder.idle) == (0, 1)
    if kind.module.__name__.endswith("_pg"):
        lease.query("select test")
    else:
        lease.cursor().execute("select test")
    assert pool.holders()[0].busy > 0
    age(lease, 100)
    lease._con._own_session.busy.seconds += 25
    holder, = pool.holders()
    assert 25 <= holder.busy < 30
    assert 0.7 < holder.idle < 0.751
    lease.close()
    lease = pool.connection()  # it begins anew
    assert pool.holders()[0].busy == 0


def test_what_measures_looks_as_usual(dbapi):
    usual, timed = (
        PooledDB(dbapi, track=track).connection() for track in (False, True))
    assert repr(usual) == repr(timed)
    assert repr(usual.cursor()) == repr(timed.cursor())
    assert isinstance(timed.cursor(), type(usual.cursor()))


def test_a_method_that_a_program_has_replaced_is_called(dbapi, monkeypatch):
    pool = PooledDB(dbapi, 1, track=True)
    calls = []
    original = SteadyDBConnection.cursor

    def cursor(self, *args, **kwargs):
        calls.append(self)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(SteadyDBConnection, "cursor", cursor)
    leases = [pool.connection(), pool.connection()]  # the second is opened
    for lease in leases:
        lease.cursor().execute("select test")
    assert calls == [lease._con for lease in leases]


def test_a_statement_that_goes_on_counts(dbapi):
    pool = PooledDB(dbapi, track=True)
    lease = pool.connection()
    busy = lease._con._own_session.busy
    busy.begin(lease._checkout)
    age(lease, 100)
    busy.since -= 50
    holder, = pool.holders()
    assert 50 <= holder.busy < 60
    assert 0.4 < holder.idle < 0.501


def test_errors_and_other_calls_count_as_statements(dbapi):
    pool = PooledDB(dbapi, track=True)
    lease = pool.connection()
    cursor = lease.cursor()
    busy = lease._con._own_session.busy
    before = 0
    for use in (
            lambda: cursor.execute("select test"),
            lambda: cursor.execute("get test"),
            lambda: cursor.executemany("get test", [()]),
            lambda: cursor.callproc("test")):
        use()
        assert busy.since is None
        assert busy.seconds > before
        before = busy.seconds
    with pytest.raises(dbapi.ProgrammingError):
        cursor.execute("what?")
    assert busy.since is None
    assert busy.seconds > before


def test_without_a_reason_nothing_is_measured(kind):
    pool = kind.make(track=False)
    lease = pool.connection()
    assert lease._con._own_session.busy is None
    pool = kind.make(track="auto", maxconnections=1)
    lease = pool.connection()
    holder, = pool.holders()
    assert holder.ident == threading.get_ident()
    assert holder.busy is holder.idle is None
    assert lease


def test_a_lease_that_ends_while_it_is_reported_is_not_taken_back(kind):
    pool = make(kind)
    lease = pool.connection()
    age(lease)
    con = lease._con
    with warnings.catch_warnings():
        warnings.showwarning = lambda *args, **kwargs: lease.close()
        warnings.simplefilter("always")
        look(pool)
    assert counts(pool) == (0, 1, 1, 1)
    with pool.connection() as other:
        assert other._con is con
