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
from .slots import CODE, LAST, end, holder_of, new_checkout

__all__ = [
    "Lease", "hand_over", "hold", "is_released", "permit_of", "return_by",
    "take_note"]


class Lease:
    """A proxy that gives its connection back when it is closed.

    It does so exactly once, however many threads close it.  If it is dropped
    instead, then the right dies that it holds, with the same effect.
    """

    # It has no __init__(), without which making one takes half the time.
    __slots__ = ("__dict__", "__weakref__", "_checkout", "_permit")

    _permit: Any
    _checkout: Any

    # Inner names of DBUtils 3.x that programs and their tests read.

    @property
    def _con(self) -> Any:
        permit = self._held()
        return None if permit is None else permit.slot.con

    @property
    def _pool(self) -> Any:
        holder = holder_of(self._checkout)
        pool = None if holder is None else holder.pool
        return pool.pool if isinstance(pool, Entrance) else pool

    def _held(self) -> Any:
        """Return the right to the connection, None if that is over."""
        permit = self._permit
        return permit if permit is not None and self._checkout else None

    def close(self) -> None:
        """Give the connection back to the pool; do not close it."""
        # This is the short way back, for a connection that only has to be
        # rolled back, and put where the next one takes it; all else is done
        # elsewhere.  It relies on deleting an item of a list and on adding
        # one to a deque being single steps.  Who begins to wait closes the
        # short ways before he looks for what is idle; we look whether they
        # are closed after the connection can be taken.
        checkout, permit = self._checkout, None
        try:
            del checkout[LAST]
        except IndexError:
            return  # it was given back before, or the pool has done that
        try:
            permit = self._permit
            self._permit = None
            pool, slot = checkout[0], permit.slot
            checkout.clear()
            core = pool._core  # noqa: SLF001 - what core_of() returns
            session = slot.con._session  # noqa: SLF001 - and line_of()
            ledger = core.ledger
            idle, idle_limit = ledger.idle, ledger.idle_limit
            if (idle_limit is None or len(idle) < idle_limit) and (
                    slot.round == ledger.round and not collecting
                    and session.failover.quick_reset(session)):
                permit.checkout = None
                idle.append(permit)
                idle_limit = ledger.idle_limit
                if ledger.fast_way is not idle or ledger.lost or (
                        idle_limit is not None and len(idle) > idle_limit):
                    core.after_release(idle)
            else:
                pool._take_back(permit)  # noqa: SLF001 - for this
        finally:
            permit = None  # not to be kept by the traceback of an interrupt

    def _closed_error(self, name: str) -> Exception:
        """Return the error for the use of a closed lease."""
        return AttributeError(self._closed_text(name))

    def _closed_text(self, name: str) -> str:
        """Say why a closed lease cannot be used.

        A fork ends the visits of the parent in the child.
        """
        permit = self._permit
        if permit is not None and is_orphan(permit.slot.con):
            return orphan_text()
        return closed_text("connection", name)

    def __getattr__(self, name: str) -> Any:
        """Return what the connection has."""
        if name in {"_permit", "_checkout"}:  # it was not made as it should
            raise AttributeError(name)
        permit = self._held()
        if permit is None:
            raise self._closed_error(name)
        con = permit.slot.con
        value = getattr(con, name)
        if is_method_of(con, value) and not name.startswith("_"):
            return Method(name, self._call, value)
        return value

    def _call(
            self, name: str, args: tuple[Any, ...],
            kwargs: dict[str, Any]) -> Any:
        """Call a method of the connection during the visit."""
        permit = self._held()
        if permit is None:
            raise self._closed_error(name)
        con = permit.slot.con
        result = getattr(con, name)(*args, **kwargs)
        return self if result is con else result

    def __dir__(self) -> list[str]:
        """List what this connection has, as long as it is held."""
        names = {*super().__dir__()}
        permit = self._held()
        if permit is not None:
            names.update(names_of(permit.slot.con))
        return sorted(names)

    def __enter__(self) -> Any:
        """Begin a context at whose end the connection is given back."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Give the connection back; this does not commit."""
        self.close()


# What the library does with leases is no method that their users would see.

def hold(lease: Any, permit: Any) -> Any:
    """Let a new lease hold the right to a connection; return the lease."""
    lease._checkout = permit.checkout  # noqa: SLF001 - of this module
    lease._permit = permit  # noqa: SLF001 - of this module
    return lease


def permit_of(lease: Any) -> Any:
    """Return the right to the connection, None if that is over."""
    return lease._held()  # noqa: SLF001 - of this module


def hand_over(lease: Any) -> tuple[Any, Any]:
    """Return the visit and the right, which the lease holds no more."""
    checkout, permit = lease._checkout, lease._permit  # noqa: SLF001 - of this module
    lease._checkout, lease._permit = [], None  # noqa: SLF001 - of this module
    return checkout, permit


def take_note(lease: Any) -> None:
    """Note again who has borrowed the connection."""
    frame = caller()
    checkout = lease._checkout  # noqa: SLF001 - of this module
    with suppress(IndexError):  # it may be over by now
        checkout[CODE] = frame.f_code
        checkout[CODE + 1] = frame.f_lasti


def is_released(lease: Any) -> bool:
    """Tell whether the connection does not belong to the user now."""
    return permit_of(lease) is None


def return_by(method: Callable[[Any], None], permit: Any, pool: Any) -> None:
    """Let a subclass of a pool take back a connection in its own way.

    What it calls then finds the connection by itself, as one that is in use.
    """
    if permit.is_share:
        method(permit.slot.con)
        return
    checkout = permit.checkout = new_checkout(pool)
    try:
        method(permit.slot.con)
    finally:
        end(checkout)
