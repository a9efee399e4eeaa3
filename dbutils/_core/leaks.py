"""Leases that last for too long, or for long without a statement.

The housekeeper looks for them.  A lease that is taken back ends as if its
holder had closed it: popping the checkout decides which of the two it was.
Its connection is not used again, since the holder may be in the middle of a
statement; so it leaves the pool, and its slot is free.
"""

from __future__ import annotations

import warnings

from .._base.callers import name_of, stack_of
from .._base.hints import Any, Callable, List, NamedTuple, partial
from .holders import busy_of
from .slots import DEAD, Holder, end, free_tokens, holder_of
from .uses import end_use

__all__ = ["LeaseWatch", "TakenBack", "duration"]


class TakenBack(List[Any]):
    """The checkout of a lease that was taken back, which is over."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


def duration(seconds: float) -> str:
    """Return a time in words."""
    minutes, rest = divmod(int(seconds), 60)
    hours, left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {left} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.3g} s"


class _Use(NamedTuple):
    """A lease that goes on."""

    permit: Any
    checkout: Any
    holder: Holder


class LeaseWatch:
    """Reports leases, and takes them back if it may."""

    def __init__(
            self, leakafter: float | None, idleafter: float | None,
            takes_back: bool) -> None:
        self._leakafter = leakafter or float("inf")
        self._idleafter = idleafter
        self._takes_back = takes_back
        # The checkouts that were reported, by their numbers: those that go
        # on, and those that have ended since the last look.
        self._reported: dict[int, Any] = {}
        # The places of which it was reported that they do nothing for long.
        self._places: set[str] = set()

    def look(self, core: Any) -> None:
        """Look at all leases."""
        reported, present = self._reported, {}
        for use in map(_use_of, core.permits_in_use()):
            if use is None:
                continue
            if self._idleafter:
                self._look_for_rest(core, use, self._idleafter)
            if use.holder.seconds >= self._leakafter:
                number = id(use.checkout)
                present[number] = use.checkout
                if number not in reported:
                    reported[number] = use.checkout
                    core.leaked.step()
                    _report(core, use.holder)
                if self._takes_back:
                    _take_back(core, use)
        self._reported = present

    def has_reported(self, checkout: Any) -> bool:
        """Return whether a checkout was reported, and counted so."""
        return id(checkout) in self._reported

    def _look_for_rest(self, core: Any, use: _Use, limit: float) -> None:
        """Report the place of a lease that is held without a statement."""
        busy = busy_of(core, use.permit, use.checkout)
        if busy is None or busy.rest(use.holder.since) < limit:
            return
        place, seconds = use.holder.place, use.holder.seconds
        if place not in self._places:
            self._places.add(place)
            share = 100 * busy.idle_share(use.holder.since)
            _tell(
                core, "unused", use.holder,
                f"{place} held {duration(seconds)}, {share:.1f} % of it"
                " without a statement.")


def _use_of(permit: Any) -> _Use | None:
    """Return the lease that goes on with a permit, if its holder is known."""
    checkout = permit.checkout  # first: a later one has another holder
    holder = holder_of(permit)
    return None if holder is None else _Use(permit, checkout, holder)


def _report(core: Any, holder: Holder) -> None:
    """Report a connection that is not given back."""
    text = f"A connection was not given back by {holder}."
    _tell(core, "leaked", holder, text, partial(_now, holder.thread))
    warnings.warn(f"{text} [DBU-36]", ResourceWarning, stacklevel=2)


def _now(thread: int) -> str:
    """Return what a thread does now, for the end of a message."""
    stack = stack_of(thread)
    return "\n" + (
        f"What that thread does now:\n{stack}" if stack
        else "That thread has ended." if name_of(thread) is None
        else "What that thread does cannot be seen without the GIL.")


def _tell(
        core: Any, event: str, holder: Holder, text: str,
        lines: Callable[[], str] = str) -> None:
    core.story.tell(
        event, lines=lines, reason=text, seconds=holder.seconds,
        held=holder.seconds, code=holder.code, instruction=holder.instruction)


class _Left:
    """The slot of a permit that was taken back, which nobody reissues.

    The connection stays open as long as its holder has it.
    """

    __slots__ = ("con",)

    def __init__(self, con: Any) -> None:
        self.con = con

    def __call__(self) -> None:
        """Return no permit, for those who have read the slot just now."""


def _take_back(core: Any, use: _Use) -> None:
    """End a lease, unless its holder does so at the same moment."""
    permit, checkout, holder = use
    if not end(checkout):
        return
    end_use(core, permit)
    text = (
        "This connection was taken back by its pool after"
        f" {duration(holder.seconds)} (see 'reclaim')."
        f" It was taken at {holder.place}.")
    refusal = f"{text} [DBU-37]"
    permit.checkout = TakenBack(refusal)
    con = permit.slot.con
    core.held.pop(id(con), None)
    if permit.is_share:
        # first, so that nobody joins; it may have left the pool before, and
        # another one have its number
        core.end_sharing(permit.permit, True, DEAD)
    if not permit.is_share or permit.is_alone:
        core.backend.take_away(con, checkout, refusal)  # others would go on
    if permit.is_share:
        core.serve()
    else:
        free_tokens(permit)
        core.backend.leave(con)
        core.give_up(permit.slot)
        core.count_end(permit.slot, DEAD)
        permit.slot = _Left(con)
    _tell(core, "reclaimed", holder, text)  # at last, since a handler is slow
