"""How many connections are needed, as far as a pool can see."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any, Callable
from weakref import ref

from ._keeper import Observer
from ._pooled import together

__all__ = ["Demand", "load_of", "open_ahead"]

# How many connections are opened at the same time.
_TOGETHER = 8


def load_of(core: Any) -> int:
    """Return how many have a connection, or wait for one."""
    figures = core.ledger.figures()
    return figures.in_use + figures.waiting


class Demand(Observer):
    """The load of a pool, at the times at which it is looked at."""

    def __init__(self, number: int) -> None:
        """Set up the book-keeping for so many looks."""
        # The highest load since the last look, and those of the last ones.
        self._peak = 0
        self.peaks: deque[int] = deque(maxlen=number)
        self._core: Callable[[], Any] = _nothing

    def join(self, core: Any) -> None:
        """Begin to observe a pool."""
        self._core = ref(core)
        core.observe(self)

    def opened(self, seconds: float, is_ahead: bool) -> None:  # noqa: ARG002
        """Note the load at the moment at which a connection was missing."""
        if not is_ahead:
            self._note_load()

    def waited(self, seconds: float, was_served: bool) -> None:  # noqa: ARG002
        """Note the load at the moment at which somebody had to wait."""
        self._note_load()

    def _note_load(self) -> None:
        core = self._core()
        if core is not None:
            self._peak = max(self._peak, load_of(core))

    def look(self, core: Any) -> int:
        """Return the highest load since the last look."""
        load = max(self._peak, load_of(core))
        self._peak = 0
        self.peaks.append(load)
        return load

    @property
    def highest(self) -> int:
        """The highest load of the last looks."""
        return max([self._peak, *self.peaks])


def _nothing() -> None:
    """Stand for a reference to what is not there."""


def open_ahead(core: Any, connect: Callable[[], Any], wanted: int) -> None:
    """Let there be so many connections, idle or in use, if they may be."""
    limits = core.limits
    wanted = min([wanted, *filter(None, [
        limits.maxconnections, limits.maxcached])])
    number = wanted - len(core.ledger.connections())
    if number > 0:
        together([partial(core.keeper.open_ahead, connect)]
                 * min(number, _TOGETHER))
