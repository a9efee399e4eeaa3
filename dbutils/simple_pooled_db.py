"""A very simple pool of plain connections for any DB-API 2 driver.

It opens all its connections when it is made, never checks or replaces one,
and has no options.  It shows how little a pool needs to be, and serves small
programs well.  For all others there is pooled_db.
"""

from __future__ import annotations

from . import __version__
from ._base.hints import Any, partial
from ._pooled.simple import Queued, SimpleLease, SimplePool, TakenInTurn
from ._steady.mistakes import mistake_in

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from ._drivers.names import SimpleNames
else:
    SimpleNames = object

__all__ = [
    "NotSupportedError", "PooledDB", "PooledDBConnection", "PooledDBError"]


class PooledDBError(Exception):
    """General PooledDB error."""


class NotSupportedError(PooledDBError):
    """DB-API module not supported by PooledDB."""


class PooledDBConnection(SimpleLease, SimpleNames):
    """A borrowed connection; close() gives it back."""


class PooledDB(SimplePool["PooledDBConnection"]):
    """A very simple pool of DB-API 2 connections."""

    version = __version__

    _lease_class = PooledDBConnection

    def __init__(
            self, dbapi: Any, maxconnections: int,
            *args: Any, **kwargs: Any) -> None:
        """Open all connections.

        dbapi: the DB-API 2 module; with threadsafety 1 its connections
            have one user at a time, with 2 or 3 they are shared
        maxconnections: how many connections are opened

        All other parameters are passed to dbapi.connect().
        """
        super().__init__(
            _store_for(dbapi),
            partial(dbapi.connect, *args, **kwargs), maxconnections)


def _store_for(dbapi: Any) -> Any:
    threadsafety = getattr(dbapi, "threadsafety", None)
    if threadsafety == 1:
        return Queued
    if threadsafety in {2, 3}:
        return TakenInTurn
    mistake = mistake_in(dbapi)
    raise NotSupportedError(
        "Database module is not thread-safe"
        f" (its threadsafety is {threadsafety!r})."
        f"{' [DBU-09]' if mistake is None else ' ' + mistake}")
