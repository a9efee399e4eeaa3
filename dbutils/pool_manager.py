"""A manager for the pools of a process, one for each configuration.

Whoever asks with the same settings gets the same pool, whatever the driver.
A pool can be asked for by a name, too.  Pools that nobody uses are removed
if there are too many of them, or after a time.
"""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from functools import partial
from time import monotonic, time
from types import ModuleType
from typing import Any, Dict, Iterable, Mapping, Sequence
from weakref import WeakSet, ref

from ._base.checks import check_seconds, check_size
from ._base.errors import logger
from ._base.fork import register_for_fork
from ._base.housekeeper import Chore
from ._base.mutex import Mutex
from ._base.secrets import Secret, drop_secrets, wrap_secrets
from ._core.examining import is_away
from ._core.pool import core_of
from ._core.tuning import hurry_maintenance
from ._manager.connector import Connector
from ._manager.registry import (
    AllPoolsInUse,
    PoolRegistry,
    Probe,
    Request,
    UsageStats,
    canonical_key,
)
from ._manager.urls import settings_of_url, settings_of_variables
from ._steady.safe import SafeFailover
from ._steady.silence import Impatient
from ._steady.steady import session_of
from .health_check_pooled_db import HealthCheck
from .pooled_db import (
    PoolClosedError,
    PooledDB,
    TooManyConnectionsError,
)
from .steady_db import SteadyDBConnection

__all__ = [
    "ConnectionConfig", "DBConnectionPoolManager", "DatabaseType",
    "ManagedPool", "PoolConfig", "PoolEvictedError", "PoolManagerError",
    "TooManyPoolsError", "UnknownPoolError", "WrongCredentialsError",
    "get_pool_manager"]

# In seconds: how often pools that nobody uses are looked for, and for how
# long a check of all pools may take.
_CLEAN_UP = 300
_PATIENCE = 5

# How the settings of a pool are called here.
_OWN_NAMES = (
    ("(maxconnections:", "(max_total:"),
    ("Raise maxconnections", "Raise max_total"),
    ("blocking=True or maxwait", "max_wait_time"),
    ("(maxwait)", "(max_wait_time)"))

_REFUSED = (
    "its password was never accepted, and it was asked for with another one")
_LEAST_USED = (
    "there were too many pools, and it was not used for the longest time")


class PoolManagerError(Exception):
    """A manager cannot do what was asked for."""


class WrongCredentialsError(PoolManagerError):
    """A pool was asked for with another password than it was opened with."""


class TooManyPoolsError(PoolManagerError):
    """There are as many pools as allowed, and all of them are in use."""


class UnknownPoolError(PoolManagerError, LookupError):
    """There is no pool with such a key."""


class PoolEvictedError(PoolManagerError, PoolClosedError):
    """A pool was removed from its manager."""


class DatabaseType(str, Enum):
    """A kind of database, of which there may be several drivers."""

    POSTGRESQL = "postgresql"
    MYSQL = "mysql"
    SQLITE = "sqlite"
    ORACLE = "oracle"
    SQLSERVER = "sqlserver"

    @classmethod
    def _missing_(cls, value: object) -> DatabaseType:
        """Return the kind that has another name, or other letters."""
        name = str(value).lower()
        name = {
            "postgres": "postgresql", "pg": "postgresql", "mariadb": "mysql",
            "sqlite3": "sqlite", "mssql": "sqlserver"}.get(name, name)
        for member in cls:
            if member.value == name:
                return member
        known = ", ".join(member.value for member in cls)
        raise ValueError(
            f"{value!r} is no kind of database; those are: {known}.")


class _Options(Dict[str, Any]):
    """Options for a driver, which do not change."""

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError("The options of a ConnectionConfig do not change.")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


