"""A very simple pool of plain connections for classic PyGreSQL.

It opens all its connections when it is made, never checks or replaces one,
and has no options.  It shows how little a pool needs to be, and serves small
programs well.  For all others there is pooled_pg.
"""

from __future__ import annotations

from . import __version__
from ._base.hints import Any, Args, Kwargs, partial
from ._core.slots import Slot
from ._drivers.creators import connect_pg
from ._drivers.registry import driver_of
from ._pooled.simple import Queued, SimpleLease, SimplePool
from ._steady.pg_failover import WORKING, call_kind, is_query
from ._steady.unsaved import is_strict

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from ._drivers.names import PgNames
else:
    PgNames = object

__all__ = ["PooledPg", "PooledPgConnection"]


class PooledPgConnection(SimpleLease, PgNames):
    """A borrowed connection; close() gives it back."""

    if is_strict:  # otherwise the inherited method is enough

        def _call(self, name: str, args: Args, kwargs: Kwargs) -> Any:
            """Call a method of the connection, and note its unsaved work."""
            permit, pool = self._held(), self._pool
            try:
                return super()._call(name, args, kwargs)
            finally:
                if permit is not None:
                    pool._note_call(  # noqa: SLF001 - for leases
                        permit.slot, name, args)


class PooledPg(SimplePool["PooledPgConnection"]):
    """A very simple pool of classic PyGreSQL connections."""

    version = __version__

    _lease_class = PooledPgConnection

    def __init__(
            self, maxconnections: int, *args: Any, **kwargs: Any) -> None:
        """Open `maxconnections` connections with the arguments for pg.DB()."""
        # The slots in whose open transactions more than reading was done.
        self._working: set[Slot] = set()
        super().__init__(
            Queued, partial(connect_pg, *args, **kwargs), maxconnections)

    def _note_call(self, slot: Slot, name: str, args: Args) -> None:
        """Note whether a connection has unsaved work after a call."""
        con = slot.con
        if not driver_of(con).in_transaction(con):
            self._working.discard(slot)
        elif (is_query(name) or name in WORKING) and (
                not call_kind(name, args).is_read):
            self._working.add(slot)

    def _has_work(self, slot: Slot) -> bool:
        return slot in self._working

    def cache(self, con: Any) -> None:
        """Add or take back a driver connection."""
        self.returnConnection(con)
