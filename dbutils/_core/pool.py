"""The core of all pools, which knows no database.

It hands out places for connections, of which there are at most as many as the
limit says.  Requests are served first come, first served, and a connection
that comes back goes directly to the next waiter.

There is no lock that could be held for long, or be left locked: the owner of
a slot changes by single steps written in C, and what was dropped comes back
by itself; see the module "slots".  Therefore all this can be interrupted
anywhere, by another thread, by a signal handler that uses the same pool, or
by an exception.

The core is the state and its parts; the work on it is done by functions in
the modules "ways", "acquiring", "serving", "releasing", "reclaiming" and
"leaving", which know each other only as methods of the core.
"""

from __future__ import annotations

import threading
from time import monotonic

from .._base.atomic import Count, Sum, pop, pop_last, snapshot
from .._base.errors import quietly
from .._base.fork import register_for_fork
from .._base.hints import Any, Callable, Deque, Iterator
from .._base.mutex import Mutex
from . import acquiring, leaving, reclaiming, releasing, serving, ways
from .backend import Backend
from .ceiling import limit_of
from .limits import Filling, Limits, limits_text
from .refusals import OldestHolders
from .sharing import Sharing
from .slots import (
    CLEARED,
    REASONS,
    Checkout,
    Holder,
    OldestFirst,
    Permit,
    Slot,
    Slots,
    end,
    end_in_silence,
)
from .story import Story
from .throttle import ConnectThrottle
from .uses import end_use
from .waiting import Queue

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from .stats import PoolStats

__all__ = ["VERBS", "Pool"]

# All that other parts use of a pool's core, besides the functions of this
# part that get a core.
VERBS = (
    # requests and leases
    "acquire", "request", "release", "release_permit", "release_dropped",
    "release_share", "release_one_share", "share_idle", "put_back_unused",
    "abort", "hold_permit", "destroy", "detach", "after_release", "nudge",
    "lose", "place", "wait_on", "withdraw",
    # idle connections
    "adopt", "detach_idle", "idle_connections", "open_ahead", "trim",
    "expel",
    # the whole pool
    "reclaim", "resize", "clear", "drain", "shut_down", "stats", "state",
    "filling", "leaked", "oldest_lease",
    "holders", "shared_records", "connections", "choose_ways", "let_go",
    "after_fork", "story",
    # attributes: options, and what measures the pool
    "slots", "limits", "is_closed", "timeout", "timer", "tick", "trust",
    "changing", "is_careful", "track", "maintenance", "set_order",
    "way_to_check", "observers", "kinds", "in_use", "tracks")

# In seconds, the time between two looks for what has come back.
_SHORT_LOOK = 0.01


