"""The choice of the failover policy of a session.

It is loaded when the first connection is opened, and with it the policy that
most drivers have.  The others are loaded with the first connection that
follows them.
"""

from __future__ import annotations

from .._base.errors import facts, logger
from .._base.hints import Any
from .db_session import DbSession
from .safe import SafeFailover

__all__ = ["policy_for"]

# By whether statements may be executed again.
_SAFE = {"safe": SafeFailover(True), "never": SafeFailover(False)}


def policy_for(session: DbSession) -> Any:
    """Return the failover policy of a session.

    The safe policies need a DB-API 2 driver.  With anything else, like the
    mocks of tests, the policy of DBUtils 3.x holds.
    """
    failover, driver = session.options.failover, session.driver
    if failover == "safe" and not driver.is_telling:
        failover = "always"
    _log_once(session, failover)
    if failover == "always":
        from .classic import CLASSIC  # noqa: PLC0415 - few need it

        return CLASSIC
    if driver.has_transactions and not driver.needs_account:
        return _SAFE[failover]
    from .account import INDEPENDENT, OWN_ACCOUNT  # noqa: PLC0415 - few need these

    return (OWN_ACCOUNT if driver.has_transactions else INDEPENDENT)[failover]


_told: set[tuple[str, str]] = set()


def _log_once(session: DbSession, failover: str) -> None:
    """Log once for each driver what is known of it, and the policy."""
    driver = session.driver
    name = str(getattr(
        session.opener.dbapi, "__name__", type(session.con).__module__))
    if (name, failover) in _told:
        return
    _told.add((name, failover))
    if not driver.is_telling:
        known = "is no DB-API 2 driver"
    elif not driver.has_transactions:
        known = "has no transactions"
    elif driver.needs_account:
        known = "does not tell whether work is open, so we keep account"
    else:
        known = "tells whether work is open"
    logger.info("%s %s: failover=%r.", name, known, failover,
                extra=facts("driver"))
    warning = driver.warning()
    if warning is not None:
        logger.warning(warning, extra=facts("driver"))
