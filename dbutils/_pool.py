"""The core of all pools, which knows no database.

It hands out slots: places for connections, of which there are at most as
many as the limit says.  Requests are served in the order of their coming,
and a connection that comes back goes directly to whoever is next.

The lock guards the ledger only.  Opening, checking, cleaning and closing
connections is the business of the backend, and is done without the lock.
Returning a connection never waits for the lock either, since a finalizer
can do that, at any moment of any thread: what remains to be done is put
into one of two queues, the chores and the entries, and whoever holds the
lock, or can get it at once, does it for all.  In a finalizer that is
called by the garbage collector nothing else is done at all, but those who
wait are woken up to do it.
"""

from __future__ import annotations

from collections import deque
from threading import RLock
from typing import Any, Callable, Iterator

from ._collecting import is_collecting
from ._errors import Figures, quietly
from ._ledger import Chore, Ledger, Limits
from ._slots import Slot, State
from ._waiters import Waiter

__all__ = ["Backend", "PoolCore", "Refused", "core_of"]


class Refused(Exception):  # noqa: N818 - what happened, not an error as such
    """No connection is to be had, and the request does not want to wait."""

    def __init__(self, figures: Figures) -> None:
        super().__init__(figures)
        self.figures = figures


def core_of(pool: Any) -> Any:
    """Return the core of a pool."""
    return pool._core  # noqa: SLF001 - the one door from outside to inside


class Backend:
    """What a pool does with its connections; pools choose a subclass."""

    def check(self, con: Any) -> None:
        """Look whether a connection is alive before it is handed out."""

    def reset(self, con: Any) -> bool:  # noqa: ARG002 - nothing to do here
        """Clean a connection that has come back; tell whether it can stay."""
        return True

    def close(self, con: Any) -> None:
        """Close a connection for good."""
        con.close()

    def share(self, con: Any) -> Any:
        """Return a record of those who share a connection."""
        raise NotImplementedError

    def is_shareable(self, con: Any) -> bool:
        """Tell whether another thread may join those who share it."""
        raise NotImplementedError


