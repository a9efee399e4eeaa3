"""Observers of a pool, which are told what happens in it."""

import gc
import logging

import pytest
from forking import in_child
from kinds import for_every_kind
from patience import PATIENCE, in_threads, join, wait_until

from dbutils._core import observing
from dbutils._pooled import base
from dbutils.pooled_db import PooledDB

EVENTS = [
    "opened", "closed", "acquired", "released", "refused", "reconnected",
    "failed", "outage_began", "outage_ended"]
AWAY = ConnectionRefusedError


class Diary:
    """An observer that notes what it is told."""

    def __init__(self, *names):
        self.events = []
        for name in names or EVENTS:
            setattr(self, name, self._noter(name))

    def _noter(self, name):
        return lambda *details: self.events.append((name, *details))

    @property
    def names(self):
        return [event[0] for event in self.events]


def observed(pool, *names):
    """Return a diary that observes a pool."""
    diary = Diary(*names)
    pool.observe(diary)
    return diary


@for_every_kind
def test_the_life_of_a_connection_is_observed(kind):
    pool = kind.make()
    diary = observed(pool)
    pool.connection().close()
    pool.connection().close()
    pool.close()
    assert diary.names == [
        "opened", "acquired", "released", "acquired", "released", "closed"]
    assert all(
        details[0] >= 0 for name, *details in diary.events
        if name != "closed")
    assert diary.events[-1] == ("closed", "cleared")


@for_every_kind
def test_nothing_is_told_after_the_end(kind):
    pool = kind.make()
    diary = observed(pool)
    pool.connection().close()
    pool.unobserve(diary)
    before = diary.names
    pool.connection().close()
    pool.close()
    assert diary.names == before
    assert pool._core.is_plain is not bool(pool._core.observers)


def test_the_fast_ways_are_those_of_a_pool_that_was_never_observed(kind):
    pool = kind.make(1)
    core = pool._core
    ways = core.take, core.take_dedicated, core.put, core.is_plain
    diary = observed(pool)
    assert core.take != ways[0]
    pool.unobserve(diary)
    assert ways == (core.take, core.take_dedicated, core.put, core.is_plain)


@pytest.mark.parametrize("options", [
    {"track": True}, {"track": True, "maxidletime": 60}])
def test_the_holders_of_a_pool_that_is_observed_are_known(kind, options):
    """Also of connections that were idle, for which there is a short way."""
    pool = kind.make(maxconnections=2, **options)
    diary = observed(pool)
    pool.connection().close()
    lease = pool.connection()
    holder, = pool.holders()
    assert (holder.file, holder.function) == (
        __file__, "test_the_holders_of_a_pool_that_is_observed_are_known")
    lease.close()
    assert diary.names[1:] == ["acquired", "released"] * 2


def test_a_shared_connection_stays_shared_when_the_pool_is_observed(dbapi):
    pool = PooledDB(dbapi, maxshared=1, maxconnections=2)
    observed(pool)
    pool.dedicated_connection().close()
    first, second = pool.connection(), pool.connection()
    assert first._con is second._con
    assert pool.stats().shared == 1


def test_an_observer_of_rare_events_leaves_the_fast_way_open(kind):
    pool = kind.make(1)
    take = pool._core.take
    observed(pool, "opened", "closed", "refused")
    assert pool._core.take == take


def test_an_observer_is_told_of_no_other_events(kind):
    pool = kind.make(1)
    diary = observed(pool, "created", "drained", "retired", "opened")
    pool.drain()
    pool.connection().close()
    assert diary.names == ["opened"]


def test_an_observer_needs_one_method(kind):
    pool = kind.make()
    with pytest.raises(TypeError, match="at least one of the methods opened"):
        pool.observe(object())
    pool.observe(Diary("failed"))
    pool.unobserve(object())  # as often as one likes


def test_two_observers_are_told_and_each_only_once(kind):
    pool = kind.make()
    first, second = observed(pool, "opened"), observed(pool, "opened")
    pool.observe(first)
    pool.connection().close()
    assert first.names == second.names == ["opened"]


@pytest.mark.parametrize("name", EVENTS[:4])
def test_an_observer_that_fails_disturbs_nothing(kind, caplog, name):
    pool = kind.make()
    broken, whole = Diary(name), Diary(name)

    def fail(*_details):
        raise RuntimeError("secret")

    setattr(broken, name, fail)
    pool.observe(broken)
    pool.observe(whole)
    caplog.set_level(logging.WARNING)
    for _ in range(3):
        pool.connection().close()
        pool.close()
    assert whole.names == [name] * 3
    [message] = caplog.messages
    assert message == (
        f"{name}() of an observer of a pool, a Diary, failed with"
        " RuntimeError [DBU-62]")
    assert pool.stats().in_use == 0


