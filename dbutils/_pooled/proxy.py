"""The common part of the leases of database connections."""

from __future__ import annotations

from .._base.hints import Any
from .._steady.driver_methods import Method, is_method_of, names_of

TYPE_CHECKING = False  # type checkers know the name

__all__ = ["Proxy"]


class Proxy:
    """Gives a lease the attributes and methods of its connection."""

    __slots__ = ()

    def __repr__(self: Any) -> str:
        """Return the state, without anything that the driver shows."""
        permit = self._held()
        kind = type(self).__name__
        if permit is None:
            return f"<{kind} that was given back>"
        return f"<{kind} of {self._shown(permit.slot.con)}>"

    @staticmethod
    def _shown(con: Any) -> str:
        return repr(con)

    if not TYPE_CHECKING:  # see the module "_drivers.names"
        def __getattr__(self, name: str) -> Any:
            """Return an attribute of the connection."""
            if name in {"_permit", "_checkout"}:  # __new__() was called alone
                raise AttributeError(name)
            permit = self._held()
            if permit is None:
                raise self._closed_error(name)
            con = permit.slot.con
            value = getattr(con, name)
            if is_method_of(con, value) and not name.startswith("_"):
                return Method(name, self._call, value)
            return value

    def _call(
            self: Any, name: str, args: tuple[Any, ...],
            kwargs: dict[str, Any]) -> Any:
        """Call a method of the connection during the checkout."""
        permit = self._held()
        if permit is None:
            raise self._closed_error(name)
        con = permit.slot.con
        result = getattr(con, name)(*args, **kwargs)
        return self if result is con else result

    def __dir__(self: Any) -> list[str]:
        """List what the connection has, until it is released."""
        names = {*super().__dir__()}
        permit = self._held()
        if permit is not None:
            names.update(names_of(permit.slot.con))
        return sorted(names)
