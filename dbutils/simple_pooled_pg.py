"""A very simple pool of plain connections for classic PyGreSQL.

It opens all its connections at once, never checks or replaces one, and
has no options.  It shows how little a pool needs to be, and serves small
programs well; otherwise take pooled_pg.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from . import __version__
from ._dbapi import connect_pg
from ._simple import Queued, SimpleLease, SimplePool

__all__ = ["PooledPg", "PooledPgConnection"]


class PooledPgConnection(SimpleLease):
    """What a user of the pool holds; close() gives it back."""


class PooledPg(SimplePool):
    """A very simple pool of classic PyGreSQL connections."""

    version = __version__

    _lease_class = PooledPgConnection

    def __init__(
            self, maxconnections: int, *args: Any, **kwargs: Any) -> None:
        """Open that many connections with the parameters for pg.DB()."""
        super().__init__(
            Queued, partial(connect_pg, *args, **kwargs), maxconnections)

    def cache(self, con: Any) -> None:
        """Add or take back a driver connection."""
        self.returnConnection(con)
