"""The backends of the pools: their use of steady connections."""

from __future__ import annotations

from .._base.atomic import alive
from .._base.errors import quietly
from .._base.fork import entrust, register_for_fork
from .._base.hints import Any, Callable, ref
from .._core.backend import Backend
from .._drivers.creators import module_of_creator
from .._drivers.outages import is_full, is_outage
from .._drivers.registry import driver_in
from .._steady.liveness import ASK_DRIVER, ASK_SERVER, LOOK, prove_ping
from .._steady.session import stay_away
from .._steady.state import OPEN
from .._steady.steady import session_of
from .attributes import forward
from .ways import (
    looks_well,
    needs_nothing,
    take_with_care,
    way_to_usual,
)

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from .._core.throttle import ConnectThrottle
    from .._steady.busy import Busy

__all__ = ["DbBackend", "PgBackend", "SteadyBackend"]

# How many connections in a row may hide a proxy; more do not in practice.
_OVERLOOKED = 3


def _retire(session: Any) -> None:
    """Look at a connection when it comes back, whether it may stay."""
    session.is_retired = True
    session.leave = stay_away


class SteadyBackend(Backend):
    """The use that a pool makes of steady connections of either kind."""

    def __init__(self, mode: Any, maxusage: Any) -> None:
        self.mode = mode  # of the reset
        self.maxusage = maxusage
        # Whether a session that statements have changed is replaced within its
        # steady connection; otherwise the steady connection is replaced.
        self.renews_sessions = True
        # Whether connections come back on the fast way, unless they are reset
        # by others.
        self.is_direct = True
        self._is_elsewhere = False
        # Whether the time in statements is measured.
        self.is_timing = False
        self._common: dict[str, Any] = {}  # shared by all connections

    def is_outage(self, error: BaseException) -> bool:
        return is_outage(error)

    def is_full(self, error: BaseException) -> bool:
        return is_full(error)

    def check(self, con: Any) -> None:
        session_of(con).check(1)

    take_with_care = staticmethod(take_with_care)
    way_to_usual = staticmethod(way_to_usual)

    def choose_leave(self, con: Any) -> None:
        """Choose how a session ends a clean checkout."""
        session = session_of(con)
        is_fast = self.is_direct and not (
            self._is_elsewhere or session.is_retired)
        session.leave = self._leave_of(session) if is_fast else stay_away
        if not session.is_clean:  # others may just have changed that
            session.leave = stay_away

    def reset_elsewhere(self, is_elsewhere: bool, cons: list[Any]) -> None:
        self._is_elsewhere = is_elsewhere
        for con in cons:
            self.choose_leave(con)

    def _leave_of(self, session: Any) -> Any:
        raise NotImplementedError

    def retire(self, con: Any) -> None:
        _retire(session_of(con))

    def keep(self, con: Any) -> None:
        session_of(con).is_retired = False
        self.choose_leave(con)

    def after_open(
            self, con: Any, throttle: ConnectThrottle, number: int) -> None:
        self.choose_leave(con)
        session = session_of(con)
        session.throttle, session.number = throttle, number
        if throttle.failed_pings:
            session.unanswered = throttle.failed_pings
            prove_ping(session)
        if session.options.maxusage != (self.maxusage or 0):  # a recent change
            self.limit_usage(con)

    def tells_crowd(self, con: Any) -> bool:
        return "in_use" in session_of(con).driver.server_questions

    def is_crowded(self, con: Any) -> bool | None:
        from .._steady.crowd import is_crowded  # noqa: PLC0415 - on full servers

        return is_crowded(session_of(con))

    def busy_of(self, con: Any, checkout: Any) -> Busy | None:
        busy: Busy | None = session_of(con).busy
        return None if busy is None else busy.of(checkout)

    def take_away(self, con: Any, checkout: Any, text: str) -> None:
        session_of(con).take_away(checkout, text)

    def enter(self, con: Any) -> Any:
        session = session_of(con)
        entrust(session)
        return session

    def leave(self, con: Any) -> None:
        register_for_fork(session_of(con), is_connection=True)

    def after_fork(self, con: Any) -> None:
        session_of(con).after_fork()
        self.leave(con)  # the pool of the child begins empty

    def limit_usage(self, con: Any) -> None:
        session_of(con).limit_usage(self.maxusage or 0)

    def quick_reset(self, con: Any) -> bool:
        session = session_of(con)
        if not session.is_clean:
            return False
        leave = session.leave or session.terms.failover.quick_reset
        return bool(leave(session))

    def seems_ready(self, con: Any) -> bool:
        return looks_well(session_of(con))

    def reset(self, con: Any) -> bool:
        session = session_of(con)
        if session.is_doubted or (
                session.is_marked and not self.renews_sessions):
            return False
        can_stay = session.reset_session(self.mode)
        if not can_stay or session.state != OPEN:
            return False
        self.choose_leave(con)
        return True

    def needs_reset(self, con: Any) -> bool:
        needs_reset: bool = session_of(con).needs_reset(self.mode)
        return needs_reset

    def seems_alive(self, con: Any) -> bool:
        return bool(session_of(con).is_alive(LOOK))

    def is_alive(self, con: Any, seconds: float) -> bool:
        return bool(session_of(con).is_alive(ASK_DRIVER, seconds))

    def ask(self, con: Any) -> bool:
        return bool(session_of(con).is_alive(ASK_SERVER))

    def ask_within(self, con: Any, seconds: float) -> bool:
        return bool(session_of(con).is_alive(ASK_SERVER, seconds))


