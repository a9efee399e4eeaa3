"""An exception, or other threads, at any point of a hand-over.

A connection is handed over in lend_in_line() and in close(), the one of the
thread that waits and the other of the one that gives back.
"""

import sys
from collections import deque
from contextlib import suppress
from threading import Thread

import pytest
from everywhere import sweep
from patience import PATIENCE, wait_until

from dbutils._core.waiting import FEW, Waiter
from dbutils._pooled import ways
from dbutils.pooled_db import (
    PoolClosedError,
    PoolDeadlockError,
    PooledDB,
    TooManyConnectionsError,
)

LIMIT = 2
STRIDE = 9  # where others wait, which takes longer

pytestmark = [
    pytest.mark.portable,
    pytest.mark.usefixtures("_collector"),
    pytest.mark.filterwarnings(
        "ignore::pytest.PytestUnhandledThreadExceptionWarning",
        "ignore::pytest.PytestUnraisableExceptionWarning")]


@pytest.fixture(autouse=True)
def _unreported(monkeypatch):
    # what hits a finalizer can only be reported
    monkeypatch.setattr(
        sys, "unraisablehook", deque(maxlen=0).append, raising=False)


class Line:
    """A pool whose connections are all in use."""

    def __init__(self, dbapi, **options):
        self.pool = PooledDB(
            dbapi, maxconnections=LIMIT, blocking=True, **options)
        self.core = self.pool._core
        self.core.queue.first_look = 0.001
        self.leases = [self.pool.connection() for _ in range(LIMIT)]
        self.threads = []
        self.served = []
        # a request has found all of them in use
        self.core.track()
        self.core.take = self.core.take_dedicated = ways.none_is_idle
        self.core.room = 0

    def give(self):
        self.leases.pop().close()

    def start(self, function):
        self.threads.append(Thread(target=function, daemon=True))
        self.threads[-1].start()

    def give_to_waiter(self):
        """Give a connection back as soon as somebody waits."""
        wait_until(lambda: self.core.waiting or self.is_over)
        self.give()

    is_over = False

    def begin(self, side):
        """Begin the other side of a hand-over than the one that is tested."""
        if side == "waits":
            self.start(self.give_to_waiter)
        else:
            self.wait(1)

    def wait(self, number):
        """Let some requests wait, one after the other."""
        for place in range(number):
            self.start(lambda place=place: self.serve(place))
            wait_until(lambda: self.pool.stats().waiting > place)  # noqa: B023 - at once

    def serve(self, place):
        with suppress(PoolClosedError), self.pool.connection():
            self.served.append(place)

    def join(self):
        self.is_over = True
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def check(self):
        """Check that all can be had, that nobody waits, and it is quick."""
        self.join()
        assert self.served == sorted(self.served)
        self.leases.clear()
        stats = self.pool.stats()
        assert (stats.in_use, stats.waiting) == (0, 0)
        leases = [self.pool.connection(maxwait=0) for _ in range(LIMIT)]
        with pytest.raises(TooManyConnectionsError):
            self.pool.connection(maxwait=0)
        for lease in leases:
            lease.close()
        self.pool.connection().close()
        self.pool.connection().close()
        assert not self.core.waiting
        assert self.core.room != 0
        assert self.core.take is self.core.way_out


class Granting(list):
    """A queue of waiters to each of which a connection is handed at once."""

    def __init__(self, give):
        super().__init__()
        self.give = give

    def append(self, link):
        super().append(link)
        self.give()


def test_an_interrupt_of_a_request_that_is_served_at_once_loses_nothing(
        dbapi):
    def prepare():
        line = Line(dbapi)
        core = line.core
        core.waiting = core.queue.links = Granting(line.give)

        def work():
            line.pool.connection().close()

        def check():
            core.waiting.give = list
            line.check()
        return work, check

    assert sweep(prepare) > 100


@pytest.mark.parametrize("options", [
    {}, {"maxlifetime": 1000}, {"track": False}], ids="".join)
def test_an_interrupt_of_a_request_that_waits_loses_nothing(dbapi, options):
    def prepare():
        line = Line(dbapi, **options)
        line.start(line.give_to_waiter)

        def work():
            line.pool.connection().close()
        return work, line.check

    assert sweep(prepare, stride=STRIDE) > 100


def test_an_interrupt_of_a_request_that_waits_in_vain_loses_nothing(dbapi):
    def prepare():
        line = Line(dbapi)
        line.core.timeout = 0.0015

        def work():
            with suppress(TooManyConnectionsError):
                line.pool.connection()

        def check():
            line.core.timeout = None
            line.check()
        return work, check

    assert sweep(prepare, stride=STRIDE) > 100


