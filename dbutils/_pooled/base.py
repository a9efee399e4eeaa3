"""The common part of the pools for DB-API 2 drivers and classic PyGreSQL."""

from __future__ import annotations

import warnings

from .._base.checks import check_seconds, check_size, shown
from .._base.errors import ended_text
from .._base.finalizers import anywhere, is_collecting, note_lost
from .._base.followers import Followers
from .._base.fork import load_before_fork
from .._base.hints import (
    Any,
    Callable,
    Con,
    ContextManager,
    Generic,
    NamedTuple,
    Target,
    attrgetter,
    partial,
    ref,
)
from .._base.links import Links
from .._base.threads import is_ending
from .._core.lease import core_of, return_by
from .._core.limits import Limits, limits_text
from .._core.refusals import (
    REFUSALS,
    NestedRequest,
    PoolClosed,
    PoolTimeout,
)
from .._core.slots import end, holder_of
from .._core.tuning import (
    allow_helpers,
    allow_yielding,
    close_idle,
    drain,
    observe,
    set_paused,
    start_maintenance,
    unobserve,
    watch_holders,
)
from .._steady.liveness import NO_CHECK
from .._steady.mistakes import missing_text
from .._steady.options import check_reset, parse_ping
from .._steady.steady import session_of
from .._steady.unsaved import forgets_work, is_strict, warn_of_work
from .ways import way_to_check

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from typing import TypeVar

    from .._core.holders import LeaseHolder
    from .._core.maintenance import MaintenanceOptions
    from .._core.pool import Pool
    from .._core.stats import PoolStats

    AnyPool = TypeVar("AnyPool", bound="Pooled[Any]")
    Result = TypeVar("Result")
else:
    AnyPool = LeaseHolder = PoolStats = Result = Any

__all__ = [
    "UNSAVED", "PoolName", "PoolOptions", "Pooled", "check_pool_options",
    "check_word", "creator_with", "demand_no_target", "follow_pools",
    "limit_name", "pools", "unfollow_pools"]


load_before_fork(
    "_core.pool", "_core.stats", "_pooled.backends", "_pooled.transactions")


class PoolOptions(NamedTuple):
    """Options of a pool that concern its core."""

    timeout: float | None
    maintenance: MaintenanceOptions | None
    tracks: bool | None
    nested: str
    ondeadlock: str


def check_pool_options(
        blocking: Any, maxwait: Any, track: Any, nested: Any,
        ondeadlock: Any, *times: Any) -> PoolOptions:
    """Return the options of a pool that concern its core, after checking them.

    track: whether the pool notes who has a connection, or "auto"
    nested, ondeadlock: see watch_holders()
    times: those of the maintenance
    """
    check_seconds("maxwait", maxwait)
    if maxwait is None and not blocking:
        maxwait = 0
    if not (isinstance(track, bool) or track == "auto"):
        raise ValueError(
            f"'track' must be True, False or 'auto', not {shown(track)}."
            " [DBU-03]")
    check_word("nested", nested, ("allow", "warn", "refuse"))
    check_word("ondeadlock", ondeadlock, ("log", "raise"))
    return PoolOptions(
        maxwait, _check_maintenance(times),
        track if isinstance(track, bool) else None, nested, ondeadlock)


def check_word(name: str, value: Any, words: tuple[Any, ...]) -> Any:
    """Return the value of an option that is one of some words."""
    if value not in words:
        raise ValueError(
            f"{name!r} must be {', '.join(map(repr, words[:-1]))} or"
            f" {words[-1]!r}, not {shown(value)}. [DBU-03]")
    return value


def creator_with(targets: Any, creator: Any, default: Any = None) -> Any:
    """Return the creator of a pool with the option "targets".

    The parameters are those of targets_of().
    """
    if targets is None:
        return creator
    from .._hosts.targets import targets_of  # noqa: PLC0415 - an option

    return targets_of(targets, creator, default)


def demand_no_target(*aim: Any) -> None:
    """Raise an error if a request of a pool without targets has an aim."""
    if aim != (None, None, None):
        raise TypeError(
            "This pool has no targets, so its requests have no 'target',"
            " 'maxlag' and 'after'. Make it with the Targets of"
            " dbutils.hosts. [DBU-10]")


# The usual times of the maintenance, and whether mincached stay ready.
_NO_MAINTENANCE = (None, None, None, None, None, False, False)


