"""Requests that get no connection, and those who have the connections."""

from __future__ import annotations

from .._base.hints import Any, Callable, Iterator, attrgetter
from .slots import Holder, Permit, holder_of

__all__ = [
    "LATE", "NestedRequest", "OldestHolders", "PoolClosed", "PoolDeadlock",
    "PoolTimeout", "refusal"]

# The reason if connecting has taken too long.
LATE = "No connection could be opened"


class PoolTimeout(Exception):  # noqa: N818 - no error as such
    """No connection is available, and the request does not wait longer."""

    def __init__(
            self, stats: Any, waited: float, holders: list[Holder],
            unknown: int, reason: str | None, ages: list[float]) -> None:
        """Note what the error of the pool explains.

        unknown: how many holders are not known
        """
        super().__init__(stats, waited, holders, unknown, reason, ages)
        self.stats = stats


class PoolClosed(Exception):  # noqa: N818 - no error as such
    """The pool was shut down."""


class NestedRequest(Exception):  # noqa: N818 - no error as such
    """The thread has a connection already, and may not have two."""


class PoolDeadlock(Exception):  # noqa: N818 - no error as such
    """All connections are held by threads that wait for one."""


def refusal(core: Any, waited: float, reason: str | None) -> PoolTimeout:
    """Return the error of a request that gets no connection."""
    core.refused.step()
    if reason == LATE:
        core.timeouts.step()
    if core.observers:
        core.observers.notify("refused", waited)
    core.track()
    holders, unknown = core.oldest.read_few(
        core.permits_in_use, core.tracks is True)
    return PoolTimeout(
        core.state(), waited, holders, unknown, reason,
        core.throttle.attempts.ages())


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
