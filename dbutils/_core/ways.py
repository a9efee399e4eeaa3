"""The choice of the fast ways, and when a pool keeps track of holders.

The fast ways are four attributes of a core: "take" and "take_dedicated"
return an idle permit or raise an IndexError, "put" makes one idle, and "room"
is the number of idle connections from which on "put" must not be used, but
"place".  As long as a request waits, the first two only raise the error, and
"room" is 0.  Both can stay so after it has left: the next request that goes
the long way, or the next "place", changes that.
"""

from __future__ import annotations

from time import monotonic
from types import MethodType

from .._base.hints import Any, Callable, deque, partial

__all__ = [
    "choose_ways", "look_at_waiters", "may_be_taken", "measure_load",
    "none_is_idle", "note_growth", "note_load", "track"]

_ANY_NUMBER = 2 ** 29  # a small one, with which comparing is quick

# A way out that raises an IndexError.
none_is_idle: Any = deque(maxlen=0).popleft


def choose_ways(core: Any) -> None:
    """Choose the shortest ways out and back that the options allow.

    If another thread changes the options meanwhile, do it again.
    """
    options = None
    while options != _options(core):
        options = _options(core)
        _choose(core, *options)
    core.measure_load()
    core.look_at_waiters()


def _options(core: Any) -> tuple[
        bool, bool, bool, bool, bool | None, bool, bool, Any]:
    """Return all that the ways depend on."""
    policy = core.policy
    return (
        core.is_closed, _is_long(core, policy),
        _needs_care(core), core.asks and not _needs_more(core), core.tracks,
        _needs_times(core), _is_plain(core),
        (core.order, core.limits.maxcached))


def _is_long(core: Any, policy: Any) -> bool:
    """Return whether each request goes the long way."""
    return bool(
        (policy is not None and policy.has_limits) or core.nesting is not None
        or (core.observers and core.observers.watches))


def _is_plain(core: Any) -> bool:
    """Return whether all requests are alike, and nobody may overtake.

    Then whatever comes back goes to the first waiter.
    """
    limits = core.limits
    return not (
        core.is_closed or core.barging or core.observers or limits.maxshared
        or core.policy is not None or core.timer is not None
        or core.nesting is not None
        or limits.maxwaiting is not None or core.slots.is_oversized())


def _choose(
        core: Any, is_closed: bool, is_long: bool, needs_care: bool,
        only_asks: bool, tracks: bool | None, needs_times: bool,
        is_plain: bool,
        order: tuple[Any, Any]) -> None:
    take: Any = core.idle.popleft
    if is_closed or is_long:
        take = none_is_idle
    elif only_asks:
        take = MethodType(core.backend.take_and_ask, core)
    elif needs_care:
        take = MethodType(core.backend.take_with_care, core)
    elif tracks:
        take = MethodType(core.backend.take_and_note, core)
    put: Any = core.idle.append
    if needs_times:
        put = core.maintenance.way_back(core.idle)
    if order[1] is not None:
        put = partial(_put_and_look, core, put)
    if is_long:
        put = core.put_back
    # each is set once, also if this is interrupted
    core.way_out, core.put, core.is_plain = take, put, is_plain


def _put_and_look(
        core: Any, put: Callable[[Any], None], permit: Any) -> None:
    """Make a connection idle; close it if others have come back meanwhile."""
    put(permit)
    if len(core.idle) > core.room:
        core.hand_on()


def _needs_care(core: Any) -> bool:
    """Return whether something is to be looked at before lending."""
    return bool(
        core.is_careful or core.tick is not None or _may_track(core)
        or _needs_times(core))


def _needs_more(core: Any) -> bool:
    """Return whether lending takes more than to ask the connection."""
    return bool(
        core.tick is not None or core.tracks or core.trust is not None
        or _may_track(core) or _needs_times(core))


def _needs_times(core: Any) -> bool:
    maintenance = core.maintenance
    return maintenance is not None and bool(maintenance.needs_times)


def look_at_waiters(core: Any) -> None:
    """Open the ways, or block them for those who would overtake.

    If that was changed by another thread meanwhile, do it again.
    """
    if not core.waiting:  # as nearly always
        way = core.take_dedicated = core.way_out
        core.take = none_is_idle if core.limits.maxshared else way
        core.room = _open_room(core)
        if not core.waiting and core.way_out is way:
            return
    ways = None
    while ways != _ways(core):
        ways = _ways(core)
        core.take, core.take_dedicated, core.room = ways


def _ways(core: Any) -> tuple[Any, Any, int]:
    """Return take, take_dedicated and room, as they have to be now."""
    way = core.way_out if core.may_be_taken() else none_is_idle
    return (
        none_is_idle if core.limits.maxshared else way, way,
        0 if core.waiting else _open_room(core))


def _open_room(core: Any) -> int:
    """Return from how many idle connections on none comes back quickly."""
    if core.is_closed or core.slots.is_oversized():
        return 0
    maxcached = core.limits.maxcached
    return _ANY_NUMBER if maxcached is None else maxcached


def may_be_taken(core: Any) -> bool:
    """Return whether a request may take what is idle.

    It must not overtake a waiter, unless that has only just come.
    """
    if not core.waiting:
        return True
    first = core.queue.first() if core.barging > 0 else None
    return first is not None and (
        monotonic() - first.since < core.barging)


def _may_track(core: Any) -> bool:
    """Return whether more than half of the connections can be in use."""
    limit = core.limits.maxconnections
    return core.tracks is None and limit is not None and (
        len(core.slots) > limit // 2)


def measure_load(core: Any) -> None:
    """Update how many have to be idle if not half of them are in use."""
    limit = core.limits.maxconnections
    core.plenty = len(core.slots) - (limit or 0) // 2 if (
        _may_track(core)) else 0


def note_load(core: Any) -> None:
    """Begin to keep track of holders when half of them are in use."""
    if _may_track(core):
        core.measure_load()
        if len(core.idle) < core.plenty:
            core.track()


def note_growth(core: Any) -> None:
    """Note that a slot was added and is in use."""
    if core.tracks is None and _may_track(core):
        if not core.plenty:  # until now it could not be half of them
            core.choose_ways()
        core.note_load()


def track(core: Any) -> None:
    """Keep track of holders from now on, unless that is not wanted."""
    if core.tracks is None:
        core.tracks = True
        core.choose_ways()
