"""Which errors say that a server is away or full, or refuses a password."""

from __future__ import annotations

from .._base.hints import Any

__all__ = ["is_full", "is_outage", "is_refusal"]

# The codes of errors by which a server says that it cannot be used now, and
# the words of those that have no code.
_CODES = {
    "57P01", "57P02", "57P03", "08000", "08001", "08003", "08004", "08006",
    1053, 2002, 2003, 2006, 2013, 2055}
_WORDS = (
    "refused", "starting up", "accepting connections", "shutting down",
    "timeout", "time out", "timedout", "timed out", "too many", "unreachable",
    "reset by peer", "closed the connection", "not connect", "no connection",
    "cannot connect", "gone away", "broken pipe", "recovery mode",
    "network error")
# The same for a server that has too many connections: PostgreSQL, MySQL and
# SQL Server have codes, unless the driver does not tell them.
_FULL = {"53300", 1040, 1203, 10928, 17809}
_FULL_WORDS = (
    # PostgreSQL, for the server, a role and a database; in some other
    # languages, too
    "too many clients", "too many connections", "connection slots",
    "schon zu viele verbindungen", "trop de clients", "demasiados clientes",
    # PgBouncer and its relatives
    "no more connections allowed",
    # MySQL and MariaDB, for a user
    "max_user_connections",
    # Oracle, for its sessions and processes and those of the listener
    "ora-00018", "ora-00020", "ora-12516", "ora-12519", "ora-12520",
    # SQL Server
    "maximum number of", "session limit")
# The same for a server that refuses a login; in some other languages, too.
_REFUSED = {"28P01", "28000", 1045, 1698, 18456}
_NEVER = (
    "authenti", "autenti", "passw", "denied", "login failed", "ora-01017")


def is_outage(error: BaseException) -> bool:
    """Return whether another attempt to connect can help."""
    if not isinstance(error, Exception) or isinstance(error, TypeError):
        return False
    if is_refusal(error) or _says(error, ("certificate",)):
        return False
    return isinstance(error, OSError) or bool(
        _codes_of(error) & _CODES) or _says(error, _WORDS) or is_full(error)


def is_full(error: BaseException) -> bool:
    """Return whether a server says that it has too many connections."""
    return isinstance(error, Exception) and not (
        isinstance(error, OSError)) and (
        bool(_codes_of(error) & _FULL) or _says(error, _FULL_WORDS))


def is_refusal(error: BaseException) -> bool:
    """Return whether an error says that the login was refused."""
    return bool(_codes_of(error) & _REFUSED) or _says(error, _NEVER)


def _says(error: BaseException, words: tuple[str, ...]) -> bool:
    """Return whether the text of an error has one of some words in it."""
    text = str(error).lower()
    return any(word in text for word in words)


def _codes_of(error: BaseException) -> set[Any]:
    """Return what may be the code of an error."""
    codes = [
        getattr(error, name, None)
        for name in ("pgcode", "sqlstate", "errno")]
    parts = [part for part in error.args if isinstance(part, (int, str))]
    return {*codes, *parts}
