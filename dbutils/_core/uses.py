"""The uses of connections in numbers: how often, and for how long.

A connection has one holder at a time, so each place of a pool has its own
numbers, which its holder changes without a lock.  They stay when the
connection is closed: the next one in that place goes on with them.  Those who
share connections have theirs together, and only take single steps.

The time of a use is only known if its beginning was noted, see "track":
reading a clock twice takes more than a tenth of lending a connection.
"""

from __future__ import annotations

import sys
from itertools import repeat
from time import monotonic

from .._base.atomic import Count
from .._base.hints import Any

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from typing import TypeVar

    from .pool import Pool

    _Own = TypeVar("_Own", bound="Uses")
    _Base = repeat[None]
else:  # with 32 bits, a repetition could come to its end
    _Base = repeat if sys.maxsize > 2 ** 32 else Count

__all__ = ["SharedUses", "Uses", "end_use"]


_TERMS: Any = (None, sys.maxsize) if _Base is repeat else ()


class Uses(_Base):
    """The uses of a place; next() counts another one, which is one step.

    What is counted is how often None can still be repeated.  That takes half
    as long as raising a number, but only one thread at a time may do it.
    """

    __slots__ = ("last", "longest", "pings", "seconds", "timed")

    def __new__(cls: type[_Own]) -> _Own:
        """Begin with 0."""
        return super().__new__(cls, *_TERMS)

    def __init__(self) -> None:
        # How often the driver was asked in the fast way out.
        self.pings = 0
        # The note about the last one that was timed, for the request that
        # waited when it ended, if one did.
        self.last: Any = None
        # How many uses were timed, and for how long, together and at most.
        self.timed = 0
        self.seconds = self.longest = 0.0

    if _Base is repeat:
        def read(self) -> int:
            """Return how many there were."""
            return sys.maxsize - self.__length_hint__()


class SharedUses(Count):
    """The uses of all shared connections, which several threads count."""

    __slots__ = ()

    # They are not timed one by one.
    last = None


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
    uses = permit.uses
    uses.last = taken if core.waiting else None
    uses.timed += 1
    uses.seconds += seconds
    if seconds > uses.longest:  # noqa: PLR1730 - max() takes longer
        uses.longest = seconds
