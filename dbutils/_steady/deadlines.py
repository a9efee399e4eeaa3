"""A time limit for the calls that the library itself makes to a server.

If the server has vanished without a word, its answer never comes.  When the
time is up, the watchdog shuts the socket down, and the call of the driver ends
with an error at once.

While the interpreter ends, no thread can do that.  Then the socket is shut
down before the call, so that no server keeps a program from ending.
"""

from __future__ import annotations

from time import monotonic

from .._base.atomic import alive
from .._base.errors import quietly
from .._base.fork import register_for_fork
from .._base.hints import Any, List, ref
from .._base.threads import (
    Attendant,
    ends,
    fill_vacancies,
    is_ending,
    vacancies,
)

__all__ = [
    "LIMIT", "Limit", "end_deadline", "load_sockets", "start_deadline",
    "watchdog"]

# In seconds: the longest time that a call may take, and the time after which
# an idle watchdog thread ends.
LIMIT = 5.0
_REST = 1.0
_NEVER = float("inf")

# The module "sockets", once it is needed.
_sockets: Any = None


def load_sockets() -> Any:
    """Return the module "sockets".

    A session with a socket loads it when it is opened, since nothing can be
    imported while the interpreter ends.
    """
    global _sockets  # noqa: PLW0603 - it is set once
    if _sockets is None:
        from . import sockets  # noqa: PLC0415 - it is large

        _sockets = sockets
    return _sockets


class Limit(List[Any]):
    """The deadline and the descriptor of a call with a limit for silence.

    As a context it puts the call under the watchdog, unless the call is there
    already.  The deadline moves on as long as data are sent or received.
    """

    def __init__(self, session: Any, seconds: float) -> None:
        super().__init__()
        self._own_session = session
        self.seconds = seconds
        # Whether the socket was shut down.
        self.was_cut = False

    def __enter__(self) -> None:
        """Start the deadline of the call."""
        session = self._own_session
        if session.descriptor is None or is_ending() or (
                session in watchdog.calls):
            return  # while the interpreter ends, no thread could cut it off
        now = monotonic()
        self[:] = now + self.seconds, session.descriptor
        watchdog.calls[session] = self
        if watchdog.may_miss(now, self[0]):
            watchdog.ensure(session, session.descriptor)

    def __exit__(self, *exc: object) -> None:
        """End the deadline."""
        if self:
            end_deadline(self._own_session)

    def goes_on(self, sock: Any) -> bool:
        """Return whether there was traffic; if so, move the deadline.

        Only the deadline is changed: the call may be over by now.
        """
        left: float = self.seconds - load_sockets().silence_on(sock)
        if left > 0:
            self[0] = monotonic() + left
        return left > 0


