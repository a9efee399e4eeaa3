"""Requests that wait for their turn, and the handing on of what is free.

The waiter is recorded before it looks for what is idle, and a grant before
the waiter is woken up.  So nothing is missed, whoever comes when.
"""

from __future__ import annotations

import threading
from time import monotonic

from .._base.atomic import first
from .._base.hints import Any, ref
from .._base.threads import is_ending
from .ceiling import rise
from .refusals import (
    AT_LIMIT,
    LATE,
    PAUSED,
    PoolClosed,
    PoolDeadlock,
    note_wait,
    refusal,
)
from .slots import Permit
from .story import LONG_WAIT
from .throttle import again
from .waiting import FEW, Waiter
from .ways import none_is_idle

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from .pool import Pool

__all__ = [
    "leave", "outcome", "queue_up", "serve", "wait_in_turn", "wait_on",
    "withdraw"]

# In seconds, for how long one that may not wait waits for what comes soon.
# Connecting takes less, however slow a server is.
_SOON = 60.0
# In seconds, for how long a request has to be the next one in the queue until
# it looks whether garbage holds connections.
_STANDSTILL = 5.0


def wait_in_turn(core: Pool, waiter: Waiter, timeout: float | None) -> Permit:
    """Return the permit that a waiter is granted in its turn."""
    _in_turn(core, waiter, timeout)
    return core.outcome(waiter)


def outcome(core: Pool, waiter: Waiter) -> Permit:
    """Return the permit that a waiter was granted, or raise its refusal."""
    permit: Permit | None
    permit = waiter.permit
    # one that may not wait has not waited, however slow this thread is
    waited = 0.0 if waiter.deadline == waiter.since else (
        monotonic() - waiter.since)
    if core.observers:  # of each wait, also the shortest
        core.observers.notify("waited", waited, permit is not None)
    if permit is not None:
        return permit
    if core.is_closed:
        raise PoolClosed
    if core.ceiling is not None:
        _refuse_as_full(core, waiter, waited)
    if core.kinds is not None and core.kinds.has_limits:
        _refuse_as_unfit(core, waiter, waited)
    if waiter.deadlock is not None:
        core.refused.step()
        raise PoolDeadlock(waiter.deadlock)
    raise refusal(
        core, waited, _reason(core, waiter), bool(waiter.is_holder))


def _refuse_as_full(core: Pool, waiter: Waiter, waited: float) -> None:
    """Raise the error of a request that a full server has refused.

    One that may not wait gets the error of the driver.
    """
    ceiling = core.ceiling
    if ceiling is None or ceiling.error is None or core.in_use >= (
            core.limits.maxconnections or core.in_use + 1):
        return
    if waiter.deadline == waiter.since:
        raise again(ceiling.error)
    raise refusal(core, waited, ceiling.text) from again(ceiling.error)


def _refuse_as_unfit(core: Pool, waiter: Waiter, waited: float) -> None:
    """Raise the error of a request for which no connection can be opened."""
    error = core.kinds.refusal(waiter.request)
    if error is None or core.in_use >= (
            core.limits.maxconnections or core.in_use + 1):
        return
    if waiter.deadline == waiter.since:
        raise error
    raise refusal(core, waited, AT_LIMIT) from error


def _reason(core: Pool, waiter: Waiter) -> str | None:
    """Return why a request got nothing, None if it is one of the usual."""
    if core.is_paused:
        return PAUSED
    if _has_place(core, waiter):
        return LATE
    policy = core.policy
    return None if policy is None else policy.refusal(waiter.request)


def _in_turn(core: Pool, waiter: Waiter, timeout: float | None) -> None:
    """Wait until a request is answered."""
    link = ref(waiter)
    try:
        core.queue_up(link)
        if len(core.waiting) <= FEW:
            waiter.looks = True  # not before, see pass_on()
        _wait_on(core, waiter, link, timeout, has_waited=False)
    except BaseException:
        core.withdraw(waiter)
        raise


def wait_on(core: Pool, waiter: Waiter, link: Any) -> None:
    """Wait until a request is answered that has blocked no ways."""
    _block(core)
    if core.lost:
        core.reclaim()
    _wait_on(core, waiter, link, core.timeout, has_waited=True)


def _wait_on(
        core: Pool, waiter: Waiter, link: Any, timeout: float | None,
        has_waited: bool) -> None:
    core.serve()
    if not _may_queue(core, waiter):
        timeout = 0
    has_waited = timeout != 0 and (has_waited or not waiter.answer)
    deadline = None if timeout is None else waiter.since + timeout
    waiter.thread, waiter.deadline = threading.get_ident(), deadline
    while not waiter.answer:
        _wait_a_bit(core, waiter, link, deadline)
    if waiter.permit is None:  # otherwise the one that served it does it
        core.leave(link)
    if has_waited:
        _note_wait(core, waiter)


def _note_wait(core: Pool, waiter: Waiter) -> None:
    """Count a request that had to wait, and one that did so in vain."""
    waited, permit = monotonic() - waiter.since, waiter.permit
    core.waits.add(waited)
    if permit is None:
        if not core.is_closed:
            core.timeouts.step()
    elif waited > LONG_WAIT:
        last = None if permit.is_share else core.slots.uses_of(permit).last
        note_wait(core.story, last, waited)


def queue_up(core: Pool, link: Any) -> None:
    """Enqueue a waiter; newcomers queue behind it."""
    if link().returns:
        core.queue.add(link)
    else:
        core.waiting.append(link)
    _block(core)


