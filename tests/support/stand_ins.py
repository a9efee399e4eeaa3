"""A database server in memory, and drivers for it in many shapes.

The server keeps ledgers with transactions, and has faults that are planned.
The shapes look like real drivers: each has what that driver tells about
transactions, a closed connection and its errors, and nothing else.  None of
the drivers has to be installed.
"""

import socket
from collections import Counter
from contextlib import suppress
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

ERRORS = {
    "Error": "Exception", "InterfaceError": "Error",
    "DatabaseError": "Error", "OperationalError": "DatabaseError",
    "InternalError": "DatabaseError", "ProgrammingError": "DatabaseError",
    "NotSupportedError": "DatabaseError"}

# The codes of what can happen, in the families of databases.
CODES = {
    "pg": {"lost": "57P01", "late": "57014", "deadlock": "40P01",
           "read only": "25006", "aborted": "25P02"},
    "my": {"lost": 2013, "late": 3024, "deadlock": 1213, "read only": 1290,
           "aborted": 1064},
    "ms": {"lost": 20047, "late": 8645, "deadlock": 1205,
           "read only": 3906, "aborted": 3930},
    "odbc": {"lost": "08S01", "late": "HYT00", "deadlock": "40001",
             "read only": "25006", "aborted": "25000"},
    "ora": {"lost": 3113, "late": 1013, "deadlock": 60, "read only": 16000,
            "aborted": 1453},
    "none": {}}


class TroubleError(Exception):
    """An action of the server or the network upon a request."""

    def __init__(self, kind):
        super().__init__(kind)
        self.kind = kind


class Session:
    """A session of the server."""

    def __init__(self, server):
        self.server = server
        self.is_alive = True
        self.is_silent = False
        self.is_aborted = False
        self.autocommit = False
        self.in_transaction = False
        self.pending = []
        self.here, self.there = socket.socketpair()

    def kill(self):
        """End the session, and with it its transaction."""
        self.is_alive = False
        self.in_transaction = False
        self.pending = []
        self.there.close()

    def close(self):
        if self.is_alive:
            self.kill()
        self.here.close()


class Server:
    """A server with one ledger, and at most one fault."""

    def __init__(self):
        self.stored = Counter()
        self.sessions = []
        # The planned actions upon requests: (kind, number, action).
        self.fault = None
        self.seen = Counter()
        self.refusals = 0
        self.requests = []

    def connect(self):
        if self.refusals:
            self.refusals -= 1
            raise TroubleError("refused")
        session = Session(self)
        self.sessions.append(session)
        return session

    def request(self, session, sql):
        """Execute a statement, or let happen what was planned."""
        kind = sql.split()[0]
        self.requests.append(sql)
        self.seen[kind] += 1
        action = None
        if self.fault and self.fault[:2] == (kind, self.seen[kind]):
            action = self.fault[2]
            self.fault = None
        if session.is_silent:
            raise TroubleError("silent")
        if action is not None:
            return action(self, session, sql)
        return self.execute(session, sql)

    def execute(self, session, sql):
        if not session.is_alive:
            raise TroubleError("lost")
        verb, _, rest = sql.partition(" ")
        if session.is_aborted and verb not in {"commit", "rollback"}:
            raise TroubleError("aborted")
        return getattr(self, "_" + verb, self._other)(session, rest)

    def _insert(self, session, rest):
        session.pending.append(rest)
        session.in_transaction = True
        if session.autocommit:
            self._commit(session, "")

    def _select(self, session, rest):
        session.in_transaction = not session.autocommit
        return [(1,)] if rest.startswith("1") else [(len(self.stored),)]

    def _pragma(self, session, rest):
        return [(0, "main", "/a/file")]

    def _commit(self, session, rest):
        if not session.is_aborted:
            self.stored.update(session.pending)
        self._rollback(session, rest)

    def _rollback(self, session, rest):
        session.pending = []
        session.in_transaction = session.is_aborted = False

    def _other(self, session, rest):
        return None

    def shut_down(self):
        for session in self.sessions:
            session.close()


# Actions upon a request that can be planned.

def killed(server, session, sql):
    """The session ends, and the statement is not executed."""
    session.kill()
    raise TroubleError("lost")


def killed_after(server, session, sql):
    """The statement is executed, but the session ends before it answers."""
    server.execute(session, sql)
    session.kill()
    raise TroubleError("lost")


def cut(server, session, sql):
    """The answer is lost, while the session goes on for some time."""
    server.execute(session, sql)
    session.is_silent = True
    raise TroubleError("lost")


