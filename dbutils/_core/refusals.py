"""Requests that get no connection."""

from __future__ import annotations

from .._base.hints import Any
from .slots import Holder
from .stats import PoolStats

__all__ = [
    "PoolClosed", "PoolTimeout", "refusal"]


class PoolTimeout(Exception):  # noqa: N818 - no error as such
    """No connection is available, and the request does not wait longer."""

    def __init__(
            self, stats: PoolStats, waited: float, holders: list[Holder],
            unknown: int, reason: str | None, ages: list[float]) -> None:
        """Note what the error of the pool explains.

        unknown: how many holders are not known
        """
        super().__init__(stats, waited, holders, unknown, reason, ages)
        self.stats = stats


class PoolClosed(Exception):  # noqa: N818 - no error as such
    """The pool was shut down."""


def refusal(core: Any, waited: float, reason: str | None) -> PoolTimeout:
    """Return the error of a request that gets no connection."""
    core.refused.step()
    core.track()
    holders, unknown = core.oldest.read_few(
        core.permits_in_use, core.tracks is True)
    return PoolTimeout(
        core.state(), waited, holders, unknown, reason,
        core.throttle.attempts.ages())
