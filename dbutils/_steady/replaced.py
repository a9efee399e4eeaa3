"""Methods of steady connections that programs have replaced.

The library works with the inner side, and does not call the methods that a
program sees.  If a subclass or a package has replaced one of those that
DBUtils 3.x calls, then the rules of the connection call it instead.  That is
found out when a connection is made, so that all others pay nothing.
"""

from __future__ import annotations

from typing import Any
from weakref import ref

from .state import LOST

__all__ = ["Replaced", "replaced_in"]


def replaced_in(con: Any, originals: dict[str, Any]) -> set[str]:
    """Return the names of the methods that were replaced.

    originals: the methods of ours that can be replaced
    """
    kind = type(con)
    return {
        name for name, original in originals.items()
        if getattr(kind, name) is not original}


class Replaced:
    """Rules for a connection that has methods of its own.

    These may call ours, which use the usual rules.
    """

    def __init__(self, con: Any, usual: Any, names: set[str]) -> None:
        self.usual = usual
        self._con = ref(con)
        self._names = names

    def with_usual(self, rules: Any) -> Any:
        """Return these rules for the methods of ours that these call."""
        return Replaced(self._con(), rules, self._names)

    def __getattr__(self, name: str) -> Any:
        """Return what the usual rules do."""
        return getattr(self.usual, name)

    def _method(self, name: str) -> Any:
        """Return a method that was replaced, or None."""
        con = self._con()
        return getattr(con, name) if name in self._names else None

    def check(
            self, session: Any, reconnect: bool, is_dead: bool = False) -> Any:
        """Tell whether the connection is alive, None if that is unknown."""
        ping_check = self._method("_ping_check")
        if ping_check is None:
            return self.usual.check(session, reconnect, is_dead)
        moment, session.moment = session.moment, 1
        return ping_check(moment, reconnect)

    def cursor(
            self, session: Any, args: tuple[Any, ...],
            kwargs: dict[str, Any]) -> Any:
        """Return a new driver cursor."""
        cursor = self._method("_cursor")
        if cursor is None:
            return self.usual.cursor(session, args, kwargs)
        return cursor(*args, **kwargs)

    def quick_reset(self, session: Any) -> bool:
        """Tell whether nothing has to be done after a visit."""
        return "_reset" not in self._names and self.usual.quick_reset(session)

    def reset_session(self, session: Any, reset: Any) -> bool:
        """Clean the connection after a visit; tell whether it can stay."""
        own_reset = self._method("_reset")
        if own_reset is None or session.state >= LOST or session.closed:
            return bool(self.usual.reset_session(session, reset))
        own_reset(force=bool(reset))
        # what the program has not done belongs to no transaction
        goes_on = callable(reset) or reset == "session"
        return bool(self.usual.reset_session(session, goes_on and reset))
