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

from .._base.errors import release_frames
from .._base.finalizers import collecting
from .._base.hints import Any, ref
from .._core.lease import Lease, hold
from .._core.waiting import FEW, Waiter
from .._core.ways import none_is_idle
from .._steady.liveness import (
    ASK_AT_CHECKOUT,
    LOOK_AFTER_ANSWER,
    LOOK_AT_CHECKOUT,
    NO_CHECK,
    RECENT,
)
from .proxy import Proxy

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from .._core.lease import AnyLease

__all__ = [
    "SteadyLease", "lend_in_line", "looks_well", "needs_nothing",
    "take_and_ask", "take_and_note", "take_with_care"]

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


def take_and_ask(core: Any) -> Any:
    """Return an idle permit whose connection answers the driver's ping()."""
    permit = core.idle.popleft()
    try:
        alive = permit.slot.con._own_session.ask_ping(False)  # noqa: SLF001 - as session_of()
        if alive is None or alive:
            return permit
        is_dead = True
    except (AttributeError, IndexError, TypeError, ValueError):
        is_dead = False  # there is no such ping(), or more has to be done
    except Exception:  # noqa: BLE001 - any other error means not alive
        is_dead = True
    except BaseException:
        permit = None  # not to be kept by the traceback
        raise
    try:
        return _take_doubted(core, permit, is_dead)
    finally:
        permit = None  # not to be kept by the traceback


def _take_doubted(core: Any, permit: Any, is_dead: bool) -> Any:
    """Return a permit after a longer check of its connection."""
    try:
        session = permit.slot.con._own_session  # noqa: SLF001 - as session_of()
        is_well = (
            _is_replaced(core, session, is_dead) if is_dead
            else _seems_well(core, session))
        return permit if is_well else _go_the_long_way(core, permit)
    finally:
        permit = None  # not to be kept by the traceback


def take_with_care(core: Any) -> Any:  # noqa: C901 - the fast way is one short function
    """Do the same after a look at the connection, and count the request."""
    permit = core.idle.popleft()
    try:
        now, maintenance = None, core.maintenance
        if maintenance is not None:
            now, slot = maintenance.clock(), permit.slot
            if now >= slot.expires or (
                    now - slot.used_at >= maintenance.maxidletime):
                return _go_the_long_way(core, permit)
        # not before, since the long way counts, too
        if core.tick is not None and not core.tick():
            core.timer.begin()
            return _go_the_long_way(core, permit)
        if core.is_careful:
            session = permit.slot.con._own_session  # noqa: SLF001 - as session_of()
            if not _seems_well(core, session):
                return _go_the_long_way(core, permit)
        if core.plenty and len(core.idle) < core.plenty:
            core.note_load()
        if core.tracks:
            frame = _getframe(2)
            permit.taken = (
                now or monotonic(), frame.f_code, frame.f_lasti,
                threading.get_ident(), None)
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
    way = session.checkout_check
    if core.trust is not None and not session.state:
        return bool(core.trust.is_well(session, core.timeout))
    if session.state or way is NO_CHECK:  # the state is not OPEN
        return not session.state
    if way is ASK_AT_CHECKOUT:
        alive = _answers(session)
        return alive or _is_replaced(core, session, is_dead=alive is False)
    if way is LOOK_AT_CHECKOUT or (way is LOOK_AFTER_ANSWER and (
            monotonic() - session.answered < RECENT)):
        return _is_quiet(session)
    return _is_replaced(core, session)


def _is_quiet(session: Any) -> bool:
    poll = session.poll
    if poll is None:
        return bool(session.is_quiet())
    try:
        return not poll(0) and session.ask_number() == session.descriptor
    except Exception:  # noqa: BLE001 - another thread looks, or it is closed
        return False


