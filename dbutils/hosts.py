"""Several servers behind one pool.

Targets is the creator of a pool or a steady connection that leads to one of
several servers: to the primary, or to one that only reads, as a request wants.
A server that fails rests, and one that is no primary any longer is left.

    targets = Targets([{"host": "db1"}, {"host": "db2"}], psycopg2)
    pool = PooledDB(targets, maxconnections=10, dbname="shop")
    with pool.connection() as db: ...  # the primary
    with pool.connection(target="prefer-standby") as db: ...
"""

from __future__ import annotations

from . import __version__  # noqa: F401 - every public module has it
from ._hosts.errors import NoServerError
from ._hosts.targets import Targets

__all__ = ["NoServerError", "Targets"]
