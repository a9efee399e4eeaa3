"""The common part of the simple pools, and their two kinds of stores.

A simple pool holds a fixed set of plain driver connections.  If they are
not thread-safe, a queue hands each one out to one user at a time.  Otherwise
they are handed out in turn, to any number of users.
"""

from __future__ import annotations

import threading
from itertools import count
from types import SimpleNamespace

from .._base.finalizers import anywhere, collecting, is_collecting
from .._base.fork import Orphan, abandon_socket, register_for_fork
from .._base.hints import Any, Callable, Con, Generic, deque, ref
from .._base.threads import is_ending
from .._core.backend import Backend
from .._core.lease import Lease, core_of, hold, permit_of, return_by
from .._core.limits import Limits
from .._core.pool import Pool
from .._core.slots import Permit, Slot
from .._core.ways import none_is_idle
from .._drivers.registry import driver_of
from .._steady.mistakes import missing_text
from .._steady.unsaved import is_failing, is_strict, warn_of_work
from .proxy import Proxy

TYPE_CHECKING = False  # type checkers know the name

__all__ = ["Queued", "SimpleLease", "SimplePool", "TakenInTurn"]


class Queued:
    """A store of connections of which each has one user at a time."""

    def __init__(self) -> None:
        # nothing asks for the holders of a simple pool
        self._core = Pool(Backend(), Limits(maxconnections=0), tracks=False)

    @property
    def slots(self) -> list[Slot]:
        """Return the slots of the connections."""
        return self._core.slots.all()

    def add(self, con: Any) -> None:
        """Add another connection."""
        self._core.resize(lambda limits: limits._replace(
            maxconnections=(limits.maxconnections or 0) + 1))
        self._core.adopt(con)

    def after_fork(self) -> None:
        """End the leases in a forked child."""
        self._core.after_fork()

    def lend(self, pool: Any) -> Permit:
        """Return the permit for a connection, waiting if need be."""
        return self._core.acquire(_never, None, pool=pool)

    def give_back(self, permit: Permit) -> None:
        """Take back the permit of a lease that was closed."""
        if is_collecting():  # the permit dies, and a waiter finds its slot
            self._core.nudge()
        else:
            self._core.release_permit(permit)

    def take_away(self, permit: Permit) -> None:
        """Take back the permit of a lease that was dropped."""
        if anywhere:
            self._core.lose(permit)
        else:
            self._core.release_dropped(permit)

    def put_back(self, con: Any) -> None:
        """Take a connection back; add it if it comes from elsewhere."""
        if not self._core.release(con) and not self._is_idle(con):
            self.add(con)

    def _is_idle(self, con: Any) -> bool:
        return any(idle is con for idle in self._core.idle_connections())


def _never() -> Any:  # pragma: no cover - the limit is what was added
    raise AssertionError("A simple pool opens no connection on demand.")


class _Place:
    """A connection that any number of users have together."""

    __slots__ = ("con",)

    def __init__(self, con: Any) -> None:
        self.con = con


class _Turn:
    """The permit of one of those who use a connection together."""

    # It has no __init__(), like a lease.
    __slots__ = ("checkout", "slot")

    is_share = True
    is_known = False

    checkout: Any
    slot: Any

    def take_back(self) -> None:
        """Do nothing when the lease was dropped: the turn ends with it."""


# The core of a store from which nothing is lent the fast way.
_NO_WAY: Any = SimpleNamespace(take=none_is_idle)


class TakenInTurn:
    """A store of connections that any number of users have together.

    It is its own core: connections are in their places all the time.
    """

    # Nothing is to be done when a connection comes back.
    put: Any = deque(maxlen=0).append
    waiting = lost = ()

    def __init__(self) -> None:
        self.slots: list[_Place] = []
        self._turns = count()

    @property
    def _core(self) -> Any:
        # the development mode notes who uses a connection
        return _NO_WAY if is_strict else self

    def after_fork(self) -> None:
        """Do nothing, since leases of the parent find a stand-in."""

    def add(self, con: Any) -> None:
        """Add another connection; the turn stays where it is."""
        self._turns = count(next(self._turns) % (len(self.slots) or 1))
        self.slots.append(_Place(con))

    def take(self) -> Any:
        """Return a permit for the connection whose turn it is.

        Raise an IndexError if there is none.
        """
        places = self.slots
        turn = _Turn()
        turn.slot = places[next(self._turns) % (len(places) or 1)]
        return turn

    def lend(self, pool: Any) -> Any:
        """Return such a permit that is in use."""
        turn = self.take()
        turn.checkout = [pool]
        return turn

    def give_back(self, permit: Any) -> None:
        """Do nothing, since the connection was never taken away."""

    def put_back(self, con: Any) -> None:
        """Do nothing, since the connection was never taken away."""


class SimpleLease(Proxy, Lease):
    """A borrowed connection; it behaves like the driver's connection."""

    __slots__ = ()

    @staticmethod
    def _shown(con: Any) -> str:
        return f"{type(con).__module__}.{type(con).__name__}"

    def close(self) -> None:
        """Give the connection back to the pool; do not close it."""
        # This is the fast way back; see _pooled/ways.py.
        try:
            pool = self._checkout.pop()
        except IndexError:
            return  # it was given back before
        try:
            permit = self._permit
            self._permit = None
            if pool._is_fast and not collecting:  # noqa: SLF001 - of this module
                core = pool._core  # noqa: SLF001 - of this module
                core.put(permit)
                if core.waiting or core.lost:
                    core.after_release()
            else:
                pool._take_back(permit)  # noqa: SLF001 - of this module
        except BaseException:
            permit = None  # not to be kept by the traceback
            raise


