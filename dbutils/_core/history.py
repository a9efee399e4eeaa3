"""How many connections are needed, as far as a pool can see."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any, Callable
from weakref import ref

from .._pooled.base import run_together
from .keeper import Observer

__all__ = ["LoadHistory", "load_of", "open_ahead"]

# How many connections are opened at the same time.
_TOGETHER = 8


def load_of(core: Any) -> int:
    """Return how many have a connection, or wait for one."""
    stats = core.ledger.stats()
    return stats.in_use + stats.waiting


class LoadHistory(Observer):
    """The load of a pool, at the times at which it is looked at."""

    def __init__(self, number: int) -> None:
        """Set up the book-keeping for so many looks."""
        # The highest load since the last look, and those of the last ones.
        self._peak = 0
        self.peaks: deque[int] = deque(maxlen=number)
        self._core: Callable[[], Any] = _nothing
        # Whether each request is seen, for how many looks, and the fewest
        # idle connections that a request has found since the last one.
        self._is_watching = False
        self._seen = 0
        self._fewest: int | None = None
        # Whether the pool calls us for that, and what it called before.
        self._is_installed = False
        self._before: Callable[[], int] | None = None

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
        load = max(self._peak, load_of(core), self._load_seen(core))
        self._peak = 0
        self.peaks.append(load)
        if self._is_watching:
            self._seen = min(self._seen + 1, self.peaks.maxlen or 0)
        return load

    # Requests that idle connections serve take the short way, which tells
    # nobody.  They are only seen while that matters: when connections are
    # about to be closed.

    @property
    def is_certain(self) -> bool:
        """Whether no request of the last looks was overlooked."""
        return len(self.peaks) == self.peaks.maxlen == self._seen

    @property
    def is_watching(self) -> bool:
        """Whether each request is seen."""
        return self._is_watching

    def watch(self, core: Any) -> None:
        """See each request from now on."""
        if not self._is_installed:
            self._before = core.tick
            core.tick = self._note_request
            self._is_installed = True
        if not self._is_watching:
            self._is_watching = True
            self._fewest, self._seen = None, 0

    def rest(self, core: Any) -> None:
        """See only those requests that nothing idle can serve."""
        self._is_watching, self._seen = False, 0
        if self._is_installed and core.tick == self._note_request:
            core.tick = self._before  # or another one has come in between
            self._is_installed = False

    def _note_request(self) -> int:
        core, before = self._core(), self._before
        if core is not None:
            number, fewest = len(core.ledger.idle), self._fewest
            if fewest is None or number < fewest:
                self._fewest = number
        return 1 if before is None else before()

    def _load_seen(self, core: Any) -> int:
        """Return the highest load that idle connections have served."""
        fewest, self._fewest = self._fewest, None
        if fewest is None:
            return 0
        stats = core.ledger.stats()
        return int(stats.in_use + stats.idle - max(fewest - 1, 0))

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
        run_together([partial(core.keeper.open_ahead, connect)]
                 * min(number, _TOGETHER))
