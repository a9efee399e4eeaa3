"""A manager for the pools of a process, one for each configuration.

Requests with the same configuration get the same pool, whatever the driver.
Pools can also have names.  The manager removes unused pools if there are too
many of them, or after a time.
"""

from __future__ import annotations

import atexit
from operator import attrgetter
from time import monotonic, time
from types import MethodType

from ._base.checks import check_seconds, check_size, shown
from ._base.errors import logger
from ._base.fork import register_for_fork
from ._base.hints import Any, Iterable, Mapping, Sequence, Target
from ._base.housekeeper import Chore
from ._base.links import Links
from ._base.mutex import Mutex
from ._core.examining import has_idle, is_away, is_in_use
from ._core.lease import core_of
from ._manager.config import (
    ConnectionConfig,
    DatabaseType,
    PoolConfig,
    as_secret,
    configs_of_hosts,
    kind_of,
    read_parameters,
)
from ._manager.connector import Connector
from ._manager.registry import (
    PoolRegistry,
    Probe,
    Request,
    UsageStats,
    health_of,
)
from ._pooled.shown import state_of
from ._steady.safe import SafeFailover
from ._steady.silence import Impatient
from ._steady.steady import session_of
from .health_check_pooled_db import HealthCheck
from .pooled_db import (
    PoolClosedError,
    PooledDB,
    PooledDedicatedDBConnection,
    TooManyConnectionsError,
)
from .steady_db import SteadyDBConnection

TYPE_CHECKING = False  # type checkers know the name

__all__ = [
    "ConnectionConfig", "DBConnectionPoolManager", "DatabaseType",
    "ManagedPool", "PoolConfig", "PoolEvictedError", "PoolManagerError",
    "TooManyPoolsError", "UnknownPoolError", "WrongCredentialsError",
    "get_pool_manager"]

# In seconds: the time between two searches for unused pools, and the time that
# a check of all pools, or their shutdown, may take.
_CLEAN_UP = 300
_TIMEOUT = 5

# The names of settings in errors of a PooledDB, and in those of a manager.
_OWN_NAMES: Mapping[str, str] = {
    "(maxconnections:": "(max_total:",
    "Raise maxconnections": "Raise max_total",
    "blocking=True or maxwait": "max_wait_time",
    "(maxwait)": "(max_wait_time)"}

_REFUSED = (
    "its password was never accepted, and it was asked for with another one")
_LEAST_USED = (
    "there were too many pools, and it was not used for the longest time")


class PoolManagerError(Exception):
    """A request to a manager cannot be fulfilled."""


class WrongCredentialsError(PoolManagerError):
    """The pool for a configuration was opened with another password."""


class TooManyPoolsError(PoolManagerError):
    """All pools are in use, and there is no room for another one."""


class UnknownPoolError(PoolManagerError, LookupError):
    """There is no pool with the given key."""


class PoolEvictedError(PoolManagerError, PoolClosedError):
    """A pool was removed from its manager."""


def _creator_for(config: ConnectionConfig, connector: Connector) -> Any:
    """Return what opens the connections that a configuration describes."""
    if not config.hosts:
        return connector
    from .hosts import Targets  # noqa: PLC0415 - an option

    return Targets(
        connector.towards(*item) for item in configs_of_hosts(config).items())


