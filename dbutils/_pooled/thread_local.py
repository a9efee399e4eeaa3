"""Steady connections of which each thread has its own."""

from __future__ import annotations

import threading

# Under mod_wsgi, the C implementation of thread-local data loses its contents
# between requests, so the one written in Python is the default.
from _threading_local import local

from .._base.fork import register_for_fork
from .._base.hints import Any, Con, Generic, ref
from .._steady.mistakes import missing_text
from .._steady.steady import note_taking
from .._steady.unsaved import is_strict

TYPE_CHECKING = False  # type checkers know the name

__all__ = ["ThreadConnections", "local"]


class _Threads(local):
    """The default for thread-local data, whose changes by a program count."""

    # Threads share what is in slots.
    __slots__ = ("owner",)

    owner: Any  # a weak reference

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute of this thread."""
        super().__setattr__(name, value)
        if name == "connection":
            _forget_fast_way(self.owner())

    def __delattr__(self, name: str) -> None:
        """Delete an attribute of this thread."""
        super().__delattr__(name)
        _forget_fast_way(self.owner())


def _forget_fast_way(owner: Any) -> None:
    """Drop the shortcut to the connection of this thread."""
    way = None if owner is None else owner._fast_way  # noqa: SLF001 - of this module
    if way is not None:
        way.__dict__.pop("con", None)


class ThreadConnections(Generic[Con]):
    """Gives each thread a steady connection of its own."""

    def __init__(self, threadlocal: Any = None) -> None:
        """Set up the place where threads keep their connections."""
        self._threadlocal = threadlocal
        self._begin_anew()
        self._has_fast_way = threadlocal is None and not is_strict
        register_for_fork(self, method="_begin_anew")

    def _begin_anew(self) -> None:
        """Begin without connections, as in a forked child."""
        # Besides, "con" of this is a weak reference to the connection of the
        # thread, which is faster and may get lost.  It is made when it is
        # first needed, since gevent may replace its class before that.
        self._fast_way: Any = None
        self.thread: Any = (self._threadlocal or _Threads)()
        if not self._threadlocal:
            self.thread.owner = ref(self)

    if not TYPE_CHECKING:  # to whom a misspelled name is a mistake
        def __getattr__(self, name: str) -> Any:
            """Raise an error that suggests a name that exists."""
            raise AttributeError(missing_text(self, name))

    def __repr__(self) -> str:
        """Return the name, and the connection of this thread."""
        from . import shown  # noqa: PLC0415 - only if needed

        return shown.threads(self)

    def _first_connection(self) -> Con:
        """Return a new connection for this thread."""
        raise NotImplementedError

    def _own_connection(self) -> Con:
        """Return the connection of this thread, opened when first needed."""
        con: Con | None
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