class Pool:
    """The slots of a pool and the requests for them."""

    # The fields of the fast ways, which are read more quickly in slots.
    __slots__ = (
        "__dict__", "__weakref__", "backend", "idle", "is_careful", "is_plain",
        "limits", "lost", "maintenance", "plenty", "put", "room",
        "sharing", "take", "take_dedicated", "take_idle", "tick", "timeout",
        "times", "tracks", "trust", "waiting")

    is_plain: bool
    room: int | None
    # The limit that a server with too many connections has set, if any.
    ceiling: Any = None
    # Tells connections apart, if not all of them fit each request.
    kinds: Any = None
    # Whether requests have to wait for the end of a break; and the drain that
    # was begun last, if that takes its time.
    is_paused = False
    slow_drain: Any = None
    # Whether the pool leaves places to other processes when it is always full,
    # and what does that once it has been full.
    yields = False
    yielding: Any = None

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
        # Whether connections are to be looked at when they are taken; and the
        # way out if checking them is all that is done then, or None.
        self.is_careful, self.way_to_check = False, None
        # Whether it notes who has a connection: True, or None, which is tested
        # quickly; whether it begins with that by itself; and whether it reads
        # the clock once more when such a use has ended.
        self.tracks, self.may_track, self.times = (
            tracks or None, tracks is None, tracks is True)
        # The timer measures how long requests take, each time when tick()
        # returns 0; trust knows which connections are alive.
        self.timer: Any = None
        self.tick: Callable[[], int] | None = None
        self.trust: Any = None
        # Where its events are announced.
        self.story = Story()
        self.throttle = ConnectThrottle(backend.is_outage, self.story)
        self.maintenance: Any = None
        # They reset connections in other threads, if there are any.
        self.reset_workers: Any = None
        # They are told of each request; see the module "observing".
        self.observers: Any = ()
        # The policy decides about requests, unless they are all alike; and for
        # how many seconds a waiter may be overtaken.
        self.policy: Any = None
        self.barging = 0.0
        self.rank: Any = None
        # Looks whether threads ask for more than one connection, if that is
        # not allowed; and whether a certain deadlock is an error.
        self.nesting, self.raises_deadlocks = None, False
        # The order in which idle connections are handed out.
        self.order: type[Deque[Permit]] = OldestFirst
        # Taken while other limits are worked out from the present ones.
        self.changing = Mutex()
        # Whether helpers connect for requests that have a deadline.
        self.has_helpers = False
        self._begin()
        register_for_fork(self, is_connection=True, method="leave_to_parent")
        register_for_fork(self)

    def _begin(self) -> None:
        """Begin to work, with nothing."""
        self.slots = Slots(
            self.limits.maxconnections,
            None if self.backend.is_embedded else self.limits.connecting)
        self.ceiling = None
        self.lost = self.slots.lost
        # Connections that were opened in earlier rounds do not stay; and how
        # often all idle ones were closed.
        self.round = 0
        self.emptied = 0
        self.idle: Deque[Permit] = self.order()
        # Weak references to the waiters.
        self.waiting: list[Any] = []
        self.queue = Queue(self.waiting)
        self.queue.rank = self.rank
        self.sharing = Sharing(self.backend.is_shareable)
        # The permits of connections that are in use without a lease.
        self.held: dict[int, Permit] = {}
        self.oldest = OldestHolders()
        # How long opening connections and waiting for them took, how many
        # requests got none, and how many of these because of the time, and
        # how many connections were closed, by the reason.
        self.opened, self.waits = Sum(), Sum()
        self.refused, self.timeouts = Count(), Count()
        self.closed = {reason: Count() for reason in REASONS}
        # How many leases were dropped or reported as leaks; how many uses
        # have ended, as it was read last; and the time of those of shared
        # connections.
        self.leaked, self.returned, self.shared_uses = Count(), 0, Sum()
        self.choose_ways()

    def leave_to_parent(self) -> None:
        """Leave all connections to the parent of a forked child."""
        for con in self.connections():
            with quietly("leaving a connection to the parent"):
                self.backend.after_fork(con)

    def after_fork(self) -> None:
        """Be empty in a forked child; what is in use stays in the parent."""
        self._end_checkouts()
        lacks = self.throttle.lacks
        self.throttle = ConnectThrottle(self.backend.is_outage, self.story)
        self.throttle.lacks = lacks
        self.story.begin_anew()
        if self.reset_workers is not None:
            self.reset_workers.after_fork()
        if self.policy is not None:
            self.policy.after_fork()
        self.changing = Mutex()
        self._begin()

    def _end_checkouts(self) -> None:
        """End all checkouts; observers are told of that later."""
        observers = self.observers
        if observers:
            observers.defers = True
        for checkout in self._checkouts():
            end(checkout)
        if observers:
            observers.defers = False

    def let_go(self) -> None:
        """Drop all references to itself, when the pool is dropped."""
        self.take = self.take_dedicated = ways.none_is_idle
        self.way_out = self.watched_way = ways.none_is_idle
        self.put = self.idle.append

    # Its work: functions of the modules that are named, which get the core.
    choose_ways = ways.choose_ways
    look_at_waiters = ways.look_at_waiters
    may_be_taken = ways.may_be_taken
    measure_load = ways.measure_load
    note_load = ways.note_load
    note_growth = ways.note_growth
    track = ways.track

    acquire = acquiring.acquire
    request = acquiring.request
    find = acquiring.find
    take_for = acquiring.take_for
    take_any = acquiring.take_any
    share_idle = acquiring.share_idle
    hold_permit = acquiring.hold_permit

    wait_in_turn = serving.wait_in_turn
    wait_on = serving.wait_on
    withdraw = serving.withdraw
    outcome = serving.outcome
    queue_up = serving.queue_up
    leave = serving.leave
    serve = serving.serve

    release = releasing.release
    release_dropped = releasing.release_dropped
    release_permit = releasing.release_permit
    reset = releasing.reset
    reset_here = releasing.reset_here
    may_stay = releasing.may_stay
    has_surplus = releasing.has_surplus
    place = releasing.place
    put_back = releasing.put_back
    put_back_unused = releasing.put_back_unused
    after_release = releasing.after_release
    hand_on = releasing.hand_on

    reclaim = reclaiming.reclaim
    release_share = reclaiming.release_share
    release_one_share = reclaiming.release_one_share
    leave_share = reclaiming.leave_share
    end_sharing = reclaiming.end_sharing
    count_end = reclaiming.count_end

    abort = leaving.abort
    abandon = leaving.abandon
    discard = leaving.discard
    give_up = leaving.give_up
    close = leaving.close
    close_counted = leaving.close_counted
    destroy = leaving.destroy
    detach = leaving.detach
    detach_idle = leaving.detach_idle
    adopt = leaving.adopt
    open_ahead = leaving.open_ahead
    take_out = leaving.take_out
    trim = leaving.trim
    expel = leaving.expel

    # Reading.

    @property
    def in_use(self) -> int:
        """The number of slots that are not idle."""
        return max(len(self.slots) - len(self.idle), 0)

    def stats(self, name: str = "") -> PoolStats:
        """Return the state of the pool."""
        self.reclaim()
        return self.state(name, self.oldest_lease())

    def oldest_lease(self) -> float | None:
        """Return for how long the oldest lease has lasted, if it is known."""
        return self.oldest.seconds(self.permits_in_use, self.tracks is True)

    def oldest_holders(self) -> tuple[list[Holder], int]:
        """Return the few oldest holders, and how many are unknown."""
        return self.oldest.read_few(self.permits_in_use, self.tracks is True)

    def state(
            self, name: str = "", oldest: float | None = None) -> PoolStats:
        """Return the state of the pool as it is."""
        from .stats import state_of  # noqa: PLC0415 - not all want to see it

        return state_of(self, name, oldest)

    def filling(self) -> Filling:
        """Return how full the pool is."""
        limits = self.limits
        return Filling(
            limits.maxconnections, limits.maxshared, limits.maxwaiting,
            self.in_use, len(self.idle), len(self.queue))

    def permits_in_use(self) -> Iterator[Permit]:
        """Yield the permits and shares whose checkouts are going on."""
        for slot in self.slots.all():
            permit = slot()
            if permit is not None and permit.checkout:
                yield permit
        for share in self.sharing.shares():
            if share.checkout:
                yield share

    def _checkouts(self) -> list[Checkout]:
        return [permit.checkout for permit in self.permits_in_use()
                if permit.checkout]

    def has_holder(self) -> bool:
        """Return whether a program holds a connection."""
        return self.in_use > 0 and any(self._checkouts())

    def holders(self) -> list[Holder]:
        """Return the holders of connections, the longest first."""
        return self.oldest.read(self.permits_in_use())[0]

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
        groups = [permit.group for permit in self.sharing.permits()]
        return [group.record for group in groups if group.count()]

    def lose(self, permit: Permit) -> None:
        """Leave the slot of a dropped lease to the request that finds it.

        This is done at any moment, so nothing is reset here.  The permit is
        void from now on: it dies later if a thread has made it that waits.
        """
        checkout = permit.checkout
        if not end_in_silence(checkout):
            return
        end_use(self, permit)
        if self.observers:
            self.observers.end_later(checkout)
        lost: Permit | None = permit
        if permit.is_share:
            lost = self.sharing.leave(permit)  # type: ignore[arg-type]
            if lost is not None and pop_last(lost.group.attached) is None:
                lost = None  # it has left the pool, and ends with its users
        if lost is not None:
            self.lost.append(lost.slot)
        self.nudge()

    def nudge(self) -> None:
        """Wake the first waiter up, to take back what was lost."""
        self.queue.nudge()

    def slot_of(self, con: Any) -> Slot | None:
        """Return the slot of a connection, if the pool has it."""
        slots = self.slots.all()
        return next((slot for slot in slots if slot.con is con), None)

    # The whole pool.

    def set_order(
            self, own: bool | None = None, latest: bool | None = None) -> None:
        """Set the order in which idle connections are handed out."""
        from .thread_order import order_of  # noqa: PLC0415 - rarely needed

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
            before, self.limits = self.limits, limits
            self.slots.limit = limit_of(self)
        self.choose_ways()
        if limits != before:
            self.story.tell("resized", reason=limits_text(limits))
        self.after_release()
        self.serve()

    def clear(self, waits: bool = False) -> None:
        """Close all idle and all shared connections.

        waits: whether a connection stays open until its last sharer leaves,
            so that it is not closed in the middle of a statement
        """
        self.story.tell("cleared")
        self._clear(waits)

    def _clear(self, waits: bool) -> None:
        self.reclaim()
        self.emptied += 1
        self.close_idle()
        for permit in self.sharing.permits():
            self.end_sharing(permit, waits)
        self.serve()

    def close_idle(self) -> None:
        """Close the connections that are idle now."""
        for _ in range(len(self.idle)):
            permit = pop(self.idle)
            if permit is not None:
                self.discard(permit, CLEARED)

    def drain(self) -> None:
        """Close all connections, those in use as soon as they come back."""
        self.story.tell("drained")
        self.round += 1
        for slot in self.slots.all():
            con = slot.con
            if con is not None:
                self.backend.retire(con)
                self.story.tell("retired", connection=slot.number)
        self._clear(waits=True)

    def shut_down(self, timeout: float | None) -> bool:
        """Close the pool for good; return whether all came back in time."""
        if not self.is_closed:
            self.story.tell("shut_down")
        self.is_closed = True
        self.choose_ways()
        self.queue.refuse_all()
        self.round += 1
        self._clear(waits=False)
        pause, start = threading.Event(), monotonic()
        self.reclaim()
        while self.in_use:
            if timeout is not None and monotonic() - start >= timeout:
                return False
            pause.wait(_SHORT_LOOK)
            self.reclaim()
        return True
