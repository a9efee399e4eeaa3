"""Attributes of the driver connection on a lease.

A method __setattr__() would make everything else slower.  Instead, the class
of the leases gets a property for each public name of a driver connection when
the first connection of that class is opened.
"""

from __future__ import annotations

from .._base.hints import Any, WeakSet
from .._steady.steady import session_of

__all__ = ["Forwarded", "forward"]

# The classes of the driver connections whose names are known.
_known: WeakSet[type] = WeakSet()


class Forwarded:
    """An attribute that is the connection's, or the lease's if it has none."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, lease: Any, owner: Any = None) -> Any:
        if lease is None:
            return self
        held = lease.__dict__
        if self._name in held:
            return held[self._name]
        return lease.__getattr__(self._name)

    def __set__(self, lease: Any, value: Any) -> None:
        con = lease._con  # noqa: SLF001 - an inner name that stays
        if con is not None and (
                isinstance(getattr(type(con), self._name, None), property)
                or session_of(con).is_attribute(self._name)):
            setattr(con, self._name, value)
        else:
            lease.__dict__[self._name] = value


def forward(con: Any, lease_class: type) -> None:
    """Give leases the attributes that a driver connection has."""
    kind = type(con)
    if kind not in _known:
        for name in dir(con):
            if not (name.startswith("_") or hasattr(lease_class, name)):
                setattr(lease_class, name, Forwarded(name))
        _known.add(kind)