class PoolCore:
    """The places of a pool and the requests for them."""

    def __init__(self, backend: Backend, limits: Limits) -> None:
        self.backend = backend
        self._ledger = Ledger(limits, backend.is_shareable)
        self._lock = RLock()
        # Not guarded, since single operations on them are atomic: the slots
        # in use by the identity of their connections, and the entries that
        # are to be made in the ledger.
        self._taken: dict[int, Slot] = {}
        self._entries: deque[tuple[Callable[[Slot], None], Slot]] = deque()
        self._chores = self._ledger.chores

    @property
    def limits(self) -> Limits:
        """How much the pool may hold."""
        return self._ledger.limits

    # The verbs of the pools.

    def acquire(
            self, connect: Callable[[], Any], patient: bool,
            shareable: bool = False) -> Slot:
        """Return a slot with a connection that is ready for use.

        Raises Refused if there is none, unless the request is patient.
        """
        if self._chores:
            self._settle()
        shareable = shareable and self.limits.maxshared > 0
        idle = None if shareable else self._idle_slot()
        slot = idle or self._await_slot(Waiter(shareable, patient))
        return self._ready(slot, connect)

    def release(self, con: Any) -> bool:
        """Take a connection back; tell whether it was in use.

        This can be called at any moment, also by a finalizer.
        """
        slot = self._taken.pop(id(con), None)  # whoever gets it returns it
        if slot is None:
            return False
        if self._may_work():
            self._clean(slot)
            self._settle()
        else:
            self._chores.append((Chore.CLEAN, slot))
            self._ledger.waiters.nudge()
        return True

    def leave(self, con: Any) -> None:
        """Let one of those who share a connection go, like release()."""
        slot = self._taken.get(id(con))
        if slot is not None:
            self._entries.append((self._depart_locked, slot))
            self._settle()
            self._ledger.waiters.nudge()

    def adopt(self, con: Any) -> None:
        """Take in a connection that was opened by somebody else."""
        self._locked(self._ledger.adopt_locked, Slot(con))

    def expel(self) -> Any:
        """Return the oldest idle connection, which leaves the pool.

        If no connection is idle, this is None.
        """
        return self._locked(self._ledger.expel_locked)

    def clear(self) -> None:
        """Close all idle and all shared connections."""
        self._locked(self._ledger.clear_locked)

    def look_again(self) -> None:
        """Serve those who wait for a shared connection to become free."""
        if self._ledger.waiters:
            self.figures()

    def figures(self) -> Figures:
        """Return the state of the pool."""
        return self._locked(self._ledger.figures_locked)

    def idle_connections(self) -> list[Any]:
        """Return the idle connections, the oldest first."""
        return [slot.con for slot in self._locked(self._ledger.idle.copy)]

    def shared_records(self) -> list[Any]:
        """Return the records of the shared connections."""
        return [slot.shared for slot in self._locked(self._ledger.shared.copy)]

    # The way out.

    def _idle_slot(self) -> Slot | None:
        """Return an idle slot at once, if nobody waits for one.

        This is the short way, which needs no lock: taking a slot out of the
        queue of the idle ones is atomic, and whoever begins to wait looks
        into that queue after it has become visible as a waiter.
        """
        return None if self._ledger.waiters else self._ledger.pop_idle()

    def _await_slot(self, waiter: Waiter) -> Slot:
        """Return the slot that a request is granted in its turn."""
        try:
            self._locked(self._ledger.waiters.add, waiter)
            while not waiter.wait():
                self._settle()
        except BaseException:
            self._locked(self._ledger.leave_locked, waiter)
            raise
        if waiter.refusal is not None:
            raise Refused(waiter.refusal)
        return waiter.slot

    def _ready(self, slot: Slot, connect: Callable[[], Any]) -> Slot:
        """Open or check the connection of a slot that was granted."""
        try:
            self._open_or_check(slot, connect)
            if slot.for_sharing and slot.shared is None:
                record = self.backend.share(slot.con)
                self._locked(self._ledger.publish_locked, slot, record)
        except BaseException:
            self._abort(slot)
            raise
        self._taken[id(slot.con)] = slot
        return slot

    def _open_or_check(self, slot: Slot, connect: Callable[[], Any]) -> None:
        if slot.con is None:
            slot.con = connect()
            slot.move(State.LEASED)
        elif slot.shared is None:
            self.backend.check(slot.con)
        else:
            with slot.checking:
                self.backend.check(slot.con)

    def _abort(self, slot: Slot) -> None:
        """Give up a slot whose connection could not be made ready."""
        if slot.shared is not None:
            self._entries.append((self._depart_locked, slot))
        else:
            self._chores.append((Chore.DISCARD, slot))
        self._settle()

    # The way back.

    def _clean(self, slot: Slot) -> None:
        """Reset a connection that came back, or close it if it is surplus."""
        can_stay = False
        try:
            can_stay = (
                not self._ledger.is_full() and self.backend.reset(slot.con))
        finally:
            if can_stay:
                self._put_back(slot)
            else:
                self._discard(slot)

    def _put_back(self, slot: Slot) -> None:
        """Let a slot be idle, or go to whoever is next.

        The short way back needs no lock, like the one out.  A request that
        came in the meantime may have looked into the queue before the slot
        was there, and is served now.
        """
        ledger = self._ledger
        if ledger.waiters or slot.for_sharing:
            self._entries.append((ledger.return_locked, slot))
            return
        ledger.push_idle(slot)
        if ledger.waiters:
            self._entries.append((ledger.stay_locked, slot))
        else:
            ledger.trim()

    def _discard(self, slot: Slot) -> None:
        """Close a connection that is not needed any more."""
        try:
            if slot.con is not None:
                self._close(slot)
        finally:
            slot.move(State.CLOSED)
            self._entries.append((self._ledger.forget_locked, slot))

    def _close(self, slot: Slot) -> None:
        with quietly("closing a connection of a pool"):
            self.backend.close(slot.con)

    def _depart_locked(self, slot: Slot) -> None:
        self._ledger.depart_locked(slot)
        if slot.shared is None:
            del self._taken[id(slot.con)]

    # The two queues.

    def _may_work(self) -> bool:
        """Tell whether the driver and the lock may be used here and now.

        That is not so in a finalizer called by the garbage collector, nor
        in a finalizer or signal handler that interrupts a section which
        holds the lock.
        """
        inside = self._lock._is_owned()  # type: ignore[attr-defined] # noqa: SLF001 - threading.Condition asks the same
        return not inside and not is_collecting()

    def _settle(self) -> None:
        """Do what remains to be done, if possible.

        If the lock is held, then its holder comes here after releasing it.
        """
        while (self._chores or self._entries) and self._may_work():
            self._do_chores()
            if not self._lock.acquire(blocking=False):
                return
            try:
                self._serve_locked()
            finally:
                self._lock.release()

    def _do_chores(self) -> None:
        for chore, slot in _drain(self._chores):
            if chore is Chore.CLEAN:
                self._clean(slot)
            elif chore is Chore.DISCARD:
                self._discard(slot)
            else:
                self._close(slot)

    def _locked(self, entry: Callable[..., Any], *args: Any) -> Any:
        """Make an entry in the ledger, and serve the requests after it."""
        self._settle()
        try:
            with self._lock:
                self._make_entries_locked()
                result = entry(*args)
                self._serve_locked()
        finally:
            self._settle()
        return result

    def _serve_locked(self) -> None:
        self._make_entries_locked()
        self._ledger.serve_locked()

    def _make_entries_locked(self) -> None:
        for entry, slot in _drain(self._entries):
            entry(slot)


def _drain(queue: deque[Any]) -> Iterator[Any]:
    """Take what is in a queue, which others may be doing as well."""
    while queue:
        try:
            item = queue.popleft()
        except IndexError:
            return
        yield item
