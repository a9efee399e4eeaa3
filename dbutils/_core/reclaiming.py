"""The return of lost slots, and of connections that were shared.

A finalizer that is called by the garbage collector must not talk to the
database, so it only drops its permit.  Waiters look for lost slots from time
to time, and so does each request that finds no idle connection.
"""

from __future__ import annotations

from .._base.atomic import pop_last
from .._base.errors import quietly
from .._base.finalizers import collecting, is_collecting
from .._base.hints import Any
from .._base.threads import fill_vacancies, is_ending, vacancies
from .slots import CLEARED, Permit, Slot, end
from .uses import end_use

__all__ = [
    "count_end", "end_sharing", "leave_share", "reclaim", "release_one_share",
    "release_share"]


def reclaim(core: Any) -> None:
    """Take back lost slots, unless the collector or the end forbids it."""
    if vacancies:
        fill_vacancies()
    if core.reset_workers is not None:
        core.reset_workers.ensure()
    if not core.lost or is_collecting() or is_ending():
        return
    permit: Any = core
    while permit is not None:
        permit = None
        with quietly("taking a connection back"):
            permit = core.slots.reissue_lost()
            if permit is not None:
                _take_back(core, permit)


def _take_back(core: Any, permit: Permit) -> None:
    """Take back the permit of a lost slot."""
    core.sharing.stop(permit.slot)
    if permit.slot.con is None:
        core.discard(permit)
    else:
        core.reset(permit)


def release_share(core: Any, share: Any, *, is_moved: bool = False) -> None:
    """Take back one share of a connection, like release().

    is_moved: whether its lease goes on with another share, which is counted
        as well
    """
    if collecting and is_collecting():  # the share dies with its holder
        if end(share.checkout):
            end_use(core, share)
        core.nudge()
        return
    permit = share.permit
    if permit is not None and len(permit.group.links) > 1:
        core.backend.part(share.slot.con, share)
    permit = None  # not to be kept by a traceback
    if end(share.checkout):
        end_use(core, share)
        if is_moved:
            next(core.sharing.moved)
        leave_share(core, share)


def leave_share(core: Any, share: Any) -> None:
    """Take back a connection if a share that ends was the last one."""
    permit = core.sharing.leave(share)
    if permit is not None:
        try:
            permit.group.attached.pop()
        except IndexError:
            _close_detached(core, permit.slot)  # it has left the pool before
        else:
            _come_back(core, permit)
    if core.waiting:
        core.serve()


def _come_back(core: Any, permit: Permit) -> None:
    """Make a connection without sharers idle, on the fast way if possible."""
    slot = permit.slot
    room = core.room
    if (room is None or len(core.idle) < room) and (
            core.backend.quick_reset(slot.con)):
        core.sharing.slots.pop(slot.number, None)  # inlined stop()
        core.put(permit)
        if core.waiting or core.lost:
            core.after_release()
    else:
        core.reset(permit)


def release_one_share(core: Any, con: Any) -> None:
    """Take back one share of a connection."""
    for share in core.sharing.shares():
        if share.slot.con is con:
            core.release_share(share)
            return


def end_sharing(
        core: Any, permit: Permit, waits: bool,
        reason: str = CLEARED) -> None:
    """Detach a connection that is shared from the pool.

    waits: whether it stays open until its last sharer leaves
    """
    slot = permit.slot
    if pop_last(permit.group.attached) is None:
        return  # it comes back just now, or has left
    core.sharing.stop(slot)
    core.backend.leave(slot.con)
    core.slots.give_up(slot)
    # not later, since the collector can end the last use
    count_end(core, slot, reason)
    if not waits and core.backend.can_be_closed_in_use(slot.con):
        _close_detached(core, slot)


def count_end(core: Any, slot: Slot, reason: str) -> None:
    """Count a connection as closed, which it is when its users are gone."""
    if slot.is_counted:
        core.closed[reason].step()
        core.story.tell(
            "closed", reason, reason=reason, connection=slot.number)


def _close_detached(core: Any, slot: Slot) -> None:
    """Close a connection that has left the pool.

    Those who still share it can have opened it again.
    """
    with quietly("closing a connection of a pool"):
        core.backend.close(slot.con)
