"""The plugin of create_engine(..., plugins=["dbutils"]) of SQLAlchemy.

It is for engines whose creator is the method connection() of a pool, and is
needed where a dialect passes connections to functions of the driver that
accept only the driver's own.  SQLAlchemy finds it by an entry point of the
package; nothing of SQLAlchemy is imported here.
"""

from __future__ import annotations

from .._base.hints import Any, Callable
from .._steady.driver_methods import plain

__all__ = ["EnginePlugin"]


class EnginePlugin:
    """Prepares a dialect for borrowed connections.

    It has the methods of sqlalchemy.engine.CreateEnginePlugin.
    """

    def __init__(self, url: Any, kwargs: dict[str, Any]) -> None:
        pass

    def update_url(self, url: Any) -> Any:
        """Do nothing with the URL."""

    def handle_dialect_kwargs(
            self, dialect_class: Any, dialect_args: dict[str, Any]) -> None:
        """Make SQLAlchemy translate the type hstore of psycopg itself.

        The dialect would register it on the first connection only, and on
        others with a connect argument, which a creator does not get.
        """
        if dialect_class.driver == "psycopg":
            dialect_args.setdefault("use_native_hstore", False)

    def handle_pool_kwargs(
            self, pool_class: Any,  # noqa: ARG002 - SQLAlchemy passes it
            pool_args: dict[str, Any]) -> None:
        """Pass the driver's own connection to functions that need it.

        psycopg2 registers types with a function in C.  A connection of sqlite3
        on which functions were registered through the pool would not be used
        again, since they stay there; those of SQLAlchemy are always the same.
        Other dialects prepare the lease, so that the pool undoes it.
        """
        dialect = pool_args["dialect"]
        dialect.get_driver_connection = _of_own(dialect.get_driver_connection)
        if dialect.driver.startswith(("psycopg2", "pysqlite")):
            dialect.on_connect_url = _with_own(dialect.on_connect_url)

    def engine_created(self, engine: Any) -> None:
        """Do nothing with the engine."""


def _of_own(act: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that calls `act` with the driver's own connection."""
    return lambda lease: act(plain(lease))


def _with_own(find: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that returns the function that prepares a lease.

    find: returns the one that prepares a connection of the driver, or None
    """
    def find_ours(url: Any) -> Callable[[Any], Any] | None:
        prepare = find(url)
        return None if prepare is None else _of_own(prepare)
    return find_ours
