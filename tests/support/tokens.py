"""A pool of tokens, which stand for connections and can do nothing."""

import weakref

from patience import wait_until

from dbutils._core import pool as _pool
from dbutils._core.backend import Backend
from dbutils._core.limits import Limits


class Token:
    """A connection."""

    transaction = False
    closed = False
    sharers = 0

    def close(self):
        self.closed = True


class Sharers:
    """The record of those who share a token."""

    def __init__(self, con):
        self.con = con
        self.shared = 1


class TokenBackend(Backend):
    """Records what is done, each of which can be made to do more."""

    def __init__(self):
        self.done = []
        self.also = {}
        self.opened = []

    def _do(self, verb, con):
        self.done.append(verb)
        self.also.get(verb, lambda con: None)(con)

    def connect(self):
        con = Token()
        self.opened.append(weakref.ref(con))
        self._do("connect", con)
        return con

    def check(self, con):
        self._do("check", con)

    def reset(self, con):
        self._do("reset", con)
        return True

    def close(self, con):
        self._do("close", con)
        con.close()

    def share(self, con):
        self._do("share", con)
        return Sharers(con)

    def is_shareable(self, con):
        return not con.transaction


class Pool:
    """A pool of tokens."""

    def __init__(self, patient=True, **limits):
        self.backend = TokenBackend()
        self.core = _pool.Pool(self.backend, Limits(**limits))
        self.patient = patient
        self.shares = []

    def take(self, shareable=False, patient=None):
        patient = self.patient if patient is None else patient
        permit = self.core.acquire(
            self.backend.connect, None if patient else 0, shareable)
        if permit.is_share:
            self.shares.append(permit)
        else:
            self.core.hold_permit(permit)
        return permit.slot.con

    def give(self, con):
        assert self.core.release(con)

    def leave(self, con):
        """Give up the first share of a connection."""
        share = next(
            share for share in self.shares if share.slot.con is con)
        self.shares.remove(share)
        self.core.release_share(share)

    @property
    def state(self):
        figures = self.core.stats()
        return figures.in_use, figures.idle, figures.waiting


def wait_for_waiters(pool, number):
    wait_until(lambda: pool.core.stats().waiting == number)
