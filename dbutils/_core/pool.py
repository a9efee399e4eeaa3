"""The core of all pools, which knows no database.

It hands out slots for connections, of which there are at most as many as the
limit says.  Requests are served first come, first served, and a connection
that comes back goes directly to the next waiter.

There is no lock that could be held for long, or be left locked: the owner of
a slot changes by single, indivisible steps, and what was dropped comes back
by itself; see the module "slots".  Therefore all this can be interrupted
anywhere, by another thread, by a signal handler that uses the same pool, or
by an exception.

A finalizer that is called by the garbage collector must not talk to the
database, so it only drops its permit.  Waiters look for lost slots from time
to time, and so does each new request.
"""

from __future__ import annotations

import threading
from time import monotonic

from .._base.atomic import pop
from .._base.collecting import is_collecting
from .._base.errors import release_frames
from .._base.fork import register_for_fork
from .._base.hints import Any, Callable
from .._base.mutex import Mutex
from .backend import Backend
from .keeper import Keeper
from .lease import hand_over
from .ledger import Ledger, Limits
from .opener import Opener
from .quotas import Request
from .slots import Holder, Permit, Slot, end
from .stats import PoolStats
from .waiting import Requests

__all__ = ["VERBS", "Pool", "core_of"]

# All that other parts use of a pool's core, besides the functions of this
# part that get a core.
VERBS = (
    # requests and leases
    "acquire", "request", "release", "release_permit", "release_dropped",
    "release_share", "release_one_share", "put_back_unused", "abort",
    "hold_permit", "destroy", "detach", "after_release", "nudge",
    # idle connections
    "adopt", "detach_idle", "idle_connections", "open_ahead", "trim",
    # the whole pool
    "reclaim", "resize", "clear", "drain", "shut_down", "stats", "holders",
    "shared_records", "allow_fast_way",
    # attributes: options, and what measures the pool
    "limits", "is_closed", "timeout", "timer", "tick", "trust", "changing")

# In seconds, the time between two looks for what has come back.
_SHORT_LOOK = 0.01


def core_of(pool: Any) -> Any:
    """Return the core of a pool."""
    return pool._core  # noqa: SLF001 - the one door from outside to inside


