"""Locks for book-keeping that no interrupt can leave locked."""

from __future__ import annotations

import sys
import threading
import time

from .atomic import Link
from .hints import Any, AnyRef, Iterator, attrgetter

__all__ = ["LongMutex", "Mutex"]

_MOMENT = 0.0005
_LONG_MOMENT = 0.005


class _Turn:
    """The turn of a thread, which lasts while its lock is locked and alive.

    A "with" block holds nothing but a method of the lock, written in C.  So
    the turn ends with the block in any case: either the method is called, or
    an interrupt comes just before that, and the lock dies with the block.
    """

    __slots__ = ("lock",)

    __enter__ = property(attrgetter("lock.locked"))
    __exit__ = property(attrgetter("lock.__exit__"))

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lock.acquire()


class _Claim(AnyRef, Link):
    """A weak reference to the lock of a turn, linked to the next claim."""

    __slots__ = ("before", "heirs", "thread")

    thread: int | None
    # The previous claim, while it may matter.
    before: Any


def _claim(lock: Any, thread: int | None = None) -> _Claim:
    """Return a new claim."""
    claim = _Claim(lock)
    claim.thread, claim.heirs, claim.before = thread, [], None
    return claim


class _NoTurn:
    """Stands for the turn of a thread that does not get or need one."""

    def __enter__(self) -> None:
        """Begin nothing."""

    def __exit__(self, *exc: object) -> None:
        """End nothing."""


_NO_TURN = _NoTurn()


def _is_locked(lock: Any) -> bool:
    return lock is not None and lock.locked()


class Mutex:
    """A mutual exclusion for short steps, used as "with mutex.take()".

    A thread that already has its turn continues at once; a signal handler
    can bring it here again.  Turns are so short that the waiting threads only
    poll for the end of a turn.
    """

    def __init__(self) -> None:
        # A recent claim, whose successors lead to the last one.
        self._recent = _claim(threading.Lock())

    def take(self, **how: Any) -> Any:
        """Wait for the turn of this thread, and return it."""
        turns = [_Turn()]  # no variable of a traceback keeps the turn alive
        try:
            has_come = self._wait_for_turn(turns[0].lock, **how)
            return turns.pop() if has_come else _NO_TURN
        except BaseException:
            for turn in turns:
                turn.lock.release()
            raise

    def _wait_for_turn(self, lock: Any) -> bool:
        """Wait for the turn.  Return False if this thread has it already."""
        claim = _claim(lock, threading.get_ident())
        while True:
            last = self._recent
            while last.successor is not None:
                last = last.successor
            if not _is_locked(last()):
                if last.precede(claim):
                    self._recent = claim
                    return True
            elif last.thread == claim.thread or sys.is_finalizing():
                return False  # no other thread runs at the end
            else:
                time.sleep(_MOMENT)


def _locked_before(claim: Any) -> Iterator[Any]:
    """Yield the earlier claims that have not ended, latest first."""
    before = claim.before
    while before is not None:
        if _is_locked(before()):
            yield before
        before = before.before


class LongMutex(Mutex):
    """A mutual exclusion for steps that may take long.

    Turns come in the order of the requests.  The value of the "with" statement
    is true if the turn has come.  It is false if this thread already has its
    turn or waits for it, or if it would have to wait after take(waits=False).
    """

    def _wait_for_turn(self, lock: Any, waits: bool = True) -> bool:
        """Wait for the turn.  Return False if it does not come."""
        claim = self._queue_up(lock, waits)
        if claim is not None:
            _wait_for_others(claim)
        return claim is not None

    def _queue_up(self, lock: Any, waits: bool) -> Any:
        """Return a new claim at the end of the queue, or None."""
        claim = _claim(lock, threading.get_ident())
        last = self._recent
        while True:
            while last.successor is not None:
                last = last.successor
            claim.before = last
            others = [other.thread for other in _locked_before(claim)]
            if claim.thread in others or (others and not waits):
                return None
            if last.precede(claim):
                self._recent = claim
                return claim


def _wait_for_others(claim: Any) -> None:
    """Wait until all earlier claims have ended."""
    for other in _locked_before(claim):
        while True:
            lock = other()
            if not _is_locked(lock):
                break
            # The lock is released at the end of the turn.  If an interrupt
            # came before that, the lock dies as soon as we drop it.
            if lock.acquire(True, _LONG_MOMENT):
                lock.release()
            del lock
    claim.before = None
