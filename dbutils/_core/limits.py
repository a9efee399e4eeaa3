"""The limits of a pool."""

from __future__ import annotations

from .._base.checks import check_size
from .._base.hints import NamedTuple

__all__ = ["Filling", "Limits", "limits_text", "make_limits"]


class Limits(NamedTuple):
    """The limits of a pool; except for sharing None means unlimited."""

    maxconnections: int | None = None
    maxcached: int | None = None
    maxshared: int = 0
    maxwaiting: int | None = None
    mincached: int = 0
    connecting: int | None = None


class Filling(NamedTuple):
    """How full a pool is at one moment, and its limits.

    It is read at once also if the pool has very many connections, whereas
    its statistics are summed up over all of them.
    """

    maxconnections: int | None
    maxshared: int
    maxwaiting: int | None
    in_use: int
    idle: int
    waiting: int


def limits_text(limits: Limits) -> str:
    """Return the limits in words, without those that are not set."""
    return ", ".join(
        f"{name}={value}" for name, value in limits._asdict().items()
        if value or name == "maxconnections")


def make_limits(
        mincached: int | None, maxcached: int | None, maxshared: int | None,
        maxconnections: int | None, can_share: bool = False,
        maxwaiting: int | None = None,
        connecting: int | None = None) -> Limits:
    """Check the limits, and raise each to what the smaller ones demand."""
    mincached = check_size("mincached", mincached) or 0
    check_size("maxcached", maxcached)
    check_size("maxshared", maxshared)
    check_size("maxconnections", maxconnections)
    check_size("maxwaiting", maxwaiting)
    check_size("connecting", connecting)
    if maxcached:
        maxcached = max(maxcached, mincached)
    if maxconnections:
        maxconnections = max(
            maxconnections, mincached, maxcached or 0, maxshared or 0)
    return Limits(
        maxconnections or None, maxcached or None,
        (can_share and maxshared) or 0, maxwaiting, mincached,
        connecting or None)
