"""Several servers: which one a connection leads to, and when it is left."""

from __future__ import annotations

import threading
from itertools import count, product
from operator import attrgetter
from random import sample
from time import monotonic

from .._base.atomic import alive, snapshot
from .._base.errors import log_swallowed, quietly
from .._base.hints import Any, Callable, Iterable, deque, ref
from .._drivers.creators import (
    has_base,
    is_unsupported,
    module_of_connection,
)
from .._drivers.outages import is_full, is_outage, is_refusal
from .._drivers.registry import driver_in, driver_of
from .._drivers.standing import PRIMARY, ROLES, STANDBY, UNKNOWN, Standing
from .._steady.deadlines import end_deadline, start_deadline
from .aims import Aim, Wish, check_aim
from .errors import NoServerError, no_server
from .host import Host, Seat
from .route import Route

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from .monitor import Monitor

__all__ = ["ORDERS", "Cluster"]

# In seconds, how long a server may take to say its role.
_ANSWER = 3.0
# In seconds, the time between two looks at a standby that is catching up.
_TICK = 0.005
# For how many probes refusals to write mean nothing, after the server has said
# that it takes writes; and how many positions of the primary are known.
_CALM = 10
# For how many probes a role that does not fit stays known.
_TRUST = 2
_HISTORY = 1000


def _in_order(hosts: list[Host]) -> list[Host]:
    return hosts


def _in_turn(hosts: list[Host]) -> list[Host]:
    """Return first the one that was tried longest ago, whatever its role."""
    return sorted(hosts, key=attrgetter("turn"))


def _at_random(hosts: list[Host]) -> list[Host]:
    return sample(hosts, len(hosts))


def _least_first(hosts: list[Host]) -> list[Host]:
    return sorted(hosts, key=attrgetter("number", "turn"))


def _fastest_first(hosts: list[Host]) -> list[Host]:
    return sorted(hosts, key=attrgetter("seconds"))


# The order in which the hosts are asked for a connection.
ORDERS: dict[str, Callable[[list[Host]], list[Host]]] = {
    "in-order": _in_order, "round-robin": _in_turn, "random": _at_random,
    "least": _least_first, "fastest": _fastest_first}