@dataclass(frozen=True)
class ConnectionConfig:
    """How a connection is to be opened; what is None is left to the driver.

    db_type: a DatabaseType, or its value
    host: where the server is; for a local socket its path
    database: its name, the file of SQLite, or the service of Oracle
    password: a text, or a function that returns it, which is called for
        each new connection, and once more if that is refused
    ssl: if true, connections are encrypted, or not opened at all; if false,
        they are not encrypted
    ssl_ca: a file with certificates; if it is given, that of the server is
        verified with it, and so is the name of the host
    ssl_cert, ssl_key: files that tell the server who we are
    connection_timeout: how many seconds opening may take
    socket_timeout: how many seconds the server may be silent when it is
        asked something
    driver: the module or its name; if there is none, the first one that is
        installed
    options: what else the driver is told
    """

    db_type: DatabaseType
    host: str | None = None
    port: int | None = None
    database: str | None = None
    user: str | None = None
    password: Any = None
    charset: str | None = None
    autocommit: bool | None = None
    ssl: bool | None = None
    ssl_ca: str | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = None
    connection_timeout: float | None = None
    socket_timeout: float | None = None
    application_name: str | None = None
    driver: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what was given."""
        self._set("db_type", DatabaseType(self.db_type))
        self._check_texts()
        for name in ("autocommit", "ssl"):
            if getattr(self, name) not in {None, True, False}:
                raise TypeError(f"{name!r} must be a truth value.")
        for name in ("connection_timeout", "socket_timeout"):
            if check_seconds(name, getattr(self, name)) == 0:
                raise ValueError(f"{name!r} must be greater than 0.")
        if check_size("port", self.port) is not None and not (
                0 < (self.port or 0) < 1 << 16):
            raise ValueError("'port' must be a number from 1 to 65535.")
        self._check_encryption()
        self._set("options", _Options(wrap_secrets(self.options)))
        self._set("_key", canonical_key(self._without_secrets()))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_texts(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if setting.type == "str | None" and value is not None and not (
                    isinstance(value, str)):
                path = os.fspath(value)  # or it is no text
                self._set(setting.name, path)
        self._set("driver", _name_of_driver(self.driver))
        self._set("password", _as_secret(self.password))

    def _check_encryption(self) -> None:
        files = (self.ssl_ca, self.ssl_cert, self.ssl_key)
        if self.ssl is None and any(files):
            self._set("ssl", True)
        if any(files) and not self.ssl:
            raise ValueError("There are files for 'ssl', but it is false.")
        if self.ssl_key and not self.ssl_cert:
            raise ValueError("There is an 'ssl_key', but no 'ssl_cert'.")

    @classmethod
    def from_url(cls, url: str) -> ConnectionConfig:
        """Return the configuration that a URL describes.

        It looks like "postgresql://user:password@host:port/database?...";
        the kind can be followed by a driver, as in "mysql+pymysql".  After
        the question mark come other settings and options of the driver.
        """
        return cls(**settings_of_url(url))

    @classmethod
    def from_env(
            cls, prefix: str = "DB_",
            environ: Mapping[str, str] | None = None) -> ConnectionConfig:
        """Return the configuration that environment variables describe.

        prefix: that of their names, like DB_HOST, where DB_TYPE is the kind
            and DB_URL can contain everything
        environ: the variables, if they are not those of the process
        """
        variables = os.environ if environ is None else environ
        return cls(**settings_of_variables(variables, prefix))

    @property
    def key(self) -> str:
        """The key of the pool for this configuration.

        It is the same for all passwords.
        """
        return self._key  # type: ignore[attr-defined]

    def _without_secrets(self) -> dict[str, Any]:
        """Return the settings that are given, with secrets left out."""
        shown = {
            setting.name: getattr(self, setting.name)
            for setting in fields(self) if setting.name != "password"}
        shown["options"] = drop_secrets(self.options)
        return {
            name: value for name, value in shown.items()
            if value is not None and value != {}}

    def __repr__(self) -> str:
        """Show the settings that are given, but no secrets."""
        shown = self._without_secrets()
        shown["db_type"] = self.db_type.value
        if self.password is not None:
            shown["password"] = Secret()
        text = ", ".join(f"{name}={value!r}" for name, value in shown.items())
        return f"{type(self).__name__}({text})"

    def __hash__(self) -> int:
        return hash(self.key)

    def __copy__(self) -> ConnectionConfig:
        return self

    def __deepcopy__(self, memo: Any) -> ConnectionConfig:
        return self

    def __reduce__(self) -> Any:
        """Let pickles not contain secrets."""
        return partial(type(self), **self._without_secrets()), ()


@dataclass(frozen=True)
class PoolConfig:
    """How large a pool is, and how long its connections live.

    min_idle: how many idle connections are kept ready in the background
    max_idle: how many idle connections are kept at most; None means all
    max_total: how many connections may be in use; None means any number
    max_wait_time: for how many seconds a request waits for a connection;
        None means for as long as it takes, 0 not at all
    test_on_borrow: whether connections are looked at before they are lent
    max_lifetime: after how many seconds a connection is replaced
    max_idle_time: after how many seconds an idle connection is closed
    max_usage: after how many statements a connection is replaced
    """

    min_idle: int = 0
    max_idle: int | None = None
    max_total: int | None = 10
    max_wait_time: float | None = 30
    test_on_borrow: bool = True
    max_lifetime: float | None = None
    max_idle_time: float | None = None
    max_usage: int | None = None

    def __post_init__(self) -> None:
        """Check what was given."""
        for name in ("min_idle", "max_idle", "max_total", "max_usage"):
            check_size(name, getattr(self, name))
        for name in ("max_wait_time", "max_lifetime", "max_idle_time"):
            check_seconds(name, getattr(self, name))
        if self.max_total == 0:
            raise ValueError("'max_total' must be at least 1, or None.")
        sizes = [self.min_idle or 0, self.max_idle, self.max_total]
        known = [size for size in sizes if size is not None]
        if known != sorted(known):
            raise ValueError(
                "'min_idle' must not be greater than 'max_idle', nor that"
                " greater than 'max_total'.")


class ManagedPool(PooledDB):
    """A pool of a manager."""

    def __init__(self, config: ConnectionConfig, terms: PoolConfig) -> None:
        """Set the pool up, without opening a connection."""
        self.config = config
        # The key of the pool in its manager.
        self.key = config.key
        self.pool_config = terms
        self._connector = Connector(config)
        self._uses = UsageStats()
        self._health = HealthCheck(None)
        super().__init__(
            self._connector, maxconnections=terms.max_total, blocking=True,
            maxwait=terms.max_wait_time, maxusage=terms.max_usage,
            ping=1 if terms.test_on_borrow else 0,
            maxlifetime=terms.max_lifetime, maxidletime=terms.max_idle_time,
            refill=bool(terms.min_idle), features=(self._health,))
        self._core.tick = self._uses.note
        silence = self._connector.silence
        self._rules = None if silence is None else Impatient(silence)
        if terms.max_idle is not None:
            self._core.resize(
                lambda limits: limits._replace(maxcached=terms.max_idle))

    def __repr__(self) -> str:
        state = "pool" if self._uses.eviction is None else "evicted pool"
        return f"<{state} for {self.config!r}>"

    def steady_connection(self) -> SteadyDBConnection:
        """Return a connection that does not belong to the pool."""
        con = super().steady_connection()
        session = session_of(con)
        if self._rules is not None and isinstance(
                session.failover.usual, SafeFailover):
            session.failover = session.failover.with_usual(self._rules)
        return con

    def get_connection(self, *, maxwait: float | None = None) -> Any:
        """Return a connection, to be given back by close().

        The parameter is that of the pool, for this request only.
        """
        return self.dedicated_connection(maxwait=maxwait)

    def _too_many_error(  # type: ignore[override]
            self, text: str) -> Exception:
        """Return the error, which names the settings as a PoolConfig does."""
        for name, own_name in _OWN_NAMES:
            text = text.replace(name, own_name)
        return TooManyConnectionsError(text)

    def _closed_error(self, text: str) -> Exception:  # type: ignore[override]
        eviction = self._uses.eviction
        if eviction is None:
            return PoolClosedError(text)
        return PoolEvictedError(f"This pool was evicted: {eviction}.")

    def _acquire(self, *args: Any, **kwargs: Any) -> Any:
        request = Request()  # which ends with this function
        try:
            self._uses.requests.add(request)
            return super()._acquire(*args, **kwargs)
        except BaseException:
            self._uses.note_failure()
            raise
        finally:
            request = None  # type: ignore[assignment]


class _Entry:
    """A pool as its manager sees it: its use, its password, its server."""

    def __init__(self, pool: ManagedPool) -> None:
        self.pool = pool
        self.config = pool.config
        self.uses, self._connector, self._health = _parts_of(pool)
        self._core = core_of(pool)
        self._created_at = time()
        self._probe: Probe | None = None

    @property
    def key(self) -> str:
        """The key of the pool in its manager."""
        return self.pool.key

    def start(self) -> None:
        """Begin to keep idle connections ready, if there should be some."""
        number = self.pool.pool_config.min_idle
        if number:
            self._core.resize(
                lambda limits: limits._replace(mincached=number))
            hurry_maintenance(self._core)

    # Its password.

    def fits(self, config: ConnectionConfig) -> bool:
        """Tell whether somebody has the same password."""
        return self._connector.knows(config)

    @property
    def is_proven(self) -> bool:
        """Whether its password was ever accepted."""
        return self._connector.is_proven

    @property
    def is_refused(self) -> bool:
        """Whether its password was only ever refused."""
        return self._connector.is_refused

    def change_password(self, password: Any) -> None:
        """Open connections with another password, and retire the old ones."""
        self._connector.change_password(password)
        self.pool.drain()

    # Its use.

    @property
    def is_used(self) -> bool:
        """Whether somebody has a connection or wants one just now.

        What is done in the background, as a check of the server, is no use.
        """
        return bool(len(self.uses.requests)) or bool(self._core.holders())

    @property
    def used_at(self) -> float:
        """When a connection was asked for, or the pool; now if in use."""
        if self.is_used:
            self.touch()
        return self.uses.latest

    def touch(self) -> None:
        """Note that somebody has asked for the pool."""
        self.uses.latest = monotonic()

    def reclaim(self) -> None:
        """Take back what nobody holds any more."""
        self._core.reclaim()

    def evict(self, reason: str, timeout: float | None) -> bool:
        """End the pool, without closing what is in use.

        reason: what those are told who still have a reference
        """
        self.uses.eviction = reason
        return self.pool.shutdown(timeout)

    def info(self) -> dict[str, Any]:
        """Return the state of the pool."""
        config, stats = self.config, self._core.stats()
        used_at = self.used_at
        return {
            "key": self.key, "db_type": config.db_type.value,
            "host": config.host, "port": config.port,
            "database": config.database, "user": config.user,
            "driver": self._connector.driver,
            "max_total": self.pool.pool_config.max_total,
            "idle_connections": stats.idle,
            "active_connections": stats.in_use,
            "total_connections": stats.idle + stats.in_use,
            "waiting_requests": stats.waiting,
            "connections_served": self.uses.served,
            "created_at": self._created_at,
            "unused_for": monotonic() - used_at}

    # Its server.

    def probe(self) -> Probe:
        """Return a check of the server, which may be going on already."""
        probe = self._probe
        if probe is None or probe.is_closed:
            probe = Probe()
            if not probe.start(self._answers):
                raise PoolManagerError(
                    "The server cannot be asked, since no thread can be"
                    " started.")
            self._probe = probe
        return probe

    def _answers(self) -> bool:
        """Tell whether the server answers an idle or a new connection."""
        self._health.drop_invalid()
        core = self._core
        connect = self.pool._open  # noqa: SLF001 - as pools connect
        if core.idle_connections() or core.open_ahead(connect):
            return True
        return not is_away(core)  # since all are in use

    def after_fork(self) -> None:
        """Have no check and no request in a forked child."""
        self._probe = None
        self.uses.requests = WeakSet()


def _parts_of(pool: ManagedPool) -> tuple[UsageStats, Connector, HealthCheck]:
    """Return what a pool shares with its entry in the manager."""
    uses = pool._uses  # noqa: SLF001 - of this module
    connector = pool._connector  # noqa: SLF001 - likewise
    return uses, connector, pool._health  # noqa: SLF001 - likewise


class _Reports:
    """What is to be read about the pools of a manager."""

    def __init__(self) -> None:
        self._registry = PoolRegistry()

    def __repr__(self) -> str:
        state = "over" if self._registry.is_closed else (
            f"of {len(self._all())} pools")
        return f"<{type(self).__name__} {state}>"

    def _all(self) -> list[_Entry]:
        with self._registry.mutex.take():
            return list(self._registry.entries.values())

    def _settle(self) -> None:
        """Find out which pools are in use, if that has to be known."""
        if self._registry.limit is not None:
            for entry in self._all():
                entry.reclaim()

    def _get(self, key: str) -> _Entry:
        with self._registry.mutex.take():
            entry: _Entry | None = self._registry.entries.get(key)
            named = self._registry.names.get(key)
        if entry is not None:
            return entry
        text = f"There is no pool with the key {key!r}"
        if named is not None:
            text += f", but one with that name; its key is {named.key!r}"
        raise UnknownPoolError(f"{text}.")

    def get_pool_info(self, key: str) -> dict[str, Any]:
        """Return the state of a pool."""
        entry = self._get(key)
        with self._registry.mutex.take():
            names = self._registry.names_of(entry)
        return {**entry.info(), "names": names}

    def list_pools(self) -> list[dict[str, Any]]:
        """Return the states of all pools, in the order of their creation."""
        infos = []
        for entry in self._all():
            with suppress(UnknownPoolError):  # removed meanwhile
                infos.append(self.get_pool_info(entry.key))
        return infos

    def get_statistics(self) -> dict[str, Any]:
        """Return what the manager has done, and the state of its pools."""
        infos = self.list_pools()
        registry = self._registry
        with registry.mutex.take():
            manager = {
                "total_pools": len(registry.entries),
                "total_pools_created": registry.created,
                "total_pools_destroyed": registry.destroyed,
                "total_connections_served": registry.served}
        totals = {
            f"total_{name}": sum(info[name] for info in infos)
            for name in ("idle_connections", "active_connections")}
        totals["total_connections"] = sum(totals.values())
        return {
            "manager_stats": manager, "aggregate_pool_stats": totals,
            "pools": infos}

    def health_check(self, timeout: float = _PATIENCE) -> dict[str, Any]:
        """Ask the servers of all pools, at the same time.

        timeout: how many seconds they have to answer, all together
        """
        check_seconds("timeout", timeout)
        probes = {entry.key: entry.probe() for entry in self._all()}
        end = monotonic() + timeout
        results = {
            key: probe.is_well(max(end - monotonic(), 0))
            for key, probe in probes.items()}
        unhealthy = [key for key, is_well in results.items() if not is_well]
        healthy = len(results) - len(unhealthy)
        status = "healthy" if not unhealthy else (
            "degraded" if healthy else "unhealthy")
        return {
            "status": status, "healthy_pools": healthy,
            "unhealthy_pools": unhealthy, "total_pools": len(results),
            "pools": {
                key: "healthy" if is_well else "unhealthy"
                for key, is_well in results.items()}}


class _OneInAProcess(type):
    """A class of which there is one object in a process."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Return that object, or a new one of a derived class."""
        if cls is DBConnectionPoolManager:
            return get_pool_manager(*args, **kwargs)
        return super().__call__(*args, **kwargs)


