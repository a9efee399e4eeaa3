"""Finds what a piece of a program has taken from pools and not given back."""

from __future__ import annotations

import gc
from time import monotonic

from .._base.fork import registered
from .._base.hints import Any
from .._core.pool import Pool

__all__ = ["LeaseGuard"]


class LeaseGuard:
    """Watches all pools of the process while it is entered.

    Those that note holders only when many connections are in use note all of
    them from then on.
    """

    def __enter__(self) -> LeaseGuard:
        """Begin to watch."""
        self._real = Pool.__init__
        Pool.__init__ = _tracking(self._real)  # type: ignore[method-assign]
        cores = registered(Pool)
        for core in cores:
            core.track()
        self._in_use = {id(core): core.stats().in_use for core in cores}
        self._since = monotonic()
        return self

    def __exit__(self, *exc: object) -> None:
        """End watching."""
        Pool.__init__ = self._real  # type: ignore[method-assign]

    def left(self) -> list[str]:
        """Return who has what was taken since then, a text for each."""
        gc.collect()  # a lease that was dropped is given back
        texts = []
        for core in registered(Pool):
            number = core.stats().in_use - self._in_use.get(id(core), 0)
            texts += [
                str(holder) for holder in core.holders()
                if holder.since >= self._since] or (
                    ["taken at a place that is not known"] * number)
        return texts


def _tracking(init: Any) -> Any:
    """Return the method __init__() of a core that notes its holders."""
    def begin(
            self: Any, backend: Any, limits: Any,
            tracks: bool | None = None) -> None:
        init(self, backend, limits, True if tracks is None else tracks)
    return begin