class ManagedPool(PooledDB[Any]):
    """A pool of a manager."""

    def __init__(self, config: ConnectionConfig, terms: PoolConfig) -> None:
        """Set the pool up without opening a connection."""
        self.config = config
        # The key of the pool in its manager.
        self.key = config.key
        self.pool_config = terms
        self._connector = Connector(config)
        self._usage = UsageStats()
        self._health = HealthCheck(None)
        super().__init__(
            _creator_for(config, self._connector),
            maxconnections=terms.max_total, blocking=True,
            maxwait=terms.max_wait_time, maxusage=terms.max_usage,
            ping=1 if terms.test_on_borrow else 0,
            maxlifetime=terms.max_lifetime, maxidletime=terms.max_idle_time,
            refill=bool(terms.min_idle), features=(self._health,),
            behind=terms.behind)  # type: ignore[arg-type]  # checked there
        self._core.tick = self._usage.note
        self._core.choose_ways()
        silence = self._connector.silence
        self._policy = None if silence is None else Impatient(silence)
        if terms.max_idle is not None:
            self._core.resize(
                lambda limits: limits._replace(maxcached=terms.max_idle))

    def __repr__(self) -> str:
        kind = "pool" if self._usage.eviction is None else "evicted pool"
        return f"<{kind} for {self.config!r}, {state_of(self)}>"

    def steady_connection(self) -> SteadyDBConnection[Any]:
        """Return a connection that does not belong to the pool."""
        con = super().steady_connection()
        session = session_of(con)
        if self._policy is not None and isinstance(
                session.failover.usual, SafeFailover):
            session.follow(session.failover.with_usual(self._policy))
        return con

    def get_connection(
            self, *, maxwait: float | None = None,
            target: Target | None = None, maxlag: float | None = None,
            after: str | None = None) -> PooledDedicatedDBConnection[Any]:
        """Return a connection; its close() returns it to the pool.

        The parameters are those of PooledDB.connection().
        """
        return self.dedicated_connection(
            maxwait=maxwait, target=target, maxlag=maxlag, after=after)

    def _too_many_error(  # type: ignore[override]
            self, text: str) -> Exception:
        """Return the error, with the settings named as in a PoolConfig."""
        for name, own_name in _OWN_NAMES.items():
            text = text.replace(name, own_name)
        return TooManyConnectionsError(text)

    def _closed_error(self, text: str) -> Exception:  # type: ignore[override]
        eviction = self._usage.eviction
        if eviction is None:
            return PoolClosedError(text)
        return PoolEvictedError(f"This pool was evicted: {eviction}. [DBU-85]")

    def _acquire(self, *args: Any, **kwargs: Any) -> Any:
        request = Request()  # it ends with this function
        try:
            self._usage.expect(request)
            return super()._acquire(*args, **kwargs)
        except BaseException:
            self._usage.note_failure()
            raise
        finally:
            # A traceback must not keep the request alive.
            request = None  # type: ignore[assignment]


# The parts of a pool that its entry works with.
_PARTS = attrgetter("_usage", "_connector", "_health")