# The end of a warning about work that was not saved: its fate, and the remedy.
_UNSAVED = (
    "a simple pool leaves that to the next borrower. Call commit() or"
    " rollback().")


def _uses(lease: Any, slot: Any) -> bool:
    permit = None if lease is None else permit_of(lease)
    return permit is not None and permit.slot is slot


class SimplePool(Generic[Con]):
    """The common part of the two simple pools."""

    _lease_class: type[Con]

    def __init__(
            self, make_store: Callable[[], Any], connect: Callable[[], Any],
            number: int) -> None:
        self._make_store = make_store
        self._connect = connect
        self._number = number
        self._connections: list[Any] = []
        # Whether a subclass takes connections back in its own way.
        self._has_own_return = (
            type(self).returnConnection is not SimplePool.returnConnection)
        # first: the store is told of a fork after this
        register_for_fork(self, method="_begin_anew")
        self._begin()
        self._fill()

    def _begin(self) -> None:
        self._store = self._make_store()
        self._core = core_of(self._store)
        # Whether all connections come back the fast way.
        self._is_fast = not (self._has_own_return or is_strict)
        self._is_filled = False
        # For warnings of the development mode: the leases that use a
        # connection together, and the slots whose work has been reported.
        self._users: set[Any] = set()
        self._reported: set[Any] = set()
        # Its lock is made when it is first needed, since gevent may replace
        # the class of locks before that.
        self._filling: dict[int, Any] = {}

    def _fill(self) -> None:
        """Open the connections, unless another thread has done so."""
        with self._filling.setdefault(0, threading.Lock()):
            if not self._is_filled:
                for _ in range(self._number):
                    self.addConnection(self._connect())
                self._is_filled = True

    def _begin_anew(self) -> None:
        """Open other connections in a forked child when they are needed."""
        for con in self._connections:
            abandon_socket(con, driver_of(con).descriptor(con))
        self._connections = []
        for slot in self._store.slots:  # leases of the parent look there
            slot.con = Orphan(AttributeError)
        self._store.after_fork()
        self._begin()

    def connection(self) -> Con:
        """Return a connection, to be given back by close().

        If connections cannot be shared and none is idle, this waits for one.
        """
        # This is the fast way out; see _pooled/ways.py.
        lease: Any
        try:
            permit = self._core.take()
            if permit is not None:
                lease = self._lease_class()
                lease._permit = permit  # noqa: SLF001 - inlined hold()
                permit.checkout = lease._checkout = [self]  # noqa: SLF001 - inlined, too
                return lease  # type: ignore[no-any-return]
        except IndexError:
            pass  # nothing is idle, or more has to be done
        except BaseException:
            permit = lease = None  # not to be kept by a traceback
            raise
        return self._lend()

    def _lend(self) -> Con:
        if not self._is_filled:
            self._fill()
        lease: Any
        permit = lease = None
        try:
            permit = self._store.lend(self)
            make: Any = self._lease_class
            lease = hold(make(), permit)
            if permit.is_share and is_strict:
                self._users.add(ref(lease, self._users.discard))
            return lease  # type: ignore[no-any-return]
        finally:
            permit = lease = None  # not to be kept by a traceback

    def __repr__(self) -> str:
        """Return the state of the pool."""
        number = len(self._connections)
        state = f"{number} connections"
        if isinstance(self._store, Queued):
            now = self._core.filling()
            state = f"{now.in_use} of {number} in use, {now.waiting} waiting"
        return f"<{type(self).__name__} {state}>"

    if not TYPE_CHECKING:  # to whom a misspelled name is a mistake
        def __getattr__(self, name: str) -> Any:
            """Raise an error that suggests a name that exists."""
            raise AttributeError(missing_text(self, name))

    def _take_back(self, permit: Permit) -> None:
        """Take back the permit of a lease that was closed."""
        is_forgotten = is_strict and self._forgets_work(permit)
        if self._has_own_return:
            return_by(self.returnConnection, permit, self)
        else:
            self._store.give_back(permit)
        if is_forgotten:
            warn_of_work(_UNSAVED)

    def _take_back_dropped(self, permit: Permit) -> None:
        """Take back the permit of a lease that was dropped."""
        is_forgotten = is_strict and (
            not is_ending() and self._forgets_work(permit))
        if self._has_own_return:
            self.returnConnection(permit.slot.con)
        else:
            self._store.take_away(permit)
        if is_forgotten:
            warn_of_work(_UNSAVED)

    def _forgets_work(self, permit: Permit) -> bool:
        """Return whether work is left in a connection without a user.

        The work stays there, so it is reported once and not to each user.
        """
        slot = permit.slot
        users = list(self._users) if permit.is_share else ()
        if any(_uses(link(), slot) for link in users):
            return False
        if not self._has_work(slot):
            self._reported.discard(slot)
            return False
        if slot in self._reported or is_failing():
            return False
        self._reported.add(slot)
        return True

    def _has_work(self, slot: Any) -> bool:
        """Return whether a connection is known to have work in it."""
        con = slot.con
        return driver_of(con).has_written(con) is True

    def getConnection(self) -> Con:  # noqa: N802 - of DBUtils 1.x
        """Return a connection, like connection()."""
        return self.connection()

    def addConnection(self, con: Any) -> None:  # noqa: N802 - of DBUtils 1.x
        """Add a driver connection to the pool."""
        self._connections.append(con)
        self._store.add(con)

    def returnConnection(self, con: Any) -> None:  # noqa: N802 - of DBUtils 1.x
        """Take a driver connection back, as close() does."""
        self._store.put_back(con)
