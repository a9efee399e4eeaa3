"""The real drivers to test with, and how each is used."""

import importlib
import os
import sys

import pytest
import servers
from servers import HOST

IN_CI = bool(os.environ.get("CI"))


def ask(con, sql, *args):
    """Execute something, and return the first value of the first row."""
    cursor = con.cursor()
    cursor.execute(sql, args)
    row = cursor.fetchone() if cursor.description else None
    cursor.close()
    return row and row[0]


def load(name, is_required=IN_CI):
    """Return a module, or skip the test; in CI that is a failure."""
    if name == "duckdb" and sys.version_info < (3, 9):
        pytest.skip("it is not built for this Python")
    try:
        return importlib.import_module(name)
    except ImportError as error:
        problem = f"{name} cannot be imported: {error}"
        if is_required:
            pytest.fail(problem)
        pytest.skip(problem)


class Driver:
    """A driver for a server, with what differs between drivers."""

    family = "postgresql"
    mark = "%s"  # of a parameter
    # what the drivers say in SQL
    who_am_i = "select pg_backend_pid()"
    table = "create table {} (id integer primary key, value integer)"

    def __init__(self, name, **kwargs):
        self.name = name
        self.kwargs = kwargs
        self.port = None

    def __repr__(self):
        return self.name

    def load(self):
        """Return the module, or skip the test; in CI that is a failure."""
        return load(self.name)

    @property
    def error(self):
        """The base class of its exceptions."""
        return self.load().Error

    def parameters(self):
        """Return the parameters for opening a connection."""
        return dict(
            self.kwargs, host=HOST, port=self.port, user="postgres")

    def parameters_for(self, port):
        """Return them for another port, as that of a proxy."""
        parameters = self.parameters()
        if "port" in parameters:
            return {**parameters, "port": port}
        return {**parameters, "host": f"{HOST}:{port}"}

    def connect(self):
        """Return a connection of the driver, for the tests themselves."""
        return self.load().connect(**self.parameters())

    def run(self, sql, *args):
        """Execute something in a connection of its own; return the rows."""
        con = self.connect()
        try:
            cursor = con.cursor()
            cursor.execute(sql, args)
            rows = cursor.fetchall() if cursor.description else None
            con.commit()
            cursor.close()
        finally:
            con.close()
        return [tuple(row) for row in rows] if rows is not None else None

    def kill(self, *sessions):
        """End sessions on the server, and wait until they are gone."""
        for session in sessions:
            self.run("select pg_terminate_backend(%s, 10000)", session)

    def sessions_in_transaction(self):
        """Return how many sessions are idle in a transaction."""
        return self.run(
            "select count(*) from pg_stat_activity"
            " where state in ('idle in transaction',"
            " 'idle in transaction (aborted)')")[0][0]

    def new_user(self, name):
        """Make a user that can connect without a password."""
        self.run(f"create role {name} superuser login")

    def sessions_of(self, user):
        """Return how many sessions a user has."""
        return self.run(
            "select count(*) from pg_stat_activity where usename = %s",
            user)[0][0]

    def new_table(self, name):
        """Make an empty table."""
        self.run(f"drop table if exists {name}")
        self.run(self.table.format(name))
        return name


class Pgdb(Driver):
    def parameters(self):
        return {"host": f"{HOST}:{self.port}", "user": "postgres",
                **self.kwargs}


class MySql(Driver):
    family = "mariadb"
    who_am_i = "select connection_id()"
    table = Driver.table + " engine=innodb"

    def parameters(self):
        return dict(
            self.kwargs, host=HOST, port=self.port, user="root", password="",
            database="test")

    def kill(self, *sessions):
        con = self.connect()
        cursor = con.cursor()
        for session in sessions:
            cursor.execute(f"kill {int(session)}")
            gone = False
            while not gone:
                cursor.execute(
                    "select count(*) from information_schema.processlist"
                    " where id = %s", (session,))
                gone = not cursor.fetchone()[0]
        con.close()

    def sessions_in_transaction(self):
        return self.run(
            "select count(*) from information_schema.innodb_trx")[0][0]

    def new_user(self, name):
        self.run(f"create user {name}")
        self.run(f"grant all on *.* to {name}")

    def sessions_of(self, user):
        return self.run(
            "select count(*) from information_schema.processlist"
            " where user = %s", user)[0][0]


POSTGRESQL = [
    Driver("psycopg2", dbname="postgres"),
    Driver("psycopg", dbname="postgres"),
    Pgdb("pgdb", database="postgres"),
    Driver("pg8000.dbapi", database="postgres"),
]
MARIADB = [MySql("pymysql"), MySql("mysql.connector")]
BY_NAME = {driver.name: driver for driver in POSTGRESQL + MARIADB}


def start(stack, family):
    """Start a server; where it is not installed, skip, or fail in CI."""
    try:
        return stack.enter_context(servers.running(servers.KINDS[family]))
    except servers.MissingServerError as missing:
        if IN_CI:
            pytest.fail(str(missing))
        pytest.skip(str(missing))


def ready(driver, servers_running):
    """Return a driver that knows where its server is."""
    driver.load()
    driver.port = servers_running(driver.family)
    return driver


def insert(con, table, number):
    ask(con, f"insert into {table} values (%s, 1)", number)


def numbers_in(driver, table):
    return [row[0] for row in driver.run(f"select id from {table} order by 1")]


def autocommitting(connect):
    """Return a creator that sets the driver's connections to autocommit."""
    def creator(**parameters):
        con = connect(**parameters)
        if callable(con.autocommit):
            con.autocommit(True)
        else:
            con.autocommit = True
        return con
    return creator
