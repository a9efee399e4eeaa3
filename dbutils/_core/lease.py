"""What the users of a pool hold: one visit to a connection."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Callable

from .._base.callers import caller
from .._base.collecting import collecting
from .._base.errors import closed_text, orphan_text
from .._base.fork import is_orphan
from .._steady.driver_methods import Method, is_method_of, names_of
from .quotas import Entrance
from .slots import CODE, LAST, end, new_visit, visitor_of

__all__ = [
    "Lease", "hand_over", "hold", "is_over", "return_by", "right_of",
    "take_note"]


class Lease:
    """A proxy that gives its connection back when it is closed.

    It does so exactly once, however many threads close it.  If it is dropped
    instead, then the right dies that it holds, with the same effect.
    """

    # It has no __init__(), without which making one takes half the time.
    __slots__ = ("__dict__", "__weakref__", "_right", "_visit")

    _right: Any
    _visit: Any

    # Inner names of DBUtils 3.x that programs and their tests read.

    @property
    def _con(self) -> Any:
        right = self._held()
        return None if right is None else right.slot.con

    @property
    def _pool(self) -> Any:
        visitor = visitor_of(self._visit)
        home = None if visitor is None else visitor.home
        return home.pool if isinstance(home, Entrance) else home

    def _held(self) -> Any:
        """Return the right to the connection, None if that is over."""
        right = self._right
        return right if right is not None and self._visit else None

    def close(self) -> None:
        """Give the connection back to the pool; do not close it."""
        # This is the short way back, for a connection that only has to be
        # rolled back, and put where the next one takes it; all else is done
        # elsewhere.  It relies on deleting an item of a list and on adding
        # one to a deque being single steps.  Who begins to wait closes the
        # short ways before he looks for what is idle; we look whether they
        # are closed after the connection can be taken.
        visit, right = self._visit, None
        try:
            del visit[LAST]
        except IndexError:
            return  # it was given back before, or the pool has done that
        try:
            right = self._right
            self._right = None
            pool, slot = visit[0], right.slot
            visit.clear()
            core = pool._core  # noqa: SLF001 - what core_of() returns
            line = slot.con._line  # noqa: SLF001 - and line_of()
            ledger = core.ledger
            idle, room = ledger.idle, ledger.room
            if (room is None or len(idle) < room) and (
                    slot.round == ledger.round and not collecting
                    and line.rules.rinse(line)):
                right.visit = None
                idle.append(right)
                room = ledger.room
                if ledger.shortcut is not idle or ledger.inbox or (
                        room is not None and len(idle) > room):
                    core.attend(idle)
            else:
                pool._take_back(right)  # noqa: SLF001 - for this
        finally:
            right = None  # not to be kept by the traceback of an interrupt

    def _closed_error(self, name: str) -> Exception:
        """Return the error for the use of a closed lease."""
        return AttributeError(self._closed_text(name))

    def _closed_text(self, name: str) -> str:
        """Say why a closed lease cannot be used.

        A fork ends the visits of the parent in the child.
        """
        right = self._right
        if right is not None and is_orphan(right.slot.con):
            return orphan_text()
        return closed_text("connection", name)

    def __getattr__(self, name: str) -> Any:
        """Return what the connection has."""
        if name in {"_right", "_visit"}:  # it was not made as it should
            raise AttributeError(name)
        right = self._held()
        if right is None:
            raise self._closed_error(name)
        con = right.slot.con
        value = getattr(con, name)
        if is_method_of(con, value) and not name.startswith("_"):
            return Method(name, self._call, value)
        return value

    def _call(
            self, name: str, args: tuple[Any, ...],
            kwargs: dict[str, Any]) -> Any:
        """Call a method of the connection during the visit."""
        right = self._held()
        if right is None:
            raise self._closed_error(name)
        con = right.slot.con
        result = getattr(con, name)(*args, **kwargs)
        return self if result is con else result

    def __dir__(self) -> list[str]:
        """List what this connection has, as long as it is held."""
        names = {*super().__dir__()}
        right = self._held()
        if right is not None:
            names.update(names_of(right.slot.con))
        return sorted(names)

    def __enter__(self) -> Any:
        """Begin a context at whose end the connection is given back."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Give the connection back; this does not commit."""
        self.close()


# What the library does with leases is no method that their users would see.

def hold(lease: Any, right: Any) -> Any:
    """Let a new lease hold the right to a connection; return the lease."""
    lease._visit = right.visit  # noqa: SLF001 - of this module
    lease._right = right  # noqa: SLF001 - of this module
    return lease


def right_of(lease: Any) -> Any:
    """Return the right to the connection, None if that is over."""
    return lease._held()  # noqa: SLF001 - of this module


def hand_over(lease: Any) -> tuple[Any, Any]:
    """Return the visit and the right, which the lease holds no more."""
    visit, right = lease._visit, lease._right  # noqa: SLF001 - of this module
    lease._visit, lease._right = [], None  # noqa: SLF001 - of this module
    return visit, right


def take_note(lease: Any) -> None:
    """Note again who has borrowed the connection."""
    frame = caller()
    visit = lease._visit  # noqa: SLF001 - of this module
    with suppress(IndexError):  # it may be over by now
        visit[CODE] = frame.f_code
        visit[CODE + 1] = frame.f_lasti


def is_over(lease: Any) -> bool:
    """Tell whether the connection does not belong to the user now."""
    return right_of(lease) is None


def return_by(method: Callable[[Any], None], right: Any, home: Any) -> None:
    """Let a subclass of a pool take back a connection in its own way.

    What it calls then finds the connection by itself, as one that is in use.
    """
    if right.is_share:
        method(right.slot.con)
        return
    visit = right.visit = new_visit(home)
    try:
        method(right.slot.con)
    finally:
        end(visit)
