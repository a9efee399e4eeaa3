"""The fast ways out of a pool and back, where its core is joined to sessions.

The shortest way out is in connection() of the pools: it takes an idle permit
by core.take(), which is a method of a deque if nothing else has to be done,
and one of the functions here otherwise.  If that raises an IndexError, or
returns None since it is blocked, the request goes the long way, where all is
done that can take long.

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
from .._base.hints import Any, Callable, ref
from .._core.lease import Lease, hold
from .._core.slots import note_caller
from .._core.waiting import FEW, Waiter
from .._core.ways import none_is_idle
from .._steady.liveness import (
    ASK_AT_CHECKOUT,
    LOOK_AFTER_ANSWER,
    LOOK_AT_CHECKOUT,
    NO_CHECK,
    RECENT,
    note_ping,
)
from .proxy import Proxy

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from typing import TypeVar

    from .._core.lease import AnyLease

    Method = TypeVar("Method")

__all__ = [
    "SteadyLease", "declared_by", "frame_at", "lend_in_line", "lend_watched",
    "looks_well", "needs_nothing", "take_with_care", "way_to_check",
    "way_to_usual"]

# How many calls lie between a program and lend_watched(), at least.
_DEPTH = 3

frame_at = sys._getframe  # noqa: SLF001 - nothing public is as cheap


def declared_by(shown: Method) -> Callable[[Callable[..., Any]], Method]:
    """Show the parameters of another method, which a method collects.

    Python looks up the default of each keyword-only parameter in a dict, which
    takes an eighth of the time of lending a connection.
    """
    def declare(method: Any) -> Any:
        method.__wrapped__ = shown
        return method
    return declare


def way_to_check(session: Any) -> Any:
    """Return the way out if sessions are only checked like this one.

    It is None if that takes long.
    """
    if session.ask_ping is not None:
        return _take_and_ask
    return None if session.poll is None else _take_and_look


def _take_and_look(core: Any) -> Any:
    """Return an idle permit whose connection has a quiet socket.

    Another socket can have got its number.  The first statement notices that:
    a read is executed again, and what is no read looks once more.
    """
    permit = core.take_idle()
    try:
        session = permit.slot.inside
        way = session.checkout_check
        if (way is LOOK_AT_CHECKOUT or (
                way is LOOK_AFTER_ANSWER
                and monotonic() - session.answered < RECENT)) and not (
                session.state or session.poll(0)):
            session.looked = session.usage
            return permit
    except Exception:  # noqa: BLE001, S110 - no answer, so it is doubted
        pass
    except BaseException:
        permit = None  # not to be kept by the traceback
        raise
    try:
        return _take_doubted(core, permit, is_dead=False)
    finally:
        permit = None  # not to be kept by the traceback


def _take_and_ask(core: Any) -> Any:
    """Return an idle permit whose connection answers the driver's ping()."""
    permit = core.take_idle()
    try:  # a local variable more would cost more than reading the slot twice
        alive = permit.slot.inside.ask_ping(False)
        permit.slot.pings += 1
        if alive is None or alive:
            return permit
        alive = False
    except (AttributeError, IndexError, TypeError, ValueError):
        alive = None  # there is no such ping(), or more has to be done
    except Exception:  # noqa: BLE001 - any other error means not alive
        alive = False
    except BaseException:
        permit = None  # not to be kept by the traceback
        raise
    try:
        return _take_doubted(core, permit, is_dead=alive is not None)
    finally:
        permit = None  # not to be kept by the traceback


def _take_doubted(core: Any, permit: Any, is_dead: bool) -> Any:
    """Return a permit after a longer check of its connection."""
    try:
        session = permit.slot.inside
        is_well = (
            _is_replaced(core, session, is_dead) if is_dead
            else _seems_well(core, session))
        return permit if is_well else _go_the_long_way(core, permit)
    finally:
        permit = None  # not to be kept by the traceback


def take_with_care(core: Any) -> Any:
    """Return a permit after a look at its connection; count the request."""
    permit = core.take_idle()
    try:
        if core.tick is not None and not core.tick():
            core.timer.begin()
            return _go_the_long_way(core, permit)
        if core.is_careful:
            session = permit.slot.inside
            if not _seems_well(core, session):
                return _go_the_long_way(core, permit)
        if core.plenty and len(core.idle) < core.plenty:
            core.note_load()
        return permit
    except BaseException:
        permit = None  # not to be kept by the traceback
        raise


def way_to_usual(core: Any, take: Callable[[], Any]) -> Callable[[], Any]:
    """Return the way out to idle connections that fit usual requests.

    take: the way out for connections that are all alike
    """
    def take_usual() -> Any:
        permit = take()
        try:
            if permit.slot.inside.opener.route.aim is usual:
                return permit
            return _take_another(core, take, permit)
        except BaseException:
            permit = None  # not to be kept by a traceback
            raise

    usual = core.kinds.usual
    return take_usual


