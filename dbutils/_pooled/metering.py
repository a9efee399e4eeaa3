"""The metrics of pools, with the names that OpenTelemetry has for them.

These are what its semantic conventions list for the connection pools of
clients of databases, and in addition the holders of connections.  The modules
"otel" and "prometheus" export them.
"""

from __future__ import annotations

from .._base.hints import Any, Callable, Mapping, NamedTuple, partial, ref
from .._base.links import Links
from .._core.holders import lease_holders
from .._core.lease import core_of
from .shown import name_of

__all__ = [
    "BOUNDARIES", "FACTS", "POOL_NAME", "PREFIX", "TIMEOUTS", "TIMES",
    "Fact", "Meters", "Time", "follow", "label_of", "unfollow"]

PREFIX = "db.client.connection."
# The attribute with the name of the pool.
POOL_NAME = f"{PREFIX}pool.name"

# In seconds, the boundaries of the buckets.  The conventions have none for
# pools; these are theirs for the duration of operations, and smaller ones for
# requests that an idle connection serves.
BOUNDARIES = (
    0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)


class Fact(NamedTuple):
    """A number that a pool has at any time.

    read: returns it by the values of the attribute, or None if there is none
    """

    name: str
    unit: str
    text: str
    read: Callable[[Any], Mapping[Any, int]]
    attribute: str | None = None


class Time(NamedTuple):
    """A time that is measured each time when something happens."""

    name: str
    event: str
    text: str


def _limit(number: int | None) -> Mapping[Any, int]:
    """Return a number that is not exported if there is no limit."""
    return {} if number is None else {None: number}


def _states(pool: Any) -> Mapping[Any, int]:
    filling = core_of(pool).filling()
    return {"idle": filling.idle, "used": filling.in_use}


def _idle_max(pool: Any) -> Mapping[Any, int]:
    limits = core_of(pool).limits
    return _limit(min(
        (limit for limit in (limits.maxcached, limits.maxconnections)
         if limit is not None), default=None))


def _idle_min(pool: Any) -> Mapping[Any, int]:
    return {None: core_of(pool).limits.mincached}


def _max(pool: Any) -> Mapping[Any, int]:
    return _limit(core_of(pool).limits.maxconnections)


def _pending(pool: Any) -> Mapping[Any, int]:
    return {None: core_of(pool).filling().waiting}


def _timeouts(pool: Any) -> Mapping[Any, int]:
    return {None: core_of(pool).state().timeouts}


def _places(pool: Any) -> Mapping[Any, int]:
    """Return how many connections are held, by the lines that took them."""
    places: dict[str, int] = {}
    for holder in lease_holders(core_of(pool)):
        place = "unknown" if holder.file is None else (
            f"{holder.file}:{holder.line}")
        places[place] = places.get(place, 0) + 1
    return places


_CONNECTIONS, _REQUESTS = "{connection}", "{request}"

FACTS = (
    Fact("count", _CONNECTIONS,
         "The number of connections that are currently in state described by"
         " the state attribute.", _states, f"{PREFIX}state"),
    Fact("idle.max", _CONNECTIONS,
         "The maximum number of idle open connections allowed.", _idle_max),
    Fact("idle.min", _CONNECTIONS,
         "The minimum number of idle open connections allowed.", _idle_min),
    Fact("max", _CONNECTIONS,
         "The maximum number of open connections allowed.", _max),
    Fact("pending_requests", _REQUESTS,
         "The number of current pending requests for an open connection.",
         _pending),
    Fact("holders", _CONNECTIONS,
         "The number of connections in use that were taken at a place in the"
         " program.", _places, "place"))

TIMEOUTS = Fact(
    "timeouts", "{timeout}",
    "The number of connection timeouts that have occurred trying to obtain a"
    " connection from the pool.", _timeouts)

TIMES = (
    Time("create_time", "opened",
         "The time it took to create a new connection."),
    Time("wait_time", "acquired",
         "The time it took to obtain an open connection from the pool."),
    Time("use_time", "released",
         "The time between borrowing a connection and returning it to the"
         " pool."))

# The pools by the names under which they are exported.  A pool that dies
# removes its name by a function written in C.
_owners: dict[str, Any] = {}


def label_of(pool: Any) -> str:
    """Return the name of a pool, with a number if others have the same."""
    held = vars(pool)
    if "_label" not in held:
        held.setdefault("_label", _new_label(pool))
    label: str = held["_label"]
    return label


def _new_label(pool: Any) -> str:
    name = label = name_of(pool)
    number = 1
    while True:
        link = ref(pool, partial(_owners.pop, label))
        if _owners.setdefault(label, link)() is pool:
            return label
        number += 1
        label = f"{name} #{number}"


class Meters:
    """The pools that an exporter shows, which are held weakly."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        """Set up without pools.

        make: returns an observer for a pool, of which it gets a weak reference
        """
        self._make = make
        self._observers = Links()
        self._has_ended = False

    def add(self, pool: Any) -> None:
        """Add a pool, unless it is there already."""
        if self._has_ended:
            return
        pool.observe(self._observers.add(pool, self._make(ref(pool))))

    def drop(self, pool: Any) -> None:
        """Remove a pool, if it is there."""
        observer = self._observers.drop(pool)
        if observer is not None:
            pool.unobserve(observer)

    def end(self) -> None:
        """Remove all pools; others cannot be added."""
        self._has_ended = True
        for pool, _ in self.read():
            self.drop(pool)

    def read(self) -> list[tuple[Any, Any]]:
        """Return the pools that are alive, with their observers."""
        pairs = [(link(), link.value) for link in self._observers.all()]
        return [
            (pool, observer) for pool, observer in pairs if pool is not None]


def follow(thing: Any, follower: Any) -> None:
    """Add a pool, or all pools of a manager, also later ones, to Meters."""
    _parts_of(thing)._join(follower)  # noqa: SLF001 - as core_of()


def unfollow(thing: Any, follower: Any) -> None:
    """Remove a pool, or all pools of a manager, from Meters."""
    _parts_of(thing)._leave(follower)  # noqa: SLF001 - as core_of()


def _parts_of(thing: Any) -> Any:
    """Return what has pools; raise a TypeError for anything else."""
    if not hasattr(type(thing), "_join"):
        raise TypeError(
            "Only pools of steady connections, keyed pools and managers have"
            f" metrics, not {type(thing).__name__!r}. [DBU-01]")
    return thing
