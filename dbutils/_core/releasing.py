"""The return of connections: they are reset, and handed on or become idle."""

from __future__ import annotations

from .._base.atomic import pop
from .._base.errors import release_frames
from .._base.finalizers import is_collecting
from .._base.hints import Any, Callable
from .slots import (
    CLEARED,
    DEAD,
    SURPLUS,
    Permit,
    Slot,
    end,
    free_tokens,
    turned,
)
from .uses import end_use

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from .pool import Pool

__all__ = [
    "after_release", "hand_on", "has_surplus", "may_stay", "place",
    "put_back", "put_back_unused", "release", "release_dropped",
    "release_permit", "reset", "reset_here"]


def release(core: Pool, con: Any) -> bool:
    """Take a connection back; return whether it was in use."""
    slot = core.slot_of(con)
    permit = None if slot is None else slot.permit
    if permit is None:
        return False
    core.held.pop(id(con), None)
    return core.release_dropped(permit)


def release_dropped(core: Pool, permit: Permit) -> bool:
    """Take back what others may hold; return whether it was in use.

    This can be called at any moment, also by a finalizer.
    """
    if not end(permit.checkout):
        return False
    end_use(core, permit)
    if is_collecting():  # the permit dies with its holder
        core.nudge()
        return True
    # the permit of the holder is void from now on
    free_tokens(permit)
    fresh = core.slots.reissue(permit.slot)
    if fresh is not None:
        core.release_permit(fresh)
    return True


def release_permit(core: Pool, permit: Permit) -> None:
    """Take back what its only holder does not need any longer."""
    try:
        core.reset(permit)
    except BaseException as error:
        release_frames(error)
        raise
    if core.lost:
        core.reclaim()


def reset(core: Pool, permit: Permit) -> None:
    """Reset a connection that came back, or close it if it is surplus."""
    if core.reset_workers is None or not core.reset_workers.takes(
            core, permit):
        core.reset_here(permit)


def reset_here(
        core: Pool, permit: Permit,
        is_expected: Callable[[], bool] | None = None) -> None:
    """Do the same in this thread.

    is_expected: tells at the end whether the reset was not given up
    """
    slot, emptied = permit.slot, core.emptied
    can_stay = False
    try:
        can_stay = core.may_stay(slot) and (
            core.backend.quick_reset(slot.con)
            or core.backend.reset(slot.con))
        if can_stay and slot.round != core.round:
            # it asks its server, or the pool was drained meanwhile
            can_stay = slot.round == turned(core.round) and (
                core.yielding.may_stay(core, slot))
    finally:
        if is_expected is not None and not is_expected():
            core.close(slot, DEAD)  # it has left the pool
        elif can_stay:
            core.put_back(permit, emptied)
        else:
            core.discard(permit)


def may_stay(core: Pool, slot: Slot) -> bool:
    """Return whether a connection is still wanted."""
    maintenance = core.maintenance
    if maintenance is not None and maintenance.is_expired(slot):
        return False
    return _is_current(core, slot) and _has_room(core)


def _is_current(core: Pool, slot: Slot) -> bool:
    """Return whether the pool was not drained since the connection is open."""
    return slot.round == core.round or slot.round == turned(core.round)


def _has_room(core: Pool) -> bool:
    """Return whether a connection that comes back may be idle."""
    maxcached = core.limits.maxcached
    return not core.has_surplus() and (
        maxcached is None or len(core.idle) < maxcached)


def has_surplus(core: Pool) -> bool:
    """Return whether there are more connections than are wanted."""
    return core.is_closed or core.slots.has_surplus()


def place(core: Pool, permit: Permit) -> None:
    """Hand a clean connection to the next waiter, or put it back.

    The ways stay blocked after a hand-over, since often another one follows.
    """
    waiting, waiter = core.waiting, None
    if not (waiting and core.is_plain):
        _settle(core, permit)
        return
    if core.maintenance is not None:
        core.maintenance.used(permit.slot)
    try:
        link = waiting[0]
        waiter = link()
        # Record it first: the woken thread may finish before we return.  An
        # answered one may have had this permit from another thread, which
        # has not dropped the link yet.
        if waiter is not None and not waiter.answer and (
                waiter.answer.setdefault(0, permit) is permit):
            waiter.gate.release()
            if len(waiting) > 1 and waiter.looks:
                core.queue.pass_on()
            waiting.remove(link)
            return
        waiter = None
    except (IndexError, RuntimeError, ValueError):
        pass  # nobody waits, or others have woken it up or dropped the link
    if waiter is None:
        _settle(core, permit)


def _settle(core: Pool, permit: Permit) -> None:
    """Put a clean connection back, or close it if it is not wanted."""
    if core.room == 0 and not core.waiting:
        core.look_at_waiters()  # as in find()
    if core.may_stay(permit.slot):
        core.put_back(permit)
    else:
        core.discard(permit)


def put_back(core: Pool, permit: Permit, emptied: int | None = None) -> None:
    """Make a connection idle, or hand it to the next waiter.

    emptied: how often the pool had been emptied when a function began to
        work on the connection; if it was emptied since, close this, too
    """
    slot = permit.slot
    if emptied is not None and emptied != core.emptied:
        core.discard(permit, CLEARED)
        return
    core.sharing.stop(slot)
    if permit.admission is not None:
        free_tokens(permit)
    if core.maintenance is not None:
        core.maintenance.used(slot)
    permit.checkout = None
    core.idle.append(permit)
    if core.room == 0 and not core.waiting:
        core.look_at_waiters()  # as in find()
    core.hand_on()


def after_release(core: Pool) -> None:
    """Do what is left to do after a connection has become idle."""
    core.hand_on()
    if core.lost:
        core.reclaim()


def hand_on(core: Pool) -> None:
    """Serve waiters, and close what is too much."""
    if core.waiting:
        _serve_or_nudge(core)
    maxcached = core.limits.maxcached
    while core.idle and (core.has_surplus() or (
            maxcached is not None and len(core.idle) > maxcached)):
        permit = pop(core.idle, last=True)
        if permit is not None:
            core.discard(permit, CLEARED if core.is_closed else SURPLUS)


def _serve_or_nudge(core: Pool) -> None:
    """Serve waiters, or only wake the first if others may be faster."""
    if core.barging and core.may_be_taken():
        core.queue.nudge()
    else:
        core.serve()


def put_back_unused(core: Pool, permit: Permit) -> None:
    """Put back what was not used after all; it is handed out next."""
    slot = permit.slot
    if permit.is_share:
        core.abort(permit)
        return
    if permit.admission is not None:
        free_tokens(permit)
    if slot.con is None or not _is_current(core, slot):
        core.discard(permit)
    else:
        core.sharing.stop(slot)
        core.idle.appendleft(permit)
