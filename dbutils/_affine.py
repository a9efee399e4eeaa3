"""Connections that stay with their thread."""

from __future__ import annotations

# The C implementation of thread-local data gets lost between the requests
# under mod_wsgi, therefore the one written in Python is the default.
from _threading_local import local
from typing import Any, Callable

__all__ = ["local", "own_connection"]


def own_connection(holder: Any, create: Callable[[], Any]) -> Any:
    """Return the connection of this thread, made when it is first needed."""
    try:
        con = holder.connection
    except AttributeError:
        con = None
    if con is None:
        con = holder.connection = create()
    return con
