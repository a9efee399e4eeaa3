"""The state of a pool in words: what is wrong, why, and what would help."""

from __future__ import annotations

import threading
from itertools import islice
from math import ceil
from time import monotonic

from .._base.callers import name_of, where
from .._base.hints import Any, Callable, Iterable, Iterator, NamedTuple
from .deadlocks import NESTED_ADVICE, certain, leak_advice
from .slots import DEAD
from .story import HELD, KEPT, Event
from .waiting import NESTED
from .whereabouts import (
    AGAIN,
    BUSY,
    ELSEWHERE,
    ENDED,
    LEFT,
    RESTS,
    WAITS,
    Whereabouts,
    find_all,
    is_leak,
    place_text,
)

__all__ = ["cause_of", "explain", "in_short"]

# In seconds: how far back a story goes, when a use is long, and for how long a
# short text stays true.
_LATELY = 600.0
_LONG = 1.0
_FRESH = 1.0
# From how many seconds on minutes are counted, how many holders and events are
# shown, and from how many holders on an error looks at the oldest only.
_MANY_SECONDS = 120
_FEW_HOLDERS = 10
_MANY_HOLDERS = 100
# From how many refusals on their rate is known.
_SOME = 10
_FEW_EVENTS = 20


class _Scene(NamedTuple):
    """All that is known of a pool at one moment.

    is_part: whether these are only the oldest holders
    """

    core: Any
    now: float
    events: list[Event]
    holders: list[Whereabouts]
    unknown: int
    is_part: bool

    @property
    def is_full(self) -> bool:
        """Whether requests have to wait."""
        limit = self.core.limits.maxconnections
        return bool(self.core.waiting) or (
            limit is not None and self.core.in_use >= limit)

    def named(self, *names: str) -> list[Event]:
        """Return the events of some names."""
        return [event for event in self.events if event.name in names]

    def ago(self, event: Event) -> float:
        """Return how long ago an event was."""
        return max(self.now - event.at, 0.0)


class _Finding(NamedTuple):
    """Something that is wrong, and what helps."""

    text: str
    advice: str


def explain(core: Any, title: str) -> str:
    """Return the state of a pool in words.

    title: its name and its state in short
    """
    scene = _scene_of(core)
    now = list(_causes(scene))
    # requests in vain do not matter if it is known what is wrong now
    over = [_losses] if now else [_losses, _past_nested, _refusals]
    if not now and core.waiting:  # an overload goes on
        now = list(_looks(scene, [over.pop()]))
    past = list(_looks(scene, over))
    parts = [title]
    for headline, found in ("What is wrong:", now), (
            "What was wrong lately:", past):
        if found:
            parts.append(headline)
            parts += [f"- {text}\n  {advice}" for text, advice in found]
    if not (now or past):
        parts.append("Nothing seems to be wrong.")
    if scene.holders or scene.unknown:
        parts.append("Who has the connections:")
        parts += _holder_lines(scene)
    if scene.events:
        parts.append("What has happened lately:")
        parts += _event_lines(scene)
    return "\n".join(parts)


def in_short(core: Any, refused: list[Event]) -> tuple[str, str]:
    """Return the cause of the last refusals of a pool, and their number."""
    seconds = core.story.clock() - refused[0].at
    least = "At least " if len(refused) == KEPT else ""
    return cause_of(core), (
        f"{least}{len(refused)} requests have been refused in the last"
        f" {_span(seconds)}. The method explain() of the pool tells more.")


def cause_of(core: Any) -> str:
    """Return why a request gets nothing, and how to end that; "" if unknown.

    It is looked for once a second at most, in a large pool among the oldest
    holders only.
    """
    story = core.story
    now = story.clock()
    short: tuple[float, str] | None = story.short
    if short is None or now - short[0] >= _FRESH:
        # this thread has only just ceased to wait
        scene = _scene_of(
            core, threading.get_ident(), core.in_use > _MANY_HOLDERS)
        short = story.short = now, "".join(
            f"{found.text} {found.advice.partition('. ')[0].rstrip('.')}."
            for found in islice(_causes(scene), 1))
    return short[1]


