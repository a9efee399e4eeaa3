"""The creator of connections to several servers."""

from __future__ import annotations

from .._base.checks import check_seconds, check_size, shown
from .._base.hints import (
    Any,
    Callable,
    Iterable,
    Mapping,
    NamedTuple,
    Order,
    Target,
)
from .._drivers.creators import (
    connect_of,
    connect_pg,
    creator_threadsafety,
    module_of_creator,
)
from .aims import check_aim
from .cluster import ORDERS, Cluster
from .host import Host

__all__ = ["Targets", "cluster_of", "targets_of"]

# The parameters that name a host.
_HOST_NAMES = ("host", "unix_socket", "server", "hostaddr")


class _Way(NamedTuple):
    """How to connect to a host, besides its limit."""

    name: str
    connect: Callable[..., Any]
    parameters: dict[str, Any]
    dbapi: Any
    threadsafety: int


class Targets:
    """Several servers, as the creator of a pool or a connection."""

    __module__ = "dbutils.hosts"

    def __init__(
            self, hosts: Iterable[Any], creator: Any = None, *,
            order: Order = "in-order", target: Target | None = None,
            probe: float = 1.0, role: Callable[[Any], Any] | None = None,
            limits: Mapping[str, int] | None = None,
            cut: bool = True, catchup: float = 1.0) -> None:
        """Set up the servers.

        hosts: each is a dictionary of parameters for the creator that take
            precedence over those of the pool, a URL like those of
            ConnectionConfig.from_url(), such a configuration, or a function
            that opens a connection; a configuration with several hosts
            stands for all of them
        creator: the module of the driver, or a function, for dictionaries;
            the module pg for connections of classic PyGreSQL
        order: in which order the servers are tried that fit: "in-order",
            "round-robin", "random", "least" (connections), or "fastest"
        target: the target of requests that name none: "primary", which is
            the default if there are several servers, "standby",
            "prefer-standby", "prefer-primary" or "any"
        probe: the seconds between two looks at a server
        role: a function that gets a driver connection and returns the role of
            the server, "primary", "read-only", "standby", or "offline"; by
            default PostgreSQL, MySQL and MariaDB are asked themselves, and
            other servers count as primaries
        limits: the highest numbers of connections to some of the servers, by
            their names, which are those of the hosts, with the ports if these
            are given
        cut: whether the connections to a server that is silent for three
            tenths of "probe" are cut, so that nobody waits for an answer
        catchup: for how many seconds a request waits for a standby that has
            not yet replayed what it has to see
        """
        if order not in ORDERS:
            raise ValueError(
                f"'order' must be {', '.join(map(repr, list(ORDERS)[:-1]))} or"
                f" {list(ORDERS)[-1]!r}, not {shown(order)}. [DBU-03]")
        if role is not None and not callable(role):
            raise TypeError("'role' must be a callable. [DBU-01]")
        seconds = check_seconds("probe", probe)
        if not seconds:
            raise ValueError("'probe' must be more than 0 seconds. [DBU-02]")
        ways = _named([
            way for host in hosts for way in _ways_to(host, creator)])
        if not ways:
            raise ValueError("There must be at least one host. [DBU-02]")
        most = _check_limits(limits, [way.name for way in ways])
        if target is None:
            target = "primary" if len(ways) > 1 else "any"
        self._threadsafety = min(way.threadsafety for way in ways)
        self._cluster = Cluster(
            [Host(*way[:4], most.get(way.name)) for way in ways], order,
            check_aim(target), seconds, role, bool(cut),
            check_seconds("catchup", catchup) or 0.0)

    def __repr__(self) -> str:
        """Show the states of the servers."""
        return f"<Targets {self.states()}>"

    @property
    def dbapi(self) -> Any:
        """The module of the driver, if that is known."""
        return self._cluster.dbapi

    @property
    def threadsafety(self) -> int:
        """The level of thread safety that all creators promise."""
        return self._threadsafety

    def connect(self, *args: Any, **kwargs: Any) -> Any:
        """Return a driver connection to one of the servers."""
        return self._new_route()(*args, **kwargs)

    def states(self) -> dict[str, str]:
        """Return what each server is, as far as known, by its name.

        That is "primary", "read-only" (a primary that takes no writes),
        "standby", "offline" or "unknown".
        """
        return self._cluster.states()

    def _hands_on(self, options: Iterable[str]) -> bool:
        """Return whether these options reach the drivers of all servers."""
        return self._cluster.hands_on(options)

    def _new_route(self) -> Any:
        """Return what opens the connections of one session."""
        return self._cluster.route()


