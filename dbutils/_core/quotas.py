"""Requests with a level or a tag, and the number of slots for each tag.

A quota counts with tokens.  They are the permits of a slot table of its own,
so that a token that was dropped, because a request was interrupted or a lease
was forgotten, comes back by itself, like a connection.
"""

from __future__ import annotations

from contextlib import suppress

from .._base.hints import Any, NamedTuple
from .slots import Checkout, Permit, SlotTable

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
        self._table = SlotTable(number)

    def take(self) -> Permit | None:
        """Return a token, if there is one."""
        for found in self._table.reissued():
            if isinstance(found, Permit):  # else another thread has it already
                self._table.put_back(found)
        return self._table.take_empty()

    def put(self, token: Permit) -> None:
        """Put a token back, unless it has come back by itself."""
        self._table.put_back(token)

    def resize(self, number: int | None) -> None:
        """Change the number of tokens."""
        if number != self._table.limit:
            self._table.resize(number)

    def is_empty(self) -> bool:
        """Return whether all tokens are in use."""
        return not self._table.has_empty()

    @property
    def number(self) -> int | None:
        """The number of tokens, including those in use."""
        return self._table.limit


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

    def begin(self, checkout: Checkout) -> None:
        """Stand between a lease and its pool from now on."""
        self.pool = checkout[0]
        checkout[0] = self

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

    def _take_back_dropped(self, permit: Any, holder: Any) -> None:
        """Take back the connection of a lease that is dropped."""
        self.free()
        pool = self.pool
        pool._take_back_dropped(permit, holder)  # noqa: SLF001 - as a permit
