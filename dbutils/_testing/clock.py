"""A clock for the library that a test can put forward."""

from __future__ import annotations

import time
from importlib import import_module
from pkgutil import walk_packages

from .._base.hints import Any
from .._base.housekeeper import housekeeper

__all__ = ["Clock"]

_PACKAGE = __name__.partition(".")[0]


class Clock:
    """The time by which the library works, which a test can put forward.

    It goes like the real one, but is ahead of it by what was added:

        with Clock() as clock:
            pool = PooledDB(sqlite3, database="x.db", maxlifetime=3600)
            ...
            clock.advance(3600)

    Lifetimes, idle times, pauses after outages and time limits go by it.  A
    wait that has begun already is not made shorter.  Pools are made and closed
    while it is in use.
    """

    __module__ = "dbutils.testing"

    def __init__(self) -> None:
        """Set up a clock that tells the real time."""
        self.ahead = 0.0
        self._replaced: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> Clock:
        """Give the library this clock."""
        for module in _all_modules():
            for name, real, own in (
                    ("monotonic", time.monotonic, self.monotonic),
                    ("time", time.time, self.time)):
                if module.__dict__.get(name) is real:
                    self._replaced.append((module, name, real))
                    setattr(module, name, own)
        return self

    def __exit__(self, *exc: object) -> None:
        """Give the library the real clock again."""
        while self._replaced:
            setattr(*self._replaced.pop())

    def monotonic(self) -> float:
        """Return the time in seconds since some moment."""
        return time.monotonic() + self.ahead

    def time(self) -> float:
        """Return the time in seconds since the epoch."""
        return time.time() + self.ahead

    def advance(self, seconds: float) -> None:
        """Put the clock forward, and begin the maintenance that is due."""
        if seconds < 0:
            raise ValueError("A clock can only be put forward. [DBU-92]")
        self.ahead += seconds
        housekeeper.wake()


def _all_modules() -> list[Any]:
    """Return all modules of the library that a program may load later, too.

    Those for the command line and for packages that may not be installed are
    left out.
    """
    package = import_module(_PACKAGE)
    return [
        import_module(info.name)
        for info in walk_packages(package.__path__, _PACKAGE + ".")
        if not info.name.startswith((
            f"{_PACKAGE}.__", f"{_PACKAGE}._cli", f"{_PACKAGE}._testing",
            f"{_PACKAGE}._pooled.sqlalchemy", f"{_PACKAGE}.otel",
            f"{_PACKAGE}.prometheus"))]
