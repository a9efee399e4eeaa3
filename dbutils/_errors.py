"""What the other modules say, and how they keep silent.

The texts of errors that more than one module raises, and the one helper
through which an exception may be swallowed.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

__all__ = [
    "Figures", "add_note", "closed_text", "quietly", "too_many_text"]

logger = logging.getLogger("dbutils")


class quietly:  # noqa: N801 - used like a function: with quietly("...")
    """Swallow the exceptions of a step whose failure changes nothing.

    What was swallowed is told to the logger "dbutils" at the level DEBUG,
    without its text, since the texts of drivers may contain passwords.
    """

    __slots__ = ("step",)

    def __init__(self, step: str) -> None:
        self.step = step

    def __enter__(self) -> None:
        """Begin the step."""

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> bool:
        """End the step; interrupts and exits are not swallowed."""
        if kind is None or not issubclass(kind, Exception):
            return False
        logger.debug("%s failed with %s", self.step, kind.__name__)
        return True


def add_note(error: BaseException, text: str) -> None:
    """Add a note to an error, which tracebacks show from Python 3.11 on."""
    with quietly("adding a note to an error"):
        notes = [*getattr(error, "__notes__", ()), text]
        error.__notes__ = notes  # type: ignore[attr-defined]


class Figures(NamedTuple):
    """The state of a pool at one moment."""

    limit: int | None
    in_use: int
    idle: int
    waiting: int
    maxshared: int


def too_many_text(figures: Figures) -> str:
    """Say why no connection could be handed out, and what to change."""
    limit = "unlimited" if figures.limit is None else figures.limit
    state = (
        f"(maxconnections: {limit}, maxshared: {figures.maxshared},"
        f" in use: {figures.in_use}, idle: {figures.idle},"
        f" waiting: {figures.waiting})")
    if figures.limit is not None and figures.in_use >= figures.limit:
        return (
            f"All connections of the pool are in use {state}."
            " Raise maxconnections, close connections earlier,"
            " or wait for one with blocking=True.")
    return (
        f"All shared connections are in a transaction {state}."
        " Raise maxshared, end transactions earlier,"
        " ask for a dedicated connection,"
        " or wait for a shared one with blocking=True.")


def closed_text(what: str, name: str) -> str:
    """Say what was used after it had been closed."""
    return f"Cannot use {name!r}: this {what} has already been closed."
