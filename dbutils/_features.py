"""What can be added to a pool.

A feature is an object that gets to know one pool when that is made, works on
it through the verbs of its core, and does not keep it alive.
"""

from __future__ import annotations

from time import monotonic
from typing import Any, Callable
from weakref import WeakMethod, ref

from ._housekeeper import housekeeper

__all__ = ["Feature", "check_features"]


class Feature:
    """Something that is added to one pool."""

    def __init__(self) -> None:
        self._core: Callable[[], Any] = _nothing
        self._connect: Callable[[], Any] = _nothing
        # When its turn comes in the background.
        self.due_at = 0.0

    def join(self, core: Any, connect: Callable[[], Any]) -> None:
        """Begin to work on a pool, which opens connections like this."""
        self.check_free()
        self._core = ref(core)
        self._connect = WeakMethod(connect)
        self.begin_ticking()

    def begin_ticking(self) -> None:
        """Begin to work in the background if there is something to do."""
        pause = self.pause()
        if pause is not None:
            self.due_at = monotonic() + pause
            housekeeper.enlist(self)

    def check_free(self) -> None:
        """Raise an error if it works on a pool already."""
        if self._core() is not None:
            raise ValueError(f"{self!r} belongs to another pool already.")

    @property
    def core(self) -> Any:
        """The core of the pool on which it works."""
        core = self._core()
        if core is None:
            raise ValueError(f"{self!r} does not belong to a pool.")
        return core

    def pause(self) -> float | None:
        """Return the seconds until the next work in the background, if any."""
        return None

    def tick(self) -> None:
        """Do the work in the background, unless the pool has ended."""
        core, pause = self._core(), self.pause()
        if core is None or core.is_over or pause is None:
            housekeeper.dismiss(self)
            return
        self.due_at = monotonic() + pause
        self.work(core)

    def work(self, core: Any) -> None:
        """Do it."""


def _nothing() -> None:
    """Stand for a reference to what is not there."""


def check_features(features: Any) -> tuple[Feature, ...]:
    """Return the features that a pool is to have, before it is made."""
    for feature in features:
        if not isinstance(feature, Feature):
            raise TypeError(
                f"'features' must be features of pools, not {feature!r}.")
        feature.check_free()
    return tuple(features)
