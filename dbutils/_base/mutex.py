"""A lock for book-keeping that no interrupt can leave locked."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import nullcontext
from operator import attrgetter
from typing import Any, Iterator
from weakref import ref

__all__ = ["LongMutex", "Mutex"]

_MOMENT = 0.0005
_LONG_MOMENT = 0.005


class _Turn:
    """The turn of a thread, which lasts while its lock is locked and alive.

    A "with" block holds nothing but a function of the lock, written in C.
    So the turn ends with the block in any case: the function is called, or
    the lock dies with it when an interrupt comes just before that.
    """

    __slots__ = ("lock",)

    __enter__ = property(attrgetter("lock.locked"))
    __exit__ = property(attrgetter("lock.__exit__"))

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lock.acquire()


class _Claim(ref):
    """What shows whose turn it is, and who was the first to be next."""

    __slots__ = ("__dict__",)

    thread: int | None = None
    successor: Any = None
    # The claim of whoever came before, while that may matter.
    before: Any = None


def _is_locked(lock: Any) -> bool:
    return lock is not None and lock.locked()


class Mutex:
    """Lets one thread at a time do something, in "with mutex.take()".

    A thread that has its turn already, like one that is interrupted by a
    signal handler, goes on at once.  Nothing that takes long is done in a
    turn, so that others only look for its end from time to time.
    """

    def __init__(self) -> None:
        # One of the last claims; its heirs lead to the last one.
        self._recent = _Claim(threading.Lock())

    def take(self) -> Any:
        """Return the turn of this thread when it has come."""
        turns = [_Turn()]  # so that the traceback of an interrupt has none
        try:
            has_come = self._wait_for_turn(turns[0].lock)
            return turns.pop() if has_come else nullcontext()
        except BaseException:
            for turn in turns:
                turn.lock.release()
            raise

    def _wait_for_turn(self, lock: Any) -> bool:
        """Be the next; tell whether this thread had not its turn already."""
        claim = _Claim(lock)
        claim.thread = threading.get_ident()
        while True:
            last = self._recent
            while last.successor is not None:
                last = last.successor
            if not _is_locked(last()):
                if last.__dict__.setdefault("successor", claim) is claim:
                    self._recent = claim
                    return True
            elif last.thread == claim.thread or sys.is_finalizing():
                return False  # at the end no other thread goes on
            else:
                time.sleep(_MOMENT)


def _locked_before(claim: Any) -> Iterator[Any]:
    """Yield the earlier claims that are not over, the latest first."""
    before = claim.before
    while before is not None:
        if _is_locked(before()):
            yield before
        before = before.before


class LongMutex:
    """Lets one thread at a time do something that may take long.

    Turns come in the order of the requests.  The value of the "with" statement
    is true if the turn has come.  It is false if this thread has its turn or
    waits for it already, or if it would have to wait and does not want to.
    """

    def __init__(self) -> None:
        # One of the last claims; its heirs lead to the last one.
        self._recent = _Claim(threading.Lock())

    def take(self, waits: bool = True) -> Any:
        """Return the turn of this thread when it has come."""
        turns = [_Turn()]  # so that the traceback of an interrupt has none
        try:
            claim = self._queue_up(turns[0].lock, waits)
            if claim is None:
                return nullcontext()
            _wait_for_others(claim)
            return turns.pop()
        except BaseException:
            for turn in turns:
                turn.lock.release()
            raise

    def _queue_up(self, lock: Any, waits: bool) -> Any:
        """Return the claim, None if its turn would not come."""
        claim = _Claim(lock)
        claim.thread = threading.get_ident()
        last = self._recent
        while True:
            while last.successor is not None:
                last = last.successor
            claim.before = last
            others = [other.thread for other in _locked_before(claim)]
            if claim.thread in others or (others and not waits):
                return None
            if last.__dict__.setdefault("successor", claim) is claim:
                self._recent = claim
                return claim


def _wait_for_others(claim: Any) -> None:
    """Wait until all earlier claims are over."""
    for other in _locked_before(claim):
        while True:
            lock = other()
            if not _is_locked(lock):
                break
            # It is released at the end of the turn.  If an interrupt has come
            # before that, it dies as soon as we let go of it.
            if lock.acquire(True, _LONG_MOMENT):
                lock.release()
            del lock
    claim.before = None
