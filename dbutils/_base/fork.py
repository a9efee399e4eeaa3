"""Treatment of inherited connections in a forked child.

The sockets of the connections still belong to the parent.  If the child used
one, each process would receive answers meant for the other.  If the child
closed one, the server would end the session of the parent.  The child does
neither: it replaces the sockets by the null device, and starts empty.

A module that another thread is loading at the moment of the fork could never
be loaded in the child, since nobody goes on with that there.  So what the
first pool or connection loads is loaded before the first fork.
"""

from __future__ import annotations

import os
import sys

from .children import call_in_child
from .errors import orphan_text, quietly
from .hints import Any
from .links import Links

__all__ = [
    "Orphan", "abandon_socket", "entrust", "is_orphan", "load_before_fork",
    "register_for_fork", "registered"]

# The objects to be told of a fork, with the names of the methods for that,
# connections before their holders.
_connections = Links()
_holders = Links()

# Connections whose sockets are not known must not even be destroyed.
_inherited: list[Any] = []

# The names of modules that are loaded before a fork.
_late: list[str] = []
_PACKAGE = __name__.rpartition("._base.")[0]


class Orphan:
    """A stand-in for a driver connection that belongs to the parent."""

    def __init__(self, failure: Any) -> None:
        """Prepare to raise an error at each use.

        failure: the class of that error, or None
        """
        self._failure = failure

    def __getattr__(self, name: str) -> Any:
        """Raise the error."""
        raise (self._failure or RuntimeError)(orphan_text())


def is_orphan(con: Any) -> bool:
    """Return whether a connection belongs to the parent process.

    con: a steady connection, or one of a driver
    """
    if isinstance(con, Orphan):
        return True
    session = getattr(con, "_own_session", None)
    return session is not None and session.is_inherited


def register_for_fork(
        thing: Any, is_connection: bool = False,
        method: str = "after_fork") -> None:
    """Arrange for a method to be called in every forked child."""
    (_connections if is_connection else _holders).add(thing, method)


def registered(kind: type) -> list[Any]:
    """Return the objects of a class that are told of a fork."""
    things = {
        id(thing): thing
        for thing in _connections.things() + _holders.things()}
    return [thing for thing in things.values() if isinstance(thing, kind)]


def entrust(thing: Any) -> None:
    """Leave it to the holder of a connection to tell that of forks.

    The holder has to be registered as a connection itself.
    """
    _connections.drop(thing)


def abandon_socket(con: Any, descriptor: int | None) -> None:
    """Disconnect a driver connection from its socket without closing that."""
    if descriptor is None or descriptor < 0:
        _inherited.append(con)
        return
    nowhere = os.open(os.devnull, os.O_RDWR)
    try:
        os.dup2(nowhere, descriptor, inheritable=False)
    finally:
        os.close(nowhere)


def load_before_fork(*names: str) -> None:
    """Load modules before a fork if nothing has loaded them until then.

    names: those within this package
    """
    _late.extend(names)


def _load_all() -> None:
    """Load what other threads could be loading during the fork.

    All are asked for each time: what another thread is loading is waited for,
    also if few need it.
    """
    names = [f"{_PACKAGE}.{name}" for name in _late.copy()]
    names += [
        name for name, module in sys.modules.copy().items()
        if name.startswith(f"{_PACKAGE}.") and getattr(
            getattr(module, "__spec__", None), "_initializing", False)]
    for name in names:
        with quietly("loading modules before a fork"):
            __import__(name)


def _call_all() -> None:
    """Call the registered methods in a forked child."""
    for link in _connections.all() + _holders.all():
        thing = link()
        if thing is not None:
            with quietly("starting empty after a fork"):
                getattr(thing, link.value)()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_load_all)
call_in_child(_call_all)
