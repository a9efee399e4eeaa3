"""The fast ways out of a pool and back, where its core is joined to sessions.

The shortest way out is in connection() of the pools: it takes an idle permit
by core.take(), which is a method of a deque if nothing else has to be done,
and take_with_care() otherwise.  If that raises an IndexError, the request
goes the long way, where all is done that can take long.

These functions use the core's queues and the fields of sessions directly, for
speed.  They rely on taking an item out of a deque, on adding one, and on
popping the only item of a list being single steps, with and without the GIL.
A request that begins to wait blocks the ways before it looks for an idle
connection, so nobody overtakes it; the way back looks for waiters after the
connection can be taken.
"""

from __future__ import annotations

import sys
import threading
from time import monotonic

from .._base.collecting import collecting
from .._base.hints import Any
from .._core.lease import Lease
from .._steady.liveness import (
    ASK_AT_CHECKOUT,
    LOOK_AFTER_ANSWER,
    LOOK_AT_CHECKOUT,
    NO_CHECK,
    RECENT,
)
from .proxy import Proxy

__all__ = [
    "SteadyLease", "looks_well", "needs_nothing", "take_and_note",
    "take_with_care"]

_getframe = sys._getframe  # noqa: SLF001 - nothing public is as cheap


def take_and_note(core: Any) -> Any:
    """Return an idle permit, and note the caller of the caller as holder."""
    permit = core.idle.popleft()
    try:
        frame = _getframe(2)
        permit.taken = (
            monotonic(), frame.f_code, frame.f_lasti, threading.get_ident(),
            None)
        return permit
    except BaseException:
        permit = None  # not to be kept by the traceback
        raise


def take_with_care(core: Any) -> Any:
    """Do the same after a look at the connection, and count the request."""
    permit = core.idle.popleft()
    try:
        now = 0.0
        if core.maintenance is not None:
            now, slot = core.maintenance.clock(), permit.slot
            if now >= slot.expires or (
                    now - slot.used_at >= core.maintenance.maxidletime):
                return _go_the_long_way(core, permit)
        # not before, since the long way counts, too
        if core.tick is not None and not core.tick():
            core.timer.begin()
            return _go_the_long_way(core, permit)
        if core.is_careful:
            session = permit.slot.con._own_session  # noqa: SLF001 - as session_of()
            if (session.state or session.checkout_check or core.trust) and (
                    not _seems_well(core, session)):
                return _go_the_long_way(core, permit)
        if core.tracks:
            frame = _getframe(2)
            permit.taken = (
                now or monotonic(), frame.f_code, frame.f_lasti,
                threading.get_ident(), None)
        elif len(core.idle) < core.plenty:
            core.note_load()
        return permit
    except BaseException:
        permit = None  # not to be kept by the traceback
        raise


def _go_the_long_way(core: Any, permit: Any) -> Any:
    """Put a permit back, from where a request takes it the long way."""
    core.put_back_unused(permit)
    if core.waiting:
        core.serve()
    raise IndexError


def _seems_well(core: Any, session: Any) -> bool:
    """Return whether a connection can be used.

    A question to the server is left to the long way if that limits its time.
    """
    if session.state:  # it is not OPEN
        return False
    if core.trust is not None:
        return bool(core.trust.is_well(session, core.timeout))
    if session.checkout_check is ASK_AT_CHECKOUT:
        try:
            alive = session.con.ping(False)
        except Exception:  # noqa: BLE001 - the long way finds out why
            return False
        return alive is None or bool(alive)
    return looks_well(session) or (
        not core.timeout and bool(session.is_well(reconnect=False)))


def looks_well(session: Any) -> bool:
    """Return whether a look is enough, and shows nothing wrong."""
    way = session.checkout_check
    return not session.state and (way is NO_CHECK or (
        way is LOOK_AT_CHECKOUT or (
            way is LOOK_AFTER_ANSWER
            and monotonic() - session.answered < RECENT)
    ) and bool(session.is_quiet()))


class SteadyLease(Proxy, Lease):
    """A borrowed connection that comes back the fast way, if possible."""

    __slots__ = ()

    def close(self) -> None:
        """Give the connection back to the pool; do not close it."""
        try:
            pool = leave = self._checkout.pop()
        except IndexError:
            return  # it was given back before, or the pool has done that
        try:
            permit = self._permit
            self._permit = None
            core = pool._core  # noqa: SLF001 - as core_of()
            session = permit.slot.con._own_session  # noqa: SLF001 - as session_of()
            if session.is_marked or session.settings_changed or (
                    session.state or collecting):  # the state is not OPEN
                pool._take_back(permit)  # noqa: SLF001 - for this
                return
            leave = session.leave
            if leave is None:
                session.con.rollback()
                leave = session  # it has succeeded
                session.transaction = session.work = False
            elif not leave(session):
                pool._take_back(permit)  # noqa: SLF001 - for this
                return
            if len(core.idle) < core.room:
                core.put(permit)
                if core.waiting or core.lost:
                    core.after_release()
            else:
                core.place(permit)
        except Exception as error:
            if leave is not None:
                permit = None
                raise
            _end_after_error(pool, permit, session, error)
        except BaseException as error:
            if leave is None:
                session.distrust(error)
            permit = None  # not to be kept by the traceback
            raise

    def __exit__(self, *exc: object) -> None:
        """Give the connection back; this does not save any work."""
        self.close()


def _end_after_error(
        pool: Any, permit: Any, session: Any, error: Exception) -> None:
    """End a checkout whose rollback has failed."""
    if session.failover.bears(session, error):
        pool._core.put_back(permit)  # noqa: SLF001 - as core_of()
    else:
        pool._take_back(permit)  # noqa: SLF001 - as close()


def needs_nothing(session: Any) -> bool:
    """Return whether a session can be left as it is."""
    return not (session.transaction or session.closed)