def test_an_interrupt_of_the_one_that_finds_a_deadlock_loses_nothing(dbapi):
    def prepare():
        pool = PooledDB(
            dbapi, maxconnections=1, blocking=True, ondeadlock="raise")
        pool._core.queue.first_look = 0.0001

        def work():
            with suppress(PoolDeadlockError), pool.connection():
                pool.connection()

        def check():
            assert not pool._core.waiting
            pool.connection(maxwait=0).close()
            assert pool.stats().in_use == 0
        return work, check

    assert sweep(prepare, stride=2 * STRIDE + 1) > 100


@pytest.mark.parametrize("few", [FEW, 0])
def test_an_interrupt_of_the_one_that_gives_back_leaves_nobody_asleep(
        monkeypatch, dbapi, few):
    monkeypatch.setattr(ways, "FEW", few)

    def prepare():
        line = Line(dbapi)
        line.core.queue.other_look = 10 * PATIENCE
        line.wait(3)
        last = line.core.waiting[-1]()
        last.looks = True  # as if those that looked had left
        last.nudge()
        del last

        def check():
            line.check()
            assert line.served == [0, 1, 2]
        return line.give, check

    assert sweep(prepare, stride=STRIDE) > 50


def resize(core, number):
    core.resize(lambda limits: limits._replace(maxconnections=number))


CHANGES = {
    "clear": lambda core: core.clear(),
    "drain": lambda core: core.drain(),
    "more": lambda core: resize(core, LIMIT + 1),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("side", ["waits", "gives"])
def test_a_pool_can_be_changed_anywhere_in_a_hand_over(dbapi, side, change):
    lines = []

    def happening():
        CHANGES[change](lines[-1].core)

    def prepare():
        line = Line(dbapi)
        lines[:] = [line]
        line.begin(side)

        def work():
            if side == "waits":
                line.pool.connection().close()
            else:
                line.give()

        def check():
            line.join()
            line.leases.clear()
            resize(line.core, LIMIT)
            line.check()
        return work, check

    assert sweep(prepare, happening, STRIDE) > 50


@pytest.mark.parametrize("side", ["waits", "gives"])
def test_a_pool_can_be_closed_anywhere_in_a_hand_over(dbapi, side):
    lines = []

    def happening():
        lines[-1].core.shut_down(0)

    def prepare():
        line = Line(dbapi)
        lines[:] = [line]
        line.core.queue.other_look = 10 * PATIENCE
        line.begin(side)

        def work():
            if side == "waits":
                with suppress(PoolClosedError):
                    line.pool.connection().close()
            else:
                line.give()

        def check():
            line.join()
            line.leases.clear()
            stats = line.pool.stats()
            assert (stats.in_use, stats.waiting) == (0, 0)
            if line.core.is_closed:
                assert stats.idle == 0
        return work, check

    assert sweep(prepare, happening, STRIDE) > 50


class Led(Line):
    """A queue where others have come first, and all of them look."""

    def __init__(self, dbapi):
        super().__init__(dbapi)
        self.core.timeout = 0
        self.newcomers = []
        self.others = [Waiter() for _ in range(FEW)]
        self.links = [ways.ref(other) for other in self.others]
        for other in self.others:
            other.looks = True
        self.core.waiting += self.links

    def let_others_leave(self):
        for other, link in zip(self.others, self.links):
            other.give_up()
            self.core.leave(link)
        waiters = [link() for link in self.core.waiting]
        self.newcomers = [
            waiter for waiter in waiters if waiter and not waiter.answer]

    def check(self):
        assert all(waiter.looks for waiter in self.newcomers)
        self.newcomers.clear()
        self.others.clear()
        self.core.timeout = None
        super().check()


def test_somebody_looks_although_the_others_leave_at_any_moment(dbapi):
    lines = []

    def prepare():
        line = Led(dbapi)
        lines[:] = [line]

        def work():
            with suppress(TooManyConnectionsError):
                line.pool.connection()
        return work, line.check

    assert sweep(
        prepare, lambda: lines[-1].let_others_leave(), STRIDE) > 50


def test_one_that_comes_takes_back_what_was_lost_without_notice(dbapi):
    line = Line(dbapi)
    queue = line.core.queue
    queue.first_look = queue.next_look = queue.other_look = 10 * PATIENCE
    line.wait(2)
    # as if its holder, and then its finalizer, were interrupted
    line.leases[-1]._permit.checkout = line.leases[-1]._permit = None
    assert line.core.lost
    assert not line.served
    line.start(lambda: line.serve(2))
    line.check()
    assert line.served == [0, 1, 2]
