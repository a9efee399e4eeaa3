"""Requests: a permit is taken if there is one, and made ready for use."""

from __future__ import annotations

from time import monotonic

from .._base.atomic import pop, snapshot
from .._base.errors import release_frames
from .._base.hints import Any, Callable
from .._base.opening import Elsewhere, Full, Late
from .ceiling import is_making_way
from .opener import Patient, ready
from .refusals import LATE, PoolClosed, refusal
from .slots import Permit, note_caller, note_tag
from .waiting import Waiter

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from .pool import Pool

__all__ = [
    "acquire", "find", "hold_permit", "request", "share_idle", "take_any",
    "take_for"]

# How many calls lie between a program and the note of its share, at least.
_DEPTH = 2


def acquire(
        core: Pool, connect: Callable[[], Any], timeout: float | None,
        shareable: bool = False, pool: Any = None,
        request: Any = None, waiter: Waiter | None = None) -> Permit:
    """Return the permit of a connection that is ready for use.

    timeout: how many seconds to wait at most; None means no limit
    pool: takes the connection back if it is dropped; see Permit
    request: its level and its tag, if it has any
    waiter: an answered one, if it has waited in line already

    Raises PoolTimeout if the wait was in vain, and PoolClosed if the pool
    was shut down.
    """
    try:
        return _acquire(
            core, connect, timeout, shareable and core.limits.maxshared > 0,
            pool, request, waiter)
    except BaseException as error:
        release_frames(error)
        raise


def _acquire(
        core: Pool, connect: Callable[[], Any], timeout: float | None,
        shareable: bool, pool: Any, request: Any,
        waiter: Waiter | None) -> Permit:
    start = monotonic() if waiter is None else waiter.since
    deadline = start + timeout if timeout else None
    if timeout != 0:
        connect = Patient(core, connect)
    permit = since = None
    while True:
        if core.is_closed and waiter is None:
            raise PoolClosed
        try:
            if waiter is None:
                permit = core.find(shareable, request, timeout, since)
            else:
                permit, waiter = core.outcome(waiter), None
            permit = ready(
                core, permit, connect, pool, shareable, deadline, request)
            note_tag(permit, request)
            return core.observers.acquired(permit, start) if (
                core.observers) else permit
        except (Elsewhere, Full):
            since = start  # it keeps its place in the line
        except Late:
            core.timeouts.step()
            raise refusal(
                core, monotonic() - start, LATE,
            ) from core.throttle.last_error()
        finally:
            permit = None  # which the traceback of an attempt could keep


def request(core: Pool, priority: Any, tag: Any) -> Any:
    """Return the level and the tag of a request, after checking them."""
    policy = core.policy
    if policy is not None:
        return policy.request(priority, tag)
    if priority is None and tag is None:
        return None
    raise TypeError(
        "This pool knows no priorities and tags,"
        " a ResourceAllocationPooledDB does. [DBU-10]")


def find(
        core: Pool, shareable: bool, request: Any,
        timeout: float | None, since: float | None = None) -> Permit:
    """Return the permit of a slot, waiting for it if need be.

    since: when the request came, if not just now
    """
    if core.lost:
        core.reclaim()
    if core.nesting is not None:
        core.nesting.check(core)
    permit = None
    if core.ceiling is not None and timeout == 0:
        is_making_way(core, may_wait=False)
    if core.may_be_taken():
        # A waiter that comes after we have seen an empty queue looks
        # itself for what is idle, so no waiter is overtaken.
        permit = core.take_for(shareable, request)
    if permit is not None:
        if core.take_dedicated is not core.way_out and not core.waiting:
            # the last waiter was served before it had blocked the ways, or was
            # gone before it had opened them
            core.look_at_waiters()
        return permit
    if not core.slots.has_place():
        core.track()
    return core.wait_in_turn(
        Waiter().ask(shareable, request, since), timeout)


def take_for(
        core: Pool, shareable: bool,
        request: Any) -> Permit | None:
    """Return what a request can be served with now, or None."""
    policy = core.policy
    if policy is None or not policy.has_limits:
        if shareable:
            return _take_shared(core, request)
        return _take_own(core, request)
    admission = policy.admit(request)
    if admission is None:
        return None
    permit = _take_own(core, request)
    if permit is None:
        admission.free()
    else:
        permit.admission = admission
    return permit


def take_any(core: Pool) -> Permit | None:
    """Return a permit, if possible with a connection, or None."""
    return pop(core.idle) or core.slots.take()


def _take_own(core: Pool, request: Any) -> Permit | None:
    """Return a permit that is not shared, or None."""
    if core.kinds is None:
        return core.take_any()
    return _take_fitting(core, request)


def _take_fitting(core: Pool, request: Any) -> Permit | None:
    """Return a permit of a connection that fits, if possible.

    Otherwise it is that of an empty slot, or of another connection, in whose
    place one will be opened that fits, unless none can be opened for now.
    """
    kinds = core.kinds
    permit = _take_idle(core, kinds.fits, request)
    if permit is None and kinds.has_limits:
        permit = _take_idle(core, kinds.suffices, request)
        if permit is None and kinds.refusal(request) is not None:
            return None
    return permit or core.slots.take() or pop(core.idle)


def _take_idle(
        core: Pool, fits: Callable[[Any, Any], bool],
        request: Any) -> Permit | None:
    """Return the permit of an idle connection that fits, if there is one."""
    for permit in snapshot(core.idle):
        con = permit.slot.con  # None if another thread has just closed it
        if con is not None and fits(con, request) and core.take_out(permit):
            return permit  # type: ignore[no-any-return]
    return None


def _take_shared(core: Pool, request: Any) -> Permit | None:
    """Return the permit of a connection to be shared, or a share."""
    permit, sharing, limit = None, core.sharing, core.limits.maxshared
    if len(sharing.slots) < limit:
        permit = _take_own(core, request)
    if permit is None:
        return _join(core)
    if not sharing.may_begin(permit.slot, limit):
        core.put_back_unused(permit)
        return _join(core)
    return permit


def _join(core: Pool) -> Permit | None:
    """Return a share of the connection with the fewest sharers, or None."""
    share = core.sharing.join()
    while share is not None and not share.permit.group.may_be_joined:
        core.leave_share(share)  # all others have left meanwhile
        share = core.sharing.join()
    return share


def share_idle(core: Pool, pool: Any) -> Any:  # noqa: C901, PLR0912, PLR0915 - the fast way is one short function
    """Return a share of an idle connection, None if there is none.

    This inlines acquire() for the usual case.
    """
    permit = share = None
    sharing, limit = core.sharing, core.limits.maxshared
    shared = sharing.slots
    try:
        if len(shared) >= limit:
            return None
        permit = core.take_dedicated()
        if permit is None:
            return None
        slot = permit.slot
        shared[slot.number] = slot  # inlined may_begin()
        if len(shared) > limit:
            sharing.stop(slot)
            core.put_back_unused(permit)
            return None
        share = sharing.publish(permit, core.backend.share(slot.con))
        share.checkout = [pool]
        next(sharing.lent)
        if core.tracks:
            note_caller(share, _DEPTH)
        if core.waiting:
            core.serve()
        return share
    except IndexError:
        permit = None  # none is idle, or more has to be done
    except Exception:
        if share is None and permit is not None:
            core.abort(permit)
        raise
    except BaseException:
        permit = share = None  # not to be kept by the traceback
        raise
    return None


def hold_permit(core: Pool, permit: Permit) -> None:
    """Keep a connection in use until it is released explicitly."""
    core.held[id(permit.slot.con)] = permit
    permit.slot.lent += 1
