"""Followers of something that grows: they are told of each new part."""

from __future__ import annotations

from .errors import quietly
from .hints import Any
from .links import Links

__all__ = ["Followers"]


class Followers:
    """Objects with the methods add() and drop(), which are held weakly."""

    def __init__(self) -> None:
        self._links = Links()

    def __bool__(self) -> bool:
        return bool(self._links)

    def join(self, follower: Any) -> None:
        """Tell a follower of each part that tell() is called with later."""
        self._links.add(follower)

    def leave(self, follower: Any) -> None:
        """Tell a follower nothing from now on, if it is one."""
        self._links.drop(follower)

    def tell(self, part: Any) -> None:
        """Tell all followers of a new part."""
        for follower in self._links.things():
            with quietly("telling of a new part"):
                follower.add(part)