class _Entry:
    """A pool in its manager: its use, its password and its server."""

    def __init__(self, pool: ManagedPool) -> None:
        self.pool = pool
        self.config = pool.config
        self.usage: UsageStats
        self.usage, self.connector, self._health = _PARTS(pool)
        self.core = core_of(pool)
        self._created_at = time()
        self._probe: Probe | None = None

    @property
    def key(self) -> str:
        """Return the key of the pool in its manager."""
        return self.pool.key

    def start(self) -> None:
        """Start keeping idle connections ready, if any are wanted."""
        number = self.pool.pool_config.min_idle
        if number:
            self.core.resize(
                lambda limits: limits._replace(mincached=number))
            self.core.maintenance.hurry()

    # Its password.

    def change_password(self, password: Any) -> None:
        """Use another password from now on, and retire the connections."""
        self.connector.change_password(password)
        self.pool.drain()

    # Its use.

    @property
    def is_used(self) -> bool:
        """Return whether a connection is in use or requested.

        Work in the background, such as a check of the server, does not count.
        """
        return self.usage.pending > 0 or is_in_use(self.core)

    @property
    def used_at(self) -> float:
        """Return the time of the latest request, or now if in use."""
        if self.is_used:
            self.touch()
        return self.usage.latest

    def touch(self) -> None:
        """Record a request for the pool."""
        self.usage.latest = monotonic()

    def evict(self, reason: str, timeout: float | None) -> bool:
        """Shut the pool down.  Connections in use stay open until released.

        reason: the reason that later requests are told
        """
        self.usage.eviction = reason
        return self.pool.shutdown(timeout)

    def info(self) -> dict[str, Any]:
        """Return the state of the pool."""
        config, stats = self.config, self.core.stats()
        used_at = self.used_at
        return {
            "key": self.key, "db_type": kind_of(config),
            "host": config.host, "port": config.port,
            "database": config.database, "user": config.user,
            "driver": self.connector.driver,
            "max_total": self.pool.pool_config.max_total,
            "idle_connections": stats.idle,
            "active_connections": stats.in_use,
            "total_connections": stats.idle + stats.in_use,
            "waiting_requests": stats.waiting,
            "connections_served": self.usage.served,
            "created_at": self._created_at,
            "unused_for": monotonic() - used_at}

    # Its server.

    def probe(self) -> Probe:
        """Return a running check of the server, or start one."""
        probe = self._probe
        if probe is None or probe.is_closed:
            probe = Probe()
            if not probe.start(self._answers):
                raise PoolManagerError(
                    "The server cannot be checked: no thread can be started."
                    " [DBU-61]")
            self._probe = probe
        return probe

    def _answers(self) -> bool:
        """Return whether the server answers an idle or a new connection."""
        self._health.drop_invalid()
        core = self.core
        connect = self.pool._open  # noqa: SLF001 - as pools connect
        if has_idle(core) or core.open_ahead(connect):
            return True
        return not is_away(core)  # since all are in use

    def after_fork(self) -> None:
        """Forget checks and requests in a forked child."""
        self._probe = None
        self.usage.begin_anew()


class _OneInAProcess(type):
    """The type of a class that has one object in a process."""

    @property
    def __signature__(cls) -> Any:
        """The signature of the class, and not that of __call__()."""
        from inspect import signature  # noqa: PLC0415 - large, and rare

        return signature(
            MethodType(cls.__init__, cls))  # type: ignore[misc]  # of cls

    if not TYPE_CHECKING:  # to whom the result is an object of the class
        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            """Return the only object, or a new object of a derived class."""
            if cls is DBConnectionPoolManager:
                return get_pool_manager(*args, **kwargs)
            return super().__call__(*args, **kwargs)


