"""The story of a pool: the one place where its rare events are announced.

Each event is kept in a ring, told to the observers, and logged if anybody
listens.  The fast ways announce nothing.
"""

from __future__ import annotations

from time import monotonic

from .._base.atomic import Count, pop, snapshot
from .._base.errors import facts, logger, quietly, tell
from .._base.finalizers import is_collecting
from .._base.hints import Any, Callable, NamedTuple, attrgetter, deque, partial
from .._base.threads import is_ending

__all__ = ["HELD", "KEPT", "LONG_WAIT", "Event", "Story"]

# How many events of each kind are kept, and after how many seconds a wait is
# an event.
KEPT = 500
LONG_WAIT = 0.05
# Events that concern a holder: they are told again of another place.
HELD = "leaked", "unused", "reclaimed"
# In seconds, the time between two warnings that say the same.
_AGAIN = 60.0

_DEBUG, _INFO, _WARNING, _ERROR = 10, 20, 30, 40
# The level and the text of each event, and the mark of a warning.
_TEXTS: dict[str, Any] = {
    "created": (_INFO, "The pool was created (%(reason)s)"),
    "resized": (_INFO, "The pool was resized (%(reason)s)"),
    "cleared": (_INFO, "The idle connections were closed"),
    "drained": (_INFO, "The pool is drained: all connections are replaced"),
    "shut_down": (_INFO, "The pool is shut down"),
    "opened": (
        _DEBUG, "Connection %(connection)s was opened in %(seconds).3g s"),
    "closed": (_DEBUG, "Connection %(connection)s was closed: %(reason)s"),
    "retired": (
        _DEBUG, "Connection %(connection)s is retired, and closed after use"),
    "reconnected": (
        _DEBUG, "Connection %(connection)s was replaced: %(reason)s"),
    "failed": (_DEBUG, "Connecting has failed: %(reason)s"),
    "waited": (_DEBUG, "A request has waited for %(seconds).3g s"),
    "lost": (
        _WARNING, "Connection %(connection)s was lost: %(reason)s",
        " [DBU-41]"),
    "refused": (
        _WARNING, "A request was refused after %(seconds).3g s: %(reason)s"),
    "outage_began": (_WARNING, "%(reason)s", " [DBU-42]"),
    "outage_ended": (_WARNING, "%(reason)s", " [DBU-43]"),
    "leaked": (_WARNING, "%(reason)s", " [DBU-36]"),
    "unused": (_WARNING, "%(reason)s", " [DBU-38]"),
    "reclaimed": (_WARNING, "%(reason)s", " [DBU-37]"),
    "deadlocked": (_WARNING, "A deadlock: %(reason)s", " [DBU-35]"),
}
# Events of crowds are kept apart, so that they push nothing else out.
_CROWDS = {
    "waited": "waited", "refused": "refused",
    "opened": "connections", "closed": "connections"}


class Event(NamedTuple):
    """Something that has happened in a pool.

    at: the time of the clock of the story
    name: the word for it
    seconds: how long it took or lasted
    connection: the number of the connection in its pool, from 0 on
    reason: why it happened, in words
    code, instruction: the place of the program that had to do with it
    held: for how many seconds that place has held a connection
    is_lasting: whether it does not end by itself, and is logged as an error
    """

    at: float
    name: str
    seconds: float | None = None
    connection: int | None = None
    reason: str = ""
    code: Any = None
    instruction: int = 0
    held: float | None = None
    is_lasting: bool = False

    def __str__(self) -> str:
        text: str = _TEXTS[self.name][1]
        return text % self._asdict()


