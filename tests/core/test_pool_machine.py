"""Whatever is done with a pool in whatever order, its books are right."""

import gc
import sys
from collections import deque
from contextlib import suppress
from itertools import count
from weakref import ref

from everywhere import Everywhere, Interrupt, interrupt
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)
from tokens import Token, TokenBackend

from dbutils._core import pool as _pool
from dbutils._core.limits import Limits
from dbutils._core.opener import ready
from dbutils._core.refusals import PoolTimeout
from dbutils._core.waiting import Waiter

LIMIT = 3
SOME = st.integers(0, 1000)


class Failing(TokenBackend):
    """Fails on demand."""

    def __init__(self):
        super().__init__()
        self.fails = False

    def connect(self):
        if self.fails:
            raise ConnectionError("planned")
        con = Token()
        self.opened.append(con)
        return con

    def reset(self, con):
        return not self.fails

    def check(self, con):
        pass

    def close(self, con):
        con.close()


class PoolMachine(RuleBasedStateMachine):
    """A pool, those who hold its connections, and those who wait."""

    def __init__(self):
        super().__init__()
        # or the same interrupt would hit something else the next time
        gc.disable()
        # an interrupt of a finalizer can only be reported, and what reports
        # it here would keep all that it was about
        self.hook, sys.unraisablehook = (
            getattr(sys, "unraisablehook", None), deque(maxlen=0).append)
        self.backend = Failing()
        self.core = _pool.Pool(self.backend, Limits(LIMIT, maxcached=2))
        # a clock on which each attempt to connect comes late enough
        self.core.throttle.clock = count().__next__
        self.limit = LIMIT
        self.held = []
        self.waiting = []

    def teardown(self):
        sys.unraisablehook = self.hook
        gc.enable()

    def take(self):
        try:
            return self.core.acquire(self.backend.connect, 0)
        except (ConnectionError, PoolTimeout, Interrupt):
            return None

    @rule()
    def acquire(self):
        free = self.limit - self.core.stats().in_use
        permit = self.take()
        if permit is not None:
            self.held.append(permit)
        elif not self.backend.fails:
            assert free <= 0 or self.waiting

    @precondition(lambda self: self.held)
    @rule(number=SOME)
    def release(self, number):
        permit = self.held.pop(number % len(self.held))
        con = permit.slot.con
        assert self.core.release(con)
        assert not self.core.release(con) or self.waiting

    @precondition(lambda self: self.held)
    @rule(number=SOME)
    def abandon(self, number):
        cycle = [self.held.pop(number % len(self.held))]
        cycle.append(cycle)
        del cycle
        gc.collect()

    @rule()
    def fail_or_work(self):
        self.backend.fails = not self.backend.fails

    @rule(at=st.integers(1, 900))
    def be_interrupted_in_acquire(self, at):
        permits = []

        def work():
            permits.append(self.take())

        Everywhere(interrupt).run(work, at)
        self.held += [permit for permit in permits if permit is not None]

    @precondition(lambda self: self.held)
    @rule(number=SOME, at=st.integers(1, 600))
    def be_interrupted_in_release(self, number, at):
        held = [self.held.pop(number % len(self.held))]

        def work():
            self.core.release(held[0].slot.con)

        Everywhere(interrupt).run(work, at)

    @rule()
    def queue_up(self):
        waiter = Waiter()
        self.waiting.append(waiter)
        self.core.queue_up(ref(waiter))
        self.core.serve()

    @precondition(lambda self: self.waiting)
    @rule(number=SOME)
    def lose_patience(self, number):
        waiter = self.waiting.pop(number % len(self.waiting))
        if not waiter.give_up():
            self.core.put_back_unused(waiter.permit)
        self.core.serve()

    def serve(self):
        """Let those who were granted a place go on."""
        for waiter in [one for one in self.waiting if one.answer]:
            self.waiting.remove(waiter)
            with suppress(ConnectionError):
                self.held.append(ready(
                    self.core, waiter.permit, self.backend.connect, None,
                    shareable=False))

    @rule()
    def close(self):
        self.core.clear()
        assert self.core.stats().idle == 0 or self.waiting

    @rule()
    def drain(self):
        self.core.drain()

    @rule()
    def fork(self):
        self.core.after_fork()
        self.core.throttle.clock = count().__next__
        for permit in self.held:
            assert not permit.checkout
        self.held = []
        self.waiting = []
        self.backend.opened.clear()

    @rule(limit=st.integers(1, 5))
    def resize(self, limit):
        self.limit = limit
        self.core.resize(
            lambda limits: limits._replace(maxconnections=limit))

    @rule(number=st.integers(0, 3))
    def keep_fewer_or_more(self, number):
        self.core.resize(
            lambda limits: limits._replace(maxcached=number or None))

    def reclaim(self):
        """Do what those who wait do from time to time."""
        self.core.reclaim()
        self.core.serve()
        while any(waiter.answer for waiter in self.waiting):
            self.serve()

    @invariant()
    def the_books_are_right(self):
        self.reclaim()
        figures = self.core.stats()
        assert figures.in_use == len(self.held)
        assert figures.waiting == len(self.waiting)
        # what was taken before the limit was lowered may still be in use
        assert figures.in_use + figures.idle <= max(
            self.limit, figures.in_use)
        maxcached = self.core.limits.maxcached
        assert maxcached is None or figures.idle <= maxcached

    @invariant()
    def no_connection_is_in_two_hands(self):
        self.reclaim()
        cons = [permit.slot.con for permit in self.held]
        cons += self.core.idle_connections()
        assert len(set(map(id, cons))) == len(cons)
        assert not any(con.closed for con in cons)
        # and what is in no hand is closed
        still_open = [con for con in self.backend.opened if not con.closed]
        assert len(still_open) <= len(cons) + self.lost(still_open, cons)

    @staticmethod
    def lost(still_open, cons):
        """Return how many were just being opened when it was interrupted."""
        known = set(map(id, cons))
        return sum(id(con) not in known for con in still_open)

    @invariant()
    def nobody_waits_while_a_place_is_free(self):
        self.reclaim()
        if self.waiting:
            figures = self.core.stats()
            assert figures.in_use >= self.limit
            assert figures.idle == 0


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(
    max_examples=50, stateful_step_count=30, deadline=None, database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck))
