"""Waiting for a connection: how long, how many, and what the error tells."""

import re
import sys
import threading
from threading import Event, Thread
from time import monotonic

import pytest
from kinds import for_every_kind
from patience import PATIENCE, wait_until

from dbutils._core import serving

pytestmark = for_every_kind


def waiting(pool):
    return pool.stats().waiting


def test_who_sets_maxwait_waits_that_long(kind):
    pool = kind.make(maxconnections=1, maxwait=0.05)
    lease = pool.connection(maxwait=PATIENCE)
    begin = monotonic()
    with pytest.raises(
            kind.module.TooManyConnectionsError,
            match="None has become free in") as caught:
        pool.connection()
    waited = monotonic() - begin
    told = float(re.search(r"free in ([\d.]+) seconds", str(caught.value))[1])
    assert 0.05 <= told <= waited + 0.001  # it is rounded
    assert lease


def test_a_request_can_wait_longer_or_shorter_than_the_others(kind):
    pool = kind.make(maxconnections=1, maxwait=0)
    lease = pool.connection()
    with pytest.raises(kind.module.TooManyConnectionsError):
        pool.connection()
    served = []
    thread = Thread(
        target=lambda: served.append(pool.connection(maxwait=PATIENCE)))
    thread.start()
    wait_until(lambda: waiting(pool) == 1)
    lease.close()
    thread.join(PATIENCE)
    assert len(served) == 1
    with pytest.raises(
            kind.module.TooManyConnectionsError, match="maxwait"):
        kind.make(maxconnections=1, blocking=True).connection() and (
            pool.connection(maxwait=0))


def test_who_waits_is_served_without_looking_again(kind):
    pool = kind.make(maxconnections=1, blocking=True)
    pool._core.queue.first_look = PATIENCE
    lease = pool.connection()
    thread = Thread(target=lambda: pool.connection().close(), daemon=True)
    thread.start()
    wait_until(lambda: waiting(pool) == 1)
    lease.close()
    thread.join(PATIENCE / 2)
    assert not thread.is_alive()


def test_a_blocking_pool_does_not_wait_where_that_is_not_wanted(kind):
    pool = kind.make(maxconnections=1, blocking=True)
    lease = pool.connection(maxwait=0)
    with pytest.raises(kind.module.TooManyConnectionsError):
        pool.connection(maxwait=0)
    lease.close()
    assert pool.connection(maxwait=0)


def test_a_request_that_may_not_wait_is_not_said_to_have_waited(
        kind, monkeypatch):
    pool = kind.make(maxconnections=1)
    with pool.connection():
        # as if the thread were slow
        monkeypatch.setattr(serving, "monotonic", lambda: monotonic() + 5)
        with pytest.raises(
                kind.module.TooManyConnectionsError,
                match="or wait for one with blocking"):
            pool.connection()


def test_only_so_many_requests_may_wait(kind):
    pool = kind.make(maxconnections=1, blocking=True, maxwaiting=2)
    lease = pool.connection()
    served = []
    threads = [
        Thread(target=lambda: served.append(pool.connection().close()))
        for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: waiting(pool) == 2)
    with pytest.raises(
            kind.module.TooManyConnectionsError,
            match=r"raise maxwaiting \(2\)"):
        pool.connection()
    lease.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(served) == 2


def test_the_error_tells_who_holds_the_connections(kind):
    pool = kind.make(maxconnections=2)
    taken = []

    def hold():
        taken.append(pool.connection())

    thread = Thread(target=hold, name="the holder")
    thread.start()
    thread.join()
    taken.append(pool.connection())
    with pytest.raises(kind.module.TooManyConnectionsError) as caught:
        pool.connection()
    first, second = str(caught.value).splitlines()[-2:]
    name = threading.current_thread().name
    line = hold.__code__.co_firstlineno + 1
    assert first.startswith("- a thread that has ended, for 0")
    assert first.endswith(f"seconds, taken at {__file__}:{line}")
    assert second.startswith(f"- {name}, for ")


def test_the_holder_of_a_connection_that_is_lent_again_is_named(kind):
    pool = kind.make(mincached=2, maxconnections=2, track=True)
    for _ in range(3):
        pool.connection().close()
    leases = [pool.connection() for _ in range(2)]
    line = sys._getframe().f_lineno - 1
    with pytest.raises(kind.module.TooManyConnectionsError) as caught:
        pool.connection()
    named = str(caught.value).splitlines()[-2:]
    assert all(text.endswith(f"{__file__}:{line}") for text in named)
    assert leases


def test_holders_are_noted_when_half_of_the_connections_are_in_use(kind):
    pool = kind.make(mincached=4, maxconnections=4)
    pool._core.tracks = None  # since all of them were opened together
    pool._core.choose_ways()
    leases = [pool.connection() for _ in range(4)]
    with pytest.raises(kind.module.TooManyConnectionsError) as caught:
        pool.connection()
    # a pool that measures notes the first one, too
    assert re.search(
        r"\d connections? (was|were) taken before", str(caught.value))
    assert str(caught.value).count("taken at") in {2, 3}
    leases.clear()
    leases += [pool.connection() for _ in range(4)]
    assert len(pool._core.holders()) == 4


