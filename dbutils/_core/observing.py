"""Observers of a pool: objects that are told what happens in it."""

from __future__ import annotations

import sys
from time import monotonic

from .._base.atomic import pop
from .._base.errors import facts, logger, tell
from .._base.finalizers import is_collecting
from .._base.hints import Any, List, deque, partial

__all__ = ["EVENTS", "Observers", "observers_of"]

# The methods that an observer can have.
EVENTS = (
    "opened", "closed", "acquired", "released", "refused", "reconnected",
    "failed", "outage_began", "outage_ended", "waited", "missed")
# Those that are called for each request, so that all go the long way.
_EACH = ("acquired", "released")

# In seconds, the time between two reports that the same method has failed.
_AGAIN = 60.0


def observers_of(core: Any) -> Observers:
    """Return the observers of a pool, to be changed one at a time."""
    if not isinstance(core.observers, Observers):
        core.observers = core.story.observers = Observers()
    observers: Observers = core.observers
    return observers


class _Checkout(List[Any]):
    """A checkout of whose end observers are told; see the module "slots"."""

    def __init__(self, pool: Any, observers: Observers) -> None:
        super().__init__([pool])
        self.since = monotonic()
        self._observers = observers

    def pop(self, *place: Any) -> Any:
        """End the checkout, which succeeds once."""
        pool = super().pop(*place)
        self._observers.notify("released", monotonic() - self.since)
        return pool


class Observers(List[Any]):
    """The observers of a pool.

    An observer has any of the methods in EVENTS.  A method that fails is
    reported now and then, and disturbs nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        # Whether an observer is told of each request.
        self.watches = False
        # Whether no observer can be called at present.
        self.defers = False
        # The events of which no observer could be told at once.
        self._late: deque[tuple[str, tuple[Any, ...]]] = deque()
        # When a method was reported, by its observer and its name.
        self._reported: dict[tuple[int, str], float] = {}

    # Each change is one assignment to a slice, which is a single step.

    def add(self, observer: Any) -> None:
        """Add an observer, unless it is there already."""
        if not any(callable(getattr(observer, name, None)) for name in EVENTS):
            raise TypeError(
                "An observer needs at least one of the methods"
                f" {', '.join(EVENTS)}, but {type(observer).__name__!r}"
                " has none. [DBU-14]")
        self._change([*self._others(observer), observer])

    def drop(self, observer: Any) -> None:
        """Remove an observer, if it is there."""
        self._change(self._others(observer))

    def _others(self, observer: Any) -> list[Any]:
        return [other for other in list(self) if other is not observer]

    def _change(self, observers: list[Any]) -> None:
        self[:] = observers
        self.watches = any(
            hasattr(observer, name) for observer in observers
            for name in _EACH)

    def notify(self, event: str, *details: Any) -> None:
        """Tell the observers of an event, if it is one for them.

        A finalizer that the collector calls leaves that to the next event,
        since the program may hold any lock just now.
        """
        if event not in EVENTS:
            return
        if self.defers or is_collecting():
            self._late.append((event, details))
            return
        if self._late:
            late = pop(self._late)
            while late is not None:
                self._tell(*late)
                late = pop(self._late)
        self._tell(event, details)

    def _tell(self, event: str, details: tuple[Any, ...]) -> None:
        for observer in list(self):
            try:
                method = getattr(observer, event, None)
                if method is not None:
                    method(*details)
            except Exception as error:  # noqa: BLE001 - of a program
                self._report(observer, event, error)

    def _report(self, observer: Any, event: str, error: Exception) -> None:
        """Log that a method has failed, unless that was logged recently."""
        now, method = monotonic(), (id(observer), event)
        before = self._reported.get(method)
        if sys.is_finalizing() or (
                before is not None and now - before < _AGAIN):
            return
        self._reported[method] = now
        tell(partial(
            logger.warning,
            "%s() of an observer of a pool, a %s, failed with %s [DBU-62]",
            event, type(observer).__name__, type(error).__name__,
            extra=facts("observer_failed")))

    # Requests.

    def acquired(self, permit: Any, start: float) -> Any:
        """Return the permit of a request that is served, and tell of it.

        start: when the request came
        """
        try:
            self.notify("acquired", monotonic() - start)
            return permit
        finally:
            permit = None  # not to be kept by a traceback

    def begin(self, pool: Any) -> list[Any]:
        """Return a new checkout."""
        return _Checkout(pool, self) if self.watches else [pool]

    def end_later(self, checkout: Any) -> None:
        """Note that a finalizer has ended a checkout, at any moment."""
        since = getattr(checkout, "since", None)
        if since is not None:
            self._late.append(("released", (monotonic() - since,)))
