"""One question, whether a connection is alive, in three depths.

LOOK sends nothing: it looks at what the driver knows and at the socket, which
shows that the server has closed it, as after a restart, an idle time-out or
when the session was killed.  That takes about a microsecond.  ASK_DRIVER also
asks as the program wants it: with its own question, or with the ping() of the
driver.  ASK_SERVER executes a statement.
"""

from __future__ import annotations

from time import monotonic

from .._base.checks import shown
from .._base.errors import facts, log_swallowed, logger, quietly
from .._base.hints import Any, Callable
from .deadlines import end_deadline, load_sockets, start_deadline
from .state import OPEN, UNREAD

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from .sockets import SocketProbe

__all__ = [
    "ALL_MOMENTS", "ASK_AT_CHECKOUT", "ASK_DRIVER", "ASK_SERVER",
    "AT_CHECKOUT", "AT_CURSOR", "AT_STATEMENT", "CHECK_AT_LENGTH", "LOOK",
    "LOOK_AFTER_ANSWER", "LOOK_AT_CHECKOUT", "NO_CHECK", "RECENT",
    "PingError", "SqlPinger", "ask", "ask_driver", "ask_program",
    "checkout_check_of", "is_alive", "look_and_ask", "note_ping", "probe_of",
    "prove_ping", "seems_alive", "still_answers"]


# The moments at which a connection is checked; "ping" is their sum.
AT_CHECKOUT = 1
AT_CURSOR = 2
AT_STATEMENT = 4
ALL_MOMENTS = AT_CHECKOUT | AT_CURSOR | AT_STATEMENT


# How a connection is checked when it is handed out: not at all, by a look,
# by a look if the server has answered lately, by the ping() of a driver whose
# socket is not known, or by all that check() does.
(NO_CHECK, LOOK_AT_CHECKOUT, LOOK_AFTER_ANSWER, ASK_AT_CHECKOUT,
 CHECK_AT_LENGTH) = range(5)


# In seconds, how long it is enough to look at the socket of a connection on
# which the server has answered, instead of asking again.
RECENT = 0.5


def checkout_check_of(session: Any) -> int:
    """Return the shortest check of a session for when it is handed out."""
    if not session.ping & AT_CHECKOUT:
        return NO_CHECK
    if session.checks.has_pinger or session.state or session.closed:
        return CHECK_AT_LENGTH
    if session.checks.can_ask:
        return (
            ASK_AT_CHECKOUT if session.descriptor is None
            else LOOK_AFTER_ANSWER)
    return LOOK_AT_CHECKOUT if session.can_be_gone else NO_CHECK


# How much is done to find out whether a connection is alive.
LOOK = "look at the driver and at the socket"
ASK_DRIVER = "ask in the way of the option 'ping'"
ASK_SERVER = "execute a statement"

# In seconds, the shortest time in which a question is asked.
_LEAST = 0.25


def is_alive(
        session: Any, depth: str, seconds: float | None = None) -> bool:
    """Return whether a connection is alive; it is not replaced.

    seconds: how long that may take, if less than usual

    A question that could not be answered in time is not asked, since the end
    of its time would be the end of the connection.
    """
    if depth is ASK_SERVER:
        return _is_there(session, seconds)
    if depth is LOOK:
        return seems_alive(session)
    if seconds is not None and seconds < _LEAST:
        return not session.options.ping & AT_CHECKOUT or seems_alive(session)
    session.limit = seconds
    try:
        return session.check(AT_CHECKOUT, reconnect=False) is not False
    finally:
        session.limit = None


# Looking.


def seems_alive(session: Any) -> bool:
    """Return whether nothing is known to be wrong with a connection."""
    return session.state == OPEN and not (
        session.closed or session.is_gone())


def probe_of(descriptor: int | None) -> SocketProbe | None:
    """Return a probe of a socket, if that is known."""
    return None if descriptor is None else load_sockets().SocketProbe(
        descriptor)


def note_ping(session: Any) -> None:
    """Count a question in the pool, if there is one."""
    throttle = session.terms.throttle
    if throttle is not None:
        next(throttle.pings)


# Asking the driver, or with the question of the program.


def ask_driver(con: Any) -> bool | None:
    """Ask with ping(), which should not reconnect; None if it is no ping()."""
    try:
        alive = _ping(con)
    except (AttributeError, IndexError, TypeError, ValueError):
        return None
    except Exception:  # noqa: BLE001 - any other error means not alive
        return False
    return alive is None or bool(alive)


def _ping(con: Any) -> Any:
    try:
        return con.ping(False)
    except TypeError:  # it does not know this flag
        return con.ping()


def ask_program(session: Any) -> bool:
    """Ask with the question of the program.

    When that fails, the connection is replaced; but the question itself can
    be wrong, so failures are counted.
    """
    pinger, throttle = session.options.pinger, session.throttle
    note_ping(session)
    alive = ask(pinger, session.con)
    if alive:
        _trust(session)
        return True
    logger.info(
        "A connection is replaced, since its 'ping' (%s) has failed.",
        _name_of(pinger), extra=_facts_of(session))
    session.unanswered += 1
    if throttle is not None:
        throttle.failed_pings += 1
    return False