class Cluster:
    """Several servers, and the routes that lead to them."""

    def __init__(
            self, hosts: list[Host], order: str, aim: Aim, probe: float,
            role: Callable[[Any], Any] | None, cuts: bool,
            catchup: float) -> None:
        """Set up the cluster.

        aim: that of requests that name none
        probe, role, catchup: see Targets
        cuts: whether connections to a silent server are cut
        """
        self.hosts = hosts
        self.aim = aim
        self._wanted = threading.local()
        self.probe = probe
        self._order = ORDERS[order]
        self._role = role
        self._cuts = cuts
        self._catchup = catchup
        self._turns = count(1)
        self.has_limits = any(host.is_limited for host in hosts)
        # Whether roles matter.
        self.asks = role is not None or len(hosts) > 1 or aim.target != "any"
        self.dbapi = hosts[0].dbapi
        self.is_plain = all(host.dbapi is not None for host in hosts)
        # Weak references to the routes of connections, and to the members of
        # pools.
        self._routes: set[Any] = set()
        self._pools: set[Any] = set()
        # The parameters of the last connection.
        self.arguments: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})
        # Looks at the servers in the background.
        self._monitor: Monitor | None = None
        # Where the primary was lately, and when.
        self._history: deque[tuple[float, int]] = deque(maxlen=_HISTORY)
        # How often connections were left since a server had another role.
        self.generation = 0

    def states(self) -> dict[str, str]:
        """Return what each server is, as far as known, by its name."""
        return {
            host.name: host.state if self.asks or host.error is not None
            else UNKNOWN for host in self.hosts}

    def route(self) -> Route:
        """Return a new route, by default to what is usually wanted."""
        link = getattr(self._wanted, "wish", None)
        wish = None if link is None else link()
        return Route(self, self.aim if wish is None else wish.aim)

    def hands_on(self, options: Iterable[str]) -> bool:
        """Return whether these options reach the drivers of all servers."""
        return all(host.hands_on(options) for host in self.hosts)

    def add_route(self, route: Route) -> None:
        """Know a route for as long as it exists."""
        self._routes.add(ref(route, self._routes.discard))

    def routes_to(self, host: Host) -> list[Route]:
        """Return the routes that lead to a host."""
        return [
            route for route in alive(list(self._routes))
            if route.host is host]

    def aim_at(self, target: Any, maxlag: Any) -> Aim:
        """Return the aim of a request, after checking it."""
        return check_aim(
            self.aim.target if target is None else target, maxlag)

    def begin_to_ask(self) -> None:
        """Ask servers for their roles from now on, since a request needs them.

        A single server that no request has had a wish for was never asked.
        """
        self.asks = True  # first: nobody learns an unasked role after that
        for host in self.hosts:
            host.forget()

    def aim_at_primary(self, aim: Aim) -> Aim:
        """Return the aim at a primary, or raise an error if none is wanted."""
        if not aim.is_met(PRIMARY):
            raise no_server(aim, self.hosts, "has not caught up")
        return check_aim("primary")

    def listen(self, wish: Wish) -> None:
        """Give an aim to the routes that are made in this thread.

        Between the request and the opener of its connection are methods that
        programs override.
        """
        wish.outer = getattr(self._wanted, "wish", None)
        self._wanted.wish = ref(wish)

    def hush(self, wish: Wish) -> None:
        """Give the aim again that was wanted before.

        A signal handler may have used the same pool.
        """
        self._wanted.wish = wish.outer

    def fits(self, host: Host, aim: Aim, is_limited: bool = False) -> bool:
        """Return whether a host fits, and none that could fit better.

        is_limited: whether others must allow another connection
        """
        for roles in aim.choices:
            if host.fits(roles, aim.maxlag):
                return True
            if any(other.fits(roles, aim.maxlag) or other.is_new
                   for other in self.hosts if not (
                       other.is_crowded or (is_limited and other.is_full))):
                return False
        return False

    def refusal(self, aim: Aim) -> NoServerError | None:
        """Return the error if all servers that fit are at their limits."""
        fitting = [host for host in self.hosts if any(
            host.may_fit(roles, aim.maxlag, _TRUST * self.probe)
            for roles in aim.choices)]
        if not fitting or not all(host.is_full for host in fitting):
            return None
        return no_server(aim, self.hosts)

    def lacks(self, error: Exception) -> bool:
        """Return whether no server fits the aim of an error, if it has one."""
        aim = getattr(error, "aim", None)
        return aim is not None and not any(
            host.fits(roles, aim.maxlag)
            for roles, host in product(aim.choices, self.hosts))

    def join(self, member: Any) -> None:
        """Tell a pool of changes, for as long as its member lives.

        It has the methods sweep(), which closes idle connections that are to
        be replaced, and is_in_use().
        """
        self._pools.add(ref(member, self._pools.discard))

    def is_in_use(self) -> bool:
        """Return whether a pool has lent connections."""
        return any(member.is_in_use() for member in alive(
            list(self._pools)))

    def use(self, host: Host | None = None) -> Any:
        """Return what is another value after connections were used.

        host: the one to which they lead, None for all
        """
        sessions = [
            route.session() for route in alive(list(self._routes))
            if host in {None, route.host}]
        return len(sessions), sum(
            session.usage for session in sessions if session is not None)

    # Connecting.

    def open(self, route: Route) -> Any:
        """Return a driver connection to a host that fits a route.

        Hosts that are known not to fit are asked again if no other one does.
        """
        self.arguments = route.arguments
        self._watch()
        aim, hosts = route.aim, self._order(self.hosts)
        is_at_limit = False
        full: dict[Host, Exception] = {}
        for trust, roles, host in product(
                (_TRUST * self.probe, 0.0), aim.choices, hosts):
            if host in full or not host.may_fit(roles, aim.maxlag, trust):
                continue
            seat = host.take_seat()
            if seat is None:
                is_at_limit = is_at_limit or trust > 0
                continue
            host.turn = next(self._turns)
            con = self._try(host, route, roles, seat, full)
            if con is not None:
                return con
            seat = None  # not to be kept by the traceback of the error
        if full:
            error = full.pop(next(iter(full)))
            try:
                raise error  # which tells more
            finally:
                del error  # it must not keep itself alive
        raise no_server(aim, self.hosts, is_at_limit=is_at_limit)

    def _watch(self) -> None:
        """Begin to look at the servers in the background."""
        if self._monitor is None and self.asks and not (
                driver_in(self.dbapi).is_embedded):
            from .monitor import Monitor  # noqa: PLC0415 - if it is needed

            monitor = Monitor(self)
            monitor.hurry()  # before, in case of an interrupt
            self._monitor = monitor

    def _try(
            self, host: Host, route: Route, roles: frozenset[str],
            seat: Seat, full: dict[Host, Exception]) -> Any:
        """Return a connection to a host, None if it cannot be used.

        full: gets the error of a host that has too many connections
        """
        start = monotonic()
        try:
            con = host.open(*route.arguments, len(self.hosts) > 1)
        except Exception as error:
            if not _is_of_server(error):
                raise
            if is_full(error):  # without frames, which would keep the seat
                full[host] = error.with_traceback(None)
            self.note_failure(host, error)
            return None
        return self._keep(con, host, route, roles, seat, start)

    def _keep(
            self, con: Any, host: Host, route: Route, roles: frozenset[str],
            seat: Seat, start: float) -> Any:
        """Return a connection if its server fits, otherwise close it."""
        is_kept = False
        try:
            self.note_standing(host, self.standing(con), monotonic() - start)
            is_kept = host.fits(roles, route.aim.maxlag) and bool(
                self.has_reached(host, con, route.aim.after))
        except Exception as error:
            if not _is_of_server(error):
                raise
            self.note_failure(host, error)
        finally:
            if not is_kept:
                with quietly("closing a connection to another server"):
                    con.close()
        if not is_kept:
            return None
        route.settle(host, seat)
        if not host.fits(roles, route.aim.maxlag):  # since a moment ago
            route.leave()
        return con

    def standing(self, con: Any) -> Standing:
        """Ask a server for its role on a connection, within a time."""
        if not self.asks:
            return Standing(PRIMARY)
        if self._role is None:
            said = self._answer(con, _standing_by)
        else:
            said = _standing_of(self._answer(con, self._say_role))
        return Standing(PRIMARY) if said is None else said

    def _say_role(self, driver: Any, con: Any) -> Any:  # noqa: ARG002 - a question
        return self._role(con)  # type: ignore[misc]  # only if there is one

    def has_reached(
            self, host: Host, con: Any, position: str | None) -> bool | None:
        """Ask a server whether it has come as far; None if unknown."""
        if position is None or host.role == PRIMARY:
            return True
        reached: bool | None = self._answer(
            con, lambda driver, con: driver.has_reached(con, position))
        return reached

    def _answer(self, con: Any, question: Callable[[Any, Any], Any]) -> Any:
        """Return the answer to a question, which begins no transaction.

        question: gets the driver and the connection
        """
        driver = driver_of(con, self.dbapi or module_of_connection(con))
        key = object()
        start_deadline(key, driver.descriptor(con), _ANSWER)
        try:
            answer = question(driver, con)
            if driver.in_transaction(con) is not False:
                _end_question(con)
        finally:
            end_deadline(key)
        return answer

    def catches_up(
            self, route: Route, con: Any, position: str,
            end: float | None) -> bool:
        """Return whether a server reaches a position in time.

        end: when the time of the request for that is over, if it is limited
        """
        host, tick = route.host, threading.Event()
        latest = monotonic() + self._catchup
        end = latest if end is None else min(latest, end)
        while host is not None:
            reached = self.has_reached(host, con, position)
            if reached or reached is None or monotonic() >= end:
                return bool(reached)
            tick.wait(_TICK)
        return False

    # Learning.

    def note_standing(
            self, host: Host, standing: Standing, seconds: float) -> None:
        """Note what a server has said, and leave it if need be."""
        now = host.clock()
        if standing.position is not None and standing.lag is None:
            standing = standing._replace(
                lag=self._lag(standing, standing.position, now))
        before = host.learn(standing, seconds)
        if host.is_accused:
            host.is_accused = False
            if standing.role == PRIMARY:  # it was the wish of the program
                host.calm_until = now + _CALM * self.probe
        if before not in {standing.role, UNKNOWN}:
            self._leave(host, before)

    def _lag(
            self, standing: Standing, position: int,
            now: float) -> float | None:
        """Return how long ago the primary was where a standby is now.

        That is unknown if the primary was not asked at such a time.
        """
        if standing.role == PRIMARY:
            self._history.append((now, position))
        if standing.role != STANDBY:
            return None
        return next((
            now - time for time, reached in reversed(snapshot(self._history))
            if reached <= position), None)

    def note_silence(self, host: Host, error: Exception) -> None:
        """Leave a server that does not answer, and cut its connections.

        It rests before that, so that those that were cut go to another one.
        """
        self.note_failure(host, error)
        if len(self.hosts) > 1:
            host.rest()
        if self._cuts:
            for route in self.routes_to(host):
                route.cut()

    def note_failure(self, host: Host, error: BaseException) -> None:
        """Note that a server cannot be used.

        One that is only full goes on with the connections that it has.
        """
        if is_full(error):
            host.crowd()
        else:
            host.fail(error)

    def note_refusal(self, host: Host) -> None:
        """Leave a server that has refused to write.

        A transaction can be read-only because the program wants that; so this
        is done at most once in the time between two looks.
        """
        now = host.clock()
        if now < host.calm_until or not self.asks:
            return
        host.calm_until = now + self.probe
        host.is_accused = True
        before = host.role
        host.forget()
        self._leave(host, PRIMARY if before == UNKNOWN else before)
        self.doubt(host)

    def doubt(self, host: Host) -> None:
        """Look at a server soon."""
        if self._monitor is not None:
            self._monitor.hurry(host)

    def _leave(self, host: Host, before: str) -> None:
        """Replace the connections that a change of the role concerns.

        before: the role that the host had
        """
        self.generation += 1
        for route in self.routes_to(host):
            if route.aim.is_missed(before, host.role):
                route.leave()
        for member in alive(list(self._pools)):
            with quietly("closing idle connections to another server"):
                member.sweep()


