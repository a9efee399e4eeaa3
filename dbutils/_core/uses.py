"""The uses of connections in numbers: how often, and for how long.

A connection has one holder at a time, so each place of a pool has its own
numbers, which its holder changes without a lock.  They stay when the
connection is closed: the next one in that place goes on with them.  Those who
share connections have theirs together, and only take single steps.

The time of a use is only known if its beginning was noted, see "track":
reading a clock twice takes more than a tenth of lending a connection.
"""

from __future__ import annotations

from time import monotonic

from .._base.hints import Any

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from .pool import Pool

__all__ = ["Uses", "end_use"]


class Uses:
    """The times of the uses of a place."""

    __slots__ = ("last", "longest", "seconds", "timed")

    def __init__(self) -> None:
        # The note about the last one that was timed, for the request that
        # waited when it ended, if one did.
        self.last: Any = None
        # How many uses were timed, and for how long, together and at most.
        self.timed = 0
        self.seconds = self.longest = 0.0


def end_use(core: Pool, permit: Any) -> None:
    """Note that a use has ended, and when, if its beginning was noted.

    Only who has ended the checkout does that; leases inline it.
    """
    if permit.is_share:
        next(core.sharing.ended)
    taken, permit.taken = permit.taken, None
    if taken is None or not core.times:
        return
    seconds = monotonic() - taken[0]
    if permit.is_share:
        core.shared_uses.add(seconds)
        return
    uses = permit.uses or core.slots.uses_of(permit)
    uses.last = taken if core.waiting else None
    uses.timed += 1
    uses.seconds += seconds
    if seconds > uses.longest:  # noqa: PLR1730 - max() takes longer
        uses.longest = seconds