def _scene_of(
        core: Any, thread: int | None = None,
        is_part: bool = False) -> _Scene:
    """Return all that is known of a pool.

    thread: one that counts as waiting
    is_part: whether a few holders are enough
    """
    known, unknown = core.oldest_holders() if is_part else core.oldest.read(
        core.permits_in_use())
    waiting = {
        waiter.thread: waiter.since for waiter in core.queue.waiters()}
    waiting.setdefault(thread, monotonic())
    now = core.story.clock()
    events = [
        event for event in core.story.events() if now - event.at < _LATELY]
    return _Scene(
        core, now, events, find_all(known, waiting), unknown, is_part)


# The things that can be wrong, each with its signs.

def _causes(scene: _Scene) -> Iterator[_Finding]:
    """Return what is wrong now."""
    return _looks(scene, (
        _outage, _deadlock, _leak, _nested, _elsewhere, _busy,
        _slow_opening))


def _looks(
        scene: _Scene,
        looks: Iterable[Callable[[_Scene], _Finding | None]],
) -> Iterator[_Finding]:
    for look in looks:
        found = look(scene)
        if found is not None:
            yield found


def _outage(scene: _Scene) -> _Finding | None:
    seconds = scene.core.throttle.outage
    if seconds is None:
        return None
    began = scene.named("outage_began")
    text = began[-1].reason if began else "The server cannot be used"
    what, _, reason = text.partition(": ")
    return _Finding(
        f"{what} since {_span(seconds)}{reason and f' ({reason})'}.",
        "Look whether it runs, and whether host and port are right. With"
        " maxwait, requests wait for its return instead of failing."
        if not scene.core.throttle.is_divided else
        "Look whether the servers run, and whether hosts and ports are right."
        " With maxwait, requests wait for one of them instead of failing.")


def _deadlock(scene: _Scene) -> _Finding | None:
    holders = scene.holders  # none if they have come a moment ago
    if not (holders and all(found.waits for found in holders)) or (
            any(map(is_leak, holders))):
        return None
    deadlock = certain(scene.core)
    if deadlock is None:
        return None
    asked = place_text(holders, asked=True)
    return _Finding(
        f"A deadlock: all {len(deadlock.holders)} connections are held by"
        f" threads that wait for another one of this pool, {_places(holders)}"
        f"{asked and f'; the other one is asked for at {asked}'}."
        f"{_deadlocks(scene)}", NESTED_ADVICE)


def _deadlocks(scene: _Scene) -> str:
    """Return how many deadlocks there were lately, if there were more."""
    events = scene.named("deadlocked")
    if len(events) <= 1:
        return ""
    return (
        f" There were {len(events)} deadlocks in the last"
        f" {_span(scene.ago(events[0]))}.")


def _nested(scene: _Scene) -> _Finding | None:
    waits = [found for found in scene.holders if _is_nested(found)]
    if not waits or certain(scene.core) is not None:
        return None
    return _Finding(
        f"{_those(scene, waits)} held by threads that wait for another one of"
        f" this pool, {_places(waits)}: they keep what they wait for."
        f"{_deadlocks(scene)}",
        NESTED_ADVICE)


def _past_nested(scene: _Scene) -> _Finding | None:
    deadlocks = scene.named("deadlocked")
    refused = [event for event in scene.named("refused")
               if event.reason == NESTED]
    if not (deadlocks or refused):
        return None
    last = (deadlocks or refused)[-1]
    return _Finding(
        f"Threads that had a connection of this pool have asked for another"
        f" one in vain, at last {_span(scene.ago(last))} ago"
        f"{_held_text(refused)}: nested requests, which can be a deadlock."
        f"{_deadlocks(scene)}",
        NESTED_ADVICE)


def _leak(scene: _Scene) -> _Finding | None:
    leaks = [found for found in scene.holders if is_leak(found)]
    if not leaks:
        return None
    return _Finding(
        f"A leak: {_those(scene, leaks)} probably never given back,"
        f" {_places(leaks)}.",
        leak_advice(scene.core))


def _elsewhere(scene: _Scene) -> _Finding | None:
    found = _long(scene, ELSEWHERE, LEFT)
    if not (found and (scene.is_full or scene.named("refused", "waited"))):
        return None
    return _Finding(
        f"{_those(scene, found)} held by threads that do something else than"
        f" use the database, {_places(found)}; {_now(found[0])}.",
        "Give the connection back before that, and take one again after it."
        " Raising maxconnections only helps if all such threads get one.")


