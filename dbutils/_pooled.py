"""What the pools for DB-API 2 drivers and for classic PyGreSQL share."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

from ._checks import check_seconds
from ._errors import ended_text, too_many_text
from ._keeper import Backend
from ._ledger import Limits
from ._pool import Ended, PoolCore, Refused
from ._transactions import Transactions

__all__ = ["Habits", "Pooled", "make_habits"]


class Habits(NamedTuple):
    """What a pool was asked to do beyond handing out connections."""

    patience: float | None


def make_habits(blocking: Any, maxwait: Any) -> Habits:
    """Check the options of a pool that have to do with time."""
    check_seconds("maxwait", maxwait)
    if maxwait is None and not blocking:
        maxwait = 0
    return Habits(maxwait)


class Pooled(Transactions):
    """A pool of steady connections."""

    _core: Any = None
    _too_many_error: type[Exception] = Exception
    _invalid_error: type[Exception] = Exception
    _closed_error: type[Exception] = Exception

    def _begin(
            self, backend: Backend, limits: Limits, habits: Habits,
            mincached: int) -> None:
        """Begin to work, with so many idle connections."""
        self._habits = habits
        self._core = PoolCore(backend, limits)
        rights = [self._acquire(self._open) for _ in range(mincached)]
        for right in reversed(rights):
            self._core.release(right.slot.con)

    def _open(self) -> Any:
        """Open a new steady connection for the pool."""
        raise NotImplementedError

    def _acquire(
            self, connect: Callable[[], Any], shareable: bool = False,
            maxwait: float | None = None) -> Any:
        """Return the right to a connection."""
        patience = self._habits.patience
        if maxwait is not None:
            patience = check_seconds("maxwait", maxwait)
        try:
            return self._core.acquire(connect, patience, shareable)
        except Refused as refused:
            text = too_many_text(*refused.args)
        except Ended:
            raise self._closed_error(ended_text()) from None
        raise self._too_many_error(text)

    def cache(self, con: Any) -> None:
        """Take a dedicated connection back, as its close() does."""
        if not self._core.release(con):
            raise self._invalid_error(
                "This connection was not taken out of the pool.")

    def close(self) -> None:
        """Close all connections that are idle or shared.

        The pool stays usable, and what is in use comes back to it.
        """
        self._core.clear()

    def drain(self) -> None:
        """Close all connections, those in use as soon as they come back.

        The pool stays usable, and opens new ones.
        """
        self._core.drain()

    def shutdown(self, timeout: float | None = 5) -> bool:
        """Close the pool for good; tell whether all connections were closed.

        timeout: for how many seconds to wait for the connections in use;
            None means for as long as it takes.  Those that are still in use
            then are closed when they come back.

        Who waits for a connection, or asks for one later, gets an error.
        """
        return self._core.shutdown(check_seconds("timeout", timeout))

    def __enter__(self) -> Any:
        """Begin a context at whose end the pool is shut down."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Shut the pool down."""
        self.shutdown()

    def __del__(self) -> None:
        """Close the connections when nobody holds the pool any more."""
        if self._core is not None:
            self._core.clear()