def _answers(session: Any) -> bool | None:
    """Ask a driver by its ping(); None means that this is something else."""
    try:
        alive = session.con.ping(False)
    except (AttributeError, IndexError, TypeError, ValueError):
        return None
    except Exception:  # noqa: BLE001 - any error means not alive
        return False
    return alive is None or bool(alive)


def _is_replaced(core: Any, session: Any, is_dead: bool = False) -> bool:
    """Check a connection at length, and replace it if it is dead.

    If that is impossible, the next use tries again.  The long way does it for
    requests that can wait.
    """
    if core.timeout:
        return False
    if is_dead:
        session.failover.check(session, True, is_dead)
    else:
        session.is_well(reconnect=True)
    return True


def looks_well(session: Any) -> bool:
    """Return whether a look is enough, and shows nothing wrong."""
    if session.state:
        return False
    way = session.checkout_check
    if way is LOOK_AT_CHECKOUT or (
            way is LOOK_AFTER_ANSWER
            and monotonic() - session.answered < RECENT):
        return bool(session.is_quiet())
    return way is NO_CHECK


def lend_in_line(  # noqa: C901, PLR0912, PLR0915 - the fast way is one short function
        pool: Any, core: Any, lease: AnyLease) -> AnyLease:
    """Wait until another thread hands a connection over to a new lease.

    The pool is plain and its ways are blocked, see the module "_core.ways".
    This inlines what find() and ready() do in the usual case.
    """
    permit, waiting = None, core.waiting
    waiter: Any = Waiter(False, None)
    link: Any = ref(waiter)
    try:
        waiting.append(link)
        pause, timeout = core.queue.other_look * len(waiting), core.timeout
        if len(waiting) <= FEW:  # not before, see pass_on()
            waiter.looks, pause = True, core.queue.first_look
        # others may have changed that before it was in the queue
        if core.take is none_is_idle and core.is_plain and not (
                core.idle or core.lost):
            if timeout is not None and timeout < pause:
                pause = timeout
            waiter.gate.acquire(True, pause)
        if not waiter.answer:
            core.wait_on(waiter, link)
        link = None  # from here on, the permit dies with the waiter
        if core.tick is not None:
            core.tick()
        permit = waiter.answer[0]
        if permit is None or core.maintenance is not None or (
                permit.slot.con is None or (
                    core.is_careful and not core.backend.seems_ready(
                        permit.slot.con))):
            permit = None
            return hold(lease, pool._acquire_granted(waiter))  # noqa: SLF001 - for this
        if core.tracks:
            frame = _getframe(2)
            permit.taken = (
                monotonic(), frame.f_code, frame.f_lasti,
                threading.get_ident(), None)
        lease._permit = permit  # noqa: SLF001 - inlined hold()
        permit.checkout = lease._checkout = [pool]  # noqa: SLF001 - inlined, too
        return lease
    except BaseException as error:
        if link is not None:
            core.withdraw(waiter)
        permit = waiter = lease = None  # type: ignore[assignment]  # not kept
        release_frames(error)
        raise


class SteadyLease(Proxy, Lease):
    """A borrowed connection that comes back the fast way, if possible."""

    __slots__ = ()

    def close(self) -> None:  # noqa: C901, PLR0912, PLR0915 - the fast way is one short function
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
            is_full = len(core.idle) >= core.room
            if session.is_marked or session.settings_changed or (
                    session.state or collecting  # the state is not OPEN
                    or (is_full and not core.waiting)):
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
            if is_full:
                core.place(permit)
            else:
                core.put(permit)
                if core.waiting or core.lost:
                    core.after_release()
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


def _end_after_error(
        pool: Any, permit: Any, session: Any, error: Exception) -> None:
    """End a checkout whose rollback has failed."""
    if session.failover.bears(session, error):
        pool._core.place(permit)  # noqa: SLF001 - as core_of()
    else:
        pool._take_back(permit)  # noqa: SLF001 - as close()


def needs_nothing(session: Any) -> bool:
    """Return whether a session can be left as it is."""
    return not (session.transaction or session.closed)
