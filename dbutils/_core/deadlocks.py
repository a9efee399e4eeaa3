"""Deadlocks of threads that wait for connections which they hold themselves.

Such a deadlock is certain if every slot is in use, and the threads that have
taken the connections all wait for this pool.  A thread that waits gives
nothing back.  If nobody has noted who has a connection, or if one is shared,
being opened or being reset, then nothing is certain, and nothing is said.
"""

from __future__ import annotations

from .._base.callers import stack_of
from .._base.hints import Any, NamedTuple, attrgetter, partial
from .garbage import collect
from .slots import Holder, holder_of
from .waiting import Waiter

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from .whereabouts import Whereabouts

__all__ = ["NESTED_ADVICE", "certain", "leak_advice", "look"]

NESTED_ADVICE = (
    "Give a connection back before asking for the next one, or use one for"
    " both. nested='warn' or 'refuse' finds all such places, and"
    " ondeadlock='raise' ends a deadlock with an error. Raising"
    " maxconnections only makes it rarer.")
_LEAK_BEGIN = (
    "Borrow with \"with pool.connection() as db:\", or close the connection in"
    " a finally clause.")

# In seconds, how long a wait has to last at least to be reported, if it ends.
_LONG = 1.0


class _Deadlock(NamedTuple):
    """The holders of all connections, and the requests of their threads."""

    holders: list[Holder]
    waiters: list[Waiter]

    @property
    def ends(self) -> bool:
        """Whether the time of one of the requests is limited."""
        return any(waiter.deadline is not None for waiter in self.waiters)

    def waiting(self) -> dict[int | None, float]:
        """Return the threads, and since when they wait."""
        return {waiter.thread: waiter.since for waiter in self.waiters}

    def lasts(self) -> bool:
        """Return whether it does not end in a moment."""
        return all(
            waiter.deadline is None or waiter.deadline - waiter.since > _LONG
            for waiter in self.waiters)


def look(core: Any, waiter: Waiter) -> None:
    """Report the deadlock to which a request belongs, if there is one.

    A request of a thread that holds nothing never looks again.
    """
    if waiter.is_holder is None:
        waiter.is_holder = any(
            holder.thread == waiter.thread for holder in core.holders())
    deadlock = certain(core) if waiter.is_holder else None
    if deadlock is not None and deadlock.lasts() and _is_first(deadlock):
        collect(core, waiter)
        if certain(core) is None:  # garbage had a connection
            _forget(deadlock)
        else:
            _report(core, waiter, deadlock)


def certain(core: Any) -> _Deadlock | None:
    """Return the deadlock of a pool, None if something may come back.

    The waiters are read before the holders, and looked at after them: those
    that have waited all the time have given nothing back meanwhile.
    """
    waiting = {waiter.thread: waiter for waiter in core.queue.waiters()}
    if not waiting:
        return None
    holders: list[Holder] = []
    for slot in core.slots.all():
        holder = holder_of(slot())
        if holder is None or holder.thread not in waiting:
            return None
        holders.append(holder)
    if core.slots.has_place() or core.ceiling or core.is_closed:
        return None
    waiters = [
        waiting[thread] for thread in {holder.thread for holder in holders}]
    if any(waiter.answer for waiter in waiters):
        return None
    return _Deadlock(sorted(holders, key=attrgetter("since")), waiters)


def _is_first(deadlock: _Deadlock) -> bool:
    """Return whether a deadlock is new, to the first who asks.

    Its last request has brought it about, and no other one.
    """
    token = object()
    return vars(_last(deadlock)).setdefault("reported", token) is token


def _forget(deadlock: _Deadlock) -> None:
    """Note that a deadlock was none; its last request can get into one."""
    vars(_last(deadlock)).pop("reported", None)


def _last(deadlock: _Deadlock) -> Waiter:
    return max(deadlock.waiters, key=attrgetter("since"))


def _report(core: Any, waiter: Waiter, deadlock: _Deadlock) -> None:
    """Announce a deadlock; end the request if that is wanted.

    A leak of those who wait looks the same, and is announced as a leak.
    """
    from .whereabouts import find_all, is_leak  # noqa: PLC0415 - seldom

    found = find_all(deadlock.holders, deadlock.waiting())
    leaks = [one for one in found if is_leak(one)]
    if leaks:
        text, advice = _leak_text(leaks, len(found)), leak_advice(core)
        oldest = leaks[0].holder
        core.story.note(
            "leaked", partial(_lines, deadlock.holders, advice), reason=text,
            seconds=oldest.seconds, held=oldest.seconds, code=oldest.code,
            instruction=oldest.instruction, is_lasting=not deadlock.ends)
    else:
        text, advice = _text(found, deadlock.ends), NESTED_ADVICE
        core.story.note(
            "deadlocked", partial(_lines, deadlock.holders, advice),
            reason=text, is_lasting=not deadlock.ends)
    if core.raises_deadlocks and not deadlock.ends and not (
            leaks and _takes_back(core)):
        mark = "[DBU-36]" if leaks else "[DBU-35]"
        waiter.deadlock = f"{text} {advice} {mark}{_named(deadlock.holders)}"
        waiter.give_up()


def _takes_back(core: Any) -> bool:
    """Return whether the pool ends leaks by itself."""
    maintenance = core.maintenance
    return maintenance is not None and bool(maintenance.options.reclaim)


def leak_advice(core: Any) -> str:
    """Return how to find leaks, and what ends them, unless that is on."""
    options = None if core.maintenance is None else core.maintenance.options
    if options is None or not options.leakafter:
        return (
            f"{_LEAK_BEGIN} leakafter=seconds warns of each, and reclaim=True"
            " takes it back, too.")
    if options.reclaim:
        return (
            f"{_LEAK_BEGIN} reclaim takes each back after"
            f" {options.leakafter:g} s.")
    return (
        f"{_LEAK_BEGIN} leakafter={options.leakafter:g} warns of each;"
        " reclaim=True takes it back, too.")


def _leak_text(leaks: list[Whereabouts], number: int) -> str:
    from .whereabouts import place_text  # noqa: PLC0415 - seldom

    were = "connection was" if len(leaks) == 1 else "connections were"
    return (
        f"A leak: {len(leaks)} {were} probably never given back, taken at"
        f" {place_text(leaks)}. All {number} of the pool are held by threads"
        " that wait for another one.")


def _text(found: list[Whereabouts], ends: bool) -> str:
    from .whereabouts import place_text  # noqa: PLC0415 - seldom

    number = (
        "The only connection of the pool is" if len(found) == 1
        else f"All {len(found)} connections of the pool are")
    places = f"taken at {place_text(found)}"
    asked = place_text(found, asked=True)
    if asked:
        places = f"{places}, the other one is asked for at {asked}"
    end = (
        "This lasts until the time of one of them is over."
        if ends else "None of them can go on.")
    return (
        f"{number} held by threads that wait for another one, {places}."
        f" {end}")


def _lines(holders: list[Holder], advice: str) -> str:
    """Return what is logged after the first line."""
    one_each = {holder.thread: holder for holder in holders}
    stacks = "".join(map(_stack, one_each.values()))
    return f"\n{advice}{_named(holders)}{stacks}"


def _named(holders: list[Holder]) -> str:
    return "".join(f"\n- {holder}" for holder in holders)


def _stack(holder: Holder) -> str:
    return f"\nThe stack of {holder.name}:\n{stack_of(holder.thread)}"
