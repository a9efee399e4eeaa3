"""Requests that get no connection, and those who have the connections."""

from __future__ import annotations

from time import monotonic

from .._base.errors import quietly
from .._base.hints import Any, Callable, Iterator, attrgetter, partial
from .slots import Holder, Permit, Taken, holder_of
from .waiting import NESTED

__all__ = [
    "AT_LIMIT", "LATE", "PAUSED", "REFUSALS", "NestedRequest",
    "OldestHolders", "PoolClosed", "PoolDeadlock", "PoolTimeout", "note_wait",
    "refusal"]

# The reasons if the pool lends nothing, if connecting has taken too long, or
# if no connection that fits may be opened.
PAUSED = "The pool is paused"
LATE = "No connection could be opened"
AT_LIMIT = "All servers that fit have as many connections as they may"
# Their marks in the log.
_MARKS = {PAUSED: " [DBU-32]", LATE: " [DBU-31]", AT_LIMIT: " [DBU-70]"}


class PoolTimeout(Exception):  # noqa: N818 - no error as such
    """No connection is available, and the request does not wait longer."""

    def __init__(
            self, filling: Any, waited: float, holders: list[Holder],
            unknown: int, reason: str | None, ages: list[float],
            story: tuple[str, str]) -> None:
        """Note what the error of the pool explains.

        unknown: how many holders are not known
        story: the cause and how to end it, and how many were refused; empty
            if that is not known, or if this was the first one
        """
        super().__init__(
            filling, waited, holders, unknown, reason, ages, story)
        self.filling = filling


class PoolClosed(Exception):  # noqa: N818 - no error as such
    """The pool was shut down."""


class NestedRequest(Exception):  # noqa: N818 - no error as such
    """The thread has a connection already, and may not have two."""


class PoolDeadlock(Exception):  # noqa: N818 - no error as such
    """All connections are held by threads that wait for one."""


# The errors for which a pool raises its own.
REFUSALS = (PoolTimeout, PoolClosed, NestedRequest, PoolDeadlock)


def refusal(
        core: Any, waited: float, reason: str | None,
        is_nested: bool = False) -> PoolTimeout:
    """Return the error of a request that gets no connection.

    is_nested: whether its thread is known to have a connection
    """
    core.refused.step()
    core.track()
    holders, unknown = core.oldest_holders()
    filling = core.filling()
    _tell(core, waited, reason, is_nested, holders)
    return PoolTimeout(
        filling, waited, holders, unknown, reason,
        core.throttle.attempts.ages(), _repeated(core))


def _tell(
        core: Any, waited: float, reason: str | None, is_nested: bool,
        holders: list[Holder]) -> None:
    """Announce a refusal, with the one that has kept a connection longest."""
    reason = reason or (NESTED if is_nested else "all connections are in use")
    place = {} if not holders else {
        "code": holders[0].code, "instruction": holders[0].instruction,
        "held": holders[0].seconds}
    core.story.tell(
        "refused", waited, seconds=waited, reason=reason, **place,
        lines=partial(_cause, core, _MARKS.get(reason, " [DBU-30]")))


def _cause(core: Any, mark: str) -> str:
    """Return why all are in use, if that is known, and the mark."""
    with quietly("telling the story of a pool"):
        from .explaining import cause_of  # noqa: PLC0415 - seldom

        cause = cause_of(core)
        return f". {cause}{mark}" if cause else mark
    return mark


def _repeated(core: Any) -> tuple[str, str]:
    """Return the cause of the last refusals, and their number.

    Both are empty for the first one.
    """
    refused = core.story.refused_lately()
    if len(refused) <= 1:
        return "", ""
    with quietly("telling the story of a pool"):
        from .explaining import in_short  # noqa: PLC0415 - seldom

        return in_short(core, refused)
    return "", ""


def note_wait(story: Any, taken: Taken | None, waited: float) -> None:
    """Announce a long wait.

    taken: the note about the holder whose connection came back
    """
    if taken is None:  # it is a new connection, or nothing was noted
        story.note("waited", seconds=waited)
        return
    story.note(
        "waited", seconds=waited, code=taken[1], instruction=taken[2],
        held=monotonic() - taken[0])


# How many holders an error names.
_FEW = 5


class OldestHolders:
    """Finds those that have had their connections for longest."""

    def __init__(self) -> None:
        # The slots of the few, and since when they have had them.  As long as
        # all of them go on, nobody can be older.
        self._few: list[tuple[Any, float]] = []
        # Whether every checkout was noted since a certain moment.
        self.are_all_known = False

    def read(self, permits: Iterator[Permit]) -> tuple[list[Holder], int]:
        """Return all holders, and how many are unknown."""
        holders = [holder_of(permit) for permit in permits]
        known = [holder for holder in holders if holder is not None]
        known.sort(key=attrgetter("since"))
        return known, len(holders) - len(known)

    def read_few(
            self, permits: Callable[[], Iterator[Permit]],
            is_tracked: bool) -> tuple[list[Holder], int]:
        """Return the few oldest holders, and how many are unknown."""
        few = [(holder_of(slot()), since) for slot, since in self._few]
        if len(few) == _FEW and self.are_all_known and all(
                holder is not None and holder.since == since
                for holder, since in few):
            return [holder for holder, _ in few if holder is not None], 0
        running = [(holder_of(permit), permit.slot) for permit in permits()]
        known = [(holder, slot) for holder, slot in running if holder]
        unknown = len(running) - len(known)
        known.sort(key=_since)
        self._few = [
            (slot, holder.since) for holder, slot in known[:_FEW]]
        self.are_all_known = is_tracked and not unknown
        return [holder for holder, _ in known[:_FEW]], unknown

    def seconds(
            self, permits: Callable[[], Iterator[Permit]],
            is_tracked: bool) -> float | None:
        """Return how long the oldest checkout has lasted, if it is known."""
        holders, unknown = self.read_few(permits, is_tracked)
        return holders[0].seconds if holders and not unknown else None


def _since(pair: tuple[Holder, Any]) -> float:
    return pair[0].since
