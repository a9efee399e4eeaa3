"""The limits of a pool."""

from __future__ import annotations

from .._base.checks import check_size
from .._base.hints import NamedTuple

__all__ = ["Limits", "make_limits"]


class Limits(NamedTuple):
    """The limits of a pool; except for sharing None means unlimited."""

    maxconnections: int | None = None
    maxcached: int | None = None
    maxshared: int = 0
    maxwaiting: int | None = None
    mincached: int = 0


def make_limits(
        mincached: int | None, maxcached: int | None, maxshared: int | None,
        maxconnections: int | None, can_share: bool = False,
        maxwaiting: int | None = None) -> Limits:
    """Check the limits, and raise each to what the smaller ones demand."""
    mincached = check_size("mincached", mincached) or 0
    check_size("maxcached", maxcached)
    check_size("maxshared", maxshared)
    check_size("maxconnections", maxconnections)
    check_size("maxwaiting", maxwaiting)
    if maxcached:
        maxcached = max(maxcached, mincached)
    if maxconnections:
        maxconnections = max(
            maxconnections, mincached, maxcached or 0, maxshared or 0)
    return Limits(
        maxconnections or None, maxcached or None,
        (can_share and maxshared) or 0, maxwaiting, mincached)
