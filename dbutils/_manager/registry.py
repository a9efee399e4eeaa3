"""What the manager of pools keeps: which pools there are, and their use."""

from __future__ import annotations

import hashlib
import json
import threading
from functools import partial
from time import monotonic
from typing import Any, Callable, Mapping
from weakref import WeakSet, ref

from .._base.atomic import Count
from .._base.errors import quietly
from .._base.mutex import Mutex
from .._base.threads import start_thread

__all__ = [
    "AllPoolsInUse", "PoolRegistry", "Probe", "Request", "UsageStats",
    "canonical_key"]


# How many removed pools are remembered at least.
_RECENT = 100


class AllPoolsInUse(Exception):  # noqa: N818 - what happened, not an error as such
    """No pool can be removed, since all are in use."""


class Request:
    """A request for a connection, for as long as it is held."""

    __slots__ = ("__weakref__",)


class UsageStats:
    """When a pool was used for the last time, how often, and by whom."""

    def __init__(self) -> None:
        self.latest = monotonic()
        # The requests that are going on and are not served at once.
        self.requests: WeakSet[Request] = WeakSet()
        # Why the manager does not have the pool any more.
        self.eviction: str | None = None
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
        # A reference to what only those hold who ask.
        self._asking: Callable[[], Any] = _nothing

    @property
    def is_closed(self) -> bool:
        """Whether there is a result, or never will be one."""
        return self._done.is_set() or self._asking() is None

    def start(self, ask: Callable[[], bool]) -> bool:
        """Begin to ask; return whether that is possible."""
        question = _Question(ask)
        self._asking = ref(question)
        return start_thread(partial(self._run, [question]), "DBUtils probe")

    def is_well(self, seconds: float) -> bool:
        """Tell whether the server has answered after so many seconds."""
        return self._done.wait(seconds) and self._is_well

    def _run(self, questions: list[_Question]) -> None:
        question = questions.pop()
        try:
            with quietly("checking a pool"):
                self._is_well = question.ask()
        finally:
            self._done.set()


class _Question:
    """What is asked, for as long as that lasts."""

    def __init__(self, ask: Callable[[], bool]) -> None:
        self.ask = ask


def _nothing() -> None:
    """Stand for a reference to what is not there."""


class PoolRegistry:
    """The pools of a manager, and the names that were given to them.

    Each stands here as an entry, which has the pool, and knows its use.  All
    that is changed here is changed in the turn of one thread, in which
    nothing is opened or closed, and in which the methods are to be called.
    """

    def __init__(self) -> None:
        self.mutex = Mutex()
        # The pools by their keys, in the order of their creation, and by the
        # names.  If there are several for one configuration, since it is not
        # known whose password is right, the first one has its key.
        self.entries: dict[str, Any] = {}
        self.names: dict[str, Any] = {}
        # How many pools there may be.
        self.limit: int | None = None
        self.is_closed = False
        # How many there were, and what the removed ones have served; those
        # that are alive may just be serving somebody.
        self.created = self.destroyed = 0
        self._removed: list[tuple[Callable[[], Any], UsageStats]] = []
        self._served = 0

    def add(self, entry: Any) -> None:
        """Put a new pool on the shelf."""
        key, number = entry.key, 1
        while entry.key in self.entries:
            number += 1
            entry.pool.key = f"{key}-{number}"
        self.entries[entry.key] = entry
        self.created += 1

    def take_out(self, entry: Any) -> None:
        """Let a pool not stand here any more."""
        del self.entries[entry.key]
        for name in self.names_of(entry):
            del self.names[name]
        alike = self.alike(entry.config.key)
        if alike and entry.config.key not in self.entries:
            alike[0].pool.key = entry.config.key
            self.entries = {
                entry.key: entry for entry in self.entries.values()}
        self.destroyed += 1
        self._removed.append((ref(entry.pool), entry.uses))
        if len(self._removed) > _RECENT:
            self._sum_up()

    def _sum_up(self) -> None:
        """Forget the removed pools that nobody can use any more."""
        removed, self._removed = self._removed, []
        for link, uses in removed:
            if link() is None:
                self._served += uses.served
            else:
                self._removed.append((link, uses))

    def take_out_refused(self, key: str) -> list[Any]:
        """Take out the pools whose passwords were refused; return them."""
        refused = [entry for entry in self.alike(key) if entry.is_refused]
        for entry in refused:
            self.take_out(entry)
        return refused

    def alike(self, key: str) -> list[Any]:
        """Return the pools for the configuration with a key."""
        entries = self.entries.copy().values()
        return [entry for entry in entries if entry.config.key == key]

    def names_of(self, entry: Any) -> list[str]:
        """Return the names of a pool."""
        return [name for name, its in self.names.items() if its is entry]

    @property
    def served(self) -> int:
        """How many connections all pools have handed out."""
        uses = [entry.uses for entry in self.entries.values()]
        uses += [uses for _, uses in self._removed]
        return self._served + sum(use.served for use in uses)

    def unused(self) -> list[Any]:
        """Return the pools that are not in use, the latest used at last."""
        return sorted(
            (entry for entry in self.entries.values() if not entry.is_used),
            key=lambda entry: entry.used_at)

    def make_room(self, number: int) -> list[Any]:
        """Take out as many pools as are too many for so many new ones.

        Raises Full if that is not possible.
        """
        if self.limit is None:
            return []
        surplus = len(self.entries) + number - self.limit
        if surplus <= 0:
            return []
        unused = self.unused()
        if number and len(unused) < surplus:
            raise AllPoolsInUse
        for entry in unused[:surplus]:
            self.take_out(entry)
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
