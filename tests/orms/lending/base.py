"""A database backend for Django whose connections are lent by a pool."""

from functools import lru_cache

from django.db.backends.postgresql import base
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from dbutils.pooled_db import PooledDB


@lru_cache(maxsize=None)
def pool_for(*items):
    """Return the one pool for these parameters."""
    return PooledDB(connect, maxconnections=5, blocking=True, **dict(items))


def connect(**parameters):
    """Open a connection of the driver, with all that Django wants of it."""
    con = base.Database.connect(**parameters)
    if is_psycopg3:
        con.server_cursor_factory = base.ServerSideCursor
    else:  # this needs the driver's own connection
        base.psycopg2.extras.register_default_jsonb(con, loads=str)
    return con


connect.dbapi = base.Database


class DatabaseWrapper(base.DatabaseWrapper):
    """The backend for PostgreSQL, with leases for connections."""

    def get_new_connection(self, conn_params):
        self.isolation_level = base.IsolationLevel.READ_COMMITTED
        return pool_for(*conn_params.items()).connection()

    def create_cursor(self, name=None):
        if name and is_psycopg3:
            return self.connection.cursor(
                name, scrollable=False, withhold=self.connection.autocommit)
        return super().create_cursor(name)
