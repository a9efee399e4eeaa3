"""Leases: each is held by a user, for one checkout of a connection."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Callable

from .._base.callers import caller
from .._base.collecting import collecting
from .._base.errors import closed_text, orphan_text
from .._base.fork import is_orphan
from .quotas import Admission
from .slots import CODE, LAST, end, holder_of, new_checkout

__all__ = [
    "Lease", "hand_over", "hold", "is_released", "permit_of", "return_by",
    "take_note"]


class Lease:
    """Holds a connection, and gives it back when it is closed.

    It does so exactly once, however many threads close it.  If it is dropped
    instead, then its permit dies, with the same effect.
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
        return pool.pool if isinstance(pool, Admission) else pool

    def _held(self) -> Any:
        """Return the permit of the connection, None after the release."""
        permit = self._permit
        return permit if permit is not None and self._checkout else None

    def close(self) -> None:
        """Give the connection back to the pool; do not close it."""
        # This is the fast way back, for a connection that only needs a quick
        # reset, and is put where the next request takes it; all else is done
        # elsewhere.  It relies on deleting an item of a list and on adding
        # one to a deque being single steps.  A request that begins to wait
        # closes the fast way before it looks for what is idle; we look
        # whether it is closed after the connection can be taken.
        checkout, permit = self._checkout, None
        try:
            del checkout[LAST]
        except (IndexError, TypeError):
            # It was given back before, or the pool has done that, or modules
            # were emptied at the end.
            return
        try:
            permit = self._permit
            self._permit = None
            pool, slot = checkout[0], permit.slot
            checkout.clear()
            core = pool._core  # noqa: SLF001 - as core_of()
            session = slot.con._own_session  # noqa: SLF001 - as session_of()
            ledger = core.ledger  # for speed: no verbs on the fast way
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
        """Return why the lease cannot be used.

        A fork ends the leases of the parent in the child.
        """
        permit = self._permit
        if permit is not None and is_orphan(permit.slot.con):
            return orphan_text()
        return closed_text("connection", name)

    def __enter__(self) -> Any:
        """Begin a context at whose end the connection is given back."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Give the connection back; this does not save any work."""
        self.close()


# These are no methods, which users of leases would see.

def hold(lease: Any, permit: Any) -> Any:
    """Give a permit to a new lease; return the lease."""
    lease._checkout = permit.checkout  # noqa: SLF001 - of this module
    lease._permit = permit  # noqa: SLF001 - of this module
    return lease


def permit_of(lease: Any) -> Any:
    """Return the permit of the connection, None after the release."""
    return lease._held()  # noqa: SLF001 - of this module


def hand_over(lease: Any) -> tuple[Any, Any]:
    """Take the checkout and the permit from a lease, and return them."""
    checkout, permit = lease._checkout, lease._permit  # noqa: SLF001 - of this module
    lease._checkout, lease._permit = [], None  # noqa: SLF001 - of this module
    return checkout, permit


def take_note(lease: Any) -> None:
    """Note again which function of the program has taken the connection."""
    frame = caller()
    checkout = lease._checkout  # noqa: SLF001 - of this module
    with suppress(IndexError):  # it may have ended by now
        checkout[CODE] = frame.f_code
        checkout[CODE + 1] = frame.f_lasti


def is_released(lease: Any) -> bool:
    """Return whether a lease has no connection."""
    return permit_of(lease) is None


def return_by(method: Callable[[Any], None], permit: Any, pool: Any) -> None:
    """Return a connection by a method that a subclass of a pool has.

    The pool finds the connection by itself, as one that is in use.
    """
    if permit.is_share:
        method(permit.slot.con)
        return
    checkout = permit.checkout = new_checkout(pool)
    try:
        method(permit.slot.con)
    finally:
        end(checkout)
