"""What the other modules say, and how they keep silent.

The texts of errors that more than one module raises, and the one helper
through which an exception may be swallowed.
"""

from __future__ import annotations

import logging
import sys
from traceback import clear_frames
from typing import Any

__all__ = [
    "add_note", "closed_text", "ended_text", "explain", "log_swallowed",
    "logger", "orphan_text", "quietly", "release_frames"]

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
        log_swallowed(self.step, error)
        return True


def log_swallowed(step: str, error: BaseException) -> None:
    """Log that a step has failed whose failure changes nothing.

    While the interpreter ends, a thread that was stopped may hold the lock of
    a handler, so that nothing is logged.
    """
    if sys.is_finalizing():
        return
    logger.debug("%s failed with %s", step, type(error).__name__)


def add_note(error: BaseException, text: str) -> None:
    """Add a note to an error, which tracebacks show from Python 3.11 on."""
    with quietly("adding a note to an error"):
        notes = [*getattr(error, "__notes__", ()), text]
        error.__notes__ = notes  # type: ignore[attr-defined]


def explain(error: BaseException, text: str) -> None:
    """Add a note that every traceback shows.

    Before Python 3.11 these show no notes, and the text joins the message.
    """
    add_note(error, text)
    if sys.version_info < (3, 11) and error.args and (
            isinstance(error.args[-1], str)):
        with quietly("extending the message of an error"):
            error.args = (*error.args[:-1], f"{error.args[-1]}\n{text}")


def release_frames(error: BaseException) -> None:
    """Let an interrupt not hold what the functions held that it has unwound.

    As long as somebody keeps its traceback, their variables live on.
    """
    if not isinstance(error, Exception):
        clear_frames(error.__traceback__)


def ended_text() -> str:
    """Say why a pool hands out nothing any more."""
    return "This pool was shut down, it has no connections any more."


def closed_text(what: str, name: str) -> str:
    """Say what was used after it had been closed."""
    return f"Cannot use {name!r}: this {what} has already been closed."


def orphan_text() -> str:
    """Say why a forked child cannot use a connection of its parent."""
    return (
        "This connection belongs to the parent process."
        " A forked child has to borrow connections of its own.")