def _block(core: Pool) -> None:
    """Block the ways for those who would overtake a waiter."""
    if not core.barging:
        core.room = 0
        core.take = core.take_dedicated = none_is_idle
    if core.barging or not core.waiting:  # it may have been served already
        core.look_at_waiters()


def leave(core: Pool, link: Any) -> None:
    """Take a waiter out of the queue, if it is still there."""
    core.queue.drop(link)
    if not core.waiting or core.barging:
        core.look_at_waiters()


def _may_queue(core: Pool, waiter: Waiter) -> bool:
    """Return whether the queue was not too long when a waiter came."""
    limit = core.limits.maxwaiting
    return limit is None or bool(waiter.answer) or (
        waiter in core.queue.in_order()[:limit])


def _wait_a_bit(
        core: Pool, waiter: Waiter, link: Any, deadline: float | None) -> None:
    """Wait until woken up, or until it is time to look again."""
    if deadline is not None and monotonic() >= deadline and not (
            _is_coming(core, waiter)):
        waiter.give_up()
    if core.is_closed:
        waiter.give_up()
    if not waiter.answer:
        waiter.wait(core.queue.pause(link, deadline))
    if not waiter.answer:
        if is_ending():  # no other thread will give anything back
            waiter.give_up()
        core.reclaim()
        core.queue.first()  # wakes up those who were not told their answers
        core.serve()
        if core.barging:  # which may have lasted long enough
            core.look_at_waiters()
        _look_at_standstill(core, waiter, link)
        if core.tracks and waiter.is_holder is not False:
            _look_for_deadlock(core, waiter)


def _look_at_standstill(core: Pool, waiter: Waiter, link: Any) -> None:
    """Look for what only garbage holds if nobody was served for a while."""
    if waiter.answer or first(core.waiting) is not link:
        return
    now = monotonic()
    if waiter.first_since is None:
        waiter.first_since = now
    elif now - waiter.first_since > _STANDSTILL:
        from .garbage import collect  # noqa: PLC0415 - seldom

        collect(core, waiter)


def _look_for_deadlock(core: Any, waiter: Waiter) -> None:
    from .deadlocks import look  # noqa: PLC0415 - pools with a limit load it

    look(core, waiter)


def _is_coming(core: Pool, waiter: Waiter) -> bool:
    """Return whether there will be a connection in a moment.

    Only a request that may not wait at all waits for that: the time of any
    other one is over, and it could take long.  It could also never come: this
    thread may have interrupted its own work on that, in a signal handler or
    an observer.
    """
    if waiter.deadline != waiter.since:
        return not core.has_helpers and _has_place(core, waiter)
    if _has_place(core, waiter):  # those that hang have no turn for long
        return True
    return monotonic() - waiter.since < _SOON and bool(
        (waiter.shareable and core.sharing.is_preparing) or (
            core.reset_workers is not None and core.reset_workers.is_busy()))


def _has_place(core: Pool, waiter: Waiter) -> bool:
    """Return whether a request only waits for its turn to connect."""
    policy = core.policy
    if core.is_paused or core.slots.connecting is None or (
            not core.slots.has_place() or (
                waiter.shareable
                and len(core.sharing.slots) >= core.limits.maxshared)):
        return False
    if core.kinds is not None and core.kinds.refusal(waiter.request):
        return False
    if policy is None or not policy.has_limits:
        return True
    admission = policy.admit(waiter.request)
    if admission is not None:
        admission.free()
    return admission is not None


def withdraw(core: Pool, waiter: Waiter) -> None:
    """Take back a request whose wait was interrupted."""
    waiter.give_up()
    core.leave(ref(waiter))
    if waiter.permit is not None:
        core.put_back_unused(waiter.permit)
    core.serve()


def serve(core: Pool) -> None:
    """Hand free slots to waiters, in the order of service.

    Requests for shared and for dedicated connections want different
    things, and so do those with different tags: where one kind has to
    wait, another one is served.
    """
    if not core.waiting or core.is_paused:
        return
    if core.ceiling is not None:
        rise(core)
    if core.limits.maxshared or core.kinds is not None or (
            core.policy is not None and core.policy.has_limits):
        while _serve_kinds(core):
            pass  # somebody has left meanwhile
    else:
        _serve_alike(core)


def _serve_kinds(core: Pool) -> bool:
    """Serve waiters of several kinds; return whether to retry."""
    blocked = set()
    again = False
    for waiter in core.queue.in_order():
        if waiter.answer:
            continue  # another thread has served it
        kind = waiter.shareable, waiter.request and waiter.request.kind
        permit = None
        if kind not in blocked:
            permit = core.take_for(waiter.shareable, waiter.request)
        if permit is None:
            blocked.add(kind)
        else:
            again = not _grant(core, waiter, permit) or again
    return again


def _serve_alike(core: Pool) -> None:
    """Serve waiters that all want the same, until nothing is left."""
    while core.waiting and (core.idle or core.slots.has_room()):
        waiter = core.queue.first()
        permit = None if waiter is None else core.take_any()
        if waiter is None or permit is None:
            return
        _grant(core, waiter, permit)


def _grant(core: Pool, waiter: Waiter, permit: Permit) -> bool:
    """Hand a permit to a waiter; return whether it was still there.

    Record the grant first: the woken thread may finish and serve the next
    waiter before we return.
    """
    policy = core.policy
    if policy is not None:
        policy.served(waiter.request)
    is_wanted = waiter.grant(permit)
    if is_wanted:
        core.leave(ref(waiter))
    else:
        core.put_back_unused(permit)
        if policy is not None:
            policy.not_served(waiter.request)
    return is_wanted
