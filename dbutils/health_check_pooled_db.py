"""Pools that keep their idle connections alive and well.

Idle connections are examined in the background, and dead ones are replaced
before they are borrowed.
"""

from __future__ import annotations

import random
import time

from ._base.checks import check_seconds
from ._base.hints import Any, Con, Creator
from ._core.examining import Found, drop, examine_idle, keep, replace
from ._core.features import Feature
from .pooled_db import PooledDB

__all__ = ["HealthCheck", "HealthCheckPooledDB"]

_JITTER = 0.1
# How many rounds in a row have to fail until a pool counts as unhealthy.
_MANY = 3


class HealthCheck(Feature):
    """Examines the idle connections of a pool."""

    def __init__(
            self, interval: float | None = 60, timeout: float = 5) -> None:
        """Set up the examination.

        interval: after how many seconds the connections are examined, up to
            a tenth earlier; None means only on demand
        timeout: how many seconds a connection has to answer
        """
        super().__init__()
        self._interval = _check_interval("interval", interval)
        self._timeout = check_seconds("timeout", timeout)
        self._last_check: float | None = None
        self._checks = 0
        self._replaced = 0
        self._failures = 0
        self._last_error: str | None = None

    def __repr__(self) -> str:
        return f"<health check every {self._interval} seconds>"

    def _pause(self) -> float | None:
        """Return the seconds until the next round."""
        if self._interval is None:
            return None
        jitter = _JITTER * random.random()  # noqa: S311 - no secret
        return self._interval * (1 - jitter)

    def _work(self, core: Any) -> None:
        """Make a round."""
        self._check(core)

    def check(self) -> int:
        """Examine all idle connections; return how many were replaced."""
        return self._check(self._core)

    def drop_invalid(self) -> int:
        """Close the idle connections that are dead; return their number."""
        return self._examine(self._core, drop).invalid

    def report(self) -> dict[str, Any]:
        """Return the present state of the pool, without changing it."""
        core = self._core
        found = examine_idle(core, self._timeout, keep)
        in_use = core.stats().in_use
        return {
            "status": self._status(found),
            "valid_connections": found.valid,
            "invalid_connections": found.invalid,
            "in_use": in_use,
            "total_connections": found.valid + found.invalid + in_use,
            "last_check": self._last_check,
            "checks": self._checks,
            "replaced": self._replaced,
            "consecutive_failures": self._failures,
            "last_error": self._last_error,
        }

    def _status(self, found: Found) -> str:
        if not (found.invalid or self._failures):
            return "healthy"
        if not found.valid or self._failures >= _MANY:
            return "unhealthy"
        return "degraded"

    def _check(self, core: Any) -> int:
        """Replace dead connections, and count the rounds that failed."""
        found = self._examine(core, self._replace)
        if found.replaced < found.invalid:
            self._failures += 1
        elif found.valid or found.replaced:
            self._failures = 0
        return found.replaced

    def _examine(self, core: Any, treat: Any) -> Found:
        """Make a round that counts.

        treat: gets each dead connection
        """
        found = examine_idle(core, self._timeout, treat)
        self._last_check = time.time()
        self._checks += 1
        self._replaced += found.replaced
        return found

    def _replace(self, core: Any, permit: Any) -> bool:
        """Open another connection in the slot; return whether that worked."""
        try:
            return replace(self._connect(), core, permit)
        except Exception as error:  # noqa: BLE001 - it is reported
            kind = type(error)  # the text may contain a password
            self._last_error = f"{kind.__module__}.{kind.__name__}"
            return False


def _check_interval(name: str, interval: Any) -> float | None:
    seconds = check_seconds(name, interval)
    if seconds == 0:
        raise ValueError(f"{name!r} must be greater than 0, or None. [DBU-02]")
    return seconds


class HealthCheckPooledDB(PooledDB[Con]):
    """A pool of steady DB-API 2 connections that stay healthy."""

    def __init__(
            self, creator: Creator[Con] | None = None, *args: Any,
            health_check_interval: float | None = 60,
            features: Any = (), **kwargs: Any) -> None:
        """Set up the pool.

        health_check_interval: after how many seconds the idle connections
            are examined in the background; None means only on demand

        All other parameters are those of pooled_db.PooledDB.
        """
        self._health_check = HealthCheck(
            _check_interval("health_check_interval", health_check_interval))
        super().__init__(
            creator, *args, features=(*features, self._health_check), **kwargs)

    def health_check(self) -> int:
        """Examine all idle connections now; return how many were replaced.

        Dead connections are replaced.  No request has to wait for that.
        """
        return self._health_check.check()

    def auto_cleanup_invalid(self) -> int:
        """Close the idle connections that are dead; return how many."""
        return self._health_check.drop_invalid()

    def health_report(self) -> dict[str, Any]:
        """Return the present state of the pool, without repairing it."""
        return self._health_check.report()
