"""Looking at the socket of a connection, without sending anything.

This tells whether the server has closed it, which is so after a restart, an
idle time-out, or when the session was killed.  It takes about a microsecond.
"""

from __future__ import annotations

import enum
import os
import select
import socket
from typing import Any
from weakref import ref

__all__ = [
    "GONE", "QUIET", "UNREAD", "MovingSocketProbe", "SocketProbe",
    "SocketState", "probe_of", "shut_down"]


class SocketState(enum.Enum):
    """What is to be seen on a socket."""

    QUIET = "nothing, as it should be"
    GONE = "the other side has closed it"
    UNREAD = "data that nobody has asked for, so that only asking helps"


# Looking them up in the class would take longer than all the rest.
QUIET, GONE, UNREAD = SocketState


_HANG_UP = (
    getattr(select, "POLLHUP", 0) | getattr(select, "POLLERR", 0)
    | getattr(select, "POLLNVAL", 0) | getattr(select, "POLLRDHUP", 0))


def probe_of(descriptor: int | None) -> SocketProbe | None:
    """Return a look at a socket, if it is known."""
    return None if descriptor is None else SocketProbe(descriptor)


def shut_down(descriptor: int) -> None:
    """End a connection at once; its socket stays open for its owner."""
    copy = socket.socket(fileno=os.dup(descriptor))
    try:
        copy.shutdown(socket.SHUT_RDWR)
    finally:
        copy.close()


class SocketProbe:
    """A look at one socket, to be repeated often."""

    __slots__ = ("_descriptor", "_poll")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll: Any = None
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(descriptor, select.POLLIN | _HANG_UP)
            self._poll = poll.poll

    def look(self) -> SocketState:
        """Return what is to be seen just now."""
        if self._poll is None:
            return self._select()
        try:
            events = self._poll(0)
        except RuntimeError:  # another thread is looking at the moment
            return QUIET
        if not events:
            return QUIET
        return GONE if events[0][1] & _HANG_UP else UNREAD

    def _select(self) -> SocketState:
        """Do the same where there is no poll()."""
        try:
            readable = select.select([self._descriptor], [], [], 0)[0]
        except (OSError, ValueError):  # closed, or too many are open
            return UNREAD
        return UNREAD if readable else QUIET


class MovingSocketProbe:
    """A look at the socket of a connection inside of a wrapper.

    The wrapper may go on with another connection, and so with another socket.
    """

    __slots__ = ("_probe", "_session")

    def __init__(self, session: Any) -> None:
        self._session = ref(session)  # which has this watch
        self._probe = probe_of(session.descriptor)

    def look(self) -> SocketState:
        """Return what is to be seen just now."""
        session = self._session()
        descriptor = None if session is None else session.profile.descriptor(
            session.con)
        if session is not None and descriptor != session.descriptor:
            session.descriptor = descriptor
            self._probe = probe_of(descriptor)
        return QUIET if self._probe is None else self._probe.look()
