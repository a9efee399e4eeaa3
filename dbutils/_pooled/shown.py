"""The repr of pools, and of what they lend.

Nothing here asks a server, waits for anybody, or shows a secret.
"""

from __future__ import annotations

from .._base.hints import Any, Iterator, Mapping
from .._base.secrets import masked_url
from .._core.lease import core_of
from .._core.stats import PoolStats

__all__ = ["name_of", "pool", "state_of", "threads"]

# The parameters with which drivers are told where to connect.
_HOSTS = ("host", "hostname", "server", "unix_socket", "hostaddr")
_DATABASES = (
    "database", "dbname", "db", "service_name", "sid", "catalog")


def name_of(thing: Any) -> str:
    """Return the name of a pool, or of what is used like one."""
    held = vars(thing)
    parameters, config = held.get("_kwargs", {}), held.get("config")
    if config is not None:  # of a managed pool
        parameters = {
            name: getattr(config, name)
            for name in ("host", "port", "database")}
    return held.get("_poolname") or _made_of(
        held.get("_creator", "pg"), parameters)


def pool(thing: Any) -> str:
    """Return the repr of a pool."""
    kind, held = type(thing).__name__, vars(thing)
    if "_core" not in held:
        return f"<{kind} that has not begun>"
    return f"<{kind} {name_of(thing)!r} {state_of(thing)}>"


def state_of(thing: Any) -> str:
    """Return the state of a pool in a few words."""
    core = core_of(thing)
    return _state(core.state(), core.is_closed)


def threads(thing: Any) -> str:
    """Return the repr of an object that gives each thread a connection."""
    kind = type(thing).__name__
    con = getattr(thing.thread, "connection", None)
    own = "no connection" if con is None else repr(con)
    return f"<{kind} {name_of(thing)!r} with {own} in this thread>"


def _made_of(creator: Any, parameters: Mapping[str, Any]) -> str:
    """Return the name of a pool: the driver, the host, port and database.

    creator: a driver, or what opens connections
    parameters: those by their names with which connections are opened
    """
    host = _first(parameters, _HOSTS)
    port = _first(parameters, ("port",))
    place = ":".join(part for part in (host, port) if part)
    database = _first(parameters, _DATABASES)
    where = "/".join(part for part in (place, database) if part)
    driver = _driver_name(creator)
    return f"{driver} {where}" if where else driver


def _driver_name(creator: Any) -> str:
    """Return the name of a driver, or of a function in its place."""
    dbapi = getattr(creator, "dbapi", None)
    thing = creator if dbapi is None else dbapi
    if isinstance(thing, str):
        return thing
    name = getattr(thing, "__name__", None)
    return name if isinstance(name, str) else type(thing).__name__


def _first(parameters: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next(_texts(parameters, names), "")


def _texts(
        parameters: Mapping[str, Any],
        names: tuple[str, ...]) -> Iterator[str]:
    """Yield the values of the parameters that can be shown.

    A text with an equals sign can be a list of parameters with a password,
    and before an at sign there can be one.
    """
    for name in names:
        value = parameters.get(name)
        if value is None or isinstance(value, bool) or callable(value):
            continue
        text = str(value)
        text = (
            masked_url(text) if "://" in text else text.rpartition("@")[2])
        if text and "=" not in text:
            yield text


def _state(stats: PoolStats, is_closed: bool) -> str:
    """Return the state of a pool in a few words."""
    limit = stats.maxconnections
    used = f"{stats.in_use}" if limit is None else f"{stats.in_use} of {limit}"
    parts = [f"{used} in use", f"{stats.idle} idle"]
    if stats.shared:
        parts.append(f"{stats.shared} shared")
    parts.append(f"{stats.waiting} waiting")
    if is_closed:
        parts.append("shut down")
    return ", ".join(parts)
