"""How long a connection is busy with statements."""

from __future__ import annotations

from time import monotonic

from .._base.hints import Any

__all__ = ["Busy"]


class Busy:
    """The time that the present lease has spent in statements.

    Only the thread that executes a statement changes it; others read it.
    """

    __slots__ = ("checkout", "ended", "seconds", "since")

    def __init__(self) -> None:
        # The lease, for how long it was busy, and since when it has been busy
        # with a statement, if it is; and when the last one has ended.
        self.checkout: Any = None
        self.seconds = self.ended = 0.0
        self.since: float | None = None

    def begin_lease(self, checkout: Any) -> None:
        """Begin to measure a lease."""
        self.seconds = 0.0
        self.checkout = checkout

    def begin(self, checkout: Any) -> None:
        """Begin a statement of a lease."""
        if self.checkout is not checkout:
            self.begin_lease(checkout)
        self.since = monotonic()

    def end(self) -> None:
        """End the statement, if it has begun."""
        now = self.ended = monotonic()
        since, self.since = self.since, None
        if since is not None:
            self.seconds += now - since

    def read(self) -> float:
        """Return for how long the lease was busy until now."""
        seconds, since = self.seconds, self.since
        return seconds if since is None else seconds + monotonic() - since

    def idle_share(self, start: float) -> float:
        """Return the share of the lease without a statement.

        start: when it has begun
        """
        seconds = monotonic() - start
        return max(1 - self.read() / seconds, 0.0) if seconds > 0 else 1.0

    def rest(self, start: float) -> float:
        """Return for how long there has been no statement."""
        if self.since is not None:
            return 0.0
        return monotonic() - max(start, self.ended)

    def of(self, checkout: Any) -> Busy | None:
        """Return the time of a lease, None if there is none.

        A lease without a statement gets a time of its own.
        """
        if not isinstance(checkout, list):
            return None
        return self if self.checkout is checkout else Busy()