class _Watchdog:
    """The thread that shuts sockets down, and ends when it is idle."""

    def __init__(self) -> None:
        self._attendant = Attendant(
            "DBUtils watchdog", self._look, self._is_busy)
        self._begin()
        register_for_fork(self)

    def _begin(self) -> None:
        # The deadlines and descriptors of running calls; setting and popping
        # items is atomic and needs no lock.
        self.calls: dict[object, Any] = {}
        # The sessions that have a socket, held weakly: each tells itself what
        # it waits for at the end of a lease.
        self._sessions: set[Any] = set()
        # Those of them whose sockets were shut down, with their deadlines.
        self._ended: dict[object, tuple[Any, float]] = {}
        # The deadlines of calls that have none of their own, with the calls.
        self._limits: dict[object, tuple[Any, float]] = {}
        # When the thread looks at the calls again, and whether it does that;
        # never if there is none.
        self.wakes_at, self.is_awake = _NEVER, False
        self._has_rested = False

    def after_fork(self) -> None:
        """Forget the thread and the calls of the parent process."""
        self._attendant.after_fork()
        self._begin()

    def watch(self, session: Any) -> None:
        """Watch what a session tells by its `call`, for as long as it lives.

        Changing that is one step, and much shorter than one in `calls`.  Its
        deadline can be None: then the call has no need of a clock, and LIMIT
        begins when the thread sees it first, within a second.  For that, each
        call needs a tuple of its own.
        """
        session.call = None
        self._sessions.add(ref(session, self._sessions.discard))

    def may_miss(self, now: float, deadline: float) -> bool:
        """Return whether the thread may not look before a deadline.

        It does if it has said so.
        """
        return bool(
            not now < self.wakes_at < deadline or vacancies or ends.is_over)

    def ensure(self, key: object, descriptor: int) -> None:
        """Start or wake the thread, so that it ends a call in time.

        If no thread can end the call, its socket is shut down before it.
        """
        load_sockets()  # while that is possible
        self._attendant.fill()
        fill_vacancies()
        self._attendant.wake()
        call = self.calls.get(key) or getattr(key, "call", None)
        if call is not None and is_ending():
            self._end_quietly(key, call, descriptor)

    def _look(self) -> float | None:
        """End overdue calls; return the seconds to wait, None to end."""
        now = monotonic()
        for key, call in self._open_calls():
            if self._deadline(key, call) <= now or is_ending():
                self._end_quietly(key, call, call[1])
        has_rested, self._has_rested = self._has_rested, not self._is_busy()
        # Set the time first, then read the calls: a call that starts between
        # these steps either sees the time or is among the calls.
        if has_rested and self._has_rested:
            self._has_rested = False
            self.wakes_at, self.is_awake = _NEVER, False
            return None  # the calls are read once more then
        self.wakes_at, self.is_awake = monotonic() + _REST, True
        times = [self._deadline(*item) for item in self._open_calls()]
        self.wakes_at = min([self.wakes_at, *times])
        return self.wakes_at - monotonic()

    def _deadline(self, key: object, call: Any) -> float:
        """Return when a call is to be ended."""
        deadline: float | None = call[0]
        if deadline is not None:
            return deadline
        known, end = self._limits.get(key, (None, 0.0))
        if known is not call:
            end = monotonic() + LIMIT
            self._limits[key] = call, end
        return end

    def _is_busy(self) -> bool:
        return bool(self._calls_now())

    def _calls_now(self) -> dict[object, Any]:
        calls = self.calls.copy()
        for session in alive(list(self._sessions)):
            call = session.call
            if call is not None:
                calls[session] = call
        return calls

    def _open_calls(self) -> list[tuple[object, Any]]:
        """Return the running calls whose sockets were not shut down."""
        calls = self._calls_now()
        for key, (call, end) in self._ended.copy().items():
            if end != call[0] or calls.get(key) is not call:
                self._ended.pop(key, None)
        for key, (call, _) in self._limits.copy().items():
            if calls.get(key) is not call:
                self._limits.pop(key, None)
        return [item for item in calls.items() if item[0] not in self._ended]

    def _end_quietly(self, key: object, call: Any, descriptor: int) -> None:
        with quietly("shutting a socket down"):
            self._end(key, call, descriptor)

    def _end(self, key: object, call: Any, descriptor: int) -> None:
        """Shut the socket of a call down, once, if the call still runs.

        An error is final, but after an interrupt the next look repeats this.
        """
        try:
            is_over = self._shut_down(key, call, descriptor)
        except OSError:
            self._ended[key] = call, call[0]
            raise
        if is_over:
            self._ended[key] = call, call[0]

    def _shut_down(self, key: object, call: Any, descriptor: int) -> bool:
        """Do that; return whether there is nothing more to do."""
        copy = load_sockets().copy_of(descriptor)
        try:
            if isinstance(call, Limit) and call.goes_on(copy):
                return False
            # only a call that still runs proves the copy is of its socket
            if self.calls.get(key) is call or (
                    getattr(key, "call", None) is call):
                if isinstance(call, Limit):
                    call.was_cut = True
                load_sockets().shut_down(copy)
        finally:
            copy.close()
        return True


watchdog = _Watchdog()


def start_deadline(
        key: object, descriptor: int | None, seconds: float | None) -> None:
    """Shut a socket down after some seconds, at most LIMIT.

    end_deadline() prevents that.  Without a descriptor nothing happens.
    """
    if descriptor is not None:
        now = monotonic()
        limit = LIMIT if seconds is None else min(max(seconds, 0), LIMIT)
        watchdog.calls[key] = now + limit, descriptor
        if watchdog.may_miss(now, now + limit):
            watchdog.ensure(key, descriptor)


def end_deadline(key: object) -> None:
    """End the deadline of a call that is over."""
    watchdog.calls.pop(key, None)
