"""Restoring a session to what it was when it was opened."""

from __future__ import annotations

from .._base.errors import quietly
from .._base.hints import Any
from .driver_methods import plain
from .state import LOST

__all__ = ["end_reading", "end_streams", "restore"]


def restore(session: Any, reconnect: bool) -> bool:
    """Undo all changes of the session; return whether that is possible.

    reconnect: whether there has to be a new session on the server

    Anything that only the creator can prepare is kept as far as possible.
    """
    settings, driver = session.settings, session.driver
    opener = session.opener
    if settings.is_spoiled or (
            session.is_marked and not opener.can_prepare_alone):
        return False
    if session.settings_changed:
        session.restore_settings()
    if reconnect or (
            settings.needs_server and opener.is_plain and driver.can_clean):
        is_clean = session.is_in_memory or driver.clean(
            session.con, settings.original)
    elif settings.needs_server:
        is_clean = driver.restore(session.con, settings.original)
    else:
        return True
    if is_clean and not session.is_in_memory:
        opener.prepare(session.con)
        session.is_marked = settings.needs_server = False
    return bool(is_clean)


def end_streams(session: Any) -> None:
    """Close the answers that were not read to their ends."""
    streams, session.streams = session.streams, None
    for stream in list(streams or ()):
        with quietly("ending a stream"):
            plain(stream).close()


def end_reading(session: Any) -> None:
    """End a transaction in which nothing was written."""
    if session.transaction or session.state >= LOST or session.has_work():
        return
    if session.driver.in_transaction(session.con) is not False:
        with quietly("ending a transaction that only reads"):
            session.end("rollback")
