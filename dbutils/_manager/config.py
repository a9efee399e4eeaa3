"""The configuration of managed connections and pools.

A configuration can be given as an object, as a URL, as environment variables
or as the parameters of a method of the manager.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from functools import partial
from types import ModuleType

from .._base.atomic import loaded
from .._base.checks import check_seconds, check_size, shown
from .._base.hints import Any, Args, Dict, Mapping
from .._base.secrets import Secret, drop_secrets, wrap_secrets
from .urls import settings_of_url, settings_of_variables

__all__ = [
    "ConnectionConfig", "DatabaseType", "PoolConfig", "as_secret",
    "canonical_key", "configs_of_hosts", "kind_of", "read_parameters"]


class DatabaseType(str, Enum):
    """A kind of database, for which there may be several drivers."""

    POSTGRESQL = "postgresql"
    MYSQL = "mysql"
    SQLITE = "sqlite"
    ORACLE = "oracle"
    SQLSERVER = "sqlserver"

    @classmethod
    def _missing_(cls, value: object) -> DatabaseType:
        """Return the kind for another usual name, in upper or lower case."""
        name = str(value).lower()
        name = {
            "postgres": "postgresql", "pg": "postgresql", "mariadb": "mysql",
            "sqlite3": "sqlite", "mssql": "sqlserver"}.get(name, name)
        for member in cls:
            if member.value == name:
                return member
        known = ", ".join(member.value for member in cls)
        raise ValueError(
            f"{value!r} is no kind of database. Known kinds: {known}."
            " [DBU-16]")


class _Options(Dict[str, Any]):
    """Options for a driver, which cannot be changed."""

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError(
            "The options of a ConnectionConfig do not change. [DBU-12]")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = _refuse
    setdefault: Any = _refuse
    update: Any = _refuse


@dataclass(frozen=True)
class ConnectionConfig:
    """The parameters of a connection; None leaves one to the driver.

    db_type: a DatabaseType, or its value
    host: the host of the server, or the path of a local socket
    database: its name, the file of SQLite, or the service of Oracle
    password: a text, or a function that returns it; the function is called
        for each new connection, and once more if the server refuses that
    ssl: if true, connections are encrypted, or else not opened; if false,
        they are not encrypted
    ssl_ca: a file with certificates, with which the certificate of the
        server and the name of the host are verified
    ssl_cert, ssl_key: files with which the client identifies itself
    connection_timeout: the seconds that opening a connection may take
    socket_timeout: the seconds for which the server may be silent after a
        question
    driver: the module or its name; None means the first installed one
    options: further parameters of the driver
    hosts: several servers instead of one host, each with or without its port,
        as in ["db1", "db2:5433"]; the pool connects to the primary
    """

    db_type: DatabaseType | str
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
    hosts: Any = None

    def __post_init__(self) -> None:
        """Check the parameters, and normalize them."""
        self._set("db_type", DatabaseType(self.db_type))
        self._check_texts()
        for name in ("autocommit", "ssl"):
            if getattr(self, name) not in (None, True, False):
                raise TypeError(f"{name!r} must be a truth value. [DBU-01]")
        for name in ("connection_timeout", "socket_timeout"):
            if check_seconds(name, getattr(self, name)) == 0:
                raise ValueError(f"{name!r} must be greater than 0. [DBU-02]")
        if check_size("port", self.port) is not None and not (
                0 < (self.port or 0) < 1 << 16):
            raise ValueError(
                "'port' must be a number from 1 to 65535. [DBU-02]")
        self._check_encryption()
        self._set("hosts", _hosts_of(self.hosts))
        if self.hosts and self.host is not None:
            raise ValueError("There can be 'hosts', or one 'host'. [DBU-11]")
        if not isinstance(self.options, Mapping):
            raise TypeError(
                "'options' must be a mapping, not"
                f" {shown(self.options)}. [DBU-01]")
        self._set("options", _Options(wrap_secrets(self.options)))
        self._set("_key", canonical_key(self._without_secrets()))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_texts(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if setting.type == "str | None" and value is not None and not (
                    isinstance(value, str)):
                path = os.fspath(value)  # raises a TypeError if it is no path
                self._set(setting.name, path)
        self._set("driver", _name_of_driver(self.driver))
        self._set("password", as_secret(self.password))

    def _check_encryption(self) -> None:
        files = (self.ssl_ca, self.ssl_cert, self.ssl_key)
        if self.ssl is None and any(files):
            self._set("ssl", True)
        if any(files) and not self.ssl:
            raise ValueError(
                "There are files for 'ssl', but it is false. [DBU-11]")
        if self.ssl_key and not self.ssl_cert:
            raise ValueError(
                "There is an 'ssl_key', but no 'ssl_cert'. [DBU-11]")

    @classmethod
    def from_url(cls, url: str) -> ConnectionConfig:
        """Return the configuration that a URL describes.

        A URL is like "postgresql://user:password@host:port/database?...".  A
        driver can follow the kind, as in "mysql+pymysql".  Other parameters
        and options of the driver follow the question mark.
        """
        return cls(**settings_of_url(url))

    @classmethod
    def from_env(
            cls, prefix: str = "DB_",
            environ: Mapping[str, str] | None = None) -> ConnectionConfig:
        """Return the configuration that environment variables describe.

        prefix: the beginning of their names, as in DB_HOST; DB_TYPE is the
            kind of the database, and DB_URL can contain all parameters
        environ: the variables; None means those of the process
        """
        variables = os.environ if environ is None else environ
        return cls(**settings_of_variables(variables, prefix))

    @property
    def key(self) -> str:
        """Return the key of the pool for this configuration.

        It does not depend on the password.
        """
        key: str = self._key  # type: ignore[attr-defined]
        return key

    def _without_secrets(self) -> dict[str, Any]:
        """Return the parameters that are not None, without secrets."""
        values = {
            setting.name: getattr(self, setting.name)
            for setting in fields(self) if setting.name != "password"}
        values["options"] = drop_secrets(self.options)
        return {
            name: value for name, value in values.items()
            if value is not None and value != {}}

    def __repr__(self) -> str:
        """Show the parameters that are not None, with masked secrets."""
        values = self._without_secrets()
        values["db_type"] = kind_of(self)
        if self.password is not None:
            values["password"] = Secret()
        text = ", ".join(f"{name}={value!r}" for name, value in values.items())
        return f"{type(self).__name__}({text})"

    def __hash__(self) -> int:
        return hash(self.key)

    def __copy__(self) -> ConnectionConfig:
        return self

    def __deepcopy__(self, memo: Any) -> ConnectionConfig:
        return self

    def __reduce__(self) -> Any:
        """Return what pickles contain: the parameters without secrets."""
        return partial(type(self), **self._without_secrets()), ()


@dataclass(frozen=True)
class PoolConfig:
    """The size of a pool, and the lifetime of its connections.

    min_idle: the number of idle connections kept ready in the background
    max_idle: the maximum number of idle connections; None means no limit
    max_total: the maximum number of connections in use; None means no limit
    max_wait_time: the seconds for which a request waits for a connection;
        None means no limit, 0 means not at all
    test_on_borrow: whether connections are tested before they are lent
    max_lifetime: the seconds after which a connection is replaced
    max_idle_time: the seconds after which an idle connection is closed
    max_usage: the number of statements after which a connection is replaced
    behind: whether there is a proxy before the server; see pooled_db.PooledDB
    """

    min_idle: int = 0
    max_idle: int | None = None
    max_total: int | None = 10
    max_wait_time: float | None = 30
    test_on_borrow: bool = True
    max_lifetime: float | None = None
    max_idle_time: float | None = None
    max_usage: int | None = None
    behind: str | None = "auto"

    def __post_init__(self) -> None:
        """Check the parameters."""
        for name in ("min_idle", "max_idle", "max_total", "max_usage"):
            check_size(name, getattr(self, name))
        for name in ("max_wait_time", "max_lifetime", "max_idle_time"):
            check_seconds(name, getattr(self, name))
        if self.max_total == 0:
            raise ValueError(
                "'max_total' must be at least 1, or None. [DBU-02]")
        if self.behind not in ("auto", "transaction-pooler", None):
            raise ValueError(
                "'behind' must be 'auto', 'transaction-pooler' or None, not"
                f" {shown(self.behind)}. [DBU-03]")
        sizes = [self.min_idle or 0, self.max_idle, self.max_total]
        known = [size for size in sizes if size is not None]
        if known != sorted(known):
            raise ValueError(
                "'min_idle' must not be greater than 'max_idle', and"
                " 'max_idle' not greater than 'max_total'. [DBU-11]")


# Pickles name the public module, where programs find these classes.
for _kind in (DatabaseType, ConnectionConfig, PoolConfig):
    _kind.__module__ = "dbutils.pool_manager"


def _hosts_of(given: Any) -> tuple[str, ...] | None:
    """Return the names of several hosts, None if there are none."""
    names = list(given.split(",") if isinstance(given, str) else given or ())
    if not all(isinstance(name, str) for name in names):
        raise TypeError(
            f"'hosts' must be texts, not {shown(given)}. [DBU-01]")
    hosts = tuple(name.strip() for name in names)
    for host, port in map(_host_and_port, hosts):
        if not host or not (port is None or port.isdigit()):
            raise ValueError(
                "'hosts' must be names with or without ports, like"
                " 'db1:5432'. [DBU-03]")
    return hosts or None


def _host_and_port(name: str) -> tuple[str, str | None]:
    """Return the parts of the name of a host; IPv6 has square brackets."""
    host, mark, port = name.rpartition(":")
    if not mark or name.endswith("]"):
        return name.strip("[]"), None
    return host.strip("[]"), port


def configs_of_hosts(config: ConnectionConfig) -> dict[str, ConnectionConfig]:
    """Return a configuration for each of the hosts, by their names."""
    configs = {}
    for name in config.hosts or ():
        host, port = _host_and_port(name)
        configs[name] = replace(
            config, hosts=None, host=host,
            port=config.port if port is None else int(port))
    return configs


def canonical_key(settings: Mapping[str, Any]) -> str:
    """Return a key that is the same for equal settings, and only then."""
    text = json.dumps(
        _canonical(settings), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """Return a representation for JSON that is equal for equal values."""
    if isinstance(value, Mapping):
        return {str(name): _canonical(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(part) for part in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    kind = type(value)
    name = getattr(value, "__qualname__", "<")
    is_global = isinstance(value, type) and "<" not in name
    return {
        f"{kind.__module__}.{kind.__qualname__}":
            f"{value.__module__}.{name}" if is_global else id(value)}


def as_secret(password: Any) -> Any:
    """Return a password as a Secret, which no repr shows."""
    if isinstance(password, str):
        return Secret(password)
    if password is None or callable(password):
        return password
    raise TypeError("'password' must be a text or a function. [DBU-01]")


def _name_of_driver(driver: Any) -> str | None:
    """Return the name of a driver, which can be given as a module."""
    if driver is None or isinstance(driver, str):
        return driver
    name: str | None = getattr(driver, "__name__", None)
    if not isinstance(driver, ModuleType) or name is None:
        raise TypeError(
            f"'driver' must be a module or its name, not {shown(driver)}."
            " [DBU-01]")
    if loaded(name) is not driver:
        raise ValueError(
            f"'driver' is not what is imported as {name!r}. [DBU-08]")
    return name


def read_parameters(
        config: Any, args: tuple[Any, ...], pool_config: PoolConfig | None,
        other: Any, settings: dict[str, Any],
) -> tuple[ConnectionConfig, PoolConfig | None]:
    """Return the configurations that a method of the manager was given.

    args: the other positional parameters of the method
    other: the parameter `config` by its other name
    settings: the other keyword parameters
    """
    if args and isinstance(args[-1], PoolConfig):
        args, pool_config = args[:-1], _only_one(args[-1], pool_config)
    elif args == (None,):
        args = ()
    if not (pool_config is None or isinstance(pool_config, PoolConfig)):
        raise TypeError(
            "'pool_config' must be a PoolConfig, not"
            f" {shown(pool_config)}. [DBU-01]")
    return _make_config(_only_one(config, other), args, settings), pool_config


def _only_one(positional: Any, keyword: Any) -> Any:
    """Return the one of two parameters that was given."""
    if keyword is None:
        return positional
    if positional is None:
        return keyword
    raise TypeError("The same parameter was given twice. [DBU-17]")


def kind_of(config: ConnectionConfig) -> str:
    """Return the kind of the database as a text.

    Type checkers let it be given as a text, but it is kept as a DatabaseType.
    """
    return DatabaseType(config.db_type).value


def _make_config(
        config: Any, args: Args, settings: dict[str, Any]) -> ConnectionConfig:
    """Return a configuration made of all parameters that were given."""
    _check_settings(settings)
    if isinstance(config, str) and config.isalnum():  # it is no URL
        return ConnectionConfig(DatabaseType(config), *args, **settings)
    if args:
        raise TypeError(
            "Only settings that begin with the kind of a database, and the"
            " PoolConfig, can be given without their names. [DBU-17]")
    if isinstance(config, str):
        config = ConnectionConfig.from_url(config)
    if config is None and "db_type" not in settings:
        raise TypeError(
            "No database was given. Pass a ConnectionConfig, a URL, or"
            " settings with a 'db_type'. [DBU-17]")
    if config is None:
        return ConnectionConfig(**settings)
    if not isinstance(config, ConnectionConfig):
        raise TypeError(
            "The configuration must be a ConnectionConfig or a URL, not"
            f" {shown(config)}. [DBU-17]")
    return replace(config, **settings) if settings else config


def _check_settings(settings: dict[str, Any]) -> None:
    """Refuse settings of a pool among those of a connection."""
    names = {setting.name for setting in fields(PoolConfig)}
    for name in settings:
        if name in names:
            raise TypeError(
                f"{name!r} is a setting of the pool, not of its connections."
                f" Pass pool_config=PoolConfig({name}=...). [DBU-17]")
