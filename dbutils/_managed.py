"""What the manager of pools keeps: which pools there are, and their use."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import deque
from time import monotonic
from typing import Any, Callable, Mapping

from ._counts import Count
from ._errors import quietly
from ._mutex import Mutex

__all__ = ["Full", "Probe", "Shelf", "Uses", "canonical_key"]


# How many removed pools are remembered.
_RECENT = 100


class Full(Exception):  # noqa: N818 - what happened, not an error as such
    """No pool can be removed, since all are in use."""


class Uses:
    """When a pool was used for the last time, and how often."""

    def __init__(self) -> None:
        self.latest = monotonic()
        self._asked = Count()
        self._asked.step()  # since note() must never return 0
        self._failed = Count()

    def note(self) -> int:
        """Note that a connection is asked for."""
        self.latest = monotonic()
        return self._asked.step()

    def note_failure(self) -> None:
        """Note that there was none to be had."""
        self._failed.step()

    @property
    def served(self) -> int:
        """How many connections were handed out."""
        return self._asked.read() - 1 - self._failed.read()


class Probe:
    """A check whether a server answers, in a thread."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._is_well = False

    @property
    def is_over(self) -> bool:
        """Whether there is a result."""
        return self._done.is_set()

    def start(self, ask: Callable[[], bool]) -> None:
        """Begin to ask."""
        threading.Thread(
            target=self._run, args=(ask,), name="DBUtils probe",
            daemon=True).start()

    def is_well(self, seconds: float) -> bool:
        """Tell whether the server has answered after so many seconds."""
        return self._done.wait(seconds) and self._is_well

    def _run(self, ask: Callable[[], bool]) -> None:
        try:
            with quietly("checking a pool"):
                self._is_well = ask()
        finally:
            self._done.set()


class Shelf:
    """The pools of a manager, and the names that were given to them.

    All that is changed here is changed in the turn of one thread, in which
    nothing is opened or closed, and in which the methods are to be called.
    """

    def __init__(self) -> None:
        self.mutex = Mutex()
        # The pools by their keys, in the order of their creation, and the
        # keys by the names.
        self.pools: dict[str, Any] = {}
        self.names: dict[str, str] = {}
        # How many pools there may be.
        self.limit: int | None = None
        self.is_over = False
        # How many there were, and what the removed ones have served; those
        # that were removed at last may just be serving somebody.
        self.created = self.destroyed = 0
        self._removed: deque[Uses] = deque()
        self._served = 0

    def add(self, pool: Any) -> None:
        """Put a new pool on the shelf."""
        self.pools[pool.key] = pool
        self.created += 1

    def take_out(self, pool: Any) -> None:
        """Let a pool not stand here any more."""
        del self.pools[pool.key]
        for name in self.names_of(pool.key):
            del self.names[name]
        self.destroyed += 1
        self._removed.append(pool.uses)
        if len(self._removed) > _RECENT:
            self._served += self._removed.popleft().served

    def names_of(self, key: str) -> list[str]:
        """Return the names of a pool."""
        return [name for name, its in self.names.items() if its == key]

    @property
    def served(self) -> int:
        """How many connections all pools have handed out."""
        uses = [pool.uses for pool in self.pools.values()]
        return self._served + sum(
            use.served for use in (*uses, *self._removed))

    def unused(self) -> list[Any]:
        """Return the pools that are not in use, the latest used at last."""
        return sorted(
            (pool for pool in self.pools.values() if not pool.is_used),
            key=lambda pool: pool.used_at)

    def make_room(self, number: int) -> list[Any]:
        """Take out as many pools as are too many for so many new ones.

        Raises Full if that is not possible.
        """
        if self.limit is None:
            return []
        surplus = max(len(self.pools) + number - self.limit, 0)
        unused = self.unused()
        if number and len(unused) < surplus:
            raise Full
        for pool in unused[:surplus]:
            self.take_out(pool)
        return unused[:surplus]


def canonical_key(settings: Mapping[str, Any]) -> str:
    """Return a key that is the same for the same settings, and only then."""
    text = json.dumps(
        _canonical(settings), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """Return what stands for a value, and is the same for equal ones."""
    if isinstance(value, Mapping):
        return {str(name): _canonical(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(part) for part in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    kind = type(value)
    name = getattr(value, "__qualname__", "<")
    is_global = isinstance(value, type) and "<" not in name
    return {
        f"{kind.__module__}.{kind.__qualname__}":
            f"{value.__module__}.{name}" if is_global else id(value)}