def test_a_failure_is_reported_again_after_a_while(
        kind, caplog, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(observing, "monotonic", lambda: now[0])
    pool = kind.make()
    pool.observe(Diary("failed"))
    broken = Diary("opened")
    broken.opened = None.__class__  # which takes no argument
    pool.observe(broken)
    for now[0] in (0.0, 59.0, 61.0):
        pool.connection().close()
        pool.close()
    assert len(caplog.messages) == 2


def test_an_interrupt_of_an_observer_loses_no_connection(kind):
    pool = kind.make(1, maxconnections=1)
    for name in ("acquired", "released"):
        broken = Diary(name)

        def interrupt(*_details):
            raise KeyboardInterrupt

        setattr(broken, name, interrupt)
        pool.observe(broken)
        with pytest.raises(KeyboardInterrupt):
            pool.connection().close()
        pool.unobserve(broken)
        gc.collect()
        assert pool.stats().in_use == 0
        pool.connection().close()


@for_every_kind
def test_each_way_back_is_told_of_once(kind):
    pool = kind.make()
    diary = observed(pool, "acquired", "released")
    pool.connection().close()
    with pool.connection():
        pass
    lease = pool.connection()
    lease.close()
    lease.close()
    del lease
    dropped = pool.connection()
    assert dropped
    del dropped
    with pool.transaction():
        pass
    gc.collect()
    pool.wait()
    pool.connection().close()
    wait_until(lambda: pool.stats().in_use == 0)
    assert diary.names.count("acquired") == 7
    assert diary.names.count("released") == 7


def test_what_the_collector_finds_is_told_with_the_next_event(dbapi):
    pool = PooledDB(dbapi)
    diary = observed(pool, "acquired", "released")
    lease = pool.connection()
    lease.myself = lease
    del lease
    gc.collect()
    pool.connection().close()
    assert diary.names == ["acquired", "released", "acquired", "released"]


def test_what_is_dropped_without_the_gil_is_told_later(dbapi, monkeypatch):
    monkeypatch.setattr(base, "anywhere", True)
    pool = PooledDB(dbapi)
    before = pool.connection()
    diary = observed(pool, "acquired", "released")
    lease = pool.connection()
    del lease, before
    assert diary.names == ["acquired"]
    pool.connection().close()
    assert diary.names == ["acquired", "released", "acquired", "released"]


def test_shares_are_told_of_one_by_one(dbapi):
    pool = PooledDB(dbapi, maxshared=1)
    diary = observed(pool)
    first, second = pool.connection(), pool.connection()
    assert pool.stats().shared == 1
    first.close()
    second.close()
    assert diary.names == [
        "opened", "acquired", "acquired", "released", "released"]


def test_refused_requests_are_told_of(kind):
    pool = kind.make(maxconnections=1)
    diary = observed(pool, "refused")
    with pool.connection():
        for maxwait in (0, 0.01):
            with pytest.raises(kind.module.TooManyConnectionsError):
                pool.connection(maxwait=maxwait)
    assert diary.names == ["refused", "refused"]
    assert diary.events[1][1] >= 0.01


def test_a_wait_is_told_of(kind):
    pool = kind.make(maxconnections=1, blocking=True)
    diary = observed(pool, "waited", "missed")
    lease = pool.connection()
    threads = in_threads(lambda: pool.connection().close(), 1)
    wait_until(lambda: pool.stats().waiting == 1)
    lease.close()
    join(threads)
    assert [event[0::2] for event in diary.events] == [
        ("missed",), ("waited", True)]


def test_a_new_session_is_told_of(dbapi):
    pool = PooledDB(dbapi, maxusage=1)
    diary = observed(pool)
    with pool.connection() as db, db.cursor() as cursor:
        for _ in range(3):
            cursor.execute("select test")
    assert diary.names == [
        "opened", "acquired", "reconnected", "reconnected", "released"]


def test_an_outage_is_told_of_once(kind, server):
    pool = kind.make()
    diary = observed(pool)
    server.fail("connect", AWAY, times=3)
    pool.connection(maxwait=PATIENCE).close()
    assert diary.names == [
        "failed", "outage_began", "failed", "failed", "outage_ended",
        "opened", "acquired", "released"]
    assert isinstance(diary.events[0][1], AWAY)
    assert diary.events[0][1].__traceback__ is None
    assert diary.events[4][1] >= 0


def test_another_error_of_a_connect_is_no_outage(kind, server):
    pool = kind.make()
    diary = observed(pool)
    server.fail("connect", KeyError)
    with pytest.raises(KeyError):
        pool.connection()
    assert diary.names == ["failed"]


@pytest.mark.parametrize(("close", "reason"), [
    (lambda pool: pool.close(), "cleared"),
    (lambda pool: pool.drain(), "cleared"),
    (lambda pool: pool.shutdown(), "cleared"),
    (lambda pool: pool._core.trim(0), "surplus"),
    (lambda pool: setattr(pool, "_maxcached", 1), "surplus")])
def test_the_reason_of_a_close_is_told(kind, close, reason):
    pool = kind.make(2)
    diary = observed(pool, "closed")
    close(pool)
    assert {event[1:] for event in diary.events} == {(reason,)}


def test_a_child_begins_with_nothing_in_use(kind):
    pool = kind.make()
    diary = observed(pool, "acquired", "released")
    lease = pool.connection()

    def work():
        assert diary.names == ["acquired"]
        pool.connection().close()
        return diary.names == [
            "acquired", "released", "acquired", "released"]

    assert in_child(work)
    lease.close()
    assert diary.names == ["acquired", "released"]


@pytest.mark.usefixtures("_restless")
def test_many_threads_are_observed(kind):
    pool = kind.make(maxconnections=3, blocking=True)
    diary = observed(pool)

    def work():
        for _ in range(100):
            pool.connection().close()

    join(in_threads(work, 8))
    assert diary.names.count("acquired") == 800
    assert diary.names.count("released") == 800
    assert pool.stats().opened == diary.names.count("opened")