class Story:
    """The events of a pool, the last ones of each kind."""

    def __init__(self) -> None:
        self.clock = monotonic
        self.observers: Any = ()
        # Returns the name of the pool; without it, nothing is logged.
        self.find_name: Callable[[], str] | None = None
        self._name = ""
        # The last warning of each kind; see _admits().
        self._warned: dict[Any, dict[str, Any]] = {}
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget all events, as in a forked child."""
        self._rings: dict[str, deque[Event]] = {
            kind: deque(maxlen=KEPT)
            for kind in ("waited", "refused", "connections", "others")}
        # Events that could not be logged at once; and what was last said in
        # short, and when.
        self._late: deque[tuple[Event, Callable[[], str]]] = deque()
        self.short: tuple[float, str] | None = None

    def name(self) -> str:
        """Return the name of the pool, the last one if that is gone."""
        if self.find_name is not None:
            with quietly("naming a pool"):
                self._name = self.find_name() or self._name
        return self._name

    def facts(
            self, event: str, connection: int | None = None,
            seconds: float | None = None) -> dict[str, Any]:
        """Return the fields of a log record."""
        return facts(event, self.name(), connection, seconds)

    # Announcing.

    def tell(
            self, name: str, *details: Any, lines: Callable[[], str] = str,
            **facts: Any) -> None:
        """Announce an event.

        details: the arguments for the observers
        lines, facts: see note()
        """
        if self.observers:
            self.observers.notify(name, *details)
        self.note(name, lines, **facts)

    def note(
            self, name: str, lines: Callable[[], str] = str,
            **facts: Any) -> None:
        """Keep and log an event of which observers are told elsewhere.

        lines: returns what is logged after the first line
        facts: the fields of the event
        """
        event = Event(self.clock(), name, **facts)
        self._rings[_CROWDS.get(name, "others")].append(event)
        if self.find_name is not None:
            self._log_in_time(event, lines)

    def refused_lately(self) -> list[Event]:
        """Return the refusals of the last minute, the oldest first."""
        since = self.clock() - _AGAIN
        refused: list[Event] = snapshot(self._rings["refused"])
        if refused and refused[0].at >= since:  # as when there are many
            return refused
        return [event for event in refused if event.at >= since]

    def number_of(self, name: str, seconds: float) -> int:
        """Return how many events of a name there were in the last seconds."""
        since = self.clock() - seconds
        return sum(1 for event in snapshot(self._rings["others"])
                   if event.name == name and event.at >= since)

    def events(self) -> list[Event]:
        """Return the events that were kept, the oldest first."""
        return sorted(
            (event for ring in self._rings.values()
             for event in snapshot(ring)), key=attrgetter("at"))

    # Logging.

    def _log_in_time(self, event: Event, lines: Callable[[], str]) -> None:
        """Log an event, after those for which it was not the time.

        The collector may have interrupted a handler, which has a lock.
        """
        if is_collecting():
            self._late.append((event, lines))
            return
        late = pop(self._late)
        while late is not None:
            self._log(*late)
            late = pop(self._late)
        self._log(event, lines)

    def _log(self, event: Event, lines: Callable[[], str]) -> None:
        level, text, *mark = _TEXTS[event.name]
        if is_ending() or not logger.isEnabledFor(level):
            return
        left_out = self._admits(event) if level == _WARNING else 0
        if left_out is None:
            return
        extra = self.facts(event.name, event.connection, event.seconds)
        first, *others = lines().split("\n", 1)
        values = {
            **event._asdict(), "pool": extra["pool"], "left_out": left_out,
            "lines": "\n".join(("".join((first, *mark)), *others))}
        more = " (%(left_out)s more since the last such message)"
        tell(partial(
            logger.log, _ERROR if event.is_lasting else level,
            f"%(pool)s: {text}{more if left_out else ''}%(lines)s", values,
            extra=extra))

    def _admits(self, event: Event) -> int | None:
        """Return how many were left out before; None leaves this one out.

        The first thread that sets the next warning is the one that logs.
        """
        place = (event.code, event.instruction) if (
            event.name in HELD) else None
        key = event.name, place
        new = {"at": event.at, "others": Count()}
        last = self._warned.setdefault(key, new)
        if last is new:
            return 0
        while "next" in last:
            last = last["next"]
        if event.at - last["at"] < _AGAIN or (
                last.setdefault("next", new) is not new):
            last["others"].step()
            return None
        self._warned[key] = new  # only makes the way shorter
        others: int = last["others"].read()
        return others