def _check_maintenance(times: tuple[Any, ...]) -> MaintenanceOptions | None:
    """Return the options of the maintenance, None if there is none."""
    if times == _NO_MAINTENANCE:
        return None
    from .._core.maintenance import check_maintenance  # noqa: PLC0415 - an option

    return check_maintenance(*times)


# The end of a warning about work that was not saved: its fate, and the remedy.
UNSAVED = "a pool rolls back. Call commit(), or use pool.transaction()."


def _load_for(limits: Limits) -> None:
    """Load what requests may need when no further file can be opened."""
    if limits.maxconnections:
        from .._core import deadlocks, stats  # noqa: F401, PLC0415 - for refusals
    if limits.maxshared:
        from . import shared_use  # noqa: F401, PLC0415 - for shares


class PoolName:
    """An inner name of DBUtils 3.x that programs read and subclasses set.

    A value that a subclass sets before the pool begins to work has no effect.
    """

    def __init__(
            self, read: Callable[[Any], Any] | None,
            write: Callable[[Any, Any], None]) -> None:
        """Set how the value is read and written.

        read: gets the pool; without it, the pool itself keeps the value
        write: gets the pool and the new value
        """
        self._read = read
        self._write = write
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, pool: Any, owner: Any = None) -> Any:
        if pool is None:
            return self
        held = pool.__dict__
        if self._read is not None and "_core" in held:
            return self._read(pool)
        if self._name not in held:
            raise AttributeError(self._name)
        return held[self._name]

    def __set__(self, pool: Any, value: Any) -> None:
        held = pool.__dict__
        if "_core" in held:
            self._write(pool, value)
        if self._read is None or "_core" not in held:
            held[self._name] = value


def limit_name(field: str, nothing: Any = None) -> PoolName:
    """Return an inner name for one of the limits of a pool.

    nothing: the limit that stands for no limit
    """
    def read(pool: Any) -> Any:
        return getattr(core_of(pool).limits, field) or 0

    def write(pool: Any, value: Any) -> None:
        value = check_size(field, value) or nothing
        core_of(pool).resize(
            lambda limits: limits._replace(**{field: value}))

    return PoolName(read, write)


# All pools, held weakly.
_pools = Links()


def pools() -> list[Any]:
    """Return all pools of the process."""
    return _pools.things()


# They are told of each new pool.
_followers = Followers()


def follow_pools(follower: Any) -> None:
    """Call the method add() of an object with each pool, also later ones.

    follower: is held weakly, and may be told of a pool twice
    """
    _followers.join(follower)
    for pool in pools():
        follower.add(pool)


def unfollow_pools(follower: Any) -> None:
    """Call the method drop() with each pool, and tell of no later one."""
    _followers.leave(follower)
    for pool in pools():
        follower.drop(pool)


