"""The registry of managed pools: their entries, names, use and health."""

from __future__ import annotations

import threading
from functools import partial
from time import monotonic
from weakref import ref

from .._base.atomic import Count
from .._base.errors import quietly
from .._base.followers import Followers
from .._base.hints import Any, Callable, Mapping
from .._base.mutex import Mutex
from .._base.threads import start_thread

__all__ = [
    "PoolRegistry", "Probe", "Request", "UsageStats", "health_of"]


# The number of removed pools after which dead ones are forgotten.
_RECENT = 100


class Request:
    """A request for a connection, which lasts as long as the object."""

    __slots__ = ("__weakref__",)


class UsageStats:
    """The latest use of a pool, the number of uses, and pending requests."""

    def __init__(self) -> None:
        self.latest = monotonic()
        self.begin_anew()
        # The reason for which the manager has removed the pool.
        self.eviction: str | None = None
        self._asked = Count()
        self._asked.step()  # note() must never return 0
        self._failed = Count()

    def begin_anew(self) -> None:
        """Forget the pending requests, also in a forked child."""
        # Weak references to those that were not served at once.
        self._requests: set[Any] = set()

    def expect(self, request: Request) -> None:
        """Record a pending request, for as long as it lives."""
        self._requests.add(ref(request, self._requests.discard))

    @property
    def pending(self) -> int:
        """Return the number of pending requests."""
        return len(self._requests)

    def note(self) -> int:
        """Record a request for a connection, and return its number."""
        self.latest = monotonic()
        return self._asked.step()

    def note_failure(self) -> None:
        """Record that a request has failed."""
        self._failed.step()

    @property
    def served(self) -> int:
        """Return the number of connections that were handed out."""
        return self._asked.read() - 1 - self._failed.read()