class DbBackend(SteadyBackend):
    """The use that a pool makes of steady DB-API 2 connections."""

    def __init__(
            self, mode: Any, maxusage: Any, creator: Any, lease_class: type,
            new_record: Callable[[Any], Any]) -> None:
        """Set up the backend of a pool.

        lease_class: gets the attributes of the driver connections
        new_record: returns the record of a shared connection, or raises an
            error if it cannot be shared
        """
        # now, since an interrupt of an import can block all that follow
        from .._steady import policies, replaced  # noqa: F401, PLC0415 - large

        super().__init__(mode, maxusage)
        self._lease_class = lease_class
        self._new_record = new_record
        self.come_from(creator)
        # The kind of proxy before the server, None for none, "auto" as long as
        # nothing tells; and the word of the program.  The first thread that
        # sets the only item warns.
        self.behind: str | None = None
        self._given: str | None = None
        self._warned: dict[int, object] = {}
        # The first sessions of each server in which nothing indicated a proxy,
        # and those of which the question has failed; and what those of several
        # servers that were looked at are behind.
        self._unadapted: dict[Any, set[Any]] = {}
        self._found: dict[Any, str | None] = {}

    def check(self, con: Any) -> None:
        session = session_of(con)
        if not session.ping & 1:
            return
        if session.turns is None:
            session.check(1)
        else:
            session.turns.check(session)

    def check_share(self, con: Any, seconds: float) -> None:
        session = session_of(con)
        if session.ping & 1 and session.turns is not None:
            session.turns.check(session, seconds)

    def reset(self, con: Any) -> bool:
        session = session_of(con)
        is_overlooked = session.is_retired and (
            session.driver.has_own_session
            and self._behind(session) not in {None, "auto"})
        return not is_overlooked and super().reset(con)

    def _leave_of(self, session: Any) -> Any:
        policy = session.failover
        if self.mode is True:
            # with a known socket, the rollback has a time limit
            is_alone = policy.only_rolls_back and session.descriptor is None
            return None if is_alone else policy.leave
        if self.mode or policy is not policy.usual:
            return stay_away
        return needs_nothing

    def stand_behind(self, behind: str | None) -> None:
        """Note what the program says about a proxy."""
        self.behind = self._given = behind

    def come_from(self, creator: Any) -> None:
        """Learn from the creator whether the database is embedded."""
        self.is_embedded = driver_in(module_of_creator(creator)).is_embedded

    def after_open(
            self, con: Any, throttle: ConnectThrottle, number: int) -> None:
        super().after_open(con, throttle, number)
        session = session_of(con)
        forward(session.con, self._lease_class)
        if self.behind is not None:
            self._look_behind(session)
        session.join(self._common)

    def _look_behind(self, session: Any) -> None:
        """Adapt a session to a proxy, once it is known that there is one."""
        if self._behind(session) == "auto" and (
                not self._is_suspicious(session)):
            return
        from .behind import adapt, recognise, warn  # noqa: PLC0415 - behind one

        if self._behind(session) == "auto":
            with quietly("looking for a proxy"):
                self._note_proxy(session, recognise(session))
            if self._behind(session) == "auto":  # the question has failed
                self._leave_unadapted(session)
        if self._behind(session) not in {None, "auto"}:
            for other in alive(list(self._unadapted_like(session))):
                _retire(other)
            adapt(session)
            me = object()
            if self._warned.setdefault(0, me) is me:
                warn(self._given != "auto", session.opener.setsession)

    def _behind(self, session: Any) -> str | None:
        """Return what the server of a session is behind, as far as known.

        A proxy before one of several servers tells nothing of the others.
        """
        route = session.route
        if route is None or self._given != "auto" or self.behind is None:
            return self.behind
        session.opener.found = self._found
        return self._found.get(route.host, "auto")

    def _note_proxy(self, session: Any, found: str | None) -> None:
        """Note what the server of a session is behind.

        Others may look at the same time, and be less lucky.
        """
        route = session.route
        if route is not None:
            self._found.setdefault(route.host, found)
        if found is not None:
            if route is not None:
                self._found[route.host] = found
            self.behind = found
        elif route is None and self.behind == "auto":
            self.behind = None

    def _unadapted_like(self, session: Any) -> set[Any]:
        """Return references to unadapted sessions of the same server."""
        host = None if session.route is None else session.route.host
        return self._unadapted.setdefault(host, set())

    def _leave_unadapted(self, session: Any) -> None:
        """Remember a session, which goes if there turns out to be a proxy."""
        others = self._unadapted_like(session)
        others.add(ref(session, others.discard))

    def _is_suspicious(self, session: Any) -> bool:
        """Return whether something indicates a proxy.

        A proxy is overlooked in one connection of a thousand, so that those
        that follow are looked at, too.
        """
        indicates = session.driver.may_be_pooled(session.con)
        if indicates is None:
            self.behind = None
        elif not indicates and (
                len(self._unadapted_like(session)) < _OVERLOOKED):
            self._leave_unadapted(session)
            # another thread that has just found it did not see this session
            return self._behind(session) != "auto"
        return bool(indicates)

    def opens_at_once(self, con: Any) -> bool:
        is_embedded: bool = session_of(con).driver.is_embedded
        return is_embedded

    def share(self, con: Any) -> Any:
        session = con._own_session  # noqa: SLF001 - as session_of()
        record = session.turns and session.turns.record()
        if record is None:
            from .shared_use import SharedUse  # noqa: PLC0415 - an option

            record = self._new_record(con)
            session.turns = session.turns or SharedUse()
            session.turns.stand_for(record)
        session.turns.owner = None  # it begins with a clean connection
        return record

    def can_be_closed_in_use(self, con: Any) -> bool:
        # closing one in the middle of a statement could crash the process
        return not session_of(con).driver.is_embedded

    def part(self, con: Any, share: Any) -> None:
        session = session_of(con)
        session.turns.leave(session, share)

    def is_shareable(self, con: Any) -> Any:
        session = session_of(con)
        return session.turns.are_free(session)


class PgBackend(SteadyBackend):
    """The use that a pool makes of steady PyGreSQL connections."""

    def after_open(
            self, con: Any, throttle: ConnectThrottle, number: int) -> None:
        super().after_open(con, throttle, number)
        session_of(con).join(self._common)

    def _leave_of(self, session: Any) -> Any:
        return session.failover.quick_reset if self.mode == 0 else stay_away
