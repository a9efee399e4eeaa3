"""Connections that stay with their thread."""

from __future__ import annotations

import threading

# The C implementation of thread-local data gets lost between the requests
# under mod_wsgi, therefore the one written in Python is the default.
from _threading_local import local
from typing import Any
from weakref import ref

from .._base.fork import register_for_fork
from .._steady.mistakes import missing_text
from .._steady.steady import note_taking
from .._steady.unsaved import is_strict

__all__ = ["ThreadConnections", "local"]


class ThreadConnections:
    """A generator of steady connections that stay with their thread."""

    def __init__(self, threadlocal: Any = None) -> None:
        """Begin without any connection."""
        self.thread = (threadlocal or local)()
        # The connection of a thread is kept there; "con" of this is a weak
        # reference to it, as a faster way that may get lost.  It is made when
        # it is first needed, since gevent may replace its class before that.
        self._fast_way: Any = None
        self._has_fast_way = threadlocal is None and not is_strict
        register_for_fork(self, method="_begin_anew")

    def _begin_anew(self) -> None:
        """Open other connections in a forked child."""
        self.thread = type(self.thread)()
        self._fast_way = None

    def __getattr__(self, name: str) -> Any:
        """Raise an error that names what a program may look for."""
        raise AttributeError(missing_text(self, name))

    def _first_connection(self) -> Any:
        """Return a new connection for this thread."""
        raise NotImplementedError

    def _own_connection(self) -> Any:
        """Return the connection of this thread, made when first needed."""
        try:
            con = self.thread.connection
        except AttributeError:
            con = None
        if con is None:
            con = self.thread.connection = self._first_connection()
        if self._has_fast_way:
            if self._fast_way is None:
                self._fast_way = threading.local()
            self._fast_way.con = ref(con)
        elif is_strict:
            note_taking(con)
        return con
