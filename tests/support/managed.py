"""A driver that checks passwords, to test the manager of pools with."""

from threading import Event

import mock_db
from patience import PATIENCE

from dbutils.pool_manager import ConnectionConfig

SECRET = "s3cr3t-w0rd"


class Driver:
    """A driver whose servers accept one password, or hang, or are down.

    Like some real drivers it tells too much in its errors.
    """

    threadsafety = 2
    paramstyle = "qmark"
    Error = mock_db.Error
    InterfaceError = mock_db.InterfaceError
    InternalError = mock_db.InternalError
    OperationalError = mock_db.OperationalError

    def __init__(self):
        self.password = SECRET
        self.hanging = Event()
        self.told = []
        self.cons = []

    def connect(self, host=None, password=None, **kwargs):
        self.told.append(password)
        if host == "hangs":
            self.hanging.wait(10 * PATIENCE)
        if host in {"hangs", "down"}:
            try:
                raise KeyError(f"lost {password}")
            except KeyError:
                raise self.OperationalError(
                    f"cannot connect as {password}") from OSError(password)
        if password != self.password:
            raise self.OperationalError(
                f"password {password!r} is wrong", {"password": password})
        con = mock_db.connect()
        con.host = host
        con.password = password
        self.cons.append(con)
        return con


def settings_for(host, **others):
    return ConnectionConfig(**{
        "db_type": "postgresql", "host": host, "password": SECRET,
        "driver": "psycopg2", **others})


def entry_of(manager, pool):
    """Return what a manager knows of one of its pools."""
    return manager._registry.entries[pool.key]
