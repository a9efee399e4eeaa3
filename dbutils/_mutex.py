"""A lock for book-keeping that no interrupt can leave locked."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import nullcontext
from operator import attrgetter
from typing import Any
from weakref import ref

__all__ = ["Mutex"]

_MOMENT = 0.0005


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
    heir: Any = None


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

    def take(self, waits: bool = True) -> Any:
        """Return the turn of this thread when it has come.

        The value of the "with" statement is true if it has come, and false if
        this thread has its turn already, or if it would have to wait and does
        not want to.
        """
        turns = [_Turn()]  # so that the traceback of an interrupt has none
        try:
            has_come = self._wait_for_turn(turns[0].lock, waits)
            return turns.pop() if has_come else nullcontext()
        except BaseException:
            for turn in turns:
                turn.lock.release()
            raise

    def _wait_for_turn(self, lock: Any, waits: bool) -> bool:
        """Be the next; return whether the turn of this thread has come."""
        claim = _Claim(lock)
        claim.thread = threading.get_ident()
        while True:
            last = self._recent
            while last.heir is not None:
                last = last.heir
            if not _is_locked(last()):
                if last.__dict__.setdefault("heir", claim) is claim:
                    self._recent = claim
                    return True
            elif last.thread == claim.thread or not waits or (
                    sys.is_finalizing()):
                return False  # at the end no other thread goes on
            else:
                time.sleep(_MOMENT)
