"""Connections that are made ready for a request."""

from __future__ import annotations

from time import monotonic

from .._base.errors import quietly
from .._base.hints import Any, Callable, partial
from .._base.opening import Elsewhere, Full
from .ceiling import is_making_way, lower
from .slots import (
    DEAD,
    EXPIRED,
    IDLE,
    SURPLUS,
    Permit,
    Slot,
    free_tokens,
    note_caller,
)

__all__ = ["Patient", "open_ahead", "ready"]

# How many calls lie between a program and the note of its checkout, at least.
_DEPTH = 4


def ready(
        core: Any, permit: Permit, connect: Callable[[], Any],
        pool: Any, shareable: bool,
        deadline: float | None = None, request: Any = None) -> Permit:
    """Open or check the connection of a slot that was granted.

    pool: takes the connection back if it is dropped
    deadline: until when to wait for a server that is not there
    request: see Kinds
    """
    record = None
    try:
        _open_or_check(core, permit, connect, deadline, request)
        if shareable and not permit.is_share:
            record = core.backend.share(permit.slot.con)
    except BaseException:
        core.abort(permit)
        raise
    if record is not None:
        # From here on the permit belongs to those who share.  It must not
        # be given up: if this is interrupted, it dies with the share.
        permit = core.sharing.publish(permit, record)
        core.serve()
    permit.taken = None  # by the last holder
    permit.checkout = (
        core.observers.begin(pool) if core.observers else [pool])
    if permit.is_share:
        next(core.sharing.lent)
    elif pool is not None:
        permit.slot.lent += 1
    if core.tracks or (
            core.may_track and core.limits.maxconnections):
        note_caller(permit, _DEPTH)  # which costs nothing here
        core.note_growth()
    try:
        return permit
    finally:
        del permit  # which the traceback of a failed attempt could keep


def _close_unless_it_fits(core: Any, permit: Permit, request: Any) -> None:
    """Make place for a connection of another kind."""
    slot, is_share = permit.slot, permit.is_share
    del permit  # which the traceback of an error could keep
    if not is_share and slot.con is not None and not (
            core.kinds.suffices(slot.con, request)):
        core.close(slot, SURPLUS)


def _open_or_check(
        core: Any, permit: Permit, connect: Callable[[], Any],
        deadline: float | None, request: Any) -> None:
    if core.kinds is not None:
        _close_unless_it_fits(core, permit, request)
    slot, is_share = permit.slot, permit.is_share
    may_have_to_go = deadline is not None or core.maintenance is not None
    try:
        if may_have_to_go and slot.con is not None and not is_share:
            _close_if_due(core, slot, isinstance(connect, Patient), deadline)
        if slot.con is None:
            _open(core, permit, connect, deadline)
        elif not is_share and core.backend.seems_ready(slot.con):
            pass  # as nearly always
        elif deadline is None:
            core.backend.check(slot.con)
        elif is_share:
            core.backend.check_share(
                slot.con, (deadline - monotonic()) / 2)
        if core.kinds is not None:
            core.kinds.assign(slot.con, request)
    finally:
        del permit  # which the traceback of an error could keep


def open_ahead(
        core: Any, permit: Permit, connect: Callable[[], Any],
        deadline: float | None = None) -> None:
    """Open the connection of a slot, which is idle then.

    The deadline is that of ready().
    """
    emptied = core.emptied
    try:
        _open(core, permit, connect, deadline, is_ahead=True)
    except BaseException:
        core.abort(permit)
        raise
    core.put_back(permit, emptied)
    core.note_growth()


def _open(
        core: Any, permit: Permit, connect: Callable[[], Any],
        deadline: float | None, is_ahead: bool = False) -> None:
    """Open the connection of an empty slot."""
    slot = permit.slot
    slot.round = core.round
    start = slot.used_at = monotonic()
    permits = [permit]
    if deadline is not None and core.has_helpers:
        connect = partial(_in_time, core, permits, connect, deadline)
    try:
        con = core.throttle.connect(
            connect, deadline, lambda: core.idle or core.is_closed)
    finally:
        # which the tracebacks of errors could keep, here and in all
        # functions that connect
        permits.clear()
        del permit
    _begin_with(core, slot, con, monotonic() - start, is_ahead)
    if core.waiting:
        core.serve()  # somebody may wait for a turn to connect


