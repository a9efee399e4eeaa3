"""A stand-in for the classic PyGreSQL module to test with.

It counts what is done with it, records it in a log, and fails on demand, in
the same way as mock_db, whose server it uses.
"""

import mock_db

Error = mock_db.Error
DatabaseError = mock_db.DatabaseError
InternalError = mock_db.InternalError
OperationalError = mock_db.OperationalError
ProgrammingError = mock_db.ProgrammingError


class Connection:
    """The inner connection, whose status tells whether it is lost."""

    def __init__(self, dbname=None, user=None):
        self.server = mock_db.server
        self.server.report("connect")
        if self.server.is_down or dbname == "error":
            raise InternalError("cannot connect")
        self.serial = next(self.server.serials)
        self.dbname = dbname
        self.user = user
        self._begin()
        self.server.connections.append(self)

    def _begin(self):
        self.num_queries = 0
        self.session = []
        self.status = 1

    def report(self, name, *details):
        """Report a call; it fails if the connection is lost or closed."""
        self.server.report(name, self, *details)
        if not self.status:
            raise InternalError("connection is closed")

    def cut(self):
        """End the connection on the server."""
        self.status = 0

    def close(self):
        """Close the connection."""
        self.report("close")
        self.num_queries = 0
        self.session = []
        self.status = 0

    def reset(self):
        """Connect again, with the same parameters."""
        self.server.report("reset", self)
        if self.server.is_down:
            self.status = 0
            raise InternalError("cannot connect")
        self._begin()

    def query(self, command):
        """Execute a command."""
        self.report("query", command)
        verb, _, rest = command.partition(" ")
        if verb == "select":
            self.num_queries += 1
            return rest
        if verb not in {"begin", "end", "commit", "rollback", "set"}:
            raise ProgrammingError(f"what is {command!r}?")
        self.session.append(rest or verb)
        return None


class DB:
    """The outer connection."""

    def __init__(self, *args, **kwargs):
        self.args = args, kwargs
        self.db = Connection(*args, **kwargs)
        self.dbname = self.db.dbname

    def __getattr__(self, name):
        """Return what the inner connection has."""
        if name in {"begin", "end", "commit", "rollback"}:
            return self._transaction_method(name)
        if self.db is None:
            raise AttributeError(name)
        return getattr(self.db, name)

    def _transaction_method(self, name):
        if not mock_db.server.has_begin:
            raise AttributeError(name)
        return lambda sql=None: self.query(sql or name)

    def _open(self):
        if self.db is None:
            raise InternalError("connection is closed")
        return self.db

    def close(self):
        """Close the connection."""
        self._open().close()
        self.db = None

    def reset(self):
        """Reset the connection."""
        self._open().reset()

    def reopen(self):
        """Close the connection and open another one."""
        if self.db is not None:
            self.db.server.report("reopen", self.db)
            self.db.status = 0
            self.db = None
        args, kwargs = self.args
        self.db = Connection(*args, **kwargs)

    def query(self, command):
        """Execute a command."""
        return self._open().query(command)

    def get_tables(self):
        """Return the names of the tables."""
        self._open().report("get_tables")
        return ["test"]

    def get(self, table, row):
        """Return a row of a table."""
        self._open().report("get", table)
        return row

    insert = update = delete = get
