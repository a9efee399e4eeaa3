"""Calls of methods that a steady connection has from its driver connection."""

from __future__ import annotations

from .._base.hints import Any, partial
from .._drivers.driver import MARKS, SPOILS
from .cursor import Call
from .driver_methods import EXECUTING, plain
from .statements import UNKNOWN_WORK

__all__ = ["call_begin", "call_method", "is_method", "opens_cursor"]

# Methods of connections that send statements.
_SENDING = EXECUTING | {"from_query", "query", "sql"}


def call_begin(
        con: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Call the method of a driver that begins a transaction, if it has it."""
    begin = getattr(con, "begin", None)
    if begin is not None:
        begin(*args, **kwargs)


def is_method(session: Any, name: str) -> bool:
    """Return whether the driver connection has a method of that name.

    Some settings can be called, too, and so can exception classes.
    """
    driver = session.driver
    if name not in driver.setters and (
            name in session.settings.original or name in driver.unreadable):
        return False
    value = getattr(session.con, name, None)
    return callable(value) and not isinstance(value, type)


def opens_cursor(session: Any, name: str) -> bool:
    """Return whether a method executes a statement with a new cursor."""
    return name in EXECUTING and not session.driver.is_own_cursor


def call_method(
        session: Any, name: str, args: tuple[Any, ...],
        kwargs: dict[str, Any]) -> Any:
    """Call a method of the driver connection.

    It is not called again on another one, since it may have done anything
    already, unless it changes a setting or only asks.
    """
    driver = session.driver
    args = tuple(map(plain, args))
    if name in driver.questions:
        return getattr(session.con, name)(*args, **kwargs)
    if name in driver.setters:
        return session.alter(partial(_set, session, name, args, kwargs))
    return session.alter(
        partial(_call_freely, session, name, args, kwargs), UNKNOWN_WORK)


def _set(
        session: Any, name: str, args: tuple[Any, ...],
        kwargs: dict[str, Any]) -> Any:
    """Call a method that changes the session until the lease ends."""
    session.note_changes()  # also if this is interrupted
    if session.driver.setters[name] in {MARKS, SPOILS}:
        session.mark()
    return session.own_settings().call_setter(session.con, name, args, kwargs)


def _call_freely(
        session: Any, name: str, args: tuple[Any, ...],
        kwargs: dict[str, Any]) -> Any:
    """Call a method that can do anything."""
    if name in _SENDING and Call(name, args, kwargs).kind().marks:
        session.mark()
        session.note_changes()
    return getattr(session.hand_out(), name)(*args, **kwargs)
