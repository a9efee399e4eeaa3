"""Facts about a server that matter for the sizes of pools."""

from __future__ import annotations

import math
from typing import Any, Mapping, NamedTuple

from .._drivers.driver import DriverFacts
from .._drivers.poolers import answer, are_shared

__all__ = ["Facts", "ask_server"]

# The part of a server's connections that is left to deployments, when old
# and new processes run, to administrators and to other programs.
_RESERVE = 0.2


class Facts(NamedTuple):
    """Facts about a server; None means unknown, or no limit."""

    version: str | None = None
    # How many connections the server allows us, and how many others have.
    limit: int | None = None
    in_use: int | None = None
    processors: int | None = None
    # The seconds after which the server ends idle sessions, and sessions that
    # are idle in a transaction.
    idle_timeout: float | None = None
    transaction_timeout: float | None = None
    isolation: str | None = None
    is_read_only: bool | None = None
    is_encrypted: bool | None = None
    # Whether something stands between us and the server, and whether a
    # session there lasts only for a transaction.
    is_behind_proxy: bool | None = None
    is_shared_by_transaction: bool | None = None
    # The journal of SQLite, and whether there is a file.
    journal: str | None = None
    is_in_memory: bool | None = None

    @property
    def free(self) -> int | None:
        """The number of connections to use, so that others have some, too."""
        if self.limit is None or self.room is None:
            return None
        return max(self.room - math.ceil(self.limit * _RESERVE), 0)

    @property
    def most_at_work(self) -> int | None:
        """The number of busy connections beyond which nothing is faster."""
        return None if self.processors is None else 2 * self.processors + 1

    @property
    def room(self) -> int | None:
        """The number of connections that are left for us."""
        if self.limit is None:
            return None
        return max(self.limit - (self.in_use or 0), 0)


def ask_server(driver: DriverFacts, cons: Any, port: int | None) -> Facts:
    """Ask a server the questions of its driver, and return the facts.

    cons: two connections that are open at the same time
    port: the port to which they were made
    """
    said = {
        name: answer(cons[0], question)
        for name, question in driver.server_questions.items()}
    sessions = are_shared(cons, driver.server_questions.get("session"))
    its_port, file = said.get("port"), said.get("file")
    in_use = said.get("in_use")  # with our own two
    return Facts(
        version=_text(said.get("version")),
        limit=_limit_of(said),
        in_use=None if in_use is None else max(int(in_use) - 2, 0),
        processors=_whole(said.get("processors")),
        idle_timeout=_positive(said.get("idle_timeout")),
        transaction_timeout=_positive(said.get("transaction_timeout")),
        isolation=_text(
            said.get("isolation") or said.get("old_isolation")),
        is_read_only=_flag(said.get("read_only")),
        is_encrypted=_flag(said.get("encrypted")),
        is_behind_proxy=None if its_port is None or port is None else (
            int(its_port) != port),
        is_shared_by_transaction=sessions,
        journal=_text(said.get("journal")),
        is_in_memory=None if "file" not in said else not file)


def _limit_of(said: Mapping[str, Any]) -> int | None:
    """Return how many connections the server allows to all programs."""
    limits = [
        limit for limit in map(
            _positive, (said.get("limit"), said.get("own_limit")))
        if limit is not None]
    reserved = _positive(said.get("reserved")) or 0
    return int(min(limits) - reserved) if limits else None


def _text(value: Any) -> str | None:
    if isinstance(value, (bytes, bytearray)):
        value = bytes(value).decode()
    return None if value is None else str(value)


def _positive(value: Any) -> float | None:
    """Return a number if it is positive, otherwise None."""
    number = None if value is None else float(value)
    return number if number is not None and number > 0 else None


def _whole(value: Any) -> int | None:
    number = _positive(value)
    return None if number is None else int(number)


def _flag(value: Any) -> bool | None:
    if value is None:
        return None
    text = str(_text(value)).lower()
    return text not in {"", "0", "f", "false", "off", "none"}