def _take_another(core: Any, take: Callable[[], Any], permit: Any) -> Any:
    """Return a permit that fits usual requests, this one or another.

    Others go to the end of the line.  If there are none but others, the
    request goes the long way.
    """
    kinds = core.kinds
    try:
        for _ in range(len(core.idle) + 1):
            if kinds.fits(permit.slot.con, None):
                kinds.assign(permit.slot.con, None)
                return permit
            core.idle.append(permit)
            permit = None
            if core.waiting:
                core.serve()
            permit = take()
        core.put_back_unused(permit)
    finally:
        permit = None  # not to be kept by a traceback
    raise IndexError


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
    try:
        is_quiet = session.is_quiet() if poll is None else not (
            poll(0) or session.ask_number() != session.descriptor)
    except Exception:  # noqa: BLE001 - another thread looks, or it is closed
        return False
    if is_quiet:
        session.looked = session.usage
    return bool(is_quiet)


def _answers(session: Any) -> bool | None:
    """Ask a driver by its ping(); None means that this is something else."""
    try:
        alive = session.con.ping(False)
        note_ping(session)
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
    waiter: Any = Waiter()
    link: Any = ref(waiter)
    try:
        waiting.append(link)
        if len(waiting) <= FEW:  # not before, see pass_on()
            waiter.looks, pause = True, core.queue.first_look
        else:
            pause = core.queue.other_look * len(waiting)
        # others may have changed that before it was in the queue
        if core.take is none_is_idle and core.is_plain and not (
                core.idle or core.lost):
            timeout = core.timeout
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
                permit.slot.con is None or (core.is_careful and not (
                    core.backend.seems_ready(permit.slot.con)))):
            permit = None
            return hold(lease, pool._acquire_granted(waiter))  # noqa: SLF001 - for this
        if core.tracks is not None:
            frame = frame_at(2)
            permit.taken = (
                monotonic(), frame.f_code, frame.f_lasti,
                threading.get_ident(), None)
        lease._permit = permit  # noqa: SLF001 - inlined hold()
        permit.checkout = lease._checkout = [pool]  # noqa: SLF001 - inlined, too
        permit.slot.lent += 1
        return lease
    except BaseException as error:
        if link is not None:
            core.withdraw(waiter)
        permit = waiter = lease = None  # type: ignore[assignment]  # not kept
        release_frames(error)
        raise


def lend_watched(
        pool: Any, core: Any, lease: AnyLease) -> AnyLease | None:
    """Return a lease of an idle connection, and tell observers of it.

    Return None if there is none, or if more has to be done.
    """
    permit = None
    start = monotonic()
    try:
        if not (core.waiting or core.limits.maxshared or core.timer):
            permit = core.watched_way()
            if permit is None:
                return None
            lease._permit = permit  # noqa: SLF001 - inlined hold()
            permit.taken = None  # by the last holder
            permit.checkout = lease._checkout = core.observers.begin(pool)  # noqa: SLF001 - inlined, too
            permit.slot.lent += 1
            if core.tracks:
                note_caller(permit, _DEPTH)
            core.observers.notify("acquired", monotonic() - start)
            return lease
    except IndexError:
        pass  # nothing is idle, or more has to be done
    except BaseException:
        permit = lease = None  # type: ignore[assignment]  # not kept
        raise
    return None


class SteadyLease(Proxy, Lease):
    """A borrowed connection that comes back the fast way, if possible."""

    __slots__ = ()

    def close(self) -> None:  # noqa: C901, PLR0912, PLR0915 - the fast way is one short function
        """Give the connection back to the pool; do not close it."""
        try:
            pool = self._checkout.pop()
        except IndexError:
            return  # it was given back before, or the pool has done that
        try:
            permit = self._permit
            permit.checkout = self._permit = None
            core = pool._core  # noqa: SLF001 - as core_of()
            if permit.taken is not None and core.times:  # inlined end_use()
                seconds = monotonic() - permit.taken[0]
                uses = permit.uses or core.slots.uses_of(permit)
                uses.last = permit.taken if core.waiting else None
                permit.taken, uses.timed = None, uses.timed + 1
                uses.seconds += seconds
                if seconds > uses.longest:  # noqa: PLR1730 - max() takes longer
                    uses.longest = seconds
            session = permit.slot.inside
            room = core.room
            if collecting or (room is not None and not (
                    core.waiting or len(core.idle) < room)):
                pool._take_back(permit)  # noqa: SLF001 - for this
                return
            leave = session.leave
            if leave is None:
                try:
                    session.con.rollback()
                except Exception as error:  # noqa: BLE001 - it is looked at
                    _end_after_error(pool, permit, session, error)
                    return
                except BaseException as error:
                    session.distrust(error)
                    raise
                session.transaction = session.work = False
            elif not leave(session):
                pool._take_back(permit)  # noqa: SLF001 - for this
                return
            if room is None or len(core.idle) < room:
                core.put(permit)
                if core.waiting or core.lost:
                    core.after_release()
            else:
                core.place(permit)
        except BaseException:
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
