"""The return of lost slots, and of connections that were shared.

A finalizer that is called by the garbage collector must not talk to the
database, so it only drops its permit.  Waiters look for lost slots from time
to time, and so does each request that finds no idle connection.
"""

from __future__ import annotations

from .._base.errors import quietly
from .._base.finalizers import is_collecting
from .._base.hints import Any
from .._base.threads import fill_vacancies, is_ending, vacancies
from .slots import Permit

__all__ = [
    "close_group", "end_groups", "reclaim", "release_one_share",
    "release_share"]


def reclaim(core: Any) -> None:
    """Take back lost slots, unless the collector or the end forbids it."""
    if vacancies:
        fill_vacancies()
    if core.reset_workers is not None:
        core.reset_workers.ensure()
    if not (core.lost or core.sharing.lost) or is_collecting() or (
            is_ending()):
        return
    permit: Any = core
    while permit is not None:
        permit = None
        with quietly("taking a connection back"):
            permit = core.slots.reissue_lost()
            if permit is not None:
                _take_back(core, permit)
    while core.sharing.lost:
        with quietly("taking shared connections back"):
            core.end_groups()


def _take_back(core: Any, permit: Permit) -> None:
    """Take back the permit of a lost slot."""
    core.sharing.stop(permit.slot)
    if permit.slot.con is None:
        core.discard(permit)
    else:
        core.reset(permit)


def release_share(core: Any, share: Any) -> None:
    """Take back one share of a connection, like release()."""
    if is_collecting():
        core.nudge()
        return
    checkout = share.checkout
    if checkout and len(share.group.tethers) > 1:
        core.backend.part(share.slot.con, checkout)
    if core.sharing.end(share):
        core.end_groups()
        core.serve()


def release_one_share(core: Any, con: Any) -> None:
    """Take back the first share of a connection."""
    for group in list(core.sharing.groups.values()):
        share = group.first_share()
        if group.permit.slot.con is con and share is not None:
            core.release_share(share)


def end_groups(core: Any) -> None:
    """Take back the connections of groups that have no sharers left."""
    group = core.sharing.emptied()
    while group is not None:
        if group.is_detached:
            core.close_group(group)
        else:
            core.reset(group.permit)
        group = core.sharing.emptied()


def close_group(core: Any, group: Any) -> None:
    """Close the connection of a group, and count that once."""
    slot = group.permit.slot
    core.close_counted(slot.con, group.is_first_to_close() and slot.is_counted)
