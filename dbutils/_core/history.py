"""The load of a pool, and opening connections before they are needed."""

from __future__ import annotations

from collections import deque
from functools import partial
from weakref import ref

from .._base.atomic import snapshot
from .._base.hints import Any, Callable
from .._base.together import run_together
from .tuning import observe

__all__ = ["LoadHistory", "load_of", "open_ahead", "size_of"]

# How many connections are opened at the same time.
_TOGETHER = 8


def load_of(core: Any) -> int:
    """Return how many connections are in use or waited for."""
    return int(core.in_use + len(core.queue))


def size_of(core: Any) -> int:
    """Return how many slots a pool has, idle or in use."""
    return len(core.slots)


class LoadHistory:
    """Notes the load of a pool, which is looked at now and then."""

    def __init__(self, number: int) -> None:
        """Set up the history.

        number: how many looks it remembers
        """
        # The highest load since the last look, and those of the last ones.
        self._peak = 0
        self.peaks: deque[int] = deque(maxlen=number)
        self._core: Callable[[], Any] = type(None)
        # Whether each request is seen, for how many looks, and the fewest
        # idle connections that a request has found since the last one.
        self.is_watching = False
        self._seen = 0
        self._fewest: int | None = None
        # Whether the pool calls _note_request(), and what it called before.
        self._is_installed = False
        self._before: Callable[[], int] | None = None

    def join(self, core: Any) -> None:
        """Begin to observe a pool."""
        self._core = ref(core)
        observe(core, self)

    def missed(self) -> None:
        """Note the load at which a connection was missing."""
        self._note_load()

    def waited(self, seconds: float, was_served: bool) -> None:
        """Note the load at which a request had to wait."""
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
        if self.is_watching:
            self._seen = min(self._seen + 1, self.peaks.maxlen or 0)
        return load

    # Requests that idle connections serve take the fast way, which calls no
    # observer.  They are only seen while that matters: when connections are
    # about to be closed.

    @property
    def is_certain(self) -> bool:
        """Whether no request of the last looks was overlooked."""
        return len(self.peaks) == self.peaks.maxlen == self._seen

    def watch(self, core: Any) -> None:
        """See each request from now on."""
        if not self._is_installed:
            self._before = core.tick
            core.tick = self._note_request
            core.choose_ways()
            self._is_installed = True
        if not self.is_watching:
            self.is_watching = True
            self._fewest, self._seen = None, 0

    def rest(self, core: Any) -> None:
        """See only those requests that no idle connection can serve."""
        self.is_watching, self._seen = False, 0
        if self._is_installed and core.tick == self._note_request:
            core.tick = self._before  # else another history has replaced it
            core.choose_ways()
            self._is_installed = False

    def _note_request(self) -> int:
        core, before = self._core(), self._before
        if core is not None:
            number, fewest = len(core.idle), self._fewest
            if fewest is None or number < fewest:
                self._fewest = number
        return 1 if before is None else before()

    def _load_seen(self, core: Any) -> int:
        """Return the highest load that idle connections have served."""
        fewest, self._fewest = self._fewest, None
        if fewest is None:
            return 0
        return int(core.in_use + len(core.idle) - fewest)

    @property
    def highest(self) -> int:
        """The highest load of the last looks."""
        highest: int = max([self._peak, *snapshot(self.peaks)])
        return highest


def open_ahead(core: Any, connect: Callable[[], Any], wanted: int) -> None:
    """Open connections until a number is idle or in use, within the limits.

    wanted: the number
    """
    limits = core.limits
    wanted = min([wanted, *filter(None, [
        limits.maxconnections, limits.maxcached])])
    number = wanted - len(core.connections())
    if number > 0:
        run_together([partial(core.open_ahead, connect)]
                     * min(number, _TOGETHER))