class Patient:
    """Opens connections for a request that may wait."""

    __slots__ = ("_connect", "_core")

    def __init__(self, core: Any, connect: Callable[[], Any]) -> None:
        self._core = core
        self._connect = connect

    def __call__(self) -> Any:
        """Return a new connection.

        If the server has too many of them, lower the ceiling of the pool, and
        raise a Full, with which the request joins the line again.  It also
        does that if there are as many as the program allows, unless the line
        knows nothing of that yet: then the request would not wait there.
        """
        core, start = self._core, monotonic()
        try:
            return self._connect()
        except Exception as error:
            if core.backend.is_full(error):
                core.throttle.tell(error)
                lower(core, error, start)
            elif core.kinds is None or not (
                    getattr(error, "is_at_limit", False)):
                raise
        raise Full


# Helpers.

def _in_time(
        core: Any, permits: list[Permit],
        connect: Callable[[], Any], deadline: float) -> Any:
    """Return a connection that a helper opens before the deadline.

    permits: the only one is that of its slot

    Opening an embedded database takes no time, and its connections may
    belong to the thread that has opened them, so it has no helpers.
    """
    from .._base.attempt import Attempt  # noqa: PLC0415 - if it is needed

    attempt = Attempt(
        partial(_connect_for_another, core, connect), permits[0],
        partial(_finish_late, core, core.emptied, monotonic()))
    core.throttle.attempts.add(attempt)
    con = None
    if core.has_helpers and attempt.begin(deadline - monotonic()):
        con = attempt.wait(deadline, lambda: core.idle or core.is_closed)
    return connect() if con is None else con


def _connect_for_another(
        core: Any, connect: Callable[[], Any]) -> Any:
    """Return a connection that other threads can use, or None."""
    con = connect()
    if not core.backend.opens_at_once(con):
        return con
    core.has_helpers = False
    core.backend.close(con)
    return None


def _close_if_due(
        core: Any, slot: Slot, may_wait: bool, deadline: float | None) -> None:
    """Close a connection that has to be replaced, if it is one.

    A request that may wait joins the line again if others are connecting, or
    if its place is left to others.
    """
    reason = _why_to_go(core, slot, deadline)
    if reason is None:
        return
    if reason == DEAD:
        core.throttle.lost(slot.number)
    core.close(slot, reason)
    slot.used_at = monotonic()  # it begins only now
    if may_wait and not core.slots.may_open(slot):
        raise Elsewhere
    if is_making_way(core, may_wait):
        raise Full


def _why_to_go(core: Any, slot: Slot, deadline: float | None) -> str | None:
    """Return why a connection has to be replaced, None if it can stay.

    A request with a deadline never receives a dead connection; half of
    the time that is left is for asking, and half for connecting.
    """
    maintenance = core.maintenance
    if maintenance is not None and maintenance.is_due(slot):
        return EXPIRED if maintenance.is_expired(slot) else IDLE
    is_dead = deadline is not None and not (
        core.backend.seems_ready(slot.con) or core.backend.is_alive(
            slot.con, (deadline - monotonic()) / 2))
    return DEAD if is_dead else None


def _begin_with(
        core: Any, slot: Slot, con: Any, seconds: float,
        is_ahead: bool) -> None:
    """Fill a slot with a connection that was just opened."""
    slot.con = con
    slot.inside = core.backend.enter(con)
    slot.is_counted = True
    core.opened.add(seconds)
    core.backend.after_open(con, core.throttle, slot.number)
    if slot.round != core.round:  # the pool was drained meanwhile
        core.backend.retire(con)
    core.story.tell("opened", seconds, seconds=seconds, connection=slot.number)
    if core.yields:
        from .yielding import begin_yielding  # noqa: PLC0415 - loaded

        begin_yielding(core, con)
    if core.observers and not is_ahead:
        core.observers.notify("missed")
    if core.maintenance is None:
        slot.used_at = 0.0  # it is not needed from now on
    else:
        core.maintenance.opened(slot)


def _finish_late(
        core: Any, emptied: int, start: float, permit: Permit,
        outcome: Any) -> None:
    """Make a connection idle whose request has left in the meantime.

    start: when the attempt was begun
    """
    free_tokens(permit)
    permit = core.slots.reissue(permit.slot)  # that of the request is void
    if permit is None:  # the slot has left the pool
        if outcome.con is not None:
            core.backend.close(outcome.con)
        return
    can_stay = False
    try:
        can_stay = _is_welcome(core, permit.slot, outcome, start)
    finally:
        if can_stay:
            core.put_back(permit, emptied)
        else:
            core.discard(permit)


def _is_welcome(
        core: Any, slot: Slot, outcome: Any, start: float) -> bool:
    """Return whether there is a connection now, and may stay."""
    con, error = outcome
    if con is None:
        if isinstance(error, Exception):
            core.throttle.note_failure(error)
        return False
    core.throttle.note_success()
    with quietly("beginning with a late connection"):
        _begin_with(core, slot, con, monotonic() - start, is_ahead=True)
        return bool(core.may_stay(slot))
    return False