def _end_question(con: Any) -> None:
    """End the transaction of a question.

    An answer on a connection that is lost meanwhile counts for nothing.
    """
    try:
        con.rollback()
    except Exception as error:
        if not is_unsupported(error):
            raise
        log_swallowed("ending the question to a server", error)


def _is_of_server(error: Exception) -> bool:
    """Return whether an error says that a server cannot be used."""
    return is_outage(error) or is_refusal(error) or (
        isinstance(error, OSError) or has_base(
            error, "OperationalError", "InterfaceError", "InternalError"))


def _standing_by(driver: Any, con: Any) -> Standing | None:
    """Return what a server tells; None if it does not understand."""
    try:
        standing: Standing | None = driver.standing(con)
    except Exception as error:
        if _is_of_server(error):
            raise
        log_swallowed("asking a server for its role", error)
        return None
    return standing


def _standing_of(said: Any) -> Standing:
    """Return the standing that a function of the program tells."""
    if isinstance(said, Standing):
        return said
    if said is None:
        return Standing(UNKNOWN)
    if isinstance(said, bool):
        return Standing(PRIMARY if said else STANDBY)
    if said not in ROLES:
        raise ValueError(
            f"'role' must return one of {', '.join(map(repr, ROLES))}, not"
            f" {said!r}. [DBU-72]")
    return Standing(said)
