"""The settings of a driver connection: its attributes, and its callbacks.

A program may change them on what it holds.  They keep their values until the
end of a lease, also on another driver connection; then they are restored, with
all else that the session was when it was opened.
"""

from __future__ import annotations

from .._base.errors import quietly
from .._base.hints import Any, Args, Kwargs
from .._drivers.driver import NO_DRIVER, SPOILS, DriverFacts
from .driver_methods import plain
from .state import LOST

__all__ = ["Settings", "end_reading", "end_streams", "restore"]

# Most sessions share this empty dictionary, which is replaced, not changed.
_NOTHING: dict[str, Any] = {}


class Settings:
    """The original settings of a driver connection, and their changes."""

    __slots__ = (
        "_changes", "_driver", "is_shared", "is_spoiled", "needs_server",
        "original")

    def __init__(self) -> None:
        self._driver: DriverFacts = NO_DRIVER
        # The original values, and those that the program has changed.
        self.original = self._changes = _NOTHING
        # Whether writing the original values is not enough to restore the
        # session, and whether nothing can restore it.
        self.needs_server = self.is_spoiled = False
        # Whether sessions with equal settings share this object, which is
        # copied before a change.
        self.is_shared = False

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        """Return whether other settings are the same, if both are plain."""
        return isinstance(other, Settings) and (
            self._driver is other._driver
            and self.original == other.original)

    @property
    def is_plain(self) -> bool:
        """Whether the program has changed nothing."""
        return not (
            self._changes or self.needs_server or self.is_spoiled)

    def copy(self) -> Settings:
        """Return a copy of plain settings, to be changed."""
        other = Settings()
        other._driver, other.original = self._driver, self.original
        return other

    def start(
            self, driver: DriverFacts, original: dict[str, Any]) -> bool:
        """Begin with a new driver connection; return whether to reapply()."""
        self._driver = driver
        self.original = original or _NOTHING
        self.needs_server = self.is_spoiled = False
        return bool(self._changes)

    def reapply(self, con: Any) -> None:
        """Change a new driver connection as the last one was changed."""
        for name, value in self._changes.items():
            self.needs_server = self.needs_server or self._is_lasting(name)
            self._driver.write(con, name, value)

    def note_changes(self, con: Any) -> None:
        """Note which settings differ from their original values.

        The server is not asked; this works with a connection that is lost.
        """
        changes = dict(self._changes)
        known = {**self.original, **changes}
        for name in self.original:
            if name in self._driver.unreadable:
                continue
            with quietly("reading a setting"):
                now = self._driver.read(con, name)
                if now != known[name]:
                    changes[name] = now
        self._changes = changes or _NOTHING

    def _is_lasting(self, name: str) -> bool:
        """Return whether writing the old value of a setting is not enough."""
        return self._driver.is_coarse or name in self._driver.unreadable

    def change(self, con: Any, name: str, value: Any) -> None:
        """Change an attribute until the end of the lease."""
        driver = self._driver
        if name not in self.original and name not in driver.unreadable:
            before = driver.read(con, name)
            self.original = {**self.original, name: before}
        self.needs_server = self.needs_server or self._is_lasting(name)
        driver.write(con, name, value)
        self._changes = {**self._changes, name: value}

    def call_setter(
            self, con: Any, name: str, args: Args, kwargs: Kwargs) -> Any:
        """Call a method that changes settings until the end of the lease."""
        target = self._driver.setters[name]
        self.is_spoiled = self.is_spoiled or target == SPOILS
        self.needs_server = self.needs_server or self._is_lasting(target)
        result = getattr(con, name)(*args, **kwargs)
        if target in self._driver.unreadable:
            value = next(iter((*args, *kwargs.values())))
            self._changes = {**self._changes, target: value}
        self.note_changes(con)
        return result

    def write_back(self, con: Any) -> None:
        """Restore the settings, as far as their old values can be written."""
        self._changes = _NOTHING
        driver = self._driver
        for name, value in self.original.items():
            if not (name in driver.unreadable or (
                    driver.is_coarse and name in driver.readers)) and (
                    driver.read(con, name) != value):
                driver.write(con, name, value)


# The whole session.

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
            settings.needs_server and opener.can_prepare_alone
            and driver.can_clean):
        is_clean = session.is_in_memory or driver.clean(
            session.con, settings.original)
    elif settings.needs_server:
        is_clean = driver.restore(session.con, settings.original)
    else:
        return True
    if is_clean and not session.is_in_memory:
        if driver.has_own_session:
            opener.prepare(session.con)
            # "onconnect" may have added what it had added at the beginning
            settings.write_back(session.con)
        session.is_marked = settings.needs_server = False
    return bool(is_clean)


def end_streams(session: Any) -> None:
    """Close the answers that were not read to their ends."""
    streams, session.streams = session.streams, None
    for stream in () if streams is None else streams.things():
        with quietly("ending a stream"):
            plain(stream).close()


def end_reading(session: Any) -> None:
    """End a transaction in which nothing was written."""
    if session.transaction or session.state >= LOST or session.has_work():
        return
    if session.driver.in_transaction(session.con) is not False:
        with quietly("ending a transaction that only reads"):
            session.end("rollback")
