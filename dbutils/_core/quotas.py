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
from .slots import Right, Visit
from .waiters import Waiter

__all__ = ["NO_CLAIM", "Claim", "Entrance", "Gate", "Purse"]


class Claim(NamedTuple):
    """What is special about a request."""

    level: int = 0
    tag: Any = None
    # The time of the shares at which it came.
    start: float = 0.0


NO_CLAIM = Claim()


class Purse:
    """Tokens, of which there are only so many; None means any number."""

    def __init__(self, number: int | None) -> None:
        self._ledger = Ledger(Limits(number), bool)

    def take(self) -> Right | None:
        """Return a token, if there is one."""
        ledger = self._ledger
        for found in ledger.inherited():
            if isinstance(found, Right):  # and not in other hands already
                ledger.give(found)
        return ledger.take_empty()

    def put(self, token: Right) -> None:
        """Put a token back, unless it has come back by itself."""
        self._ledger.give(token)

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
        self._tokens: list[tuple[Purse, Right]] = []

    @property
    def _core(self) -> Any:
        return self.pool._core  # noqa: SLF001 - for core_of()

    def pay(self, purse: Purse | None) -> bool:
        """Take a token out of a purse; tell whether that was possible."""
        if purse is None:
            return False
        token = purse.take()
        if token is None:
            return False
        self._tokens.append((purse, token))
        return True

    def begin(self, visit: Visit) -> None:
        """Stand between a visit and its pool."""
        self.pool = visit[0]
        visit[0] = self

    def free(self) -> None:
        """Give the tokens back."""
        with suppress(IndexError):  # until there are none
            while True:
                purse, token = self._tokens.pop()
                purse.put(token)

    def _take_back(self, right: Any) -> None:
        """Take back what a lease does not hold any more."""
        self.free()
        self.pool._take_back(right)  # noqa: SLF001 - as a lease

    def _take_back_dropped(self, right: Any, visitor: Any) -> None:
        """Take back what was dropped with its lease."""
        self.free()
        pool = self.pool
        pool._take_back_dropped(right, visitor)  # noqa: SLF001 - as above


class Gate:
    """Decides whose turn it is."""

    # Whether a request may have to wait though a connection is idle.
    has_limits = False

    def check_limits(self, limits: Limits) -> None:
        """Raise an error if the pool may not go on with other limits."""

    def claim(self, priority: Any, tag: Any) -> Claim:
        """Return what a request wants, after checking it."""
        raise NotImplementedError

    def rank(self, waiters: list[Waiter]) -> Sequence[Waiter]:
        """Return those who wait, the one to be served next first."""
        return waiters

    def admit(self, claim: Claim) -> Entrance | None:
        """Return the entrance for a request if it may be served."""
        raise NotImplementedError

    def served(self, claim: Claim) -> None:
        """Note that somebody who waited is served."""

    def not_served(self, claim: Claim) -> None:
        """Note that somebody did not wait any more after all."""

    def refusal(self, claim: Claim) -> str | None:
        """Say why a request may not be served, if that is the reason."""
        raise NotImplementedError

    def begin_anew(self) -> None:
        """Forget what is in use in the parent of a forked child."""
