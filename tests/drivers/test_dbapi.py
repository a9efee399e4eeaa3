"""Finding out what stands behind a connection creator."""

import sqlite3
import sys
from functools import partial
from types import ModuleType, SimpleNamespace

import pytest

from dbutils._drivers import creators
from dbutils.steady_db import connect


class Error(Exception):
    """The only exception of the drivers here."""


@pytest.fixture
def driver(monkeypatch):
    """A driver whose connection class lives in a submodule."""
    package = ModuleType("some_driver")
    inner = ModuleType("some_driver.deep.inside")

    class Connection:
        """A connection."""

        __module__ = inner.__name__

        def close(self):
            """Do nothing."""

    package.Connection = Connection
    package.connect = lambda: Connection()
    package.connect.__module__ = package.__name__
    package.threadsafety = 2
    for name in ("OperationalError", "InterfaceError", "InternalError"):
        setattr(package, name, Error)
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(sys.modules, inner.__name__, inner)
    return package


class Factory:
    """A creator that is an object of the program."""

    def __init__(self, driver):
        self.driver = driver

    def make(self):
        """Return a connection."""
        return self.driver.Connection()


CREATORS = {
    "module": lambda driver: driver,
    "its connect function": lambda driver: driver.connect,
    "class of connections": lambda driver: driver.Connection,
    "class with connect": lambda driver: type(
        "Connection", (driver.Connection,),
        {"connect": classmethod(lambda cls: driver.Connection()),
         "__module__": "some_driver.deep.inside"}),
    "bound method": lambda driver: Factory(driver).make,
    "function": lambda driver: lambda: driver.connect(),
    "partial": lambda driver: partial(driver.connect),
    "function that names the module": lambda driver: tell(
        lambda: driver.connect(), dbapi=driver),
    "object that names the module": lambda driver: SimpleNamespace(
        connect=driver.connect, dbapi=driver),
}


def tell(function, **attributes):
    """Attach attributes to a function."""
    vars(function).update(attributes)
    return function


@pytest.mark.parametrize("kind", CREATORS)
def test_the_module_of_any_creator_is_found(driver, kind):
    con = connect(CREATORS[kind](driver))
    assert con.dbapi() is driver
    assert con.threadsafety() == 2
    assert con._failures == (Error, Error, Error)
    assert con._failure is Error


def test_the_module_that_a_creator_names_is_believed(driver):
    other = ModuleType("other")
    for name in ("OperationalError", "InterfaceError", "InternalError"):
        setattr(other, name, KeyError)
    con = connect(tell(lambda: driver.connect(), dbapi=other))
    assert con.dbapi() is other
    assert con._failures == (KeyError,) * 3


def test_exceptions_on_the_connection_lead_to_the_module(driver):
    class Connection(driver.Connection):
        """A connection of a class that somebody else has made."""

        __module__ = "nowhere"
        OperationalError = type(
            "OperationalError", (Exception,),
            {"__module__": "some_driver.errors"})

    con = connect(lambda: Connection())
    assert con.dbapi() is driver


def test_exceptions_on_the_connection_are_failures():
    class Stranger:
        """A connection of a driver that cannot be found."""

        __module__ = "nowhere"
        OperationalError = InterfaceError = InternalError = Error
        threadsafety = 1

        def close(self):
            """Do nothing."""

    Error.__module__, module = "nowhere", Error.__module__
    try:
        con = connect(Stranger)
    finally:
        Error.__module__ = module
    assert con._failures == (Error,) * 3
    assert con.threadsafety() == 1
    with pytest.raises(AttributeError, match=r"creator\.dbapi"):
        con.dbapi()


class Unknown:
    """A connection of which nothing can be found out."""

    __module__ = "nowhere"
    closed = 0

    def close(self):
        """Count."""
        Unknown.closed += 1


def test_an_unknown_driver_needs_the_keyword_failures():
    Unknown.closed = 0
    with pytest.raises(AttributeError, match="'failures'"):
        connect(Unknown)
    assert Unknown.closed == 1
    con = connect(Unknown, failures=Error)
    assert con._failures is Error
    with pytest.raises(AttributeError, match=r"creator\.threadsafety"):
        con.threadsafety()


def test_a_known_driver_without_a_level_is_not_thread_safe(driver):
    del driver.threadsafety
    assert connect(driver).threadsafety() == 0


def test_what_cannot_connect_is_no_creator():
    with pytest.raises(TypeError, match="not a connection provider"):
        connect(42)
    with pytest.raises(TypeError, match="not a connection provider"):
        connect(SimpleNamespace(connect="nothing"))


@pytest.mark.parametrize(("creator", "level"), [
    (SimpleNamespace(threadsafety=3), 3),
    (SimpleNamespace(threadsafety=None), 0),
    (SimpleNamespace(dbapi=SimpleNamespace(threadsafety=2)), 2),
    (SimpleNamespace(connect=print), 0),
    (print, 1),
    (sqlite3.Connection, sqlite3.threadsafety),
])
def test_the_thread_safety_of_creators(creator, level):
    if creator is sqlite3.Connection:
        level = 1  # a class that is no module is trusted like a function
    assert creators.creator_threadsafety(creator) == level


def test_the_thread_safety_of_a_class_with_connect_is_its_modules(driver):
    creator = CREATORS["class with connect"](driver)
    assert creators.creator_threadsafety(creator) == 2


@pytest.mark.parametrize(("isfatal", "args", "split"), [
    (None, (), (None, ())),
    (None, ("db",), (None, ("db",))),
    (None, (None, "db"), (None, ("db",))),
    (None, (callable, callable), (callable, (callable,))),
    (callable, (None, "db"), (callable, (None, "db"))),
])
def test_isfatal_may_come_first_among_the_drivers_arguments(
        isfatal, args, split):
    assert creators.split_isfatal(isfatal, args) == split


def test_isfatal_must_be_callable():
    with pytest.raises(TypeError, match="'isfatal'"):
        creators.split_isfatal("yes", ())


def test_classic_pygresql_is_only_needed_to_connect(monkeypatch):
    monkeypatch.setitem(sys.modules, "pg", None)
    with pytest.raises(ImportError, match=r"DBUtils\[pg\]"):
        creators.connect_pg()


def test_the_module_called_pg_is_used(monkeypatch):
    module = ModuleType("pg")
    module.DB = lambda *args, **kwargs: (args, kwargs)
    monkeypatch.setitem(sys.modules, "pg", module)
    assert creators.connect_pg("db", user="me") == (("db",), {"user": "me"})


def test_a_class_whose_connections_open_themselves_is_called():
    class Connection:
        def connect(self):
            """Open a connection that was made already."""

    assert creators.connect_of(Connection) is Connection


def test_a_class_with_a_static_or_class_method_is_asked_for_it():
    class Static:
        @staticmethod
        def connect():
            return "static"

    class Derived(Static):
        @classmethod
        def other(cls):
            """Be another one."""

    class ByClass:
        @classmethod
        def connect(cls):
            return cls

    assert creators.connect_of(Derived)() == "static"
    assert creators.connect_of(ByClass)() is ByClass