def _facts_of(session: Any) -> dict[str, Any]:
    """Return the fields of a log record about a session."""
    if session.throttle is None:
        return facts("ping_failed")
    found: dict[str, Any] = session.throttle.story.facts(
        "ping_failed", session.number)
    return found


def _trust(session: Any) -> None:
    """Note that the question of the program was answered."""
    if session.unanswered:
        session.unanswered = 0
    if session.throttle is not None:
        session.throttle.failed_pings = 0


class PingError(ValueError):
    """The question of a ping fails on every connection."""


def prove_ping(session: Any) -> None:
    """Raise a PingError if the question fails on a new connection.

    The failover policy says how many failures in a row need no such proof.
    """
    pinger = session.options.pinger
    if pinger is None or session.unanswered <= session.failover.tolerance:
        return
    start_deadline(session, session.descriptor, None)
    try:
        _prove(pinger, session.con)
        _trust(session)
        with quietly("ending the transaction of a question"):
            session.end_question()
    except PingError as error:
        cause = error.__cause__
        if cause is None or not (session.driver.is_loss(cause) or (
                session.is_gone())):
            raise  # or it is lost, too
    finally:
        end_deadline(session)


def _prove(pinger: Callable[[Any], Any], con: Any) -> None:
    try:
        alive = pinger(con)
    except Exception as error:
        raise PingError(
            f"The option 'ping' ({_name_of(pinger)}) fails on a connection"
            f" that was just opened, with {type(error).__name__}."
            " [DBU-04]") from error
    if not (alive is None or alive):
        raise PingError(
            f"The option 'ping' ({_name_of(pinger)}) takes a connection as"
            " dead that was just opened. [DBU-04]")


def _name_of(pinger: Callable[[Any], Any]) -> str:
    """Return how errors name a question; its text could be a password."""
    if isinstance(pinger, SqlPinger):
        return "an SQL statement"
    name = getattr(pinger, "__qualname__", None)
    return name if isinstance(name, str) else shown(pinger)


# Asking the server.


class SqlPinger:
    """Asks a connection by executing an SQL statement.

    Classic PyGreSQL has no cursors, its connections execute queries.
    """

    def __init__(self, sql: str) -> None:
        self.sql = sql

    def __repr__(self) -> str:
        return f"<ping with {self.sql!r}>"

    def __call__(self, con: Any) -> None:
        if not hasattr(con, "cursor"):
            con.query(self.sql)
            return
        cursor = con.cursor()
        try:
            cursor.execute(self.sql)
            if getattr(cursor, "description", None):
                cursor.fetchall()  # some drivers do nothing else before that
        finally:
            with quietly("closing the cursor of a ping"):
                cursor.close()


def ask(pinger: Callable[[Any], Any], con: Any) -> bool:
    """Return whether the answer to a question means alive."""
    try:
        alive = pinger(con)
    except Exception as error:  # noqa: BLE001 - any error means not alive
        log_swallowed(f"asking with {_name_of(pinger)}", error)
        return False
    return alive is None or bool(alive)


def ask_server(session: Any) -> bool:
    """Ask with a statement, or with the question of the program."""
    if session.options.pinger is not None:
        return ask_program(session)
    note_ping(session)
    return ask(SqlPinger(session.driver.question), session.con)


def _is_there(session: Any, seconds: float | None) -> bool:
    """Ask the server whether it is there; leave no transaction open."""
    if session.closed or session.state != OPEN:
        return False
    is_over = False
    start_deadline(session, session.descriptor, seconds)
    try:
        if not ask_server(session):
            return False
        with quietly("ending the transaction of a question"):
            session.end_question()
            is_over = True
    finally:
        end_deadline(session)
    return is_over


def look_and_ask(session: Any) -> bool:
    """Return whether a connection is alive; leave no transaction open."""
    if not seems_alive(session):
        return False
    if session.descriptor is None:  # no time limit is possible
        return _answers(session)
    begun = monotonic()
    start_deadline(session, session.descriptor, session.limit)
    try:
        is_there = _answers(session)
    finally:
        end_deadline(session)
    session.answered = begun if is_there else 0.0
    return is_there


def _answers(session: Any) -> bool:
    if session.options.pinger is not None or (
            not session.checks.can_ask and session.socket_state() is UNREAD):
        return _ask_between_transactions(session)
    if not session.checks.can_ask:
        return True
    note_ping(session)
    alive = ask_driver(session.con)
    if alive is None and session.driver.asks:
        session.note_facts(can_ask=False)  # its ping() is for something else
        return True
    return bool(alive)


def _ask_between_transactions(session: Any) -> bool:
    in_transaction = session.driver.in_transaction
    was_idle = not session.transaction and (
        in_transaction(session.con) is False
        or (in_transaction(session.con) is None and not session.work))
    alive = ask_server(session)
    if alive and was_idle and in_transaction(session.con) is not False:
        with quietly("ending the transaction of a ping"):
            session.con.rollback()
    return alive


def still_answers(session: Any) -> bool:
    """Ask the server in the middle of a transaction, which goes on."""
    question = session.options.pinger or SqlPinger(session.driver.question)
    start_deadline(session, session.descriptor, session.limit)
    try:
        note_ping(session)
        answer = question(session.con)
    except Exception as error:  # noqa: BLE001 - it may say that it lives
        return session.driver.is_loss(error) is False
    finally:
        end_deadline(session)
    return answer is None or bool(answer)