def test_an_earlier_holder_is_not_taken_for_the_present_one(kind):
    pool = kind.make(maxconnections=4)
    pool.connection().close()
    lease = pool.connection()
    line = sys._getframe().f_lineno - 1
    places = [str(holder) for holder in pool._core.holders()]
    assert all(place.endswith(f"{__file__}:{line}") for place in places)
    assert lease


def test_no_holders_are_noted_where_that_is_not_wanted(kind):
    pool = kind.make(maxconnections=1, track=False)
    lease = pool.connection()
    with pytest.raises(kind.module.TooManyConnectionsError) as caught:
        pool.connection()
    assert "taken at" not in str(caught.value)
    assert lease


@pytest.mark.parametrize("track", ["always", None, 1])
def test_a_bad_value_of_track_is_named(kind, track):
    with pytest.raises(ValueError, match="'track'"):
        kind.make(track=track)


@pytest.mark.parametrize(
    ("options", "error"), [
        ({"maxwait": -1}, ValueError), ({"maxwait": "1"}, TypeError),
        ({"maxwait": float("nan")}, ValueError),
        ({"maxwaiting": -1}, ValueError), ({"maxwaiting": 1.5}, TypeError),
        ({"mincached": -1}, ValueError), ({"mincached": "1"}, TypeError),
        ({"maxcached": -1}, ValueError), ({"maxcached": []}, TypeError),
        ({"maxconnections": -1}, ValueError),
        ({"maxconnections": "1"}, TypeError)], ids=str)
def test_bad_sizes_and_times_are_named(kind, server, options, error):
    name, = options
    with pytest.raises(error, match=f"'{name}'"):
        kind.make(**options)
    assert server.calls["connect"] == 0


def test_a_bad_maxwait_of_a_request_is_named(kind):
    pool = kind.make()
    with pytest.raises(ValueError, match="'maxwait'"):
        pool.connection(maxwait=-1)
    assert kind.in_use(pool) == 0


def test_sixty_four_threads_get_their_turns_on_four_connections(kind):
    """A few may lag behind, if the machine does not let them run.

    How equal the numbers are is told by Jain's index: 1 means that they all
    are, and 4/64 that only four threads had all the turns.
    """
    pool = kind.make(maxconnections=4, blocking=True)
    turns = dict.fromkeys(range(64), 0)
    done = Event()

    def checkout(number):
        while not done.is_set():
            pool.connection().close()
            turns[number] += 1
            if turns[number] >= 50:
                done.set()

    threads = [Thread(target=checkout, args=(number,)) for number in turns]
    leases = [pool.connection() for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: waiting(pool) == 64)  # they begin together
    for lease in leases:
        lease.close()
    for thread in threads:
        thread.join(PATIENCE)
    squares = sum(number ** 2 for number in turns.values())
    assert sum(turns.values()) ** 2 / (len(turns) * squares) > 0.9


def test_the_error_names_who_took_an_idle_connection(kind):
    pool = kind.make(maxconnections=2, track=True)
    for lease in [pool.connection(), pool.connection()]:
        lease.close()

    def take():
        return pool.connection()

    taken = [take(), take()]
    with pytest.raises(kind.module.TooManyConnectionsError) as caught:
        pool.connection()
    line = take.__code__.co_firstlineno + 1
    assert str(caught.value).count(f"taken at {__file__}:{line}") == 2
    assert "before the pool noted" not in str(caught.value)
    assert taken


def test_who_takes_what_was_opened_ahead_is_noted_from_half_on(kind):
    pool = kind.make(maxconnections=4)
    for _ in range(4):
        assert pool._core.open_ahead(pool._open)
    taken = [pool.connection() for _ in range(4)]
    with pytest.raises(
            kind.module.TooManyConnectionsError,
            match="The oldest of those in use"):
        pool.connection()
    assert taken


def test_the_ways_open_again_if_a_waiter_was_served_before_it_blocked_them(
        kind):
    pool = kind.make(maxconnections=1, blocking=True)
    core = pool._core
    leases = [pool.connection()]

    class Links(list):
        def append(self, link):
            super().append(link)
            leases.pop().close()

    core.waiting = core.queue.links = Links()
    pool.connection().close()
    pool.connection().close()
    assert core.room != 0
    assert core.take_dedicated is core.way_out


def test_what_is_handed_to_a_waiter_was_not_idle(kind):
    pool = kind.make(maxconnections=1, blocking=True, maxidletime=1000)
    core, clock = pool._core, [monotonic()]
    core.maintenance.clock = lambda: clock[0]
    lease = pool.connection()
    con, served = kind.driver_con(lease), []
    thread = Thread(
        target=lambda: served.append(kind.driver_con(pool.connection())))
    thread.start()
    wait_until(lambda: waiting(pool) == 1)
    clock[0] += 1001
    lease.close()
    thread.join(PATIENCE)
    assert served == [con]
