"""Requests that are not all alike: with a rank, or with a tag.

A gate decides who is served next, and who may not be served yet.  How many
places those with a tag have is counted with tokens.  They are the places of
books of their own, so that a token that was dropped, because a request was
interrupted or a lease forgotten, comes back by itself, like a connection.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple, Sequence

from .ledger import Ledger, Limits
from .slots import Checkout, Permit
from .waiters import Waiter

__all__ = ["NO_REQUEST", "AdmissionPolicy", "Entrance", "Quota", "Request"]


class Request(NamedTuple):
    """What is special about a request."""

    level: int = 0
    tag: Any = None
    # The time of the shares at which it came.
    start: float = 0.0


NO_REQUEST = Request()


class Quota:
    """Tokens, of which there are only so many; None means any number."""

    def __init__(self, number: int | None) -> None:
        self._ledger = Ledger(Limits(number), bool)

    def take(self) -> Permit | None:
        """Return a token, if there is one."""
        ledger = self._ledger
        for found in ledger.inherited():
            if isinstance(found, Permit):  # and not in other hands already
                ledger.put_back_unused(found)
        return ledger.take_empty()

    def put(self, token: Permit) -> None:
        """Put a token back, unless it has come back by itself."""
        self._ledger.put_back_unused(token)

    def resize(self, number: int | None) -> None:
        """Let there be another number of tokens."""
        if number != self._ledger.limits.maxconnections:
            self._ledger.change(Limits(number))

    def is_empty(self) -> bool:
        """Tell whether all tokens are in use."""
        return not self._ledger.has_empty_place()

    @property
    def number(self) -> int | None:
        """How many tokens there are, also those that are in use."""
        return self._ledger.limits.maxconnections


class Entrance:
    """What takes a connection back together with the tokens for it."""

    def __init__(self) -> None:
        self.pool: Any = None
        self._tokens: list[tuple[Quota, Permit]] = []

    @property
    def _core(self) -> Any:
        return self.pool._core  # noqa: SLF001 - for core_of()

    def pay(self, quota: Quota | None) -> bool:
        """Take a token out of a purse; tell whether that was possible."""
        if quota is None:
            return False
        token = quota.take()
        if token is None:
            return False
        self._tokens.append((quota, token))
        return True

    def begin(self, checkout: Checkout) -> None:
        """Stand between a visit and its pool."""
        self.pool = checkout[0]
        checkout[0] = self

    def free(self) -> None:
        """Give the tokens back."""
        with suppress(IndexError):  # until there are none
            while True:
                quota, token = self._tokens.pop()
                quota.put(token)

    def _take_back(self, permit: Any) -> None:
        """Take back what a lease does not hold any more."""
        self.free()
        self.pool._take_back(permit)  # noqa: SLF001 - as a lease

    def _take_back_dropped(self, permit: Any, holder: Any) -> None:
        """Take back what was dropped with its lease."""
        self.free()
        pool = self.pool
        pool._take_back_dropped(permit, holder)  # noqa: SLF001 - as above


class AdmissionPolicy:
    """Decides whose turn it is."""

    # Whether a request may have to wait though a connection is idle.
    has_limits = False

    def check_limits(self, limits: Limits) -> None:
        """Raise an error if the pool may not go on with other limits."""

    def request(self, priority: Any, tag: Any) -> Request:
        """Return what a request wants, after checking it."""
        raise NotImplementedError

    def rank(self, waiters: list[Waiter]) -> Sequence[Waiter]:
        """Return those who wait, the one to be served next first."""
        return waiters

    def admit(self, request: Request) -> Entrance | None:
        """Return the entrance for a request if it may be served."""
        raise NotImplementedError

    def served(self, request: Request) -> None:
        """Note that somebody who waited is served."""

    def not_served(self, request: Request) -> None:
        """Note that somebody did not wait any more after all."""

    def refusal(self, request: Request) -> str | None:
        """Say why a request may not be served, if that is the reason."""
        raise NotImplementedError

    def after_fork(self) -> None:
        """Forget what is in use in the parent of a forked child."""
