"""Methods of steady connections that programs have replaced.

The library works with sessions, and does not call the methods of the steady
connection.  If a subclass or a package has replaced one of the methods that
DBUtils 3.x calls, the failover policy calls the replacement.  Replacements are
searched for when a connection is made, so that all others pay nothing.
"""

from __future__ import annotations

from .._base.hints import Any, Args, Kwargs, ref
from .state import LOST

__all__ = ["Replaced", "replaced_in"]


def replaced_in(con: Any, originals: dict[str, Any]) -> set[str]:
    """Return the names of the methods that were replaced.

    originals: our own methods that can be replaced, by name
    """
    kind = type(con)
    return {
        name for name, original in originals.items()
        if getattr(kind, name) is not original}


class Replaced:
    """The failover policy of a connection with replaced methods.

    These may call the original methods, which use the usual policy.
    """

    def __init__(self, con: Any, usual: Any, names: set[str]) -> None:
        self.usual = usual
        self._con = ref(con)
        self._names = names
        self.is_quick = usual.is_quick and "_cursor" not in names

    def with_usual(self, policy: Any) -> Any:
        """Return the same with another usual policy."""
        return Replaced(self._con(), policy, self._names)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the usual policy."""
        return getattr(self.usual, name)

    def _method(self, name: str) -> Any:
        """Return a replaced method, None for an original one."""
        con = self._con()
        return getattr(con, name) if name in self._names else None

    def check(
            self, session: Any, reconnect: bool, is_dead: bool = False) -> Any:
        """Return whether the connection is alive, None if that is unknown."""
        ping_check = self._method("_ping_check")
        if ping_check is None:
            return self.usual.check(session, reconnect, is_dead)
        moment, session.moment = session.moment, 1
        return ping_check(moment, reconnect)

    def cursor(self, session: Any, args: Args, kwargs: Kwargs) -> Any:
        """Return a new driver cursor."""
        cursor = self._method("_cursor")
        if cursor is None:
            return self.usual.cursor(session, args, kwargs)
        return cursor(*args, **kwargs)

    def quick_reset(self, session: Any) -> bool:
        """Return whether the session needs no reset."""
        return "_reset" not in self._names and self.usual.quick_reset(session)

    leave = quick_reset

    def reset_session(self, session: Any, reset: Any) -> bool:
        """Reset the session after use; return whether it can be kept."""
        own_reset = self._method("_reset")
        if own_reset is None or session.state >= LOST or session.closed:
            return bool(self.usual.reset_session(session, reset))
        own_reset(force=bool(reset))
        # _reset() stands for the rollback; a callable or "session" does more
        goes_on = callable(reset) or reset == "session"
        return bool(self.usual.reset_session(session, goes_on and reset))