class DBConnectionPoolManager(metaclass=_OneInAProcess):
    """Holds the pools of a program, one for each configuration.

    A process has one: DBConnectionPoolManager() and get_pool_manager() return
    the same object.
    """

    def __init__(self) -> None:
        self._registry = PoolRegistry()
        self._pool_config = PoolConfig()
        self._idle_timeout: float | None = None
        # It removes unused pools in the background.
        self._chore = Chore(self, "_tick")
        register_for_fork(self, method="_after_fork")
        _managers.add(self)

    @classmethod
    def isolated(cls) -> DBConnectionPoolManager:
        """Return another manager, for instance for tests."""
        manager: DBConnectionPoolManager = type.__call__(cls)
        return manager

    def __enter__(self) -> DBConnectionPoolManager:
        """Begin a context at whose end all pools are shut down."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Shut all pools down."""
        self.shutdown()

    def _after_fork(self) -> None:
        """Forget what was going on in the parent of a forked child."""
        self._registry.mutex = Mutex()
        for entry in self._registry.all():
            entry.after_fork()

    def __repr__(self) -> str:
        state = "over" if self._registry.is_closed else (
            f"of {len(self._registry.all())} pools")
        return f"<{type(self).__name__} {state}>"

    def _join(self, follower: Any) -> None:
        """Call the method add() of an object with each pool, also later ones.

        The object may be told of a pool twice.
        """
        self._registry.followers.join(follower)
        for entry in self._registry.all():
            follower.add(entry.pool)

    def _leave(self, follower: Any) -> None:
        """Call the method drop() with each pool, and tell of no later one."""
        self._registry.followers.leave(follower)
        for entry in self._registry.all():
            follower.drop(entry.pool)

    # Getting pools and connections.

    def get_pool(
            self, config: Any = None, *args: Any,
            pool_config: PoolConfig | None = None,
            connection_config: Any = None, **settings: Any) -> ManagedPool:
        """Return the pool for a configuration, which is made if necessary.

        config: a ConnectionConfig, a URL, or the kind of the database followed
            by other positional parameters of ConnectionConfig
        pool_config: the size of the pool, also as the last positional
            parameter; may be omitted for an existing pool, and must be equal
            otherwise
        connection_config: another name of `config`

        All other parameters are those of ConnectionConfig.
        """
        config, pool_config = read_parameters(
            config, args, pool_config, connection_config, settings)
        entry = self._find(config, pool_config)
        if entry is None:
            new = _Entry(ManagedPool(config, pool_config or self._pool_config))
            entry = self._add(new, pool_config)
        return entry.pool

    def get_pool_by_name(
            self, name: str, config: Any = None, *args: Any,
            pool_config: PoolConfig | None = None,
            connection_config: Any = None, **settings: Any) -> ManagedPool:
        """Return the pool for a configuration, and give it a name.

        A name that belongs to another configuration is an error.  The other
        parameters are those of get_pool().
        """
        config, pool_config = read_parameters(
            config, args, pool_config, connection_config, settings)
        _check_name(self._registry, name, config)
        while True:
            pool = self.get_pool(config, pool_config)
            with self._registry.mutex.take():
                _check_name(self._registry, name, config)
                entry = self._registry.entries.get(pool.key)
                is_there = entry is not None and entry.pool is pool
                if is_there:
                    self._registry.names[name] = entry
                    return pool

    def get_connection(
            self, config: Any = None, *args: Any,
            pool_config: PoolConfig | None = None,
            connection_config: Any = None,
            **settings: Any) -> PooledDedicatedDBConnection[Any]:
        """Return a connection from the pool for a configuration.

        It is released at the end of a "with" block.  The parameters are those
        of get_pool().
        """
        config, pool_config = read_parameters(
            config, args, pool_config, connection_config, settings)
        while True:
            pool = self.get_pool(config, pool_config)
            try:
                return pool.get_connection()
            except PoolEvictedError:
                if self._registry.is_closed:
                    raise

    def _find(
            self, config: ConnectionConfig,
            pool_config: PoolConfig | None) -> _Entry | None:
        """Return the pool for a configuration, or None."""
        if self._registry.is_closed:
            raise PoolManagerError("This manager was shut down. [DBU-84]")
        entry: _Entry | None = self._registry.entries.get(config.key)
        if entry is not None and not entry.connector.knows(config):
            entry = _find_alike(self._registry.alike(config.key), config)
        if entry is None:
            return None
        terms = entry.pool.pool_config
        if pool_config is not None and pool_config != terms:
            raise PoolManagerError(
                f"The pool for this configuration was made with {terms!r}."
                " [DBU-81]")
        entry.touch()
        return entry

    def _add(
            self, new: _Entry, pool_config: PoolConfig | None) -> _Entry:
        """Register a new pool, unless another thread was faster."""
        registry = self._registry
        self._reclaim_if_limited()
        with registry.mutex.take():
            found = self._find(new.config, pool_config)
            if found is not None:
                return found
            surplus = _make_room(registry, new.key)
            registry.add(new)
        registry.followers.tell(new.pool)
        _evict(surplus)
        new.start()
        return new

    # Removing pools.

    def set_max_pools(self, number: int | None) -> None:
        """Limit the number of pools; None means no limit.

        Surplus pools are removed, least recently used first.  Pools in use
        are not removed.
        """
        if check_size("number", number) == 0:
            raise ValueError("'number' must be at least 1, or None. [DBU-02]")
        self._registry.limit = number
        self._reclaim_if_limited()
        with self._registry.mutex.take():
            surplus = self._registry.make_room(0)
        _evict((entry, _LEAST_USED) for entry in surplus or ())

    def set_pool_idle_timeout(self, seconds: float | None) -> None:
        """Remove pools that were unused for a time; None means never.

        The manager searches for them every five minutes.
        """
        self._idle_timeout = check_seconds("seconds", seconds)
        if seconds is None:
            self._chore.end()
        else:
            self._chore.begin(_CLEAN_UP)

    def _tick(self) -> None:
        """Remove unused pools in the background."""
        self._chore.plan(_CLEAN_UP)
        seconds = self._idle_timeout
        if self._registry.is_closed or seconds is None:
            self._chore.end()
        else:
            self.clear_idle_pools(seconds)

    def clear_idle_pools(self, seconds: float = 0) -> int:
        """Remove pools that were unused for a time.  Return their number.

        Pools with connections in use are not removed.
        """
        check_seconds("seconds", seconds)
        for entry in self._registry.all():
            entry.core.reclaim()
        limit = monotonic() - seconds
        with self._registry.mutex.take():
            idle = [
                entry for entry in self._registry.unused()
                if entry.used_at <= limit]
            for entry in idle:
                self._registry.remove(entry)
        _evict((entry, "nobody has used it for long") for entry in idle)
        return len(idle)

    def remove_pool(self, key: str) -> bool:
        """Remove the pool with a key.  Return whether it existed.

        Connections in use are closed when they are released.
        """
        with self._registry.mutex.take():
            entry = self._registry.entries.get(key)
            if entry is not None:
                self._registry.remove(entry)
        if entry is None:
            return False
        _evict([(entry, "it was removed from the manager")])
        return True

    def shutdown(self, timeout: float | None = _TIMEOUT) -> bool:
        """Shut the manager and all pools down for good, latest pools first.

        timeout: the seconds for which to wait for connections in use

        Return whether all connections were closed.  At the exit of the
        program this is called without waiting.
        """
        check_seconds("timeout", timeout)
        with self._registry.mutex.take():
            entries = list(self._registry.entries.values())
            for entry in entries:
                self._registry.remove(entry)
            self._registry.is_closed = True
        start = monotonic()
        entries.reverse()
        results = []
        for entry in [entry for entry in entries if not _end(entry, 0)]:
            left = None if timeout is None else max(
                start + timeout - monotonic(), 0)
            results.append(_end(entry, left))
        return all(results)

    # Changing pools.

    def set_default_pool_config(self, pool_config: PoolConfig) -> None:
        """Set the configuration of pools that are made without one."""
        if not isinstance(pool_config, PoolConfig):
            raise TypeError(
                "'pool_config' must be a PoolConfig, not"
                f" {shown(pool_config)}. [DBU-01]")
        self._pool_config = pool_config

    def update_credentials(self, key: str, password: Any) -> None:
        """Change the password with which a pool opens connections.

        Connections that were opened with the old password are closed as soon
        as they are not in use.
        """
        self._entry_of(key).change_password(as_secret(password))

    # Reports.

    def _reclaim_if_limited(self) -> None:
        """Find out which pools are unused, if their number is limited."""
        if self._registry.limit is not None:
            for entry in self._registry.all():
                entry.core.reclaim()

    def _entry_of(self, key: str) -> _Entry:
        with self._registry.mutex.take():
            entry: _Entry | None = self._registry.entries.get(key)
            named = self._registry.names.get(key)
        if entry is not None:
            return entry
        text = f"There is no pool with the key {key!r}"
        if named is not None:
            text += f", but one with that name; its key is {named.key!r}"
        raise UnknownPoolError(f"{text}. [DBU-80]")

    def explain(self) -> str:
        """Return in words what each pool does, what is wrong, what helps."""
        texts = [entry.pool.explain() for entry in self._registry.all()]
        return "\n\n".join([repr(self)[1:-1], *texts])

    def get_pool_info(self, key: str) -> dict[str, Any]:
        """Return the state of a pool."""
        return self._registry.info(self._entry_of(key))

    def list_pools(self) -> list[dict[str, Any]]:
        """Return the states of all pools, in the order of their creation."""
        return self._registry.infos()

    def get_statistics(self) -> dict[str, Any]:
        """Return the numbers of the manager, and the states of its pools."""
        return self._registry.statistics()

    def health_check(self, timeout: float = _TIMEOUT) -> dict[str, Any]:
        """Check the servers of all pools at the same time.

        timeout: the seconds that they have to answer, all together
        """
        check_seconds("timeout", timeout)
        probes = {
            entry.key: entry.probe() for entry in self._registry.all()}
        return health_of(probes, timeout)


