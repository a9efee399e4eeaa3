"""The libraries that are compared, each with what its users would write."""

import queue
import types

import nothing
import waiting


def driver(connect):
    """Return the driver that does nothing, with this way to connect."""
    module = types.ModuleType("nothing_else")
    module.__dict__.update(vars(nothing), connect=connect)
    return module


class Library:
    """The features that not every library has."""

    module = None
    shared = idle_bytes = waits = True

    @staticmethod
    def simple(connect):
        """Return a function that takes a connection and gives it back."""
        raise NotImplementedError

    persistent = harden = simple


class DBUtils(Library):
    """This library, or the reference release, whichever is imported."""

    module = "dbutils"

    def __init__(
            self, size, connect, ping=0, blocking=True, **options):
        from dbutils.pooled_db import PooledDB
        self._pool = PooledDB(
            driver(connect), maxconnections=size, blocking=blocking,
            ping=ping, **options)
        self.acquire = self._pool.connection

    @staticmethod
    def simple(connect):
        """Return a function that takes a connection and gives it back."""
        from dbutils.simple_pooled_db import PooledDB
        module = driver(connect)
        module.threadsafety = 1
        pool = PooledDB(module, 5)
        return lambda: pool.connection().close()

    @staticmethod
    def persistent(connect):
        """Return a function that does so for that of the thread."""
        from dbutils.persistent_db import PersistentDB
        persist = PersistentDB(driver(connect), ping=0)
        return lambda: persist.connection().close()

    @staticmethod
    def harden(connect):
        """Return a connection that heals itself."""
        from dbutils.steady_db import connect as steady
        return steady(driver(connect))

    def release(self, con):
        """Give a connection back."""
        con.close()

    def checkout(self):
        """Take a connection for the time of a block."""
        with self._pool.connection():
            pass


class WithoutBlocks(Library):
    """A library without a context manager that takes part here."""

    def checkout(self):
        """Take a connection for the time of a block."""
        con = self.acquire()
        try:
            pass
        finally:
            self.release(con)


class SQLAlchemy(WithoutBlocks):
    """The pool of SQLAlchemy."""

    module = "sqlalchemy"
    shared = False

    def __init__(self, size, connect, ping=0):
        from sqlalchemy.pool import QueuePool
        self._pool = QueuePool(connect, pool_size=size, max_overflow=0)
        if ping:
            from sqlalchemy import event
            event.listen(
                self._pool, "checkout", lambda con, *others: con.ping())
        self.acquire = self._pool.connect

    @staticmethod
    def persistent(connect):
        """Return a function that does so for the connection of the thread."""
        from sqlalchemy.pool import SingletonThreadPool
        pool = SingletonThreadPool(connect)
        return lambda: pool.connect().close()

    def release(self, con):
        """Give a connection back."""
        con.close()


class PsycopgPool(WithoutBlocks):
    """The pool of psycopg 3."""

    module = "psycopg_pool"
    shared = idle_bytes = False  # the latter has a background of its own

    def __init__(self, size, connect, ping=0):
        from psycopg_pool import ConnectionPool

        class Maker(nothing.PingingConnection):
            """A connection class, as the pool calls it."""

            @classmethod
            def connect(cls, *_args, **_kwargs):
                """Return a connection."""
                return connect()

        self._pool = ConnectionPool(
            connection_class=Maker, min_size=size, max_size=size,
            check=(lambda con: con.ping()) if ping else None, open=True)
        self._pool.wait()
        self.acquire = self._pool.getconn
        self.release = self._pool.putconn


class Psycopg2Pool(WithoutBlocks):
    """The pool of psycopg2, which neither waits nor checks."""

    module = "psycopg2.pool"
    shared = waits = False

    def __init__(self, size, connect, ping=0):
        if ping:
            raise NotImplementedError
        import psycopg2
        from psycopg2.pool import ThreadedConnectionPool
        before = psycopg2.connect
        psycopg2.connect = lambda *args, **kwargs: connect()
        self._pool = ThreadedConnectionPool(size, size)  # opens all of them
        psycopg2.connect = before
        self.acquire = self._pool.getconn
        self.release = self._pool.putconn


class ByHand(WithoutBlocks):
    """A queue of connections, as many programs have one."""

    module = "queue"
    shared = False

    def __init__(self, size, connect, ping=0):
        self._queue = queue.LifoQueue()
        for _ in range(size):
            self._queue.put(connect())
        self.acquire = self._take_checked if ping else self._queue.get

    def _take_checked(self):
        con = self._queue.get()
        con.ping()
        return con

    def release(self, con):
        """Give a connection back."""
        con.rollback()
        self._queue.put(con)


class Smallest(WithoutBlocks):
    """The least that hands over in turn, which shows what that takes."""

    module = "threading"
    shared = False

    def __init__(self, size, connect, ping=0):
        self._least = waiting.SmallestHandOver(
            [connect() for _ in range(size)])
        self.acquire = self._take_checked if ping else self._least.acquire

    def _take_checked(self):
        con = self._least.acquire()
        con.ping()
        return con

    def release(self, con):
        """Give a connection back."""
        con.rollback()
        self._least.release(con)


LIBRARIES = {
    "dbutils": DBUtils,
    "reference": DBUtils,
    "sqlalchemy": SQLAlchemy,
    "psycopg_pool": PsycopgPool,
    "psycopg2": Psycopg2Pool,
    "by hand": ByHand,
    "smallest": Smallest,
}