def _busy(scene: _Scene) -> _Finding | None:
    found = _long(scene, BUSY)
    if not (found and (scene.is_full or scene.named("refused", "waited"))):
        return None
    return _Finding(
        f"{_those(scene, found)} busy with statements, {_places(found)};"
        f" {_now(found[0])}.",
        "Look at them in the database: they are slow, or wait for locks."
        " Raising maxconnections only helps if the server can do more.")


def _losses(scene: _Scene) -> _Finding | None:
    ended = scene.named("outage_ended")
    lost = scene.named("lost") or [
        event for event in scene.named("closed") if event.reason == DEAD]
    if not lost and not ended:
        return None
    parts = []
    server, what = (
        "The server", "It was restarted or not reachable: it could not be")
    if scene.core.throttle.is_divided:
        server, what = "A server", "No server for a request could be"
    if lost:
        times = "" if len(lost) == 1 else f" within {_between(lost)}"
        parts.append(
            f"{server} has ended {_count(lost, 'connection')}{times}, the"
            f" last one {_span(scene.ago(lost[-1]))} ago.")
    if ended:
        parts.append(
            f"{what} used for {_span(ended[-1].seconds or 0)} until"
            f" {_span(scene.ago(ended[-1]))} ago.")
    replaced = scene.named("reconnected")
    if replaced:
        parts.append(
            f"{_number(replaced, 'was', 'were')} replaced in use.")
    return _Finding(
        " ".join(parts),
        "After a restart of the server nothing is to be done. Otherwise the"
        " server or a device of the network ends connections: let"
        " maxlifetime or maxidletime be shorter than its limit, or set"
        " keepalive.")


def _refusals(scene: _Scene) -> _Finding | None:
    """Look at the waits, whose reason may be over."""
    waits = scene.named("waited", "refused")
    if not waits or scene.core.throttle.outage is not None:
        return None
    refused = len(scene.named("refused"))
    longest = max(event.seconds or 0 for event in waits)
    held = [event for event in waits if event.held is not None]
    longest_use = max((event.held or 0 for event in held), default=0.0)
    # more than the ring keeps may have been refused
    least = "At least " if refused == KEPT else ""
    text = (
        f"{least}{_count(waits, 'request')} had to wait in the last"
        f" {_span(scene.ago(waits[0]))}, up to {_span(longest)}, and"
        f" {refused or 'none'} of them in vain")
    if longest_use >= _LONG:
        return _Finding(
            f"{text}{_held_text(held)}.",
            "Look at what is done there while it has a connection.")
    quickly = (
        f", though no connection was held for longer than"
        f" {_span(longest_use)}" if held else "")
    return _Finding(
        f"An overload: {text}{quickly}.{_demand(scene)}",
        "More is asked for than the connections can do. Raise maxconnections"
        " if the server can do more at the same time, or let fewer threads"
        " ask; maxwaiting refuses at once what would wait for too long.")


def _demand(scene: _Scene) -> str:
    """Return how many connections would be enough, if that is known."""
    stats = scene.core.state()
    refused = scene.named("refused")
    seconds = scene.ago(refused[0]) if refused else 0
    if not (stats.timed and stats.maxconnections) or (
            len(refused) < _SOME or seconds < _LONG):
        return ""
    held = stats.use_seconds / stats.timed
    rate = len(refused) / seconds
    enough = stats.maxconnections + ceil(rate * held)
    return (
        f" {rate:.3g} requests in a second are refused, and a connection is"
        f" held for {_span(held)} on average: {enough} connections would be"
        " enough for them.")


def _slow_opening(scene: _Scene) -> _Finding | None:
    ages = scene.core.throttle.attempts.ages()
    if not ages or ages[0] < _LONG:
        return None
    return _Finding(
        f"A connection is being opened for {_span(ages[0])}.",
        "Look whether the server answers, or a firewall swallows.")


# Signs.

def _is_nested(found: Whereabouts) -> bool:
    return found.kind == WAITS and not found.keeps