def _check_name(
        registry: PoolRegistry, name: str, config: ConnectionConfig) -> None:
    """Raise an error if a name belongs to another configuration."""
    named = registry.names.get(name)
    if named is not None and named.config.key != config.key:
        raise PoolManagerError(
            f"The name {name!r} belongs to a pool with another"
            " configuration. [DBU-81]")


def _make_room(registry: PoolRegistry, key: str) -> list[tuple[_Entry, str]]:
    """Remove pools to make room for a new one.

    Return them with the reasons.  A pool with the same key whose password
    nobody has tried yet stays beside the new one.
    """
    refused = registry.remove_refused(key)
    if refused:
        return [(entry, _REFUSED) for entry in refused]
    surplus = registry.make_room(1)
    if surplus is None:
        raise TooManyPoolsError(
            f"All {len(registry.entries)} pools are in use, and there may be"
            f" {registry.limit} at most. [DBU-82]")
    return [(entry, _LEAST_USED) for entry in surplus]


def _find_alike(
        alike: Sequence[_Entry], config: ConnectionConfig) -> _Entry | None:
    """Return the pool with the same password, or None.

    If the server has accepted another password, this one must be wrong.
    """
    for entry in alike:
        if entry.connector.knows(config):
            return entry
    if any(entry.connector.is_proven for entry in alike):
        raise WrongCredentialsError(
            "The pool for this configuration was opened with another"
            " password. [DBU-83]")
    return None