def refused(server, session, sql):
    """The session ends, and the next connections are refused."""
    server.refusals = 2
    killed(server, session, sql)


def late(server, session, sql):
    """The statement takes too long; nothing else happens."""
    raise TroubleError("late")


def deadlock(server, session, sql):
    """The transaction was chosen as the victim."""
    session.pending = []
    session.is_aborted = True
    raise TroubleError("deadlock")


def read_only(server, session, sql):
    """The server takes no writes."""
    raise TroubleError("read only")


def silent(server, session, sql):
    """Nothing comes back until the driver gives up."""
    session.is_silent = True
    raise TroubleError("silent")


class Shape(NamedTuple):
    """The shape of a driver."""

    name: str
    # The module of the class of its connections.
    module: str
    # The attribute that tells about the transaction: its name, with "()"
    # if it is a method; and the value for "none is open".
    status: str = ""
    idle: Any = False
    # The attribute that tells that it is closed, with "!" if it tells that
    # it is open.
    closed: str = ""
    # Whether that is noticed when the connection is lost.
    notices: bool = False
    autocommit: str = ""
    # Which codes, and what carries them.
    family: str = "none"
    carrier: str = ""
    # The class of the error when the connection is lost.
    loss: str = "OperationalError"
    ping: bool = False
    fileno: str = ""
    # Whether there are transactions, and what rollback() does if not.
    transactional: bool = True
    rollback: str = "absent"
    # Through which attribute a wrapper shows what it wraps, and whether
    # it forwards everything else.
    wraps: str = ""
    # Whether it declares that it is a driver.
    declares: bool = True

    def __repr__(self):
        return self.name


class Cursor:
    """A cursor of any of them."""

    arraysize = 1
    rowcount = -1

    def __init__(self, con):
        self._connection = con
        self._rows = None
        self.description = None

    def execute(self, sql, parameters=()):
        self._rows = self._connection.request(sql)
        self.description = self._rows and [("x",) + (None,) * 6]

    def fetchone(self):
        return self._rows.pop(0) if self._rows else None

    def fetchall(self):
        rows, self._rows = self._rows, []
        return rows

    def close(self):
        pass


class Driver(ModuleType):
    """A driver of some shape, as a module."""

    def __init__(self, shape, server):
        super().__init__(shape.module)
        self.shape = shape
        self.server = server
        self.inner = []
        if shape.declares:
            self.apilevel, self.paramstyle = "2.0", "qmark"
        self.threadsafety = 1
        for name, base in ERRORS.items():
            kind = type(name, (getattr(self, base, Exception),),
                        {"__module__": shape.module})
            setattr(self, name, kind)
        self.Connection = self._connection_class()

    def connect(self):
        try:
            session = self.server.connect()
        except TroubleError as trouble:
            raise self.error(trouble) from None
        con = self.Connection(session)
        self.inner.append(con)
        return wrapped(con, self.shape.wraps) if self.shape.wraps else con

    def error(self, trouble):
        """Return the error of the driver for what has happened."""
        shape, kind = self.shape, trouble.kind
        code = CODES[shape.family].get(kind)
        name = shape.loss if kind in {"lost", "silent"} else (
            "OperationalError")
        text = f"something went wrong: {kind}" if code else "it did not work"
        if kind == "lost" and not shape.transactional:
            text = "connection reset by peer"
        args, attributes = (text,), {}
        if code is not None:
            if shape.carrier == "args":
                args = (code, text)
            elif shape.carrier == "C":
                args = ({"C": code, "M": text},)
            elif shape.carrier == "oracle":
                args = (SimpleNamespace(code=code, full_code="", message=""),)
            else:
                attributes[shape.carrier] = code
        error = getattr(self, name)(*args)
        error.__dict__.update(attributes)
        return error

    def _connection_class(self):
        shape = self.shape
        members = {"__module__": shape.module, "driver_of_test": self}
        add_transactions(members, shape, self)
        if shape.ping:
            members["ping"] = lambda con: con.request("select 1") and None
        if shape.fileno:
            add(members, shape.fileno,
                lambda con: con._session_of_test.here.fileno())
        add_answers(members, shape)
        return type("Connection", (Connection,), members)


