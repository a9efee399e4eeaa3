"""Followers of something that grows: they are told of each new part."""

from __future__ import annotations

from .atomic import alive
from .errors import quietly
from .hints import Any, ref

__all__ = ["Followers"]


class Followers:
    """Objects with the methods add() and drop(), which are held weakly."""

    def __init__(self) -> None:
        self._links: dict[Any, None] = {}

    def __bool__(self) -> bool:
        return bool(self._links)

    def join(self, follower: Any) -> None:
        """Tell a follower of each part that tell() is called with later."""
        self._links[ref(follower, self._links.__delitem__)] = None

    def leave(self, follower: Any) -> None:
        """Tell a follower nothing from now on, if it is one."""
        self._links.pop(ref(follower), None)

    def tell(self, part: Any) -> None:
        """Tell all followers of a new part."""
        for follower in alive(self._links.copy()):
            with quietly("telling of a new part"):
                follower.add(part)
