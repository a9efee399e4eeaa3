"""The choice of the fast ways, and when a pool keeps track of holders.

The fast ways are four attributes of a core: "take" and "take_dedicated"
return an idle permit or raise an IndexError, "put" makes one idle, and "room"
is the number of idle connections from which on "put" must not be used, but
"place", or None if it can always be used.  As long as a request waits, the
first two are blocked, so that they only return None, and "room" is 0.  All can
stay so after it has left: the next request that goes the long way, or the next
"place", changes that.

If observers are told of each request, the first two are always blocked, and
"watched_way" is what they would be otherwise.
"""

from __future__ import annotations

from time import monotonic
from types import MethodType

from .._base.hints import Any, Callable, partial

__all__ = [
    "choose_ways", "look_at_waiters", "may_be_taken", "measure_load",
    "none_is_idle", "note_growth", "note_load", "track"]

# A way out that is blocked.  An error would take longer, and so would Python.
none_is_idle: Any = [].clear


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
        bool, bool, bool, bool, Any, bool, bool, Any, Any]:
    """Return all that the ways depend on."""
    policy = core.policy
    return (
        core.is_closed, _is_long(core, policy), _is_watched(core),
        _needs_care(core), None if _needs_more(core) else core.way_to_check,
        _needs_times(core), _is_plain(core),
        (core.order, core.limits.maxcached), core.kinds)


def _is_long(core: Any, policy: Any) -> bool:
    """Return whether each request goes the long way."""
    return bool(
        (policy is not None and policy.has_limits) or core.nesting is not None
        or core.is_paused)


def _is_watched(core: Any) -> bool:
    """Return whether observers are told of each request."""
    return bool(core.observers and core.observers.watches)


def _is_plain(core: Any) -> bool:
    """Return whether all requests are alike, and nobody may overtake.

    Then whatever comes back goes to the first waiter.
    """
    limits = core.limits
    return not (
        core.is_closed or core.is_paused or core.barging or core.observers
        or limits.maxshared or core.policy is not None
        or core.timer is not None
        or core.nesting is not None or core.kinds is not None
        or limits.maxwaiting is not None or core.slots.is_oversized())


def _choose(
        core: Any, is_closed: bool, is_long: bool, is_watched: bool,
        needs_care: bool, way_to_check: Any, needs_times: bool,
        is_plain: bool, order: tuple[Any, Any], kinds: Any) -> None:
    idle, maintenance = core.idle, core.maintenance
    take, put = idle.popleft, idle.append
    if needs_times:
        take, put = maintenance.way_out(idle), maintenance.way_back(idle)
    core.take_idle = take  # first, since the other ways begin with it
    take = _with_checks(core, take, needs_care, way_to_check)
    if kinds is not None:
        take = core.backend.way_to_usual(core, take)
    if is_closed or is_long:
        take = none_is_idle
    if order[1] is not None:
        put = partial(_put_and_look, core, put)
    if is_long:
        put = core.put_back
    # each is set once, also if this is interrupted
    core.watched_way = take if is_watched else none_is_idle
    core.way_out = none_is_idle if is_watched else take
    core.put, core.is_plain = put, is_plain


def _with_checks(
        core: Any, take: Any, needs_care: bool, way_to_check: Any) -> Any:
    """Return a way out with what is to be done before lending."""
    if way_to_check is not None:
        return MethodType(way_to_check, core)
    if needs_care:
        return MethodType(core.backend.take_with_care, core)
    return take


def _put_and_look(
        core: Any, put: Callable[[Any], None], permit: Any) -> None:
    """Make a connection idle; close it if others have come back meanwhile."""
    put(permit)
    room = core.room
    if room is not None and len(core.idle) > room:
        core.hand_on()


def _needs_care(core: Any) -> bool:
    """Return whether something is to be looked at before lending."""
    return bool(
        core.is_careful or core.tick is not None or _may_track(core))


def _needs_more(core: Any) -> bool:
    """Return whether lending takes more than to check the connection."""
    return bool(
        core.tick is not None or core.trust is not None or _may_track(core))


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


def _ways(core: Any) -> tuple[Any, Any, int | None]:
    """Return take, take_dedicated and room, as they have to be now."""
    way = core.way_out if core.may_be_taken() else none_is_idle
    return (
        none_is_idle if core.limits.maxshared else way, way,
        0 if core.waiting else _open_room(core))


def _open_room(core: Any) -> int | None:
    """Return from how many idle connections on none comes back quickly.

    None means that any number may be idle.
    """
    if core.is_closed or core.slots.is_oversized():
        return 0
    return core.limits.maxcached  # type: ignore[no-any-return]


def may_be_taken(core: Any) -> bool:
    """Return whether a request may take what is idle.

    It must not overtake a waiter, unless that has only just come; and while
    the pool is paused, nobody may.
    """
    if core.is_paused:
        return False
    if not core.waiting:
        return True
    first = core.queue.first() if core.barging > 0 else None
    return first is not None and (
        monotonic() - first.since < core.barging)


def _may_track(core: Any) -> bool:
    """Return whether more than half of the connections can be in use."""
    limit = core.limits.maxconnections
    return core.may_track and core.tracks is None and limit is not None and (
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
    if _may_track(core):
        if not core.plenty:  # until now it could not be half of them
            core.choose_ways()
        core.note_load()


def track(core: Any) -> None:
    """Keep track of holders and times from now on, unless it is not wanted."""
    if core.may_track and core.tracks is None:
        core.tracks = True
        core.choose_ways()
    core.times = core.tracks
