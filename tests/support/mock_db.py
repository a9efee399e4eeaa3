"""A DB-API 2 driver to test with.

It counts what is done with it, records it in a log, and fails on demand.
A statement is "select ..." (whose only row is what follows), "set ..."
(which is noted in the session), "get sizes" (whose row are the input and
output sizes in force), "timeout" (which fails without harm to the
connection); any other is a ProgrammingError.
"""

from collections import Counter, deque
from itertools import count

# It declares neither apilevel nor paramstyle, like the mocks of the tests of
# DBUtils 3.x, so that it is not taken for a driver, and fails over as there.
threadsafety = 2


class Error(Exception):
    """The base class of all errors."""


class InterfaceError(Error):
    """An error of the driver."""


class DatabaseError(Error):
    """An error of the database."""


class OperationalError(DatabaseError):
    """An error of the operation."""


class InternalError(DatabaseError):
    """An error inside of the database."""


class ProgrammingError(DatabaseError):
    """An error of the program."""


class Server:
    """The server of all connections: plans, a log, and a register.

    Every call of the driver is first reported here, by its name and the
    serial number of the connection (None for connect).  It fails if a plan
    says so, and on_call can do anything else.
    """

    def __init__(self):
        self.log = []
        self.calls = Counter()
        self.connections = []
        self.serials = count(1)
        self.plans = {}
        self.is_down = False
        self.has_ping = False
        self.has_begin = False
        self.on_call = None

    def fail(self, name, error=OperationalError, after=0, times=1):
        """Plan that calls fail: `times` of them, after `after` others."""
        self.plans[name] = deque([None] * after + [error] * times)

    def report(self, name, con=None, *details):
        """Note a call, and let it fail if that was planned."""
        self.log.append((name, con and con.serial, *details))
        self.calls[name] += 1
        if self.on_call is not None:
            self.on_call(name, con)
        plan = self.plans.get(name)
        error = plan.popleft() if plan else None
        if error is not None:
            raise error("planned")


server = Server()


def reset():
    """Begin anew, with a server on which nothing has happened."""
    global server, threadsafety  # noqa: PLW0603 - the state of a driver
    server = Server()
    threadsafety = 2


def connect(database=None, user=None):
    """Return a new connection; to the database "error" there is none."""
    server.report("connect")
    if server.is_down or database == "error":
        raise OperationalError("cannot connect")
    con = Connection(database, user)
    server.connections.append(con)
    return con


class Connection:
    """A connection that counts."""

    def __init__(self, database=None, user=None):
        self.server = server
        self.serial = next(server.serials)
        self.database = database
        self.user = user
        self.valid = True
        self._clear()

    def _clear(self):
        self.num_uses = self.num_queries = self.open_cursors = 0
        self.session = []

    def report(self, name, *details):
        """Report a call; it fails if the connection is lost or closed."""
        self.server.report(name, self, *details)
        if not self.valid:
            raise InternalError("connection is closed")

    def cut(self):
        """End the connection on the server."""
        self.valid = False

    def close(self):
        """Close the connection."""
        self.report("close")
        self.valid = False
        self._clear()

    def commit(self):
        """Commit."""
        self.report("commit")
        self.session.append("commit")

    def rollback(self):
        """Roll back."""
        self.report("rollback")
        self.session.append("rollback")

    def __getattr__(self, name):
        """Return the optional methods, if they are switched on."""
        optional = {"ping": self.server.has_ping,
                    "begin": self.server.has_begin,
                    "cancel": self.server.has_begin}
        if not optional.get(name):
            raise AttributeError(name)
        return lambda *args: self.report(name, *args)

    def cursor(self, name=None):
        """Return a cursor; by the name "error" there is none."""
        self.report("cursor")
        if name == "error":
            raise OperationalError("no such cursor")
        return Cursor(self, name)


class Cursor:
    """A cursor that counts."""

    arraysize = 1

    def __init__(self, con, name=None):
        self.connection = con
        self.name = name
        self.valid = True
        self.rows = None
        self.description = None
        self.rowcount = -1
        self.inputsizes = []
        self.outputsizes = {}
        con.open_cursors += 1

    def report(self, name, *details):
        """Report a call; it fails if the cursor is closed."""
        self.connection.report(name, *details)
        if not self.valid:
            raise InternalError("cursor is closed")

    def close(self):
        """Close the cursor."""
        self.report("close cursor")
        self.connection.open_cursors -= 1
        self.valid = False

    def execute(self, operation, parameters=()):
        """Execute a statement."""
        self.report("execute", operation)
        self.connection.num_uses += 1
        verb, _, rest = operation.partition(" ")
        method = {"select": self._select, "set": self._set,
                  "get": self._get, "timeout": self._time_out}.get(verb)
        if method is None:
            raise ProgrammingError(f"what is {operation!r}?")
        method(rest)

    def _select(self, what):
        self.connection.num_queries += 1
        self._answer(what)

    def _set(self, what):
        self.connection.session.append(what)
        self.rows = self.description = None

    def _get(self, what):
        self._answer((self.inputsizes, self.outputsizes))
        self.inputsizes, self.outputsizes = [], {}

    def _time_out(self, what):
        raise OperationalError("statement timeout")

    def _answer(self, value):
        self.rows = [(value,)]
        self.rowcount = 1
        self.description = [("value", None, None, None, None, None, None)]

    def executemany(self, operation, parameters):
        """Execute a statement for each of the parameters."""
        self.report("executemany", operation)
        self.connection.num_uses += 1
        for values in parameters:
            self.connection.session.append((operation, values))

    def callproc(self, name, parameters=()):
        """Call a procedure; there is one by any name but "error"."""
        self.report("callproc", name)
        if name == "error":
            raise ProgrammingError("no such procedure")
        self.connection.num_uses += 1
        return parameters

    def _result(self):
        if not self.valid or not self.connection.valid:
            raise InternalError("cursor is closed")
        if self.rows is None:
            raise ProgrammingError("no results to fetch")
        return self.rows

    def fetchone(self):
        """Return the next row, or None."""
        rows = self._result()
        return rows.pop(0) if rows else None

    def fetchmany(self, size=None):
        """Return the next rows."""
        rows = self._result()
        size = self.arraysize if size is None else size
        taken, rows[:size] = rows[:size], []
        return taken

    def fetchall(self):
        """Return all other rows."""
        return self.fetchmany(len(self._result()))

    def setinputsizes(self, sizes):
        """Keep the input sizes."""
        self.inputsizes = sizes

    def setoutputsize(self, size, column=None):
        """Keep an output size."""
        self.outputsizes[column] = size
