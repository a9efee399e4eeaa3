"""Requests of a pool whose creator leads to several servers."""

from __future__ import annotations

from time import monotonic

from .._base.errors import log_swallowed
from .._base.hints import Any, NamedTuple, partial, ref
from .._core.backend import Kinds
from .._core.lease import core_of, take_note
from .._core.slots import DEAD
from .._core.tuning import divide, set_kinds
from .._hosts.aims import Wish, check_after
from .._hosts.targets import cluster_of
from .._steady.state import IN_DOUBT
from .._steady.steady import session_of

__all__ = ["add_targets"]

# In seconds, what is left to a request at least; 0 would not limit connecting.
_LEAST = 0.001


class Aimed(NamedTuple):
    """A request that says what it wants of a server."""

    aim: Any
    # The rest is for the policy of a pool; see Request.
    level: int = 0
    tag: Any = None
    start: float = 0.0

    @property
    def kind(self) -> Any:
        """Stands for what it wants; others may be served when it is not."""
        return self.aim, self.tag


class HostKinds(Kinds):
    """Tells the connections to different servers apart."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        # The aim of requests that name none, and that of their routes, which
        # the fast way compares.
        self.usual = cluster.aim
        self.has_limits = cluster.has_limits

    def fits(self, con: Any, request: Any) -> bool:
        return self._fits(con, request, is_limited=False)

    def suffices(self, con: Any, request: Any) -> bool:
        return self._fits(con, request, is_limited=self.has_limits)

    def _fits(self, con: Any, request: Any, is_limited: bool) -> bool:
        session = session_of(con)
        fits: bool = session.route.fits(self._aim_of(request), is_limited)
        return fits and not session.is_doubted

    def assign(self, con: Any, request: Any) -> None:
        session_of(con).route.aim = self._aim_of(request)

    def refusal(self, request: Any) -> Exception | None:
        if not self.has_limits:
            return None
        error: Exception | None = self._cluster.refusal(self._aim_of(request))
        return error

    def _aim_of(self, request: Any) -> Any:
        """Return the aim of a request; a pool of tags has others, too."""
        return self.usual if request is None else getattr(
            request, "aim", self.usual)


class Member:
    """Stands for a pool in its cluster."""

    def __init__(self, core: Any) -> None:
        self._core = ref(core)

    def sweep(self) -> None:
        """Close idle connections whose servers are no longer wanted."""
        core = self._core()
        if core is not None:
            core.expel(_is_doubted, DEAD)

    def is_in_use(self) -> bool:
        """Return whether connections are in use."""
        core = self._core()
        return core is not None and core.in_use > 0


def _is_doubted(con: Any) -> bool:
    return bool(session_of(con).is_doubted)


# The classes of pools, with their subclasses.
_kinds: dict[type, Any] = {}


def add_targets(pool: Any, core: Any, creator: Any) -> None:
    """Add targets to the requests of a new pool.

    Other pools pay nothing for the additional parameters.  Idle connections
    are closed when their servers have to be left.
    """
    kind = type(pool)
    if kind not in _kinds:
        _kinds[kind] = _with_targets(kind)
    pool.__class__ = _kinds[kind]
    pool.__dict__ = {**pool.__dict__}  # in which names are found quickly again
    member = Member(core)
    cluster = pool._cluster = cluster_of(creator)  # noqa: SLF001 - of pools
    pool._member = member  # noqa: SLF001 - of pools
    cluster.join(member)
    if len(cluster.hosts) > 1:
        divide(core, partial(_lacks, ref(cluster)))
    if cluster.has_limits:
        set_kinds(core, HostKinds(cluster))


def _lacks(link: Any, error: Exception) -> bool:
    """Return whether no server fits a request that had an error.

    link: the core must not keep the cluster alive, nor its monitor
    """
    cluster = link()
    return cluster is not None and cluster.lacks(error)


def _with_targets(kind: Any) -> Any:
    """Return a subclass of a pool whose requests can name a target."""
    class WithTargets(kind):  # type: ignore[misc]  # known when it is made
        __slots__ = ()

        def _lend(
                self, *shareable: bool, target: str | None = None,
                maxlag: float | None = None, after: str | None = None,
                **options: Any) -> Any:
            lease = None
            try:
                if target is None and maxlag is None and after is None:
                    return super()._lend(*shareable, **options)
                lease = _lend(self, target, maxlag, after, **options)
                take_note(lease)  # of the program that called us
                return lease
            finally:
                lease = None  # not to be kept by a traceback

    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(WithTargets, name, getattr(kind, name))
    return WithTargets


def _lend(
        pool: Any, target: str | None, maxlag: float | None,
        after: str | None, maxwait: float | None = None,
        priority: Any = None, tag: Any = None) -> Any:
    """Return a lease of a connection to a server that fits."""
    core, cluster = core_of(pool), pool._cluster  # noqa: SLF001 - of pools
    aim, position = cluster.aim_at(target, maxlag), check_after(after)
    if not cluster.asks and (
            aim.target != "any" or maxlag is not None or position):
        cluster.begin_to_ask()
    usual = core.request(priority, tag)
    if core.kinds is None:
        set_kinds(core, HostKinds(cluster))
    lease, start = None, monotonic()
    try:
        lease = _lend_at(pool, aim, maxwait, usual)
        timeout = core.timeout if maxwait is None else maxwait
        end = start + timeout if timeout else None
        if position is None or _sees(
                cluster, session_of(lease), position, end):
            return lease
        lease.close()
    finally:
        lease = None  # not to be kept by a traceback
    if end is not None:
        maxwait = max(end - monotonic(), _LEAST)
    return _lend_at(pool, cluster.aim_at_primary(aim), maxwait, usual)


def _lend_at(pool: Any, aim: Any, maxwait: float | None, usual: Any) -> Any:
    """Return a lease of a connection to a server that fits an aim.

    usual: the request without the aim, None if it wants nothing else
    """
    permit = None
    request = Aimed(aim) if usual is None else Aimed(
        aim, usual.level, usual.tag, usual.start)
    try:
        permit = pool._acquire(  # noqa: SLF001 - of pools
            partial(_open_at, pool, aim), False, maxwait, pool, request)
        return pool._new_lease(permit)  # noqa: SLF001 - of pools
    finally:
        permit = None  # not to be kept by a traceback


def _sees(
        cluster: Any, session: Any, position: str,
        end: float | None) -> bool:
    """Return whether a session sees all up to a position, or does in time.

    end: when the time of the request is over, half of which is left for
        another server

    Then this also holds for a connection that replaces the present one.  A
    connection that is lost meanwhile sees nothing.
    """
    route = session.route
    if end is not None:
        end = (monotonic() + end) / 2
    try:
        has_come = cluster.catches_up(route, session.con, position, end)
    except Exception as error:  # noqa: BLE001 - whatever it is, it has no answer
        session.suspect()
        log_swallowed("asking a standby how far it has come", error)
        has_come = False
    except BaseException:
        session.enter(IN_DOUBT)  # the answer may be unread
        raise
    if has_come:
        route.aim = route.aim._replace(after=position)
    return bool(has_come)


def _open_at(pool: Any, aim: Any) -> Any:
    """Open a connection of a pool to a server that fits."""
    wish, cluster = Wish(aim), pool._cluster  # noqa: SLF001 - of pools
    try:
        cluster.listen(wish)
        return pool._open()  # noqa: SLF001 - of pools
    finally:
        cluster.hush(wish)
        del wish
