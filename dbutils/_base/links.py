"""Objects that are held weakly, and drop out when they die.

The callback at the death of one is written in C, so that no exception thrown
into a thread can hit it, and it never fails: the link is the default of pop(),
so nothing is printed if the object was dropped before.  That happens when
another thread has a copy of the links, and without the GIL, where a link that
one thread has made lives on for a while after another one has dropped it.

For objects without an order and a value, a set does it, whose discard() is the
callback.
"""

from __future__ import annotations

from .atomic import alive
from .hints import Any, AnyRef, partial

__all__ = ["Links"]


class _Link(AnyRef):
    """A weak reference with a value."""

    __slots__ = ("value",)

    value: Any


class Links:
    """Objects in the order in which they came, each with a value."""

    __slots__ = ("_links",)

    def __init__(self) -> None:
        # By the identities of the objects.  Those are used again only after
        # the callbacks of their links.
        self._links: dict[int, _Link] = {}

    def __bool__(self) -> bool:
        return bool(self._links)

    def __len__(self) -> int:
        return len(self._links)

    def add(self, thing: Any, value: Any = None) -> Any:
        """Add an object, unless it is there; return the value that it has."""
        key = id(thing)
        link = _Link(thing, partial(self._links.pop, key))
        link.value = value
        return self._links.setdefault(key, link).value

    def get(self, thing: Any) -> Any:
        """Return the value of an object, None if it is not there."""
        link = self._links.get(id(thing))
        return None if link is None else link.value

    def drop(self, thing: Any) -> Any:
        """Remove an object; return its value, None if it is not there."""
        link = self._links.pop(id(thing), None)
        return None if link is None else link.value

    def things(self) -> list[Any]:
        """Return the objects that are alive."""
        return alive(self.all())

    def all(self) -> list[_Link]:
        """Return the weak references, with their values."""
        return list(self._links.values())