def _long(scene: _Scene, *kinds: str) -> list[Whereabouts]:
    """Return those that have had connections for long and are no leaks."""
    return [
        found for found in scene.holders if found.kind in kinds
        and found.holder.seconds >= _LONG and not found.waits
        and not is_leak(found)]


# Words.

def _span(seconds: float) -> str:
    """Return a time as text that is short rather than exact."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < _MANY_SECONDS:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min"


def _between(events: list[Event]) -> str:
    return _span(events[-1].at - events[0].at)


def _count(things: list[Any], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _number(found: list[Any], one: str = "is", more: str = "are") -> str:
    return f"{_count(found, 'connection')} {one if len(found) == 1 else more}"


def _those(scene: _Scene, found: list[Whereabouts]) -> str:
    """Return how many of the connections in use these are."""
    if not scene.is_part:
        return _number(found)
    return (
        f"{len(found)} of the {len(scene.holders)} oldest leases"
        f" {'is' if len(found) == 1 else 'are'}")


def _places(found: list[Whereabouts]) -> str:
    """Return where connections were taken, the most frequent place first."""
    longest = max(one.holder.seconds for one in found)
    return (
        f"taken at {place_text(found)}, the longest for {_span(longest)}")


def _held_text(events: list[Event]) -> str:
    """Return which place has held a connection for longest, if any has."""
    held = [event for event in events if event.held is not None]
    if not held:
        return ""
    longest = max(held, key=lambda event: event.held or 0)
    return (
        f"; the longest use meanwhile began at"
        f" {where(longest.code, longest.instruction)} and took"
        f" {_span(longest.held or 0)}")


def _now(found: Whereabouts) -> str:
    """Return where a thread of the program is now."""
    source = f": {found.source}" if found.source else ""
    inside = f" (inside {found.inside})" if found.inside else ""
    return (
        f"{found.holder.name} is now at {found.place} in"
        f" {found.function}(){source}{inside}")


_ABOUT = {
    ENDED: "this thread has ended",
    RESTS: "no function of the program runs in this thread now",
    LEFT: "the function that has taken it has ended",
    AGAIN: "asks for another one at the same place",
    WAITS: "waits for another connection of this pool",
    BUSY: "busy with the database",
}


def _holder_lines(scene: _Scene) -> Iterator[str]:
    threads = {found.holder.thread for found in scene.holders}
    names = [name_of(thread) for thread in threads]
    for found in scene.holders[:_FEW_HOLDERS]:
        holder = found.holder
        number = f" ({holder.thread})" if names.count(holder.name) > 1 else ""
        about = f"; {_ABOUT[found.kind]}" if found.kind in _ABOUT else ""
        now = f"; {_now(found)}" if found.place else ""
        yield (
            f"- {holder.name}{number}, for {_span(holder.seconds)}, taken at"
            f" {holder.place} in {holder.code.co_name}(){about}{now}")
    more = len(scene.holders) - _FEW_HOLDERS
    if more > 0:
        yield f"- and {more} more"
    if scene.unknown:
        yield (
            f"- {scene.unknown} of which nothing was noted; track=True notes"
            " it from the start")


def _event_lines(scene: _Scene) -> Iterator[str]:
    """Yield the last events, those that are alike together."""
    groups: list[list[Event]] = []
    for event in scene.events:
        if groups and _is_alike(groups[-1][-1], event):
            groups[-1].append(event)
        else:
            groups.append([event])
    for group in groups[-_FEW_EVENTS:]:
        last = group[-1]
        times = f" (the last of {len(group)} within {_between(group)})" if (
            len(group) > 1) else ""
        yield (
            f"- {_span(scene.ago(last))} ago: {_first_line(last)}{_by(last)}"
            f"{times}")


def _first_line(event: Event) -> str:
    """Return an event in words, without the stack that it may have."""
    return str(event).partition("\n")[0]


def _is_alike(one: Event, other: Event) -> bool:
    return (one.name, one.code, one.instruction) == (
        other.name, other.code, other.instruction)


def _by(event: Event) -> str:
    if event.held is None or event.name in HELD:
        return ""
    place = where(event.code, event.instruction)
    return f"; {place} has had one for {_span(event.held)}"
