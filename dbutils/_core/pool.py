"""The core of all pools, which knows no database.

It hands out places for connections, of which there are at most as many as the
limit says.  Requests are served first come, first served, and a connection
that comes back goes directly to the next waiter.

There is no lock that could be held for long, or be left locked: the owner of
a slot changes by single steps written in C, and what was dropped comes back
by itself; see the module "slots".  Therefore all this can be interrupted
anywhere, by another thread, by a signal handler that uses the same pool, or
by an exception.

A finalizer that is called by the garbage collector must not talk to the
database, so it only drops its permit.  Waiters look for lost slots from time
to time, and so does each request that finds no idle connection.

The fast ways are four attributes: "take" and "take_dedicated" return an idle
permit or raise an IndexError, "put" makes one idle, and "room" is the number
of idle connections from which on "put" must not be used, but "place".  As
long as a request waits, the first two only raise the error, and "room" is 0.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from time import monotonic
from types import MethodType
from weakref import ref

from .._base.atomic import Count, pop, remove, snapshot
from .._base.collecting import is_collecting
from .._base.errors import quietly, release_frames
from .._base.fork import register_for_fork
from .._base.hints import Any, Callable, Iterator
from .._base.mutex import Mutex
from .._base.opening import Elsewhere, Late
from .._base.threads import fill_vacancies, is_ending, vacancies
from .backend import Backend, Observer
from .holders import OldestHolders
from .lease import hand_over
from .limits import Limits
from .opener import Opener
from .quotas import Request, free_tokens
from .sharing import Sharing
from .slots import Checkout, Holder, Permit, Slot, Slots, end, note_caller
from .stats import PoolStats, late_text
from .thread_order import OldestFirst, order_of
from .throttle import ConnectThrottle
from .waiting import Queue, Waiter

__all__ = ["VERBS", "Pool", "PoolClosed", "PoolTimeout", "core_of"]

# All that other parts use of a pool's core, besides the functions of this
# part that get a core.
VERBS = (
    # requests and leases
    "acquire", "request", "release", "release_permit", "release_dropped",
    "release_share", "release_one_share", "share_idle", "put_back_unused", "abort",
    "hold_permit", "destroy", "detach", "after_release", "nudge", "place",
    # idle connections
    "adopt", "detach_idle", "idle_connections", "open_ahead", "trim",
    # the whole pool
    "reclaim", "resize", "clear", "drain", "shut_down", "stats", "holders",
    "shared_records", "connections", "choose_ways", "let_go",
    # attributes: options, and what measures the pool
    "limits", "is_closed", "timeout", "timer", "tick", "trust", "changing",
    "is_careful")

# In seconds, the time between two looks for what has come back.
_SHORT_LOOK = 0.01
_NONE_IDLE: deque[Permit] = deque(maxlen=0)
_ANY_NUMBER = 2 ** 29  # a small one, with which comparing is quick


def core_of(pool: Any) -> Any:
    """Return the core of a pool."""
    return pool._core  # noqa: SLF001 - the one door from outside to inside


class PoolTimeout(Exception):  # noqa: N818 - no error as such
    """No connection is available, and the request does not wait longer."""

    def __init__(
            self, stats: PoolStats, waited: float, holders: list[Holder],
            unknown: int, reason: str | None, ages: list[float]) -> None:
        """Note what the error of the pool explains.

        unknown: how many holders are not known
        """
        super().__init__(stats, waited, holders, unknown, reason, ages)
        self.stats = stats


class PoolClosed(Exception):  # noqa: N818 - no error as such
    """The pool was shut down."""


class Pool:
    """The slots of a pool and the requests for them."""

    # What the fast ways read, which is quicker in slots.
    __slots__ = (
        "__dict__", "__weakref__", "idle", "is_careful", "lost", "maintenance",
        "plenty", "put", "room", "take", "take_dedicated", "tick", "tracks",
        "trust", "waiting")

    def __init__(
            self, backend: Backend, limits: Limits,
            tracks: bool | None = None) -> None:
        """Set up the pool.

        tracks: whether it notes who has a connection; None means from the
            moment on at which more than half of them are in use, or at which
            a request waits
        """
        self.backend = backend
        self.limits = limits
        self.is_closed = False
        # How many seconds a request waits if it does not say that itself;
        # None means without a limit.
        self.timeout: float | None = None
        # Whether connections are to be looked at when they are taken.
        self.is_careful = False
        self.tracks = tracks
        # The timer measures how long requests take, each time when tick()
        # returns 0; trust knows which connections are alive.
        self.timer: Any = None
        self.tick: Callable[[], int] | None = None
        self.trust: Any = None
        self.throttle = ConnectThrottle(backend.is_outage)
        self.maintenance: Any = None
        # They reset connections in other threads, if there are any.
        self.reset_workers: Any = None
        # They are told what the pool had to do to serve a request.
        self.observers: tuple[Observer, ...] = ()
        # What decides about requests, unless they are all alike; and for how
        # many seconds a waiter may be overtaken.
        self.policy: Any = None
        self.barging = 0.0
        self.rank: Any = None
        # The order in which idle connections are handed out.
        self.order: type[deque[Permit]] = OldestFirst
        # Taken while other limits are worked out from the present ones.
        self.changing = Mutex()
        # Whether helpers connect for requests that have a deadline.
        self.has_helpers = False
        self._begin()
        register_for_fork(self)

    def _begin(self) -> None:
        """Begin to work, with nothing."""
        self.slots = Slots(self.limits.maxconnections)
        self.lost = self.slots.lost
        # Connections that were opened in earlier rounds do not stay; and how
        # often all idle ones were closed.
        self.round = 0
        self.emptied = 0
        self.idle: deque[Permit] = self.order()
        # Weak references to the waiters.
        self.waiting: list[Any] = []
        self.queue = Queue(self.waiting)
        self.queue.rank = self.rank
        self.sharing = Sharing(self.backend.is_shareable)
        # The permits of connections that are in use without a lease.
        self._held: dict[int, Permit] = {}
        self._oldest = OldestHolders()
        # The numbers of connections that were opened and closed, and of
        # requests that got no connection.
        self.opened, self.closed, self.refused = Count(), Count(), Count()
        self.choose_ways()

    def after_fork(self) -> None:
        """Be empty in a forked child; what is in use stays in the parent."""
        for checkout in self._checkouts():
            end(checkout)
        self.throttle = ConnectThrottle(self.backend.is_outage)
        if self.reset_workers is not None:
            self.reset_workers.after_fork()
        if self.policy is not None:
            self.policy.after_fork()
        self.changing = Mutex()
        self._begin()

    def let_go(self) -> None:
        """Have no reference to itself, when the pool is dropped."""
        self.take = self.take_dedicated = self._way_out = _NONE_IDLE.popleft

    # The fast ways.

    def choose_ways(self) -> None:
        """Choose the shortest ways out and back that the options allow.

        If another thread changes the options meanwhile, do it again.
        """
        options = None
        while options != self._options():
            options = self._options()
            self._choose(*options)
        self.measure_load()
        self._look_at_waiters()

    def _options(self) -> tuple[bool, bool, bool, bool | None, bool, Any]:
        """Return all that the ways depend on."""
        policy, maintenance = self.policy, self.maintenance
        return (
            self.is_closed, policy is not None and policy.has_limits,
            self._needs_care(), self.tracks,
            maintenance is not None and maintenance.needs_times, self.order)

    def _choose(
            self, is_closed: bool, has_limits: bool, needs_care: bool,
            tracks: bool | None, needs_times: bool, _order: Any) -> None:
        take: Any = self.idle.popleft
        if is_closed or has_limits:
            take = _NONE_IDLE.popleft
        elif needs_care:
            take = MethodType(self.backend.take_with_care, self)
        elif tracks:
            take = MethodType(self.backend.take_and_note, self)
        put: Any = self.idle.append
        if has_limits:
            put = MethodType(Pool.put_back, self)
        elif needs_times:
            put = self.maintenance.way_back(self.idle)
        # each is set once, also if this is interrupted
        self._way_out, self.put = take, put

    def _needs_care(self) -> bool:
        """Return whether something is to be looked at before lending."""
        return bool(
            self.is_careful or self.tick is not None or self._may_track()
            or (self.maintenance is not None
                and self.maintenance.needs_times))

    def _look_at_waiters(self) -> None:
        """Open the ways, or block them for those who would overtake.

        If that was changed by another thread meanwhile, do it again.
        """
        ways = None
        while ways != self._ways():
            ways = self._ways()
            self.take, self.take_dedicated, self.room = ways

    def _ways(self) -> tuple[Any, Any, int]:
        """Return take, take_dedicated and room, as they have to be now."""
        way = self._way_out if self._may_be_taken() else _NONE_IDLE.popleft
        return (
            _NONE_IDLE.popleft if self.limits.maxshared else way, way,
            0 if self.waiting else self._open_room())

    def _open_room(self) -> int:
        """Return from how many idle connections on none comes back quickly."""
        if self.is_closed or self.slots.is_oversized():
            return 0
        maxcached = self.limits.maxcached
        return _ANY_NUMBER if maxcached is None else maxcached

    # Keeping track of holders.

    def _may_track(self) -> bool:
        """Return whether more than half of the connections can be in use."""
        limit = self.limits.maxconnections
        return self.tracks is None and limit is not None and (
            len(self.slots) > limit // 2)

    def measure_load(self) -> None:
        """Update how many have to be idle if not half of them are in use."""
        limit = self.limits.maxconnections
        self.plenty = len(self.slots) - (limit or 0) // 2 if (
            self._may_track()) else 0

    def note_load(self) -> None:
        """Begin to keep track of holders when half of them are in use."""
        if self._may_track():
            self.measure_load()
            if len(self.idle) < self.plenty:
                self.track()

    def note_growth(self) -> None:
        """Note that a slot was added and is in use."""
        if self.tracks is None and self._may_track():
            if not self.plenty:  # until now it could not be half of them
                self.choose_ways()
            self.note_load()

    def track(self) -> None:
        """Keep track of holders from now on, unless that is not wanted."""
        if self.tracks is None:
            self.tracks = True
            self.choose_ways()

    # Reading.

    @property
    def in_use(self) -> int:
        """The number of slots that are not idle."""
        return max(len(self.slots) - len(self.idle), 0)

    def stats(self) -> PoolStats:
        """Return the state of the pool."""
        self.reclaim()
        return self.state()

    def state(self) -> PoolStats:
        """Return the state of the pool as it is."""
        maxconnections, maxcached, maxshared, maxwaiting, mincached = (
            self.limits)
        return PoolStats(
            maxconnections, mincached, maxcached, maxshared, maxwaiting,
            self.in_use, len(self.idle), len(self.sharing.groups),
            len(self.queue), self.opened.read(), self.closed.read(),
            self.throttle.reconnects.read(), self.refused.read())

    def permits_in_use(self) -> Iterator[Permit]:
        """Yield the permits and shares whose checkouts are going on."""
        for slot in self.slots.all():
            permit = slot()
            if permit is not None and permit.checkout:
                yield permit
        for group in list(self.sharing.groups.values()):
            for tether in list(group.tethers.values()):
                share = tether()
                if share is not None and share.checkout:
                    yield share

    def _checkouts(self) -> list[Checkout]:
        return [permit.checkout for permit in self.permits_in_use()
                if permit.checkout]

    def has_holder(self) -> bool:
        """Return whether a program holds a connection."""
        return self.in_use > 0 and any(self._checkouts())

    def holders(self) -> list[Holder]:
        """Return the holders of connections, the longest first."""
        return self._oldest.read(self.permits_in_use())[0]

    def connections(self) -> list[Any]:
        """Return all connections, idle or in use."""
        cons = [slot.con for slot in self.slots.all()]
        return [con for con in cons if con is not None]

    def idle_connections(self) -> list[Any]:
        """Return the idle connections, the oldest first."""
        self.reclaim()
        return [permit.slot.con for permit in snapshot(self.idle)]

    def shared_records(self) -> list[Any]:
        """Return the records of the shared connections."""
        self.reclaim()
        groups = list(self.sharing.groups.values())
        return [group.record for group in groups]

    def notify(self, event: str, *details: Any) -> None:
        """Tell the observers, whose errors are only logged."""
        for observer in self.observers:
            with quietly("telling an observer of a pool"):
                getattr(observer, event)(*details)

    # Acquiring.

    def acquire(
            self, connect: Callable[[], Any], timeout: float | None,
            shareable: bool = False, pool: Any = None,
            request: Request | None = None) -> Permit:
        """Return the permit of a connection that is ready for use.

        timeout: how many seconds to wait at most; None means no limit
        pool: takes the connection back if it is dropped; see Permit
        request: its level and its tag, if it has any

        Raises PoolTimeout if the wait was in vain, and PoolClosed if the pool
        was shut down.
        """
        try:
            return self._acquire(
                connect, timeout, shareable and self.limits.maxshared > 0,
                pool, request)
        except BaseException as error:
            release_frames(error)
            raise

    def _acquire(
            self, connect: Callable[[], Any], timeout: float | None,
            shareable: bool, pool: Any, request: Request | None) -> Permit:
        if self.is_closed:
            raise PoolClosed
        start = monotonic()
        deadline = start + timeout if timeout else None
        permit = None
        while True:
            try:
                permit = self._find(shareable, request, timeout)
                return Opener(self).ready(
                    permit, connect, pool, shareable, deadline)
            except Elsewhere:
                if deadline is not None:
                    timeout = max(deadline - monotonic(), 0)
            except Late:
                raise self._refusal(
                    monotonic() - start, late_text(),
                ) from self.throttle.last_error()
            finally:
                permit = None  # which the traceback of an attempt could keep

    def request(self, priority: Any, tag: Any) -> Request | None:
        """Return the level and the tag of a request, after checking them."""
        policy = self.policy
        if policy is not None:
            return policy.request(priority, tag)
        if priority is None and tag is None:
            return None
        raise TypeError(
            "This pool knows no priorities and tags,"
            " a ResourceAllocationPooledDB does.")

    def _find(
            self, shareable: bool, request: Request | None,
            timeout: float | None) -> Permit:
        """Return the permit of a slot, waiting for it if need be."""
        if self.lost or self.sharing.lost:
            self.reclaim()
        permit = None
        if self._may_be_taken():
            # A waiter that comes after we have seen an empty queue looks
            # itself for what is idle, so no waiter is overtaken.
            permit = self._take(shareable, request)
        if permit is not None:
            return permit
        self.track()
        return self._wait(Waiter(shareable, request), timeout)

    def _take(self, shareable: bool, request: Request | None) -> Permit | None:
        """Return what a request can be served with now, or None."""
        policy = self.policy
        if policy is None or not policy.has_limits:
            return self._take_shared() if shareable else self.take_any()
        admission = policy.admit(request)
        if admission is None:
            return None
        permit = self.take_any()
        if permit is None:
            admission.free()
        else:
            permit.admission = admission
        return permit

    def take_any(self) -> Permit | None:
        """Return a permit, if possible with a connection, or None."""
        return pop(self.idle) or self.slots.take()

    def _take_shared(self) -> Permit | None:
        """Return the permit of a connection to be shared, or a share."""
        permit, sharing, limit = None, self.sharing, self.limits.maxshared
        if sharing.number < limit:
            permit = self.take_any()
        if permit is None:
            return sharing.join()
        if not sharing.may_begin(permit.slot, limit):
            self.put_back_unused(permit)
            return sharing.join()
        return permit

    def share_idle(self, pool: Any) -> Any:
        """Return a share of an idle connection, None if there is none.

        This inlines acquire() for the usual case.
        """
        permit = share = None
        try:
            limit = self.limits.maxshared
            if self.sharing.number >= limit:
                return None
            permit = self.take_dedicated()
            if not self.sharing.may_begin(permit.slot, limit):
                self.put_back_unused(permit)
                return None
            share = self.sharing.publish(
                permit, self.backend.share(permit.slot.con))
            share.checkout = [pool]
            if self.tracks:
                note_caller(share, 3)
            if self.waiting:
                self.serve()
            return share
        except IndexError:
            permit = None  # none is idle, or more has to be done
        except Exception:
            if share is None and permit is not None:
                self.abort(permit)
            raise
        except BaseException:
            permit = share = None  # not to be kept by the traceback
            raise
        return None

    def hold_permit(self, permit: Permit) -> None:
        """Keep a connection in use until it is released explicitly."""
        self._held[id(permit.slot.con)] = permit

    # Waiting.

    def _may_be_taken(self) -> bool:
        """Return whether a request may take what is idle.

        It must not overtake a waiter, unless that has only just come.
        """
        if not self.waiting:
            return True
        first = self.queue.first() if self.barging > 0 else None
        return first is not None and (
            monotonic() - first.since < self.barging)

    def _wait(self, waiter: Waiter, timeout: float | None) -> Permit:
        """Return the permit that a waiter is granted in its turn."""
        start = monotonic()
        permit = self._in_turn(waiter, timeout)
        waited = monotonic() - start
        if self.observers:
            self.notify("waited", waited, permit is not None)
        if permit is not None:
            return permit
        if self.is_closed:
            raise PoolClosed
        policy = self.policy
        raise self._refusal(
            waited, None if policy is None else policy.refusal(waiter.request))

    def _in_turn(self, waiter: Waiter, timeout: float | None) -> Any:
        """Wait for the permit, and return it, or None if that was in vain."""
        link = ref(waiter)
        try:
            self._queue_up(link)
            self.serve()
            if not self._may_queue(waiter):
                timeout = 0
            deadline = None if timeout is None else waiter.since + timeout
            while not waiter.answer:
                self._wait_a_bit(waiter, link, deadline)
        except BaseException:
            self._withdraw(waiter)
            raise
        if waiter.permit is None:  # otherwise the one that served it does it
            self._leave(link)
        return waiter.permit

    def _queue_up(self, link: Any) -> None:
        """Enqueue a waiter; newcomers queue behind it."""
        self.waiting.append(link)
        self._look_at_waiters()

    def _leave(self, link: Any) -> None:
        """Take a waiter out of the queue, if it is still there."""
        self.queue.drop(link)
        if not self.waiting or self.barging:
            self._look_at_waiters()

    def _may_queue(self, waiter: Waiter) -> bool:
        """Return whether the queue was not too long when a waiter came."""
        limit = self.limits.maxwaiting
        return limit is None or bool(waiter.answer) or (
            waiter in self.queue.in_order()[:limit])

    def _wait_a_bit(
            self, waiter: Waiter, link: Any, deadline: float | None) -> None:
        """Wait until woken up, or until it is time to look again."""
        if deadline is not None and monotonic() >= deadline and not (
                self._is_coming(waiter)):
            waiter.give_up()
        if self.is_closed:
            waiter.give_up()
        if not waiter.answer:
            waiter.wait(self.queue.pause(link, deadline))
        if not waiter.answer:
            if is_ending():  # no other thread will give anything back
                waiter.give_up()
            self.reclaim()
            self.serve()
            if self.barging:  # which may have lasted long enough
                self._look_at_waiters()

    def _is_coming(self, waiter: Waiter) -> bool:
        """Return whether there will be a connection in a moment."""
        return (waiter.shareable and self.sharing.is_preparing) or (
            self.reset_workers is not None and self.reset_workers.is_busy())

    def _withdraw(self, waiter: Waiter) -> None:
        """Take back a request whose wait was interrupted."""
        waiter.give_up()
        self._leave(ref(waiter))
        if waiter.permit is not None:
            self.put_back_unused(waiter.permit)
        self.serve()

    def _refusal(self, waited: float, reason: str | None) -> PoolTimeout:
        self.refused.step()
        self.track()
        holders, unknown = self._oldest.read_few(
            self.permits_in_use, self.tracks is True)
        return PoolTimeout(
            self.state(), waited, holders, unknown, reason,
            self.throttle.attempts.ages())

    # Handing on.

    def serve(self) -> None:
        """Hand free slots to waiters, in the order of service.

        Requests for shared and for dedicated connections want different
        things, and so do those with different tags: where one kind has to
        wait, another one is served.
        """
        if not self.waiting:
            return
        if self.limits.maxshared or (
                self.policy is not None and self.policy.has_limits):
            while self._serve_kinds():
                pass  # somebody has left meanwhile
        else:
            self._serve_alike()

    def _serve_kinds(self) -> bool:
        """Serve waiters that want different things; return whether to retry."""
        blocked = set()
        again = False
        for waiter in self.queue.in_order():
            if waiter.answer:
                continue  # another thread has served it
            kind = waiter.shareable, waiter.request and waiter.request.tag
            permit = None
            if kind not in blocked:
                permit = self._take(waiter.shareable, waiter.request)
            if permit is None:
                blocked.add(kind)
            else:
                again = not self._grant(waiter, permit) or again
        return again

    def _serve_alike(self) -> None:
        """Serve waiters that all want the same, until nothing is left."""
        while self.waiting and (self.idle or self.slots.has_room()):
            waiter = self.queue.first()
            permit = None if waiter is None else self.take_any()
            if waiter is None or permit is None:
                return
            self._grant(waiter, permit)

    def _grant(self, waiter: Waiter, permit: Permit) -> bool:
        """Hand a permit to a waiter; return whether it was still there.

        Record the grant first: the woken thread may finish and serve the next
        waiter before we return.
        """
        policy = self.policy
        if policy is not None:
            policy.served(waiter.request)
        is_wanted = waiter.grant(permit)
        if is_wanted:
            self._leave(ref(waiter))
        else:
            self.put_back_unused(permit)
            if policy is not None:
                policy.not_served(waiter.request)
        return is_wanted

    def nudge(self) -> None:
        """Wake the first waiter up, to take back what was lost."""
        self.queue.nudge()

    # Releasing.

    def release(self, con: Any) -> bool:
        """Take a connection back; return whether it was in use."""
        slot = self.slot_of(con)
        permit = None if slot is None else slot.permit
        if permit is None:
            return False
        self._held.pop(id(con), None)
        return self.release_dropped(permit)

    def slot_of(self, con: Any) -> Slot | None:
        """Return the slot of a connection, if the pool has it."""
        slots = self.slots.all()
        return next((slot for slot in slots if slot.con is con), None)

    def release_dropped(self, permit: Permit) -> bool:
        """Take back what others may hold; return whether it was in use.

        This can be called at any moment, also by a finalizer.
        """
        if not end(permit.checkout):
            return False
        if is_collecting():  # the permit dies with its holder
            self.nudge()
            return True
        # the permit of the holder is void from now on
        free_tokens(permit)
        fresh = self.slots.reissue(permit.slot)
        if fresh is not None:
            self.release_permit(fresh)
        return True

    def release_permit(self, permit: Permit) -> None:
        """Take back what its only holder does not need any longer."""
        try:
            self.reset(permit)
        except BaseException as error:
            release_frames(error)
            raise
        if self.lost:
            self.reclaim()

    def release_share(self, share: Any) -> None:
        """Take back one share of a connection, like release()."""
        if is_collecting():
            self.nudge()
            return
        checkout = share.checkout
        if checkout and len(share.group.tethers) > 1:
            self.backend.part(share.slot.con, checkout)
        if self.sharing.end(share):
            self._end_groups()
            self.serve()

    def _end_groups(self) -> None:
        """Take back the connections of groups that have no sharers left."""
        group = self.sharing.emptied()
        while group is not None:
            if group.is_detached:
                self._close_group(group)
            else:
                self.reset(group.permit)
            group = self.sharing.emptied()

    def release_one_share(self, con: Any) -> None:
        """Take back the first share of a connection."""
        for group in list(self.sharing.groups.values()):
            if group.permit.slot.con is con:
                for tether in list(group.tethers.values())[:1]:
                    share = tether()
                    if share is not None:
                        self.release_share(share)

    def reset(self, permit: Permit) -> None:
        """Reset a connection that came back, or close it if it is surplus."""
        if self.reset_workers is None or not self.reset_workers.takes(
                self, permit):
            self.reset_here(permit)

    def reset_here(
            self, permit: Permit,
            is_expected: Callable[[], bool] | None = None) -> None:
        """Do the same in this thread.

        is_expected: tells at the end whether the reset was not given up
        """
        slot, emptied = permit.slot, self.emptied
        can_stay = False
        try:
            can_stay = self.may_stay(slot) and (
                self.backend.quick_reset(slot.con)
                or self.backend.reset(slot.con))
        finally:
            if is_expected is not None and not is_expected():
                self.close(slot)  # it has left the pool
            elif can_stay:
                self.put_back(permit, emptied)
            else:
                self.discard(permit)

    def abandon(self, slot: Slot) -> None:
        """Replace a slot whose connection cannot be reset in time.

        The thread that tries to reset it closes it when it gives up.
        """
        self.slots.give_up(slot)
        self.serve()

    def may_stay(self, slot: Slot) -> bool:
        """Return whether a connection is still wanted."""
        maintenance = self.maintenance
        if maintenance is not None and maintenance.is_expired(slot):
            return False
        return slot.round == self.round and self._has_room()

    def _has_room(self) -> bool:
        """Return whether a connection that comes back may be idle."""
        maxcached = self.limits.maxcached
        return not self._has_surplus() and (
            maxcached is None or len(self.idle) < maxcached)

    def _has_surplus(self) -> bool:
        return self.is_closed or self.slots.is_oversized()

    def place(self, permit: Permit) -> None:
        """Hand a clean connection to the next waiter, or put it back."""
        if self.waiting and not (
                self.limits.maxshared or self.policy is not None
                or self.is_closed or self.slots.is_oversized()):
            waiter = self.queue.first()
            if waiter is not None and waiter.grant(permit):
                self._leave(ref(waiter))
                return
        if self.may_stay(permit.slot):
            self.put_back(permit)
        else:
            self.discard(permit)

    def put_back(self, permit: Permit, emptied: int | None = None) -> None:
        """Make a connection idle, or hand it to the next waiter.

        emptied: how often the pool had been emptied when a function began to
            work on the connection; if it was emptied since, close this, too
        """
        slot = permit.slot
        if emptied is not None and emptied != self.emptied:
            self.discard(permit)
            return
        self.sharing.stop(slot)
        if permit.admission is not None:
            free_tokens(permit)
        if self.maintenance is not None:
            self.maintenance.used(slot)
        permit.checkout = None
        self.idle.append(permit)
        self._hand_on()

    def after_release(self) -> None:
        """Do what is left to do after a connection has become idle."""
        self._hand_on()
        if self.lost:
            self.reclaim()

    def _hand_on(self) -> None:
        """Serve waiters, and close what is too much."""
        if self.waiting:
            self._serve_or_nudge()
        maxcached = self.limits.maxcached
        while self.idle and (self._has_surplus() or (
                maxcached is not None and len(self.idle) > maxcached)):
            permit = pop(self.idle, last=True)
            if permit is not None:
                self.discard(permit)

    def _serve_or_nudge(self) -> None:
        """Serve waiters, or only wake the first if others may be faster."""
        if self.barging and self._may_be_taken():
            self.queue.nudge()
        else:
            self.serve()

    def put_back_unused(self, permit: Permit) -> None:
        """Put back what was not used after all; it is handed out next."""
        slot = permit.slot
        if permit.admission is not None:
            free_tokens(permit)
        if permit.is_share:
            self.abort(permit)
        elif slot.con is None or slot.round != self.round:
            self.discard(permit)
        else:
            self.sharing.stop(slot)
            self.idle.appendleft(permit)

    def abort(self, permit: Permit) -> None:
        """Give up a slot whose connection could not be made ready.

        Do nothing if a helper has the slot, or had it meanwhile.
        """
        if self.throttle.attempts.leave(permit):
            return
        if permit.is_share:
            # it dies without having begun
            self.sharing.lost.append(permit.tether)  # type: ignore[attr-defined]
            self.reclaim()
            self.serve()
        elif self.slots.has(permit.slot):
            self.discard(permit)

    def discard(self, permit: Permit) -> None:
        """Close the connection of a slot for good, and give the slot up."""
        slot = permit.slot
        if permit.admission is not None:
            free_tokens(permit)
        try:
            self.close(slot)
        finally:
            self._give_up(slot)

    def _give_up(self, slot: Slot) -> None:
        was_oversized = self.slots.is_oversized()
        self.sharing.stop(slot)
        self.slots.give_up(slot)
        if was_oversized:
            self._look_at_waiters()
        if self.plenty:
            self.measure_load()
        self.serve()

    def close(self, slot: Slot) -> None:
        """Close the connection of a slot, if there is one."""
        con, slot.con = slot.con, None
        if con is not None:
            self._close(con, slot.is_counted)

    def _close(self, con: Any, is_counted: bool) -> None:
        if is_counted:
            self.closed.step()
        with quietly("closing a connection of a pool"):
            self.backend.close(con)

    # Reclaiming.

    def reclaim(self) -> None:
        """Take back lost slots, unless the collector or the end forbids it."""
        if vacancies:
            fill_vacancies()
        if self.reset_workers is not None:
            self.reset_workers.ensure()
        if not (self.lost or self.sharing.lost) or is_collecting() or (
                is_ending()):
            return
        permit: Any = self
        while permit is not None:
            permit = None
            with quietly("taking a connection back"):
                permit = self.slots.reissue_lost()
                if permit is not None:
                    self._take_back(permit)
        while self.sharing.lost:
            with quietly("taking shared connections back"):
                self._end_groups()

    def _take_back(self, permit: Permit) -> None:
        """Take back the permit of a lost slot."""
        self.sharing.stop(permit.slot)
        if permit.slot.con is None:
            self.discard(permit)
        else:
            self.reset(permit)

    def _close_group(self, group: Any) -> None:
        """Close the connection of a group, and count that once."""
        slot = group.permit.slot
        self._close(slot.con, group.is_first_to_close() and slot.is_counted)

    # Leaving the pool, and joining it.

    def destroy(self, lease: Any) -> None:
        """Close the connection of a lease for good, unless it was released."""
        checkout, permit = hand_over(lease)
        if end(checkout):
            self.discard(permit)

    def detach(self, lease: Any) -> Any:
        """Return the connection of a lease, if any; it leaves the pool."""
        checkout, permit = hand_over(lease)
        return self._detach(permit) if end(checkout) else None

    def detach_idle(self) -> Any:
        """Return the oldest idle connection, if any; it leaves the pool."""
        self.reclaim()
        permit = pop(self.idle)
        return None if permit is None else self._detach(permit)

    def _detach(self, permit: Permit) -> Any:
        con, permit.slot.con = permit.slot.con, None
        self._give_up(permit.slot)
        return con

    def adopt(self, con: Any) -> None:
        """Take in a connection that was opened elsewhere."""
        permit: Any = self.slots.take(is_surplus=True)
        permit.slot.round = self.round
        permit.slot.con = con
        self.put_back(permit)

    def open_ahead(self, connect: Callable[[], Any]) -> bool:
        """Open an idle connection; return whether there was a slot for it."""
        permit = None if self.is_closed else self.slots.take()
        if permit is None:
            return False
        Opener(self).open_ahead(permit, connect)
        return True

    def take_out(self, permit: Permit) -> bool:
        """Take out an idle connection; return whether it was still there."""
        return remove(self.idle, permit)

    def trim(self, number: int) -> int:
        """Close idle connections until some remain; return how many.

        number: how many remain, those that were idle for the shortest time
        """
        self.reclaim()
        closed = 0
        while len(self.idle) > number:
            permit = None
            with suppress(IndexError):  # others do the same
                permit = deque.popleft(self.idle)
            if permit is not None:
                self.discard(permit)
                closed += 1
        return closed

    # The whole pool.

    def set_order(self, own: bool | None, latest: bool | None) -> None:
        """Set the order in which idle connections are handed out."""
        self.order = order_of(self.order, own, latest)
        self.idle.__class__ = self.order
        self.choose_ways()

    def resize(self, adjust: Callable[[Limits], Limits]) -> None:
        """Change the limits.

        adjust: works them out from the present ones

        Idle connections beyond them are closed now, and those in use when they
        come back.
        """
        self.reclaim()
        with self.changing.take():
            limits = adjust(self.limits)
            if self.policy is not None:
                self.policy.check_limits(limits)
            self.limits = limits
            self.slots.limit = limits.maxconnections
        self.choose_ways()
        self.after_release()
        self.serve()

    def clear(self, waits: bool = False) -> None:
        """Close all idle and all shared connections.

        waits: whether a connection stays open until its last sharer leaves,
            so that it is not closed in the middle of a statement
        """
        self.reclaim()
        self.emptied += 1
        self.close_idle()
        for group in self.sharing.detach_all():
            slot = group.permit.slot
            self.slots.give_up(slot)
            stays = waits or not self.backend.can_be_closed_in_use(slot.con)
            if not (stays and group.count()):
                self._close_group(group)
        self.serve()

    def close_idle(self) -> None:
        """Close the connections that are idle now."""
        for _ in range(len(self.idle)):
            permit = pop(self.idle)
            if permit is not None:
                self.discard(permit)

    def drain(self) -> None:
        """Close all connections, those in use as soon as they come back."""
        self.round += 1
        for con in self.connections():
            self.backend.retire(con)
        self.clear(waits=True)

    def shut_down(self, timeout: float | None) -> bool:
        """Close the pool for good; return whether all came back in time."""
        self.is_closed = True
        self.choose_ways()
        self.queue.refuse_all()
        self.round += 1
        self.clear()
        pause, start = threading.Event(), monotonic()
        while self.stats().in_use:
            if timeout is not None and monotonic() - start >= timeout:
                return False
            pause.wait(_SHORT_LOOK)
        return True
