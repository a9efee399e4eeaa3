"""Requests with a level or a tag, and the number of slots for each tag.

A quota counts with tokens.  They are the permits of slots of its own, so that
a token that was dropped, because a request was interrupted or a lease
was forgotten, comes back by itself, like a connection.
"""

from __future__ import annotations

from .._base.atomic import pop_last
from .._base.hints import Any, NamedTuple
from .slots import Permit, Slots

__all__ = ["NO_REQUEST", "Admission", "Quota", "Request"]


class Request(NamedTuple):
    """The level and the tag of a request."""

    level: int = 0
    tag: Any = None
    # The time of the shares at which it came.
    start: float = 0.0

    @property
    def kind(self) -> Any:
        """Stands for what it wants; others may be served when it is not."""
        return self.tag


NO_REQUEST = Request()


class Quota:
    """A limited number of tokens; None means any number."""

    def __init__(self, number: int | None) -> None:
        self._tokens = Slots(number)

    def take(self) -> Permit | None:
        """Return a token, if there is one."""
        while True:
            permit = self._tokens.reissue_lost()
            if permit is None:
                return self._tokens.take()
            self._tokens.give_up(permit.slot)

    def put(self, token: Permit) -> None:
        """Put a token back, unless it has come back by itself."""
        self._tokens.give_up(token.slot)

    def resize(self, number: int | None) -> None:
        """Change the number of tokens."""
        self._tokens.limit = number

    def is_empty(self) -> bool:
        """Return whether all tokens are in use."""
        return not self._tokens.has_room()

    @property
    def number(self) -> int | None:
        """The number of tokens, including those in use."""
        return self._tokens.limit


class Admission:
    """The tokens of a request, which its permit holds until it comes back."""

    def __init__(self) -> None:
        self._tokens: list[tuple[Quota, Permit]] = []

    def take(self, quota: Quota | None) -> bool:
        """Take a token of a quota; return whether there was one."""
        if quota is None:
            return False
        token = quota.take()
        if token is None:
            return False
        self._tokens.append((quota, token))
        return True

    def free(self) -> None:
        """Give the tokens back."""
        held = pop_last(self._tokens)
        while held is not None:
            quota, token = held
            quota.put(token)
            held = pop_last(self._tokens)