def targets_of(option: Any, creator: Any = None, default: Any = None) -> Any:
    """Return the Targets that the option "targets" stands for.

    option: these, or their hosts
    creator: opens the connections to hosts that are dictionaries, if it is
        given
    default: does so otherwise
    """
    if hasattr(type(creator), "_new_route") or (
            creator is not None and hasattr(type(option), "_new_route")):
        raise TypeError(
            "Targets as the creator and 'targets', or Targets as 'targets' and"
            " a creator, are too much: they have a creator of their own."
            " [DBU-11]")
    if hasattr(type(option), "_new_route"):
        return option
    if not hasattr(type(option), "__iter__") or isinstance(
            option, (str, bytes, Mapping)):
        raise TypeError(
            "'targets' must be the Targets of dbutils.hosts, or a sequence of"
            f" hosts, not {shown(option)}. [DBU-01]")
    return Targets(option, default if creator is None else creator)


def cluster_of(targets: Targets) -> Cluster:
    """Return what is behind the creator."""
    return targets._cluster  # noqa: SLF001 - the one door from outside to inside


def _ways_to(host: Any, creator: Any) -> Iterable[_Way]:
    """Yield the ways to a host that is given in one of several forms."""
    if isinstance(host, str) or hasattr(host, "db_type"):
        return _ways_by_config(host)
    return [_way_by_function(host) if callable(host) else (
        _way_by_parameters(host, creator))]


def _way_by_function(host: Any) -> _Way:
    given = getattr(host, "keywords", None)  # of a partial function
    name = _name_of(given) if isinstance(given, Mapping) else (
        getattr(host, "__name__", type(host).__name__))
    return _Way(
        name, host, {}, module_of_creator(host), creator_threadsafety(host))


def _way_by_parameters(host: Any, creator: Any) -> _Way:
    if not isinstance(host, Mapping):
        raise TypeError(
            "A host must be a dictionary, a URL, a ConnectionConfig or a"
            f" function, not {shown(host)}. [DBU-01]")
    if creator is None:
        raise TypeError(
            "Hosts that are dictionaries need a 'creator'. [DBU-17]")
    if getattr(creator, "__name__", None) == "pg" and hasattr(creator, "DB"):
        creator = connect_pg  # whose function connect() returns less
    return _Way(
        _name_of(host), connect_of(creator), dict(host),
        module_of_creator(creator), creator_threadsafety(creator))


def _ways_by_config(host: Any) -> Iterable[_Way]:
    from .._manager import config as configs  # noqa: PLC0415 - if needed
    from .._manager.connector import Connector  # noqa: PLC0415 - if needed

    config = configs.ConnectionConfig.from_url(host) if isinstance(
        host, str) else host
    connector = Connector(config)
    if config.hosts:
        return [
            _way_by_function(connector.towards(*item))
            for item in configs.configs_of_hosts(config).items()]
    return [_way_by_function(connector)._replace(
        name=_name_of({"host": config.host, "port": config.port}))]


def _name_of(parameters: Mapping[str, Any]) -> str:
    """Return the name of a host, which contains no secret."""
    name = next((
        str(parameters[key]) for key in _HOST_NAMES
        if parameters.get(key)), "localhost")
    port = parameters.get("port")
    return name if port is None else f"{name}:{port}"


def _named(ways: list[_Way]) -> list[_Way]:
    """Return the ways with different names."""
    names: list[str] = []
    for way in ways:
        number, name = 1, way.name
        while name in names:
            number += 1
            name = f"{way.name} ({number})"
        names.append(name)
    return [way._replace(name=name) for name, way in zip(names, ways)]


def _check_limits(
        limits: Mapping[str, int] | None,
        names: list[str]) -> dict[str, int]:
    """Return the limits of the hosts, after checking them."""
    most = {}
    for name, number in (limits or {}).items():
        if name not in names:
            raise ValueError(
                f"'limits' has {name!r}, but the hosts are"
                f" {', '.join(map(repr, names))}. [DBU-03]")
        size = check_size("limits", number)
        if size:
            most[name] = size
    return most