class DBConnectionPoolManager(_Reports, metaclass=_OneInAProcess):
    """Holds the pools of a program, one for each configuration.

    There is one in a process: DBConnectionPoolManager() and
    get_pool_manager() return the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self._terms = PoolConfig()
        self._idle_timeout: float | None = None
        # What removes pools that nobody uses in the background.
        self._chore = Chore(self, "_tick")
        register_for_fork(self, method="_begin_anew")
        _managers.append(ref(self, _managers.remove))

    @classmethod
    def isolated(cls) -> DBConnectionPoolManager:
        """Return another manager, for tests for instance."""
        manager: DBConnectionPoolManager = type.__call__(cls)
        return manager

    def __enter__(self) -> DBConnectionPoolManager:
        """Begin a context at whose end all pools are shut down."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Shut all pools down."""
        self.shutdown()

    def _begin_anew(self) -> None:
        """Go on in a forked child, where all pools are empty."""
        self._registry.mutex = Mutex()
        for entry in self._all():
            entry.after_fork()

    # Getting pools and connections.

    def get_pool(
            self, config: Any = None, *args: Any,
            pool_config: PoolConfig | None = None,
            connection_config: Any = None, **settings: Any) -> ManagedPool:
        """Return the pool for a configuration, a new one if there is none.

        config: a ConnectionConfig or a URL, or the kind of the database,
            which the other positional parameters of ConnectionConfig follow
        pool_config: how large it is, also as the last positional parameter;
            only asked for when the pool is made, and an error if there is a
            pool that is different
        connection_config: another name of config

        All other parameters are those of ConnectionConfig.
        """
        config, pool_config = _read(
            config, args, pool_config, connection_config, settings)
        entry = self._find(config, pool_config)
        if entry is None:
            new = _Entry(ManagedPool(config, pool_config or self._terms))
            entry = self._add(new, pool_config)
        return entry.pool

    def get_pool_by_name(
            self, name: str, config: Any = None, *args: Any,
            pool_config: PoolConfig | None = None,
            connection_config: Any = None, **settings: Any) -> ManagedPool:
        """Return the pool for a configuration, and give it a name.

        It is an error if the name belongs to another configuration.  All
        other parameters are those of get_pool().
        """
        config, pool_config = _read(
            config, args, pool_config, connection_config, settings)
        _check_name(self._registry, name, config)
        while True:
            pool = self.get_pool(config, pool_config)
            with self._registry.mutex.take():
                _check_name(self._registry, name, config)
                entry = self._registry.entries.get(pool.key)
                if entry is not None and entry.pool is pool:  # still
                    self._registry.names[name] = entry
                    return pool

    def get_connection(
            self, config: Any = None, *args: Any,
            pool_config: PoolConfig | None = None,
            connection_config: Any = None, **settings: Any) -> Any:
        """Return a connection from the pool for a configuration.

        At the end of a "with" block it is given back.  The parameters are
        those of get_pool().
        """
        config, pool_config = _read(
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
        """Return the pool for a configuration, if there is one."""
        if self._registry.is_closed:
            raise PoolManagerError("This manager was shut down.")
        entry: _Entry | None = self._registry.entries.get(config.key)
        if entry is not None and not entry.fits(config):
            entry = _find_alike(self._registry.alike(config.key), config)
        if entry is None:
            return None
        terms = entry.pool.pool_config
        if pool_config is not None and pool_config != terms:
            raise PoolManagerError(
                "There is a pool for this configuration, but with another"
                f" {terms!r}.")
        entry.touch()
        return entry

    def _add(
            self, new: _Entry, pool_config: PoolConfig | None) -> _Entry:
        """Take in a new pool, unless another thread was faster."""
        registry = self._registry
        self._settle()
        with registry.mutex.take():
            found = self._find(new.config, pool_config)
            if found is not None:
                return found
            surplus = _make_room(registry, new.key)
            registry.add(new)
        _evict(surplus)
        new.start()
        return new

    # Removing pools.

    def set_max_pools(self, number: int | None) -> None:
        """Limit the number of pools; None means any number.

        If there are too many, those are removed that have not been used for
        the longest time and are not in use now.
        """
        if check_size("number", number) == 0:
            raise ValueError("'number' must be at least 1, or None.")
        self._registry.limit = number
        self._settle()
        with self._registry.mutex.take():
            surplus = self._registry.make_room(0)
        _evict((entry, _LEAST_USED) for entry in surplus)

    def set_pool_idle_timeout(self, seconds: float | None) -> None:
        """Remove pools that were not used for so long; None means none.

        They are looked for every five minutes.
        """
        self._idle_timeout = check_seconds("seconds", seconds)
        if seconds is None:
            self._chore.end()
        else:
            self._chore.begin(_CLEAN_UP)

    def _tick(self) -> None:
        """Remove pools that nobody uses, in the background."""
        self._chore.plan(_CLEAN_UP)
        seconds = self._idle_timeout
        if self._registry.is_closed or seconds is None:
            self._chore.end()
        else:
            self.clear_idle_pools(seconds)

    def clear_idle_pools(self, seconds: float = 0) -> int:
        """Remove the pools that were not used for so many seconds.

        Pools with connections in use are not removed.  This returns how many
        were removed.
        """
        check_seconds("seconds", seconds)
        for entry in self._all():
            entry.reclaim()
        limit = monotonic() - seconds
        with self._registry.mutex.take():
            idle = [
                entry for entry in self._registry.unused()
                if entry.used_at <= limit]
            for entry in idle:
                self._registry.take_out(entry)
        _evict((entry, "nobody has used it for long") for entry in idle)
        return len(idle)

    def remove_pool(self, key: str) -> bool:
        """Remove a pool; tell whether there was one with such a key.

        Connections that are in use are closed when they are given back.
        """
        with self._registry.mutex.take():
            entry = self._registry.entries.get(key)
            if entry is not None:
                self._registry.take_out(entry)
        if entry is None:
            return False
        _evict([(entry, "it was removed from the manager")])
        return True

    def shutdown(self, timeout: float | None = _PATIENCE) -> bool:
        """Shut all pools down, the latest first, and the manager for good.

        timeout: for how many seconds to wait for the connections in use

        This tells whether all connections were closed.  It happens at the
        exit of the program by itself, without waiting.
        """
        check_seconds("timeout", timeout)
        with self._registry.mutex.take():
            entries = list(self._registry.entries.values())
            for entry in entries:
                self._registry.take_out(entry)
            self._registry.is_closed = True
        start = monotonic()
        entries.reverse()
        results = []
        for entry in [entry for entry in entries if not _end(entry, 0)]:
            left = None if timeout is None else max(
                start + timeout - monotonic(), 0)
            results.append(_end(entry, left))
        return all(results)

    # Changing what there is.

    def set_default_pool_config(self, pool_config: PoolConfig) -> None:
        """Make new pools like this if nothing else is asked for."""
        if not isinstance(pool_config, PoolConfig):
            raise TypeError(f"That is no PoolConfig: {pool_config!r}.")
        self._terms = pool_config

    def update_credentials(self, key: str, password: Any) -> None:
        """Let a pool open its connections with another password.

        Those that were opened with the old one are closed, or if they are in
        use, when they are given back.
        """
        self._get(key).change_password(_as_secret(password))


def _as_secret(password: Any) -> Any:
    """Return a password as something that no repr shows."""
    if isinstance(password, str):
        return Secret(password)
    if password is None or callable(password):
        return password
    raise TypeError("'password' must be a text or a function.")


def _name_of_driver(driver: Any) -> str | None:
    """Return the name of a driver that can be given as a module."""
    if driver is None or isinstance(driver, str):
        return driver
    name = getattr(driver, "__name__", None)
    if not isinstance(driver, ModuleType) or name is None:
        raise TypeError(
            "'driver' must be a module or its name, not something of"
            f" {type(driver)!r}.")
    if sys.modules.get(name) is not driver:
        raise ValueError(f"'driver' is not what is imported as {name!r}.")
    return name


def _read(
        config: Any, args: tuple[Any, ...], terms: PoolConfig | None,
        other: Any, settings: dict[str, Any],
) -> tuple[ConnectionConfig, PoolConfig | None]:
    """Return the configuration and the terms from all that was given.

    other: the configuration by its other name
    """
    if args and isinstance(args[-1], PoolConfig):
        args, terms = args[:-1], _only_one(args[-1], terms)
    elif args == (None,):
        args = ()
    return _make_config(_only_one(config, other), args, settings), terms


def _only_one(positional: Any, keyword: Any) -> Any:
    """Return the one of two parameters that was given."""
    if keyword is None:
        return positional
    if positional is None:
        return keyword
    raise TypeError("The same parameter was given twice.")


def _make_config(
        config: Any, args: tuple[Any, ...],
        settings: dict[str, Any]) -> ConnectionConfig:
    """Return a configuration from all that was given."""
    _check_settings(settings)
    kind = _kind_in(config)
    if kind is not None:
        return ConnectionConfig(kind, *args, **settings)
    if args:
        raise TypeError(
            "Only settings that begin with the kind of a database, and the"
            " PoolConfig, can be given without their names.")
    if isinstance(config, str):
        config = ConnectionConfig.from_url(config)
    if config is None and "db_type" not in settings:
        raise TypeError(
            "It is not said which database: that takes a ConnectionConfig, a"
            " URL, or settings with a 'db_type'.")
    if config is None:
        return ConnectionConfig(**settings)
    if not isinstance(config, ConnectionConfig):
        raise TypeError(
            "The configuration must be a ConnectionConfig or a URL, not"
            f" something of {type(config)!r}.")
    return replace(config, **settings) if settings else config


def _check_settings(settings: dict[str, Any]) -> None:
    """Refuse settings of a pool among those of a connection."""
    terms = {term.name for term in fields(PoolConfig)}
    for name in settings:
        if name in terms:
            raise TypeError(
                f"{name!r} is a setting of the pool, not of its connections:"
                f" pool_config=PoolConfig({name}=...).")


def _kind_in(config: Any) -> DatabaseType | None:
    """Return the kind of database if that is what was given."""
    if isinstance(config, str) and config.isalnum():  # and no URL
        return DatabaseType(config)
    return None


def _check_name(
        registry: PoolRegistry, name: str, config: ConnectionConfig) -> None:
    """Refuse a name that belongs to another configuration."""
    named = registry.names.get(name)
    if named is not None and named.config.key != config.key:
        raise PoolManagerError(
            f"The name {name!r} belongs to a pool with another"
            " configuration.")


def _make_room(registry: PoolRegistry, key: str) -> list[tuple[_Entry, str]]:
    """Take out what has to go for a new pool with a key, and say why.

    A pool whose password nobody has tried yet stays beside the new one.
    """
    refused = registry.take_out_refused(key)
    if refused:
        return [(entry, _REFUSED) for entry in refused]
    try:
        surplus = registry.make_room(1)
    except AllPoolsInUse:
        raise TooManyPoolsError(
            f"All {len(registry.entries)} pools are in use, and there may be"
            f" {registry.limit} at most.") from None
    return [(entry, _LEAST_USED) for entry in surplus]


def _find_alike(
        alike: Sequence[_Entry], config: ConnectionConfig) -> _Entry | None:
    """Return the pool with the same password, if there is one.

    A pool with another one keeps it away only if the server accepts that.
    """
    found = next((entry for entry in alike if entry.fits(config)), None)
    if found is None and any(entry.is_proven for entry in alike):
        raise WrongCredentialsError(
            "There is a pool for this configuration, but it was"
            " opened with another password.")
    return found


def _evict(entries: Iterable[tuple[_Entry, str]]) -> None:
    for entry, reason in entries:
        _end(entry, 0, reason)


def _end(
        entry: _Entry, timeout: float | None,
        reason: str = "its manager was shut down") -> bool:
    """End a pool; tell whether all its connections were closed in time."""
    try:
        return entry.evict(reason, timeout)
    except Exception as error:  # noqa: BLE001 - the others are ended, too
        logger.error(
            "A pool could not be shut down: %s", type(error).__name__)
        return False


# All managers that there are, the oldest first.
_managers: list[ref[DBConnectionPoolManager]] = []


def _shut_all_down() -> None:
    """Close what is idle at the exit of the program."""
    for reference in reversed(_managers.copy()):
        manager = reference()
        if manager is not None:
            manager.shutdown(0)


atexit.register(_shut_all_down)


def _is_over(manager: DBConnectionPoolManager) -> bool:
    """Return whether a manager was shut down."""
    return manager._registry.is_closed  # noqa: SLF001 - of this module


class _Process:
    """What there is once in a process."""

    def __init__(self) -> None:
        self.after_fork()
        register_for_fork(self)

    def after_fork(self) -> None:
        """Have another manager in a forked child."""
        self._mutex = Mutex()
        self._manager: DBConnectionPoolManager | None = None

    def manager(self) -> DBConnectionPoolManager:
        """Return the manager, a new one if the old one was shut down."""
        with self._mutex.take():
            if self._manager is None or _is_over(self._manager):
                self._manager = DBConnectionPoolManager.isolated()
            return self._manager


_process = _Process()


def get_pool_manager() -> DBConnectionPoolManager:
    """Return the manager of the process."""
    return _process.manager()
