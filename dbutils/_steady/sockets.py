"""The sockets of drivers, by their descriptors: a look at them, and their end.

This is loaded with the first connection whose socket is known, since Python's
modules for sockets take as long to import as ten of ours.
"""

from __future__ import annotations

import _socket  # socket makes enums of all its constants
import os
import select
from sys import byteorder

from .._base.hints import Any, ref
from .state import GONE, QUIET, UNREAD

__all__ = [
    "MovingSocketProbe", "SocketProbe", "copy_of", "cut_off", "shut_down",
    "silence_on"]

_HANG_UP = (
    getattr(select, "POLLHUP", 0) | getattr(select, "POLLERR", 0)
    | getattr(select, "POLLNVAL", 0) | getattr(select, "POLLRDHUP", 0))


class SocketProbe:
    """Looks at one socket, many times."""

    __slots__ = ("_descriptor", "poll")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        # The method of a poll object, if there is one.
        self.poll: Any = None
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(descriptor, select.POLLIN | _HANG_UP)
            self.poll = poll.poll

    def look(self) -> str:
        """Return the present state of the socket."""
        if self.poll is None:
            return self._select()
        try:
            events = self.poll(0)
        except RuntimeError:  # another thread is looking at the moment
            return QUIET
        if not events:
            return QUIET
        return GONE if events[0][1] & _HANG_UP else UNREAD

    def _select(self) -> str:
        """Do the same where there is no poll()."""
        try:
            readable = select.select([self._descriptor], [], [], 0)[0]
        except (OSError, ValueError):  # closed, or too many are open
            return UNREAD
        return UNREAD if readable else QUIET


class MovingSocketProbe:
    """Looks at the socket of a connection inside of a wrapper.

    The wrapper may go on with another connection, and so with another socket.
    """

    __slots__ = ("_own_session", "_probe")

    def __init__(self, session: Any) -> None:
        self._own_session = ref(session)  # which holds this probe
        self._probe = _probe_of(session.descriptor)

    def look(self) -> str:
        """Return the present state of the socket."""
        session = self._own_session()
        descriptor = None if session is None else session.driver.descriptor(
            session.con)
        if session is not None and descriptor != session.descriptor:
            session.descriptor = descriptor
            self._probe = _probe_of(descriptor)
        return QUIET if self._probe is None else self._probe.look()


def _probe_of(descriptor: int | None) -> SocketProbe | None:
    return None if descriptor is None else SocketProbe(descriptor)


# Places in the struct of TCP_INFO that say how many milliseconds ago the last
# data were sent and received, and the least length of the struct.
_SENT, _RECEIVED, _LENGTH = 44, 52, 104


def silence_on(sock: _socket.socket) -> float:
    """Return the seconds since the last traffic, infinity if unknown."""
    try:
        info = sock.getsockopt(
            _socket.IPPROTO_TCP, _socket.TCP_INFO, _LENGTH)
    except (AttributeError, OSError):  # a local socket, or not Linux
        info = b""
    if len(info) < _RECEIVED + 4:
        return float("inf")
    return min(
        int.from_bytes(info[place:place + 4], byteorder)
        for place in (_SENT, _RECEIVED)) / 1000


def copy_of(descriptor: int) -> _socket.socket:
    """Return a socket with a copy of a descriptor, to be closed."""
    copy = os.dup(descriptor)
    try:
        return _socket.socket(fileno=copy)
    except OSError:  # it is of no socket
        os.close(copy)
        raise


def shut_down(sock: _socket.socket) -> None:
    """Shut a connection down, in both directions."""
    sock.shutdown(_socket.SHUT_RDWR)


def cut_off(driver: Any, con: Any) -> None:
    """Shut the socket of a driver connection down that others may be using.

    If the connection still has the same number after that was copied, the
    copy is of its socket.
    """
    number = driver.descriptor(con)
    if number is None or number < 0:
        return
    copy = copy_of(number)
    try:
        if driver.descriptor(con) == number:
            shut_down(copy)
    finally:
        copy.close()
