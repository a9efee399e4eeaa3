"""Deadlocks of threads that wait for connections which they hold themselves.

Such a deadlock is certain if every slot is in use, and the threads that have
taken the connections all wait for this pool.  A thread that waits gives
nothing back.  If nobody has noted who has a connection, or if one is shared,
being opened or being reset, then nothing is certain, and nothing is said.
"""

from __future__ import annotations

from .._base.callers import stack_of
from .._base.errors import logger
from .._base.hints import Any, NamedTuple, attrgetter
from .slots import Holder, holder_of
from .waiting import Waiter

__all__ = ["look"]

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
    deadlock = _certain(core) if waiter.is_holder else None
    if deadlock is not None and deadlock.lasts() and _is_first(deadlock):
        _report(core, waiter, deadlock)


def _certain(core: Any) -> _Deadlock | None:
    """Return the deadlock of a pool, None if something may come back.

    The waiters are read before the holders, and looked at after them: those
    that have waited all the time have given nothing back meanwhile.
    """
    waiting = {waiter.thread: waiter for waiter in core.queue.waiters()}
    holders = [holder_of(slot()) for slot in core.slots.all()]
    known = [holder for holder in holders if holder is not None]
    threads = {holder.thread for holder in known}
    if len(known) < len(holders) or not threads <= waiting.keys() or (
            core.slots.has_room() or core.is_closed):
        return None
    waiters = [waiting[thread] for thread in threads]
    if any(waiter.answer for waiter in waiters):
        return None
    return _Deadlock(sorted(known, key=attrgetter("since")), waiters)


def _is_first(deadlock: _Deadlock) -> bool:
    """Return whether a deadlock is new, to the first who asks.

    Its last request has brought it about, and no other one.
    """
    last = max(deadlock.waiters, key=attrgetter("since"))
    token = object()
    return vars(last).setdefault("reported", token) is token


def _report(core: Any, waiter: Waiter, deadlock: _Deadlock) -> None:
    """Log a deadlock with all stacks; end the request if that is wanted."""
    text = _text(deadlock)
    log = logger.warning if deadlock.ends else logger.error
    one_each = {holder.thread: holder for holder in deadlock.holders}
    log("%s", text + "".join(map(_stack, one_each.values())))
    if core.raises_deadlocks and not deadlock.ends:
        waiter.deadlock = text
        waiter.give_up()


def _text(deadlock: _Deadlock) -> str:
    holders = deadlock.holders
    number = (
        "The only connection of the pool is" if len(holders) == 1
        else f"All {len(holders)} connections of the pool are")
    end = (
        "This lasts until the time of one of them is over."
        if deadlock.ends else "None of them can go on.")
    named = "".join(f"\n- {holder}" for holder in holders)
    return (
        f"{number} held by threads that wait for another one. {end} Give a"
        " connection back before asking for the next one, or raise"
        f" maxconnections.{named}")


def _stack(holder: Holder) -> str:
    return f"\nThe stack of {holder.name}:\n{stack_of(holder.thread)}"
