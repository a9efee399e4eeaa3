"""Connections that leave a pool, or join it."""

from __future__ import annotations

from .._base.atomic import pop, remove, snapshot
from .._base.errors import quietly
from .._base.hints import Any, Callable, deque
from . import opener
from .ceiling import make_way
from .lease import hand_over
from .slots import (
    CLEARED,
    DEAD,
    EXPIRED,
    SURPLUS,
    Permit,
    Slot,
    end,
    free_tokens,
    turned,
)
from .uses import end_use

__all__ = [
    "abandon", "abort", "adopt", "close", "close_counted", "destroy",
    "detach", "detach_idle", "discard", "expel", "give_up", "open_ahead",
    "take_out", "trim"]


def abort(core: Any, permit: Permit) -> None:
    """Give up a slot whose connection could not be made ready.

    Do nothing if a helper has the slot, or had it meanwhile.
    """
    if core.throttle.attempts.leave(permit):
        return
    if permit.is_share:
        core.leave_share(permit)
    elif core.slots.has(permit.slot):
        core.discard(permit, DEAD)


def discard(core: Any, permit: Permit, reason: str | None = None) -> None:
    """Close the connection of a slot for good, and give the slot up.

    reason: why, None if the state of the pool tells it
    """
    slot = permit.slot
    if permit.admission is not None:
        free_tokens(permit)
    try:
        core.close(slot, reason)
    finally:
        core.give_up(slot)


def give_up(core: Any, slot: Slot) -> None:
    """Give a slot up, so that another connection can be opened."""
    was_oversized = core.slots.is_oversized()
    core.sharing.stop(slot)
    core.slots.give_up(slot)
    if was_oversized:
        core.choose_ways()
    if core.plenty:
        core.measure_load()
    _open_to_next(core)


def _open_to_next(core: Any) -> None:
    """Leave it to the next request, or the first waiter, to open another."""
    if core.room == 0 and not core.waiting:
        core.look_at_waiters()
    core.serve()


def abandon(core: Any, slot: Slot) -> None:
    """Replace a slot whose connection cannot be reset in time.

    The thread that tries to reset it closes it when it gives up.
    """
    con = slot.con
    if con is not None:  # it has not given up just now
        core.backend.leave(con)
    core.slots.give_up(slot)
    _open_to_next(core)


def close(core: Any, slot: Slot, reason: str | None = None) -> None:
    """Close the connection of a slot, if there is one."""
    con = slot.con
    if con is not None:
        reason = reason or _reason_for(core, slot)
        core.backend.leave(con)  # before that, in case of a fork
        slot.con = slot.inside = None
        core.close_counted(con, slot.is_counted, reason, slot.number)
        is_left = slot.round == turned(core.round)
        if reason == EXPIRED or is_left:
            make_way(core, is_left)


def close_counted(
        core: Any, con: Any, is_counted: bool, reason: str,
        number: int) -> None:
    """Close a connection, and count that if its opening was counted.

    number: that of the connection
    """
    if is_counted:
        core.closed[reason].step()
    with quietly("closing a connection of a pool"):
        core.backend.close(con)
    if is_counted:
        core.story.tell("closed", reason, reason=reason, connection=number)


def _reason_for(core: Any, slot: Slot) -> str:
    """Return why a connection is closed that comes back."""
    maintenance = core.maintenance
    if slot.round == turned(core.round):
        return SURPLUS
    if core.is_closed or slot.round != core.round:
        return CLEARED
    if maintenance is not None and maintenance.is_expired(slot):
        return EXPIRED
    return DEAD if core.may_stay(slot) else SURPLUS


def destroy(core: Any, lease: Any) -> None:
    """Close the connection of a lease for good, unless it was released."""
    checkout, permit = hand_over(lease)
    if end(checkout):
        end_use(core, permit)
        core.discard(permit, CLEARED)


def detach(core: Any, lease: Any) -> Any:
    """Return the connection of a lease, if any; it leaves the pool."""
    checkout, permit = hand_over(lease)
    if not end(checkout):
        return None
    end_use(core, permit)
    return _detach(core, permit)


def detach_idle(core: Any) -> Any:
    """Return the oldest idle connection, if any; it leaves the pool."""
    core.reclaim()
    permit = pop(core.idle)
    return None if permit is None else _detach(core, permit)


def _detach(core: Any, permit: Permit) -> Any:
    con = permit.slot.con
    core.backend.leave(con)
    permit.slot.con = permit.slot.inside = None
    core.give_up(permit.slot)
    return con


def adopt(core: Any, con: Any) -> None:
    """Take in a connection that was opened elsewhere."""
    permit: Any = core.slots.take(is_surplus=True)
    permit.slot.round = core.round
    permit.slot.con = con
    permit.slot.inside = core.backend.enter(con)
    if core.slots.is_oversized():
        core.choose_ways()
    core.put_back(permit)


def open_ahead(core: Any, connect: Callable[[], Any]) -> bool:
    """Open an idle connection; return whether there was a slot for it."""
    permit = None if core.is_closed else core.slots.take()
    if permit is None:
        return False
    opener.open_ahead(core, permit, connect)
    return True


def take_out(core: Any, permit: Permit) -> bool:
    """Take out an idle connection; return whether it was still there."""
    return remove(core.idle, permit)


def expel(
        core: Any, is_wanted: Callable[[Any], bool], reason: str) -> None:
    """Close the idle connections that are wanted out of the pool."""
    for permit in snapshot(core.idle):
        con = permit.slot.con  # None if another thread has just closed it
        if con is not None and is_wanted(con) and core.take_out(permit):
            core.discard(permit, reason)


def trim(core: Any, number: int) -> int:
    """Close idle connections until some remain; return how many.

    number: how many remain, those that were idle for the shortest time
    """
    core.reclaim()
    closed = 0
    while len(core.idle) > number:
        permit = None
        try:  # noqa: SIM105 - contextlib takes long to import
            permit = deque.popleft(core.idle)
        except IndexError:
            pass  # others do the same
        if permit is not None:
            core.discard(permit, SURPLUS)
            closed += 1
    return closed
