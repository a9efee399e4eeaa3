"""What a forked child does with what it has inherited.

The sockets of the connections still belong to the parent.  If the child used
one, both would get the answers of the other, and if it closed one, it would
say good-bye to the server in the name of the parent.  So the child neither
uses nor closes any: it covers the sockets over, and begins anew.
"""

from __future__ import annotations

import os
from typing import Any
from weakref import ref

from .errors import orphan_text, quietly

__all__ = ["Orphan", "abandon_socket", "is_orphan", "register_for_fork"]

# All that has to begin anew, the connections before what holds them.
# They are held weakly.  What is called when one of them dies is written in C,
# so that no exception that is thrown into a thread can hit it.
_connections: dict[Any, str] = {}
_holders: dict[Any, str] = {}

# Connections whose sockets are not known must not even be destroyed.
_inherited: list[Any] = []


class Orphan:
    """Stands for a driver connection that belongs to the parent process."""

    def __init__(self, failure: Any) -> None:
        """Raise an error of that kind at each use."""
        self._failure = failure

    def __getattr__(self, name: str) -> Any:
        """Refuse to be used."""
        raise (self._failure or RuntimeError)(orphan_text())


def is_orphan(con: Any) -> bool:
    """Return whether a connection belongs to the parent process.

    con: a steady connection, or that of a driver
    """
    if isinstance(con, Orphan):
        return True
    session = getattr(con, "_session", None)
    return session is not None and session.is_inherited


def register_for_fork(
        thing: Any, is_connection: bool = False,
        method: str = "after_fork") -> None:
    """Let a method be called in every forked child."""
    things = _connections if is_connection else _holders
    things[ref(thing, things.__delitem__)] = method


def abandon_socket(con: Any, descriptor: int | None) -> None:
    """Let a driver connection not reach the server any more."""
    if descriptor is None or descriptor < 0:
        _inherited.append(con)
        return
    nowhere = os.open(os.devnull, os.O_RDWR)
    try:
        os.dup2(nowhere, descriptor, inheritable=False)
    finally:
        os.close(nowhere)


def _begin_anew() -> None:
    for link, method in (*_connections.items(), *_holders.items()):
        thing = link()
        if thing is not None:
            with quietly("beginning anew after a fork"):
                getattr(thing, method)()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
