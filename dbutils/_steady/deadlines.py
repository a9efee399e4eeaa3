"""A time limit for what the library itself asks of a server.

If the other side of a connection has vanished without a word, then an answer
never comes.  When the time is up, the socket is shut down, whereupon the call
of the driver ends with an error at once.

While the interpreter ends, no thread can do that.  Then the socket is shut
down before the call, so that no server keeps a program from ending.
"""

from __future__ import annotations

import math
import os
import socket
import struct
from contextlib import suppress
from sys import is_finalizing
from time import monotonic
from typing import Any, List

from .._base.errors import quietly
from .._base.fork import register_for_fork
from .._base.threads import Attendant, fill_vacancies, is_ending, vacancies

__all__ = ["Limit", "end_deadline", "start_deadline"]

# In seconds: the longest time that a call may take, and the time after which
# the thread ends if it has nothing to do.
LIMIT = 5.0
_REST = 1.0


# Where the kernel tells how many milliseconds ago the last data were sent and
# received, and how long what it tells must be for that.
_SENT, _RECEIVED, _LENGTH = 44, 52, 104


def _silence_on(sock: socket.socket) -> float:
    """Return for how many seconds nothing was sent or received, if known."""
    info = b""
    if hasattr(socket, "TCP_INFO"):
        with suppress(OSError):  # a local socket, for instance
            info = sock.getsockopt(
                socket.IPPROTO_TCP, socket.TCP_INFO, _LENGTH)
    if len(info) < _RECEIVED + 4:
        return math.inf
    return min(
        struct.unpack_from("=I", info, place)[0]
        for place in (_SENT, _RECEIVED)) / 1000


class Limit(List[Any]):
    """The deadline and the descriptor of a call that may be silent for a time.

    As a context it watches the call, unless that is done already.  The
    deadline moves on as long as something is sent or received.
    """

    def __init__(self, session: Any, seconds: float) -> None:
        super().__init__()
        self._session = session
        self.seconds = seconds
        # Whether the socket was shut down.
        self.was_cut = False

    def __enter__(self) -> None:
        """Begin to watch the call."""
        session = self._session
        if session.descriptor is None or is_ending() or (
                session in _watchdog.calls):
            return  # at the end nobody could cut it off in time
        self[:] = monotonic() + self.seconds, session.descriptor
        _watchdog.start_deadline(session, session.descriptor, self.seconds)
        _watchdog.calls[session] = self

    def __exit__(self, *exc: object) -> None:
        """End that."""
        if self:
            end_deadline(self._session)

    def goes_on(self, sock: socket.socket) -> bool:
        """Move the deadline if there was traffic; return whether so.

        Only the deadline is changed: the call may be over by now.
        """
        left = self.seconds - _silence_on(sock)
        if left > 0:
            self[0] = monotonic() + left
        return left > 0


class _Watchdog:
    """The thread that shuts sockets down; it is there while it is needed."""

    def __init__(self) -> None:
        self._attendant = Attendant(
            "DBUtils watchdog", self._look, self._is_busy)
        self._begin()
        register_for_fork(self)

    def _begin(self) -> None:
        # The deadlines and descriptors of the calls that are going on; setting
        # and popping items is atomic and needs no lock.
        self.calls: dict[object, Any] = {}
        self._wakes_at = 0.0
        self._has_rested = False

    def after_fork(self) -> None:
        """Have no thread in a forked child."""
        self._attendant.after_fork()
        self._begin()

    def start_deadline(
            self, key: object, descriptor: int, seconds: float) -> None:
        """Begin to watch a call."""
        deadline = monotonic() + seconds
        self.calls[key] = deadline, descriptor
        if self._attendant.link is None or vacancies:
            self._start(key, descriptor)
        elif deadline < self._wakes_at:
            self._attendant.wake()
        if is_finalizing():
            self._end_quietly(key, descriptor)

    def _start(self, key: object, descriptor: int) -> None:
        """Start what is missing.

        A call that nobody can end is not begun: it finds its socket closed.
        """
        self._attendant.fill()
        fill_vacancies()
        if is_ending():
            self._end_quietly(key, descriptor)

    def _look(self) -> float | None:
        """End what takes too long; return for how long nothing will."""
        now = monotonic()
        for key, (deadline, descriptor) in self.calls.copy().items():
            if deadline <= now or is_ending():
                self._end_quietly(key, descriptor)
        has_rested, self._has_rested = self._has_rested, not self.calls
        if has_rested and self._has_rested:
            self._has_rested = False
            return None
        # First the time, then the calls: a call that comes in between sees
        # the one, or is seen by the other.
        self._wakes_at = monotonic() + _REST
        ends = [deadline for deadline, _ in self.calls.copy().values()]
        self._wakes_at = min([self._wakes_at, *ends])
        return self._wakes_at - monotonic()

    def _is_busy(self) -> bool:
        return bool(self.calls)

    def _end_quietly(self, key: object, descriptor: int) -> None:
        with quietly("shutting a socket down"):
            self._end(key, descriptor)

    def _end(self, key: object, descriptor: int) -> None:
        """Shut the socket of a call down, if it is still going on."""
        copy = socket.socket(fileno=os.dup(descriptor))
        call = self.calls.get(key)
        try:
            if isinstance(call, Limit) and call.goes_on(copy):
                return
            # only now it is certain that the copy is of the right socket
            if self.calls.pop(key, None) is not None:
                if isinstance(call, Limit):
                    call.was_cut = True
                copy.shutdown(socket.SHUT_RDWR)
        finally:
            copy.close()


_watchdog = _Watchdog()


def start_deadline(
        key: object, descriptor: int | None, seconds: float | None) -> None:
    """Shut a socket down after so many seconds, unless it is forgotten.

    Without a descriptor nothing happens.  The time is LIMIT at most.
    """
    if descriptor is not None:
        limit = LIMIT if seconds is None else min(max(seconds, 0), LIMIT)
        _watchdog.start_deadline(key, descriptor, limit)


def end_deadline(key: object) -> None:
    """Do not shut that socket down."""
    _watchdog.calls.pop(key, None)
