"""Mistakes of programs, and the errors that explain them.

A mistake raises an error where it is made.  Where only the driver can notice
it, the error of the driver gets a note with the cure.
"""

from __future__ import annotations

import sys
from types import ModuleType

from .._base.checks import shown
from .._base.errors import explain
from .._base.hints import Any, Iterable
from .._drivers.registry import driver_of, drivers_by_name

__all__ = [
    "OPTIONS", "check_creator", "explain_options", "explain_refusal",
    "explain_thread", "missing_text", "mistake_in", "present_error"]

# The name of the package.
_US = __name__.partition(".")[0]

# The options of all pools of steady connections.
OPTIONS = (
    "mincached", "maxcached", "maxshared", "maxconnections", "blocking",
    "maxusage", "setsession", "reset", "failures", "ping", "isfatal",
    "failover", "maxwait", "maxwaiting", "connecting", "maxlifetime",
    "maxidletime", "keepalive", "refill", "leakafter", "reclaim", "idleafter",
    "track", "nested", "ondeadlock", "poolname", "onconnect", "features",
    "behind", "targets")

# Their names in other pools, in lower case and without underscores.
_NAMES_ELSEWHERE = {
    "maxconnections": (
        "maxconn", "maxconns", "maxoverflow", "maxpoolsize", "maxsize",
        "poolmaxsize", "poolsize", "size"),
    "mincached": (
        "mincache", "minconn", "minconnections", "minconns", "minidle",
        "minpoolsize", "minsize"),
    "maxcached": ("maxcache", "maxidle", "maxidleconnections"),
    "blocking": ("block",),
    "maxwait": (
        "acquiretimeout", "pooltimeout", "timeout", "waittimeout"),
    "maxlifetime": ("maxage", "poolrecycle", "recycle"),
    "maxidletime": ("idletimeout", "maxidletimeout", "maxinactivetime"),
    "ping": ("poolpreping", "preping", "testonborrow"),
    "reset": ("poolresetsession", "resetonreturn", "resetsession"),
}
_MEANT = {
    name: option for option, names in _NAMES_ELSEWHERE.items()
    for name in names}
_LIKENESS = 0.8
# Words of errors about refused options; a time-out has none of them.
_REFUSED = ("option", "argument", "keyword", "parameter")

_BORROW = "connections are borrowed with connection()."
_RETURN = "a connection is given back with its method close()."
_HINTS = {
    **dict.fromkeys(
        ("acquire", "borrow", "connect", "get_conn", "get_connection",
         "getconn", "getConnection"), _BORROW),
    **dict.fromkeys(
        ("give_back", "put_connection", "putconn", "release",
         "return_connection", "returnConnection"), _RETURN),
    **dict.fromkeys(
        ("close_all", "closeall", "disconnect", "dispose"),
        "close() closes the idle connections, shutdown() ends the pool."),
    "_shared_cache": "this pool does not share connections.",
}


def check_creator(creator: Any) -> None:
    """Raise a TypeError if a creator cannot open connections."""
    mistake = mistake_in(creator)
    if mistake is not None:
        raise TypeError(mistake)


def mistake_in(creator: Any) -> str | None:
    """Return why a creator cannot open connections, None if it may.

    The text shows only the name of a driver, not any other creator, which may
    contain a password.
    """
    if isinstance(creator, str):
        name = creator if creator in drivers_by_name() else "the driver"
        return (
            "The creator is not a connection provider, but"
            f" {shown(creator)}: import {name} and pass the module instead."
            " [DBU-05]")
    kind = type(creator)
    if is_connection(creator):
        return (
            f"An open connection ({kind.__module__}.{kind.__qualname__}) is"
            " not a connection provider: pass the module or the function"
            " that opens it. [DBU-05]")
    if callable(getattr(creator, "connect", creator)):
        return None
    if isinstance(creator, ModuleType):
        return (
            f"The module {creator.__name__!r} is not a connection provider:"
            " it has no function connect(). [DBU-05]")
    return (
        f"The creator is not a connection provider, but {shown(creator)}: pass"
        " a DB-API 2 module, or a function that opens connections. [DBU-05]")


def is_connection(thing: Any) -> bool:
    """Return whether an object is a connection, open or not.

    An object that has a method connect(), or can be called, counts as one
    only if its class is one of ours or of a known driver.
    """
    kind = type(thing)
    if isinstance(thing, type) or not (
            hasattr(kind, "cursor") and hasattr(kind, "close")
            and (hasattr(kind, "commit") or hasattr(kind, "rollback"))):
        return False
    return kind.__module__.partition(".")[0] == _US or (
        driver_of(thing).is_known) or not (
        callable(getattr(thing, "connect", thing)))


def explain_options(error: Exception, options: Iterable[str]) -> None:
    """Add a note about the option that was meant to a driver's error."""
    text = str(error)
    if not any(word in text.lower() for word in _REFUSED):
        return
    import re  # noqa: PLC0415 - rarely needed

    for name in options:
        if re.search(rf"\b{re.escape(name)}\b", text):
            meant = _option_like(name)
            if meant is not None:
                explain(
                    error, f"DBUtils: {name!r} is not an option of DBUtils,"
                    f" so the driver got it; did you mean {meant}? [DBU-27]")
                return


def _option_like(name: str) -> str | None:
    """Return our option that resembles a name, None if none does."""
    from difflib import get_close_matches  # noqa: PLC0415 - rarely needed
    name = name.lower().replace("_", "")
    if name in OPTIONS:
        return name
    if name in _MEANT:
        return _MEANT[name]
    known = get_close_matches(name, (*OPTIONS, *_MEANT), 1, _LIKENESS)
    return _MEANT.get(known[0], known[0]) if known else None


def explain_thread(error: BaseException) -> None:
    """Add a note on how several threads can use a connection of sqlite3."""
    if "same thread" in str(error) and (
            type(error).__module__.startswith("sqlite3")):
        explain(
            error, "DBUtils: pass check_same_thread=False, so that all the"
            " threads that borrow this connection in turn can use it."
            " [DBU-49]")


# Errors of psycopg2 and psycopg about anything but their own connections.
_NOT_THEIRS = r"must be (?:a |\S+\.)connection\b|expected Connection\b"


# Returns the exception being handled; from Python 3.11 on it is in C.
present_error = getattr(sys, "exception", lambda: sys.exc_info()[1])


def explain_refusal(error: BaseException | None) -> None:
    """Add a note on what to pass to functions that refuse a lease.

    error: the exception being handled, None if there is none
    """
    if not isinstance(error, TypeError):
        return
    import re  # noqa: PLC0415 - rarely needed

    if re.search(_NOT_THEIRS, str(error)):
        text = (
            "DBUtils: a lease of a pool is not the driver's own connection:"
            " pass its dbapi_connection to functions that want one, or"
            " plugins=['dbutils'] to create_engine() of SQLAlchemy. [DBU-29]")
        if text not in getattr(error, "__notes__", ()):
            explain(error, text)


def missing_text(owner: Any, name: str) -> str:
    """Return the error text for an attribute that a pool does not have."""
    hint = _HINTS.get(name)
    return f"{type(owner).__name__!r} object has no attribute {name!r}" + (
        "" if hint is None else f": {hint} [DBU-28]")
