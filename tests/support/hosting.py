"""Servers with roles, in this process."""

import mock_pg

from dbutils._steady.steady import session_of
from dbutils.testing import ScriptedDriver


class FakeHost:
    """A server of a scripted driver that says what its role is.

    It is the function that opens connections to it.
    """

    threadsafety = 1

    def __init__(self, name, role="primary"):
        self.__name__ = name
        self.dbapi = ScriptedDriver("create table t (n integer)")
        self.asked = 0
        self.position = 0
        self.is_broken = False
        self._role = None
        self.role = role

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        """End all sessions, also those that a test has left behind."""
        for session in list(self.dbapi._sessions):
            session.close()

    @property
    def role(self):
        return self._role

    @role.setter
    def role(self, role):
        self._role = role
        self.dbapi.read_only = role != "primary"

    def __call__(self, **options):
        con = self.dbapi.connect(**options)
        con.host = self
        return con

    def answer(self):
        self.asked += 1
        if self.is_broken:
            raise self.dbapi.OperationalError("It says nothing.")
        return self.role

    @property
    def rows(self):
        con = self.dbapi.connect()
        try:
            cursor = con.cursor()
            cursor.execute("select n from t order by n")
            return [row[0] for row in cursor.fetchall()]
        finally:
            con.close()


class FakePgHost:
    """Such a server of classic PyGreSQL, whose stand-in is used."""

    def __init__(self, name, role="primary"):
        self.__name__ = name
        self.role = role
        self.is_away = False
        self.position = 0
        self.rows, self.cons = [], []

    def __call__(self, **options):
        if self.is_away:
            raise mock_pg.InternalError("The server is away.")
        con = FakePg(**options)
        con.host = self
        self.cons.append(con)
        return con

    def stop(self):
        """End all connections, and refuse new ones."""
        self.is_away = True
        for con in self.cons:
            if con.db is not None:
                con.db.cut()


class ReadOnlyError(mock_pg.ProgrammingError):
    """The server takes no writes."""

    sqlstate = "25006"


class FakePg(mock_pg.DB):
    """A connection that looks as if it came from PyGreSQL itself."""

    __module__ = "pg"

    def query(self, command):
        verb, _, rest = command.partition(" ")
        if verb != "insert":
            return super().query(command)
        self._open().report("query")
        if self.host.role != "primary":
            raise ReadOnlyError
        self.host.rows.append(rest)
        return None


def role_of_pg(con):
    con.query("select 1")
    return con.host.role


def role_of(con):
    cursor = con.cursor()
    cursor.execute("select 1")  # which waits for the server
    cursor.close()
    return con.host.answer()


def host_of(db):
    """Return the name of the server of a connection."""
    return session_of(db).con.host.__name__


def insert(db, number):
    try:
        db.cursor().execute("insert into t values (?)", (number,))
    except Exception:
        db.rollback()
        raise
    db.commit()