class Probe:
    """A check in a thread of whether a server answers."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._is_well = False
        # A weak reference to the question, which only the thread holds.
        self._asking: Callable[[], Any] = type(None)

    @property
    def is_closed(self) -> bool:
        """Return whether the check has ended, with or without a result."""
        return self._done.is_set() or self._asking() is None

    def start(self, ask: Callable[[], bool]) -> bool:
        """Start the check.  Return whether a thread could be started."""
        question = partial(ask)  # a new object, which only the thread holds
        self._asking = ref(question)
        return start_thread(partial(self._run, [question]), "DBUtils probe")

    def is_well(self, seconds: float) -> bool:
        """Wait for the result.  Return whether the server has answered."""
        return self._done.wait(seconds) and self._is_well

    def _run(self, questions: list[Callable[[], bool]]) -> None:
        question = questions.pop()
        try:
            with quietly("checking a pool"):
                self._is_well = question()
        finally:
            self._done.set()


class PoolRegistry:
    """The pools of a manager, and the names that were given to them.

    The pools are held by entries, which know their use.  All changes are made
    while the thread has its turn of the mutex.  Except for those that report,
    the methods must be called during that turn.  Nothing is opened or closed
    in it.
    """

    def __init__(self) -> None:
        self.mutex = Mutex()
        # The entries by their keys, in the order of their creation, and by
        # their names.  Several pools can have the same configuration while it
        # is unknown which password is right.  The first has the plain key.
        self.entries: dict[str, Any] = {}
        self.names: dict[str, Any] = {}
        # The maximum number of pools.
        self.limit: int | None = None
        self.is_closed = False
        # They are told of each new pool.
        self.followers = Followers()
        # The numbers of pools, and what the removed ones have served.  Those
        # that are alive may still serve requests.
        self.created = self.destroyed = 0
        self._removed: list[tuple[Callable[[], Any], UsageStats]] = []
        self._served = 0

    def add(self, entry: Any) -> None:
        """Add a new pool, and make its key unique."""
        key, number = entry.key, 1
        while entry.key in self.entries:
            number += 1
            entry.pool.key = f"{key}-{number}"
        self.entries[entry.key] = entry
        self.created += 1

    def remove(self, entry: Any) -> None:
        """Remove a pool and its names."""
        del self.entries[entry.key]
        for name in self.names_of(entry):
            del self.names[name]
        alike = self.alike(entry.config.key)
        if alike and entry.config.key not in self.entries:
            alike[0].pool.key = entry.config.key
            self.entries = {
                entry.key: entry for entry in self.entries.values()}
        self.destroyed += 1
        self._removed.append((ref(entry.pool), entry.usage))
        if len(self._removed) > _RECENT:
            self._sum_up()

    def _sum_up(self) -> None:
        """Add up what dead pools have served, and forget them."""
        removed, self._removed = self._removed, []
        for link, usage in removed:
            if link() is None:
                self._served += usage.served
            else:
                self._removed.append((link, usage))

    def remove_refused(self, key: str) -> list[Any]:
        """Remove and return the pools whose passwords were refused."""
        refused = [
            entry for entry in self.alike(key) if entry.connector.is_refused]
        for entry in refused:
            self.remove(entry)
        return refused

    def alike(self, key: str) -> list[Any]:
        """Return the pools whose configuration has a key."""
        entries = self.entries.copy().values()
        return [entry for entry in entries if entry.config.key == key]

    def names_of(self, entry: Any) -> list[str]:
        """Return the names of a pool."""
        return [name for name, its in self.names.items() if its is entry]

    @property
    def served(self) -> int:
        """Return the number of connections that all pools have handed out."""
        served: list[int] = [
            entry.usage.served for entry in self.entries.values()]
        served += [usage.served for _, usage in self._removed]
        return self._served + sum(served)

    def unused(self) -> list[Any]:
        """Return the unused pools, least recently used first."""
        return sorted(
            (entry for entry in self.entries.values() if not entry.is_used),
            key=lambda entry: entry.used_at)

    def make_room(self, number: int) -> list[Any] | None:
        """Remove unused pools to make room for new ones, and return them.

        number: the number of new pools

        Return None if there are not enough unused pools.
        """
        if self.limit is None:
            return []
        surplus = len(self.entries) + number - self.limit
        if surplus <= 0:
            return []
        unused = self.unused()
        if number and len(unused) < surplus:
            return None
        for entry in unused[:surplus]:
            self.remove(entry)
        return unused[:surplus]

    # Reports; these methods take the turn themselves.

    def all(self) -> list[Any]:
        """Return the entries of all pools, in the order of their creation."""
        with self.mutex.take():
            return list(self.entries.values())

    def info(self, entry: Any) -> dict[str, Any]:
        """Return the state of a pool."""
        with self.mutex.take():
            names = self.names_of(entry)
        return {**entry.info(), "names": names}

    def infos(self) -> list[dict[str, Any]]:
        """Return the states of all pools, in the order of their creation."""
        return [
            self.info(entry) for entry in self.all()
            if self.entries.get(entry.key) is entry]  # not removed meanwhile

    def statistics(self) -> dict[str, Any]:
        """Return the numbers of the manager, and the states of its pools."""
        infos = self.infos()
        with self.mutex.take():
            manager = {
                "total_pools": len(self.entries),
                "total_pools_created": self.created,
                "total_pools_destroyed": self.destroyed,
                "total_connections_served": self.served}
        totals = {
            f"total_{name}": sum(info[name] for info in infos)
            for name in ("idle_connections", "active_connections")}
        totals["total_connections"] = sum(totals.values())
        return {
            "manager_stats": manager, "aggregate_pool_stats": totals,
            "pools": infos}


def health_of(probes: Mapping[str, Probe], timeout: float) -> dict[str, Any]:
    """Wait for the probes of pools, and return a report.

    probes: the probes by the keys of the pools
    timeout: the seconds that all of them have together
    """
    end = monotonic() + timeout
    results = {
        key: probe.is_well(max(end - monotonic(), 0))
        for key, probe in probes.items()}
    unhealthy = [key for key, is_well in results.items() if not is_well]
    healthy = len(results) - len(unhealthy)
    status = "healthy" if not unhealthy else (
        "degraded" if healthy else "unhealthy")
    return {
        "status": status, "healthy_pools": healthy,
        "unhealthy_pools": unhealthy, "total_pools": len(results),
        "pools": {
            key: "healthy" if is_well else "unhealthy"
            for key, is_well in results.items()}}