def _evict(entries: Iterable[tuple[_Entry, str]]) -> None:
    for entry, reason in entries:
        _end(entry, 0, reason)


def _end(
        entry: _Entry, timeout: float | None,
        reason: str = "its manager was shut down") -> bool:
    """Shut a pool down.  Return whether all connections were closed."""
    try:
        return entry.evict(reason, timeout)
    except Exception as error:  # noqa: BLE001 - go on with the others
        logger.error(
            "A pool could not be shut down: %s [DBU-86]",
            type(error).__name__)
        return False


# All living managers, oldest first.
_managers = Links()


def _shut_all_down() -> None:
    """Shut all managers down at the exit of the program."""
    for manager in reversed(_managers.things()):
        manager.shutdown(0)


atexit.register(_shut_all_down)


class _Process:
    """The holder of the only manager of the process."""

    def __init__(self) -> None:
        self.after_fork()
        register_for_fork(self)

    def after_fork(self) -> None:
        """Start without a manager in a forked child."""
        self._mutex = Mutex()
        self._manager: DBConnectionPoolManager | None = None

    def manager(self) -> DBConnectionPoolManager:
        """Return the manager, or a new one if it was shut down."""
        with self._mutex.take():
            if self._manager is None or (
                    self._manager._registry.is_closed):  # noqa: SLF001 - of this module
                self._manager = DBConnectionPoolManager.isolated()
            return self._manager


_process = _Process()


def get_pool_manager() -> DBConnectionPoolManager:
    """Return the manager of the process."""
    return _process.manager()
