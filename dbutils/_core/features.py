"""Features that can be added to a pool.

A feature is an object that joins one pool when that is made, works on it
through the verbs of its core, and does not keep it alive.
"""

from __future__ import annotations

from weakref import WeakMethod, ref

from .._base.hints import Any, Callable, Sequence
from .._base.housekeeper import Chore

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from .pool import Pool
else:
    Pool = Any

__all__ = ["Feature", "add_features", "check_features"]


class Feature:
    """Something that is added to one pool."""

    def __init__(self) -> None:
        # They return None until it works on a pool, and when that is gone.
        self._link: Callable[[], Any] = type(None)
        self._connect: Callable[[], Any] = type(None)
        self._chore = Chore(self, "_tick")

    def _join(self, core: Any, connect: Callable[[], Any]) -> None:
        """Begin to work on a pool.

        connect: opens a connection of the pool
        """
        self._check_free()
        self._link = ref(core)
        self._connect = WeakMethod(connect)
        self._begin_ticking()

    def _begin_ticking(self) -> None:
        """Begin to work in the background if there is something to do."""
        pause = self._pause()
        if pause is not None:
            self._chore.begin(pause)

    def _check_free(self) -> None:
        """Raise an error if it works on a pool already."""
        if self._link() is not None:
            raise ValueError(
                f"{self!r} belongs to another pool already. [DBU-13]")

    @property
    def _core(self) -> Pool:
        """The core of the pool on which it works."""
        core: Pool | None = self._link()
        if core is None:
            raise ValueError(f"{self!r} does not belong to a pool. [DBU-13]")
        return core

    def _pause(self) -> float | None:
        """Return the seconds until the next work in the background, if any."""
        return None

    def _tick(self) -> None:
        """Do the work in the background, unless the pool has ended."""
        core, pause = self._link(), self._pause()
        if core is None or core.is_closed or pause is None or (
                self._connect() is None):
            self._chore.end()
            return
        self._chore.plan(pause)
        self._work(core)

    def _work(self, core: Any) -> None:
        """Work on the pool."""


# These are no methods, which programs would see.

def check_features(features: Any) -> tuple[Feature, ...]:
    """Return the features of a pool that is about to be made."""
    for feature in features:
        if not isinstance(feature, Feature):
            raise TypeError(
                f"'features' must be features of pools, not {feature!r}."
                " [DBU-01]")
        feature._check_free()  # noqa: SLF001 - of this module
    return tuple(features)


def add_features(
        features: Sequence[Feature], core: Any,
        connect: Callable[[], Any]) -> None:
    """Begin the work of features on a pool."""
    for feature in features:
        feature._join(core, connect)  # noqa: SLF001 - of this module