class Connection:
    """The base class of the connections of all of them."""

    driver_of_test = None

    def __init__(self, session):
        self._session_of_test = session
        self._is_closed_here = False
        session.autocommit = not self.driver_of_test.shape.transactional

    def request(self, sql):
        driver = self.driver_of_test
        if self._is_closed_here:
            raise driver.InterfaceError("connection is closed")
        try:
            return driver.server.request(self._session_of_test, sql)
        except TroubleError as trouble:
            if driver.shape.notices and trouble.kind in {"lost", "silent"}:
                self._is_closed_here = True
            raise driver.error(trouble) from None

    def cursor(self):
        return Cursor(self)

    def close(self):
        self._is_closed_here = True
        self._session_of_test.close()


def add_transactions(members, shape, driver):
    if shape.transactional:
        members["commit"] = lambda con: con.request("commit") and None
        members["rollback"] = lambda con: con.request("rollback") and None
        return

    def refuse(con):
        driver.server.requests.append("rollback")
        raise driver.NotSupportedError("there are no transactions")

    members["commit"] = lambda con: None
    if shape.rollback == "refused":
        members["rollback"] = refuse


def add_answers(members, shape):
    """Add what tells about the connection."""
    def is_closed(con):
        return con._is_closed_here

    def is_busy(con):
        return con._session_of_test.in_transaction

    if shape.status:
        idle = shape.idle
        busy = not idle if isinstance(idle, bool) else (
            2 if isinstance(idle, int) else object())
        add(members, shape.status, lambda con: busy if is_busy(con) else idle)
    if shape.closed.startswith("!"):
        add(members, shape.closed[1:], lambda con: not is_closed(con))
    elif shape.closed:
        add(members, shape.closed, is_closed)
    if shape.autocommit:
        add_autocommit(members, shape.autocommit)


def add_autocommit(members, name):
    def read(con):
        return con._session_of_test.autocommit

    def write(con, value):
        con._session_of_test.autocommit = value

    if name.endswith("()") or "." in name:
        add(members, name, read)
    else:
        members[name] = property(read, write)


def add(members, path, answer):
    """Add an attribute, or a method, or one of an attribute."""
    name, _, rest = path.partition(".")
    is_method = (rest or name).endswith("()")
    rest, name = rest.replace("()", ""), name.replace("()", "")
    if rest:
        answers = members.setdefault(f"_nested_{name}", {})
        answers[rest] = (answer, is_method)
        members[name] = property(lambda con: Nested(con, answers))
    else:
        members[name] = answer if is_method else property(answer)


class Nested:
    """The inside of a connection, which tells about it."""

    def __init__(self, con, answers):
        self._con_of_test = con
        self._answers = answers

    def __getattr__(self, name):
        try:
            answer, is_method = self._answers[name]
        except KeyError:
            raise AttributeError(name) from None
        con = self._con_of_test
        return (lambda: answer(con)) if is_method else answer(con)


def wrapped(con, shows):
    """Return a connection in wrappers that have little more than it needs.

    shows: the names by which the wrappers show what is in them, from the
        outermost to the innermost; "-" for one that shows nothing
    """
    for name in reversed(shows.split()):
        con = Wrapper(con, None if name == "-" else name)
    return con


class Wrapper:
    """A ten-line proxy."""

    def __init__(self, con, shows=None):
        self._hidden = con
        if shows:
            setattr(self, shows, con)

    def cursor(self):
        return self._hidden.cursor()

    def commit(self):
        self._hidden.commit()

    def rollback(self):
        self._hidden.rollback()

    def close(self):
        self._hidden.close()


