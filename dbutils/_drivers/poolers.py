"""Proxies that lend a session of the server for one transaction only.

PgBouncer, pgcat and others do so in transaction mode: between two transactions
of a connection, the session serves others, and the next one can be another.
"""

from __future__ import annotations

import re
from copy import copy

from .._base.errors import logger, quietly
from .._base.hints import Any, Iterable, Mapping
from .creators import connect_of
from .driver import DriverFacts
from .registry import driver_in

__all__ = [
    "TRANSACTION_POOLER", "answer", "are_shared", "as_options",
    "connecting_with", "lasting", "pooled", "warn_of_lasting",
    "warn_of_lasting_once"]

# How the option of a pool names them.
TRANSACTION_POOLER = "transaction-pooler"

# How often to look for another session, which others may take meanwhile.
_ROUNDS = 10
# Statements that set something for the session; and the settings that these
# proxies keep for each of their clients.
_SET = re.compile(r"\s*set\s+(?:session\s+)?(?!local\b)(\w[\w.]*)", re.I)
_KEPT = frozenset((
    "application_name", "client_encoding", "datestyle", "names",
    "standard_conforming_strings", "time", "timezone", "transaction"))
# Those that drivers can also get when they connect, with a constant.
_OPTION = re.compile(
    r"\s*set\s+(?:session\s+)?"
    r"(?:(application_name|client_encoding)(?:\s*=\s*|\s+to\s+)|names\s+)"
    r"(?:'((?:[^']|'')*)'|(?!default\b)(\w+))\s*;?\s*", re.I)

# The facts about drivers behind such a proxy, by those without it.
_pooled: dict[DriverFacts, DriverFacts] = {}

_SETTINGS = (
    "Behind this proxy, %s in 'setsession' reaches the transactions of other"
    " connections. Set it for the role or the database, or with SET LOCAL."
    " [DBU-26]")
# The statements that were warned of: the first thread that sets them warns.
_warned: dict[tuple[str, ...], object] = {}


def answer(con: Any, question: str) -> Any:
    """Return the answer of a server, or None."""
    with quietly("asking a server about itself"):
        cursor = con.cursor()
        try:
            cursor.execute(question)
            rows = cursor.fetchall()
        finally:
            cursor.close()
        return rows[0][-1] if rows else None
    with quietly("going on after a question that was not understood"):
        con.rollback()
    return None


def are_shared(cons: Any, question: str | None) -> bool | None:
    """Return whether transactions of a connection meet several sessions.

    cons: two of them that are open together
    question: asks for the number of the session; None if there is none

    Between two transactions, the other connection takes the session if it
    can.
    """
    if question is None:
        return None
    seen = set()
    for _ in range(_ROUNDS):
        seen.add(answer(cons[0], question))
        cons[0].rollback()
        answer(cons[1], question)
        seen.add(answer(cons[0], question))
        with quietly("ending a question to a proxy"):
            cons[1].rollback()
        cons[0].rollback()
        if len(seen - {None}) > 1:
            return True
    return False


def pooled(driver: DriverFacts) -> DriverFacts:
    """Return the facts about a driver behind such a proxy.

    There is no session to be cleaned: the next transaction has another one.
    """
    if driver.has_own_session and driver not in _pooled:
        facts: Any = copy(driver)
        facts.has_own_session = False
        facts.clean = _leave_as_it_is
        _pooled[driver] = facts
    return _pooled.get(driver, driver)


def _leave_as_it_is(
        con: Any, start: Any = None) -> bool:  # noqa: ARG001 - a method
    """Return that nothing is left of a session."""
    return True


def lasting(statements: Iterable[str] | None) -> list[str]:
    """Return the statements that set what such a proxy does not keep."""
    found = []
    for sql in statements or ():
        match = _SET.match(sql)
        if match is not None and match[1].lower() not in _KEPT:
            found.append(sql)
    return found


def as_options(
        statements: Iterable[str], names: Mapping[str, str],
        ) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return options for connecting, and the statements that stay.

    names: how the driver names its options
    """
    options, rest = {}, []
    for sql in statements:
        match = _OPTION.fullmatch(sql)
        setting = "" if match is None else (match[1] or "names").lower()
        name = names.get(
            setting if setting == "application_name" else "charset")
        if match is None or name is None:
            rest.append(sql)
        else:
            options[name] = match[3].lower() if match[2] is None else (
                match[2].replace("''", "'"))
    return options, tuple(rest)


def connecting_with(
        setsession: Any, kwargs: dict[str, Any], creator: Any,
        dbapi: Any) -> tuple[Any, dict[str, Any]]:
    """Return the statements and the options for new connections.

    The proxy keeps what a driver says when it connects, and needs no session
    for that.  A function of the program may know no such options.

    creator: opens the connections
    """
    if not setsession:
        return setsession, kwargs
    options, rest = as_options(setsession, driver_in(dbapi).parameter_names)
    if not _hands_on(creator, dbapi, options):
        return setsession, kwargs
    return rest, {**kwargs, **options}


def _hands_on(creator: Any, dbapi: Any, options: Iterable[str]) -> bool:
    """Return whether a creator hands options on to the driver."""
    kind: Any = type(creator)
    hands_on = getattr(kind, "_hands_on", None)  # to each of several servers
    if hands_on is not None:
        return bool(hands_on(creator, options))
    return bool(connect_of(creator) == getattr(dbapi, "connect", None))


def warn_of_lasting(setsession: Iterable[str] | None) -> None:
    """Say which statements reach the transactions of other connections."""
    statements = lasting(setsession)
    if statements:
        logger.warning(_SETTINGS, ", ".join(map(repr, statements)))


def warn_of_lasting_once(setsession: Iterable[str] | None) -> None:
    """Say that once for connections that belong to no pool."""
    me = object()
    if setsession and _warned.setdefault(tuple(setsession), me) is me:
        warn_of_lasting(setsession)