class Pool:
    """The slots of a pool and the requests for them."""

    def __init__(
            self, backend: Backend, limits: Limits,
            is_fast: bool = False) -> None:
        # How many seconds a request waits if it does not say that itself;
        # None means without a limit.
        self.timeout: float | None = None
        # The timer measures how long requests take, each time when tick()
        # returns 0; trust knows which connections are alive.
        self.timer: Any = None
        self.tick: Callable[[], int] | None = None
        self.trust: Any = None
        self._is_fast = is_fast
        self._begin(Keeper(backend, Ledger(limits, backend.is_shareable)))
        register_for_fork(self)

    def _begin(self, keeper: Keeper, has_helpers: bool = False) -> None:
        """Begin to work with an empty ledger."""
        self.keeper = keeper
        self.ledger = keeper.ledger
        self.opener = Opener(keeper)
        self.opener.has_helpers = has_helpers
        self._requests = Requests(keeper, self.opener)
        # Taken while other limits are worked out from the present ones.
        self.changing = Mutex()
        # The permits of connections that are in use without a lease.
        self._held: dict[int, Permit] = {}
        self.update_fast_way()

    def after_fork(self) -> None:
        """Be empty in a forked child; what is in use stays in the parent."""
        for checkout in self.ledger.checkouts():
            end(checkout)
        self._begin(
            self.keeper.renewed(self.ledger.renewed()),
            self.opener.has_helpers)
        if self.ledger.policy is not None:
            self.ledger.policy.after_fork()

    @property
    def is_closed(self) -> bool:
        """Whether the pool was shut down."""
        return self.ledger.is_closed

    @property
    def limits(self) -> Limits:
        """The limits of the pool."""
        return self.ledger.limits

    def allow_fast_way(self, is_allowed: bool) -> None:
        """Allow connections to come and go on the fast way, or forbid it."""
        if is_allowed is not self._is_fast:
            self._is_fast = is_allowed
            self.update_fast_way()

    def update_fast_way(self) -> None:
        """Open or close the fast way, as options and limits demand."""
        policy = self.ledger.policy
        self.ledger.allow_fast_way(
            self._is_fast and self.keeper.maintenance is None
            and not (policy is not None and policy.has_limits))

    # Reading.

    def stats(self) -> PoolStats:
        """Return the state of the pool."""
        self.keeper.reclaim()
        return self.keeper.stats()

    def holders(self) -> list[Holder]:
        """Return the holders of connections, the longest first."""
        return self.keeper.holders()

    def idle_connections(self) -> list[Any]:
        """Return the idle connections, the oldest first."""
        self.keeper.reclaim()
        return [permit.slot.con for permit in self.ledger.idle.copy()]

    def shared_records(self) -> list[Any]:
        """Return the records of the shared connections."""
        self.keeper.reclaim()
        return [slot.record for slot in self.ledger.shared.copy()]

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
            return self._requests.acquire(
                connect, timeout, shareable, pool, request)
        except BaseException as error:
            release_frames(error)
            raise

    def request(self, priority: Any, tag: Any) -> Request | None:
        """Return the level and the tag of a request, after checking them."""
        policy = self.ledger.policy
        if policy is not None:
            return policy.request(priority, tag)
        if priority is None and tag is None:
            return None
        raise TypeError(
            "This pool knows no priorities and tags,"
            " a ResourceAllocationPooledDB does.")

    def hold_permit(self, permit: Permit) -> None:
        """Keep a connection in use until it is released explicitly."""
        self._held[id(permit.slot.con)] = permit

    def abort(self, permit: Permit) -> None:
        """Give up a slot whose connection could not be made ready."""
        self.keeper.abort(permit)

    def put_back_unused(self, permit: Permit) -> None:
        """Put back a slot that was not used after all."""
        self.keeper.put_back_unused(permit)

    # Releasing.

    def release(self, con: Any) -> bool:
        """Take a connection back; return whether it was in use."""
        slot = self.ledger.slot_of(con)
        permit = None if slot is None else slot.permit
        if permit is None:
            return False
        self._held.pop(id(con), None)
        return self.release_dropped(permit)

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
        self.release_permit(permit.slot.new_permit())
        return True

    def release_permit(self, permit: Permit) -> None:
        """Take back what its only holder does not need any longer."""
        try:
            self.keeper.reset(permit)
        except BaseException as error:
            release_frames(error)
            raise
        if self.ledger.lost:
            self.keeper.reclaim()

    def after_release(self, idle: Any) -> None:
        """Do what is left to do after a connection has become idle."""
        self.keeper.after_release(idle)
        if self.ledger.lost:
            self.keeper.reclaim()

    def release_share(self, share: Permit) -> None:
        """Take back one share of a connection, like release()."""
        if is_collecting():
            self.nudge()
            return
        slot = share.slot
        if share.checkout and len(slot.shares()) > 1:
            self.keeper.backend.part(slot.con, share.checkout)
        if slot.part(share):
            self.reclaim()

    def release_one_share(self, con: Any) -> None:
        """Take back the first share of a connection."""
        slot = self.ledger.slot_of(con)
        for share in slot.shares()[:1] if slot is not None else ():
            self.release_share(share)

    def nudge(self) -> None:
        """Wake the first waiter up, to take back what was lost."""
        self.ledger.waiters.nudge()

    def destroy(self, lease: Any) -> None:
        """Close the connection of a lease for good, unless it was released."""
        checkout, permit = hand_over(lease)
        if end(checkout):
            self.keeper.destroy(permit)

    def detach(self, lease: Any) -> Any:
        """Return the connection of a lease, if any; it leaves the pool."""
        checkout, permit = hand_over(lease)
        return self._detach(permit) if end(checkout) else None

    # Idle connections.

    def detach_idle(self) -> Any:
        """Return the oldest idle connection, if any; it leaves the pool."""
        self.keeper.reclaim()
        permit = pop(self.ledger.idle)
        return None if permit is None else self._detach(permit)

    def _detach(self, permit: Permit) -> Any:
        con = permit.slot.con
        self.ledger.retire(permit)
        self.keeper.serve()
        return con

    def adopt(self, con: Any) -> Slot:
        """Take in a connection that was opened elsewhere; return its slot."""
        permit = self.ledger.slots.take_any()
        permit.slot.round = self.ledger.round
        slot = permit.slot
        slot.con = con
        self.keeper.put_back(permit)
        return slot

    def open_ahead(self, connect: Callable[[], Any]) -> bool:
        """Open an idle connection; return whether there was a slot for it."""
        return self.opener.open_ahead(connect)

    def trim(self, number: int) -> int:
        """Close idle connections until some remain; return how many.

        number: how many remain, those that were idle for the shortest time
        """
        self.keeper.reclaim()
        closed = 0
        for permit in self.ledger.longest_idle(number):
            self.keeper.destroy(permit)
            closed += 1
        return closed

    # The whole pool.

    def reclaim(self) -> None:
        """Take back lost slots, and serve the waiters."""
        self.keeper.reclaim()
        self.keeper.serve()

    def resize(self, adjust: Callable[[Limits], Limits]) -> None:
        """Change the limits.

        adjust: works them out from the present ones

        Idle connections beyond them are closed now, and those in use when they
        come back.
        """
        self.keeper.reclaim()
        with self.changing.take():
            limits = adjust(self.limits)
            if self.ledger.policy is not None:
                self.ledger.policy.check_limits(limits)
            self.ledger.change(limits)
        self.update_fast_way()
        for surplus in self.ledger.too_many(self.ledger.idle):
            self.keeper.destroy(surplus)
        self.keeper.serve()

    def clear(self, waits: bool = False) -> None:
        """Close all idle and all shared connections.

        waits: whether a connection stays open until its last sharer leaves,
            so that it is not closed in the middle of a statement
        """
        self.keeper.reclaim()
        ledger, backend = self.ledger, self.keeper.backend
        for permit in ledger.all_idle():
            self.keeper.destroy(permit)
        for slot in ledger.detach_shared():
            stays = waits or not backend.can_be_closed_in_use(slot.con)
            if not (stays and slot.shares()):
                self.keeper.close(slot)
        self.keeper.serve()

    def drain(self) -> None:
        """Close all connections, those in use as soon as they come back."""
        self.ledger.round += 1
        self.clear(waits=True)

    def shut_down(self, timeout: float | None) -> bool:
        """Close the pool for good; return whether all came back in time."""
        self.ledger.close()
        self._requests.close()
        self.ledger.round += 1
        self.clear()
        pause, start = threading.Event(), monotonic()
        while self.stats().in_use:
            if timeout is not None and monotonic() - start >= timeout:
                return False
            pause.wait(_SHORT_LOOK)
        return True
