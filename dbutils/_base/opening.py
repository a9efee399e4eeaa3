"""The limits of time for connecting, and the attempts that are going on.

No driver can be told to connect within a fraction of a second, and some have
no time limit at all.  So a helper thread connects for a request that has a
deadline, see the module "attempt", and the request leaves in time.
"""

from __future__ import annotations

from time import monotonic

from .hints import Any, Iterator, ref

__all__ = [
    "HANGS_AFTER", "Attempts", "Elsewhere", "Full", "Late", "limits",
    "time_limit"]

# In seconds, the time after which an attempt is taken to hang.
HANGS_AFTER = 0.5

# The context variable with the limit, once there is a helper that has one.
limits: dict[str, Any] = {}


def time_limit() -> float | None:
    """Return the seconds after which the driver is to give a connect up.

    None means that there is no limit.
    """
    limit = limits.get("connect")
    seconds: float | None = None if limit is None else limit.get()
    return seconds


class Late(Exception):  # noqa: N818 - caught by the pool
    """The deadline came before the connection."""


class Elsewhere(Exception):  # noqa: N818 - caught by the pool
    """Another connection can be had without opening one."""


class Full(Exception):  # noqa: N818 - caught by the pool
    """The server has too many connections."""


class Attempts:
    """The attempts of a pool, held weakly; dead ones drop out."""

    def __init__(self) -> None:
        self._links: dict[int, Any] = {}

    def add(self, attempt: Any) -> None:
        """Record an attempt."""
        self._links[attempt.number] = ref(attempt)

    def leave(self, permit: Any) -> bool:
        """Stop waiting.  Return whether a helper keeps the permit.

        A helper that finished meanwhile has issued another permit.
        """
        attempt = self._links.get(permit.slot.number, type(None))()
        return attempt is not None and attempt.is_for(permit) and (
            attempt.leave())

    def _going_on(self) -> Iterator[Any]:
        for key, link in self._links.copy().items():
            attempt = link()
            if attempt is not None and attempt.is_going_on:
                yield attempt
            elif self._links.get(key) is link:
                self._links.pop(key, None)

    def left(self) -> int:
        """Return the number of pending connects whose requests have left."""
        if not self._links:
            return 0
        return sum(attempt.is_left for attempt in self._going_on())

    def ages(self) -> list[float]:
        """Return the age of each pending connect in seconds, oldest first."""
        now = monotonic()
        return sorted(
            (now - attempt.start for attempt in self._going_on()),
            reverse=True)