class Pooled(Generic[Con]):
    """A pool of steady connections."""

    # Only declared: with an attribute of the class, reading that of the object
    # would take four times as long.
    _core: Pool
    _backend: Any

    def _change_reset(self, reset: Any) -> None:
        check_reset(reset, "session")
        self._backend.mode = reset
        for con in self._core.connections():
            self._backend.choose_leave(con)

    def _change_maxusage(self, maxusage: Any) -> None:
        self._backend.maxusage = maxusage

    def _change_blocking(self, blocking: Any) -> None:
        core = self._core
        if not core.timeout:  # otherwise "maxwait" decides
            core.timeout = None if blocking else 0

    def _change_ping(self, ping: Any) -> None:
        core = self._core
        core.is_careful = core.is_careful or bool(parse_ping(ping).when & 1)
        core.choose_ways()

    # Inner names of DBUtils 3.x that programs and their tests read.
    _reset = PoolName(attrgetter("_backend.mode"), _change_reset)
    _maxusage = PoolName(attrgetter("_backend.maxusage"), _change_maxusage)
    _blocking = PoolName(None, _change_blocking)
    _ping = PoolName(None, _change_ping)
    _mincached = limit_name("mincached", 0)
    _maxcached = limit_name("maxcached")
    _maxconnections = limit_name("maxconnections")

    _too_many_error: type[Exception] = Exception
    _invalid_error: type[Exception] = Exception
    _closed_error: type[Exception] = Exception
    _nested_error: type[Exception] = Exception
    _deadlock_error: type[Exception] = Exception
    _commit_unknown_error: type[Exception] = Exception

    def _begin(
            self, backend: Any, limits: Limits, options:
            PoolOptions) -> None:
        """Begin to work, with mincached idle connections."""
        # the first pool loads the core
        from .._core.pool import Pool  # noqa: PLC0415 - it is large

        self._backend = backend
        self._core = Pool(
            backend, limits,
            # the warnings of the development mode name the holder
            True if is_strict else options.tracks)
        backend.is_timing = options.tracks is True or bool(
            options.maintenance and options.maintenance.idleafter)
        self._core.story.find_name = partial(_name_of, ref(self))
        self._core.story.tell("created", reason=limits_text(limits))
        self._choose_way_back()
        self._core.timeout = options.timeout
        _load_for(limits)
        allow_yielding(self._core)
        start_maintenance(self._core, options.maintenance, self._open)
        self._open_ahead(limits.mincached)
        # not before, since the first ones are held by one thread
        watch_holders(self._core, options.nested, options.ondeadlock)
        _pools.add(self)
        if _followers:
            _followers.tell(self)
        # only now, since opening the first ones may take longer
        allow_helpers(self._core, not backend.is_embedded)

    def _choose_way_back(self) -> None:
        """Choose the way back of connections, the fast one if possible.

        Subclasses and programs can replace the method that takes them back.
        """
        self._has_own_cache = (
            "cache" in self.__dict__ or type(self).cache is not Pooled.cache)
        self._go_directly(not (self._has_own_cache or is_strict))

    def _go_directly(self, is_direct: bool) -> None:
        """Choose whether connections come back on the fast way."""
        if is_direct is not self._backend.is_direct:
            self._backend.is_direct = is_direct
            for con in self._core.connections():
                self._backend.choose_leave(con)

    def _note_check(self, session: Any) -> None:
        """Check connections before they are lent, if one has to be."""
        core = self._core
        if session.checkout_check is not NO_CHECK and not core.is_careful:
            core.is_careful = True
            core.way_to_check = way_to_check(session)
            core.choose_ways()

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, which may replace a method of ours."""
        super().__setattr__(name, value)
        if name == "cache" and "_core" in self.__dict__:
            self._choose_way_back()

    if not TYPE_CHECKING:  # to whom a misspelled name is a mistake
        def __getattr__(self, name: str) -> Any:
            """Raise an error that suggests a name that exists."""
            raise AttributeError(missing_text(self, name))

    def _open_ahead(self, number: int) -> None:
        """Open idle connections: the first one, then all others together."""
        permits: list[Any] = []
        open_one = partial(self._acquire, self._open)
        try:
            if number:
                permits.append(open_one())
            if number > 1 and not self._backend.opens_at_once(
                    permits[0].slot.con):
                from .._base.together import run_together  # noqa: PLC0415 - rare

                permits += run_together([open_one] * (number - 1))
            while len(permits) < number:
                permits.append(open_one())
        finally:
            while permits:
                permit = permits.pop()
                permit.taken = None  # that was no use
                end(permit.checkout)
                self._core.release_permit(permit)
                del permit  # that of a user from now on

    def _open(self) -> Any:
        """Open a new steady connection for the pool."""
        raise NotImplementedError

    def _borrow(self, **aim: Any) -> Any:
        """Return a lease of a dedicated connection."""
        raise NotImplementedError

    def _acquire(
            self, connect: Callable[[], Any], shareable: bool = False,
            maxwait: float | None = None, pool: Any = None,
            request: Any = None) -> Any:
        """Return the permit for a connection."""
        timeout = self._core.timeout
        if maxwait is not None:
            timeout = check_seconds("maxwait", maxwait)
        return self._acquire_within(
            timeout, connect, shareable, pool, request)

    def _acquire_granted(self, waiter: Any) -> Any:
        """Return the permit that an answered waiter was granted, ready."""
        return self._acquire_within(
            self._core.timeout, self._open, False, self, None, waiter)

    def _acquire_within(
            self, timeout: float | None, connect: Callable[[], Any],
            *request: Any) -> Any:
        """Return a permit, or raise the error of this pool."""
        try:
            return self._core.acquire(connect, timeout, *request)
        except REFUSALS as refused:
            kind, facts, cause = type(refused), refused.args, refused.__cause__
        raise self._error_for(kind, facts) from cause

    def _error_for(self, kind: type, facts: tuple[Any, ...]) -> Exception:
        """Return the error of this pool for one of its core."""
        if kind is PoolTimeout:
            return self._refused(facts)
        if kind is PoolClosed:
            return self._closed_error(ended_text())
        own = (
            self._nested_error if kind is NestedRequest
            else self._deadlock_error)
        return own(str(facts[0]))

    def _refused(self, facts: tuple[Any, ...]) -> Exception:
        """Return the error of this pool for a request that got nothing."""
        from .._core.stats import too_many_text  # noqa: PLC0415 - seldom

        return self._too_many_error(too_many_text(*facts))

    # The name that the program has given to it.
    _poolname: str | None = None

    def __repr__(self) -> str:
        """Return the name and the state of the pool."""
        from . import shown  # noqa: PLC0415 - only if needed

        return shown.pool(self)

    def stats(self) -> PoolStats:
        """Return the state of the pool: its limits, and what it counts."""
        from .shown import name_of  # noqa: PLC0415 - only if needed

        stats: PoolStats = self._core.stats(name_of(self))
        return stats

    def holders(self) -> list[LeaseHolder]:
        """Return who has the connections in use, the longest first.

        The records of those of whom nothing was noted are empty.
        """
        from .._core.holders import lease_holders  # noqa: PLC0415 - if needed

        return lease_holders(self._core)

    def explain(self) -> str:
        """Return in words what the pool does, what is wrong, and what helps.

        The text says who has the connections and what these threads do now,
        why the last requests had to wait, failed or found their connections
        lost, and which option would help.
        """
        from .._core.explaining import explain  # noqa: PLC0415 - seldom

        self._core.reclaim()
        return explain(self._core, repr(self)[1:-1])

    def observe(self, observer: Any) -> None:
        """Tell an observer from now on what happens in the pool.

        observer: has any of the methods opened(seconds), closed(reason),
            acquired(waited), released(used), refused(waited), reconnected(),
            failed(error), outage_began(), outage_ended(seconds),
            waited(seconds, was_served) and missed()

        Their errors are logged.  An observer with acquired() or released()
        makes each request take longer.
        """
        observe(self._core, observer)

    def unobserve(self, observer: Any) -> None:
        """Tell an observer nothing from now on, if it is one."""
        unobserve(self._core, observer)

    def _join(self, follower: Any) -> None:
        """Call the method add() of an object with each pool in this one."""
        follower.add(self)

    def _leave(self, follower: Any) -> None:
        """Call the method drop() of an object with each pool in this one."""
        follower.drop(self)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until mincached connections are ready, idle or in use.

        timeout: for how many seconds to wait until a TooManyConnectionsError
            is raised; None means without a limit

        Missing connections are opened as soon as the server is there.  Without
        mincached, one is borrowed and given back, which shows that the server
        answers.
        """
        from .._core.readiness import wait_until_ready  # noqa: PLC0415 - seldom

        check_seconds("timeout", timeout)
        try:
            wait_until_ready(self._core, self._open, timeout)
            return
        except REFUSALS as refused:
            kind, facts, cause = type(refused), refused.args, refused.__cause__
        raise self._error_for(kind, facts) from cause

    def cache(self, con: Any) -> None:
        """Take a dedicated connection back, as its close() does."""
        if not self._core.release(con):
            raise self._invalid_error(
                "This connection was not taken out of the pool. [DBU-47]")

    def _take_back(self, permit: Any) -> None:
        """Take back the permit of a lease that was closed."""
        is_forgotten = is_strict and forgets_work(session_of(permit.slot.con))
        if is_collecting():  # the permit dies, and a waiter finds its slot
            self._core.nudge()
        elif self._has_own_cache:
            return_by(self.cache, permit, self)
        else:
            self._core.release_permit(permit)
        if is_forgotten:
            warn_of_work(UNSAVED)

    def _take_back_dropped(self, permit: Any) -> None:
        """Take back the permit of a lease that was dropped.

        While the interpreter ends, nothing is asked of the server, which
        rolls back the transaction itself when the connection ends.
        """
        if is_ending():
            return  # the permit dies, with the connection
        maintenance = self._core.maintenance
        if maintenance is None or not maintenance.has_reported(
                permit.checkout):
            self._core.leaked.step()
        holder = _by(permit) if is_strict else ""
        if anywhere:  # first, since the warning may be an error
            self._core.lose(permit)
        if is_strict:
            warnings.warn(
                f"A connection was dropped instead of closed{holder}."
                " [DBU-39]", ResourceWarning, stacklevel=3 + anywhere)
        if anywhere:
            pass  # a waiter finds its slot
        elif permit.is_share:
            self._core.release_share(permit)
        elif self._has_own_cache:
            self.cache(permit.slot.con)
        else:
            self._core.release_dropped(permit)

    def transaction(
            self, *, target: Target | None = None,
            maxlag: float | None = None,
            after: str | None = None) -> ContextManager[Con]:
        """Borrow a connection for a context that is a transaction.

        At the end of the context the transaction is committed, or rolled back
        after an error, and the connection is given back.

        target, maxlag, after: those of connection()
        """
        from .transactions import transaction  # noqa: PLC0415 - only if used

        return transaction(self._borrower(target, maxlag, after))

    def run(
            self, function: Callable[[Con], Result], retries: int = 3, *,
            target: Target | None = None, maxlag: float | None = None,
            after: str | None = None) -> Result:
        """Call a function in a transaction, and return its result.

        function: gets the connection, and neither begins nor commits; apart
            from its work on the connection it must do nothing that cannot
            be done again
        retries: how often the whole transaction is repeated at most, after
            a serialization failure, a deadlock, or when the connection was
            lost before commit() was called; never if each statement is known
            to be committed at once
        target, maxlag, after: those of connection(), also of what is repeated

        If the connection is lost in commit(), the outcome is unknown, and a
        CommitUnknownError is raised.
        """
        from .transactions import run  # noqa: PLC0415 - only if used

        result: Result = run(
            function, self._borrower(target, maxlag, after), retries,
            self._commit_unknown_error)
        return result

    def _borrower(self, *aim: Any) -> Callable[[], Any]:
        """Return what borrows connections for whole transactions.

        aim: the parameters "target", "maxlag" and "after" of the requests
        """
        given = {
            name: value for name, value in zip(
                ("target", "maxlag", "after"), aim) if value is not None}
        return partial(self._borrow, **given) if given else self._borrow

    def close(self) -> None:
        """Close all connections that are idle or shared.

        The pool stays usable, and connections in use come back to it.
        """
        self._core.clear()

    def drain(self, *, spread: float | None = None) -> None:
        """Close all connections, those in use as soon as they come back.

        spread: in how many seconds this is done, in the background

        The pool stays usable, and opens new ones.
        """
        drain(self._core, check_seconds("spread", spread))

    def pause(self) -> None:
        """Lend nothing until resume(); requests wait within their times."""
        set_paused(self._core, True)

    def resume(self) -> None:
        """Lend connections again, at first to those that have waited."""
        set_paused(self._core, False)

    def shutdown(self, timeout: float | None = 5) -> bool:
        """Close the pool for good; return whether all connections were closed.

        timeout: for how many seconds to wait for the connections in use;
            None means without a limit.  Connections that are still in use
            after that are closed when they come back.

        All requests that wait, and all later ones, get an error.
        """
        return self._core.shut_down(check_seconds("timeout", timeout))

    def __enter__(self: AnyPool) -> AnyPool:
        """Return the pool, which is shut down at the end of the context."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Shut the pool down."""
        self.shutdown()

    def __del__(self) -> None:
        """Close the connections of a pool that was dropped."""
        try:
            self._end()
        except BaseException as error:  # noqa: BLE001 - no caller would see it
            # the other connections are closed by their own finalizers
            if note_lost is not None:  # as when modules were emptied
                note_lost("closing a pool that was dropped", error)

    def _end(self) -> None:
        core = getattr(self, "_core", None)
        if core is None:
            return
        if is_ending():
            close_idle(core)
        else:
            core.clear()
        core.let_go()


def _name_of(link: Any) -> str:
    """Return the name of a pool, "" if that is gone."""
    from .shown import name_of  # noqa: PLC0415 - only if needed

    pool = link()
    return "" if pool is None else name_of(pool)


def _by(permit: Any) -> str:
    """Return who has dropped a connection, if that is known."""
    holder = holder_of(permit)
    return "" if holder is None else f" by {holder}"
