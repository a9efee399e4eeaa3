"""Requests with a level or a tag, and the number of slots for each tag.

A quota counts with tokens.  They are the permits of slots of its own, so that
a token that was dropped, because a request was interrupted or a lease
was forgotten, comes back by itself, like a connection.
"""

from __future__ import annotations

from contextlib import suppress

from .._base.hints import Any, NamedTuple
from .slots import Permit, Slots

__all__ = ["NO_REQUEST", "Admission", "Quota", "Request"]


class Request(NamedTuple):
    """The level and the tag of a request."""

    level: int = 0
    tag: Any = None
    # The time of the shares at which it came.
    start: float = 0.0


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
    """The tokens of a request, and later of its lease.

    It stands between a lease and its pool, so that it gives the tokens back
    when the lease is closed or dropped.
    """

    def __init__(self) -> None:
        self.pool: Any = None
        self._tokens: list[tuple[Quota, Permit]] = []

    @property
    def _core(self) -> Any:
        return self.pool._core  # noqa: SLF001 - for core_of()

    def take(self, quota: Quota | None) -> bool:
        """Take a token of a quota; return whether there was one."""
        if quota is None:
            return False
        token = quota.take()
        if token is None:
            return False
        self._tokens.append((quota, token))
        return True

    def stand_before(self, pool: Any) -> Admission:
        """Stand between a lease and its pool from now on."""
        self.pool = pool
        return self

    def free(self) -> None:
        """Give the tokens back."""
        with suppress(IndexError):  # until there are none
            while True:
                quota, token = self._tokens.pop()
                quota.put(token)

    def _take_back(self, permit: Any) -> None:
        """Take back the connection of a lease that is closed."""
        self.free()
        self.pool._take_back(permit)  # noqa: SLF001 - as a lease

    def _take_back_dropped(self, permit: Any) -> None:
        """Take back the connection of a lease that is dropped."""
        self.free()
        if self.pool is not None:
            self.pool._take_back_dropped(permit)  # noqa: SLF001 - as a permit