PG = {"family": "pg", "carrier": "sqlstate"}
SHAPES = [
    Shape("snowflake", "snowflake.connector.connection", closed="is_closed()",
          family="my", carrier="errno", loss="DatabaseError"),
    Shape("databricks", "databricks.sql.client", closed="!open"),
    Shape("bigquery", "google.cloud.bigquery.dbapi.connection",
          closed="_closed", transactional=False),
    Shape("redshift", "redshift_connector.core", status="in_transaction",
          autocommit="autocommit", fileno="_usock.fileno()", family="pg",
          carrier="C", loss="InterfaceError"),
    Shape("pinotdb", "pinotdb.db", transactional=False, rollback="refused"),
    Shape("spanner", "google.cloud.spanner_dbapi.connection",
          closed="is_closed", autocommit="autocommit"),
    Shape("clickhouse-connect", "clickhouse_connect.dbapi.connection",
          transactional=False, rollback="refused"),
    Shape("athena", "pyathena.connection", transactional=False,
          rollback="refused"),
    Shape("trino", "trino.dbapi", status="transaction", idle=None),
    Shape("jaydebeapi", "jaydebeapi", closed="jconn.isClosed()",
          autocommit="jconn.getAutoCommit()", loss="DatabaseError"),
    Shape("clickhouse-driver", "clickhouse_driver.dbapi.connection",
          closed="is_closed", transactional=False, rollback="refused"),
    Shape("teradata", "teradatasql", autocommit="autocommit"),
    Shape("vertica", "vertica_python.vertica.connection",
          status="transaction_status", idle=0, closed="closed()",
          notices=True, family="pg", carrier="sqlstate",
          loss="DatabaseError"),
    Shape("hdbcli", "hdbcli.dbapi", closed="!isconnected()", notices=True,
          autocommit="getautocommit()", ping=True),
    Shape("pytds", "pytds.connection", autocommit="autocommit",
          family="ms", carrier="number"),
    Shape("adbc", "adbc_driver_manager.dbapi", closed="_closed", **PG),
    Shape("mssql-python", "mssql_python.connection", closed="closed",
          autocommit="autocommit"),
    Shape("dmPython", "dmPython", autocommit="autoCommit", ping=True,
          family="none"),
    Shape("pysqlite3", "pysqlite3.dbapi2", status="in_transaction"),
    Shape("sqlcipher3", "sqlcipher3.dbapi2", status="in_transaction"),
    Shape("turso", "turso.lib", status="in_transaction"),
    Shape("aws wrapper", "psycopg", wraps="target_connection",
          status="pgconn.transaction_status", idle=0, closed="closed",
          notices=True, **PG),
    Shape("mariadb 1.1", "mariadb.connections", autocommit="autocommit",
          ping=True, family="my", carrier="errno", loss="InterfaceError"),
    Shape("mariadb 2.0", "mariadb", autocommit="autocommit",
          ping=True, family="my", carrier="errno"),
    Shape("oracledb", "oracledb.connection",
          status="transaction_in_progress", closed="!is_healthy()",
          notices=True, autocommit="autocommit", family="ora",
          carrier="oracle", loss="DatabaseError"),
    Shape("pymssql", "pymssql._pymssql", autocommit="autocommit_state",
          family="ms", carrier="args"),
    Shape("libpq kin", "ksycopg2.extensions",
          status="get_transaction_status()", idle=0, closed="closed",
          notices=True, fileno="fileno()", family="pg", carrier="pgcode"),
    Shape("psycopg kin", "gaussdb", status="info.transaction_status", idle=0,
          closed="closed", notices=True, fileno="fileno()", **PG),
    Shape("stranger", "nobody.knows"),
    Shape("stranger that pings", "nobody.knows.pinging", ping=True),
    Shape("stranger with codes", "nobody.knows.codes", family="odbc",
          carrier="sqlstate"),
    Shape("stranger with numbers", "nobody.knows.numbers", family="my",
          carrier="args", autocommit="autocommit"),
    Shape("stranger with a flag", "nobody.knows.flag", closed="closed",
          notices=True, autocommit="autocommit"),
    Shape("telling stranger", "nobody.knows.telling",
          status="in_transaction"),
    Shape("silent proxy", "psycopg2.extensions", wraps="-", family="pg",
          carrier="pgcode", status="get_transaction_status()", idle=0,
          closed="closed", notices=True),
    Shape("target proxy", "psycopg2.extensions", wraps="target_connection",
          family="pg", carrier="pgcode", status="get_transaction_status()",
          idle=0, closed="closed", notices=True, fileno="fileno()"),
    Shape("dbapi proxy", "psycopg2.extensions", wraps="dbapi_connection",
          family="pg", carrier="pgcode", status="get_transaction_status()",
          idle=0, closed="closed", notices=True, fileno="fileno()"),
    Shape("driver proxy", "psycopg2.extensions",
          wraps=["-", "driver_connection"][1], family="pg",
          carrier="pgcode", status="get_transaction_status()", idle=0,
          closed="closed", notices=True),
    Shape("deep proxy", "nobody.knows.deep",
          wraps="__wrapped__ _con dbapi_connection target_connection",
          closed="closed", notices=True, autocommit="autocommit"),
    # one that was known before, to compare with
    Shape("psycopg2", "psycopg2.extensions", family="pg", carrier="pgcode",
          status="get_transaction_status()", idle=0, closed="closed",
          notices=True, fileno="fileno()"),
]


def roll_back(db, errors):
    """Roll back as a program does that goes on if that fails."""
    with suppress(errors, AttributeError):  # of BigQuery, which has no such
        db.rollback()
