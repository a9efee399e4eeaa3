"""Error messages, and the one place where exceptions may be swallowed.

The messages are those that more than one module raises.
"""

from __future__ import annotations

import logging
import sys
from traceback import clear_frames
from typing import Any, NamedTuple, Sequence

__all__ = [
    "PoolStats", "add_note", "closed_text", "ended_text", "explain",
    "late_text", "log_swallowed", "logger", "orphan_text", "quietly",
    "release_frames", "too_many_text"]

logger = logging.getLogger("dbutils")


class quietly:  # noqa: N801 - used like a function: with quietly("...")
    """Swallow the exceptions of a step whose failure changes nothing.

    The type of the exception is logged by the logger "dbutils" at the level
    DEBUG.  Its text is not, since messages of drivers may contain passwords.
    """

    __slots__ = ("step",)

    def __init__(self, step: str) -> None:
        self.step = step

    def __enter__(self) -> None:
        """Begin the step."""

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> bool:
        """End the step.  Interrupts and exits are not swallowed."""
        if kind is None or not issubclass(kind, Exception):
            return False
        log_swallowed(self.step, error)
        return True


def log_swallowed(step: str, error: BaseException) -> None:
    """Log the failure of a step that changes nothing.

    Nothing is logged while the interpreter ends, since a thread that was
    stopped may hold the lock of a handler.
    """
    if sys.is_finalizing():
        return
    logger.debug("%s failed with %s", step, type(error).__name__)


def add_note(error: BaseException, text: str) -> None:
    """Add a note to an error; tracebacks show it from Python 3.11 on."""
    with quietly("adding a note to an error"):
        notes = [*getattr(error, "__notes__", ()), text]
        error.__notes__ = notes  # type: ignore[attr-defined]


def explain(error: BaseException, text: str) -> None:
    """Add a note to an error that every traceback shows.

    Before Python 3.11, the text is also appended to the message.
    """
    add_note(error, text)
    if sys.version_info < (3, 11) and error.args and (
            isinstance(error.args[-1], str)):
        with quietly("extending the message of an error"):
            error.args = (*error.args[:-1], f"{error.args[-1]}\n{text}")


def release_frames(error: BaseException) -> None:
    """Clear the variables of all functions that an interrupt has unwound.

    They would otherwise live for as long as somebody keeps its traceback.
    """
    if not isinstance(error, Exception):
        clear_frames(error.__traceback__)


# The number of holders that an error lists, and the shortest wait, in
# seconds, that an error mentions.
_MANY = 5
_MOMENT = 0.001


class PoolStats(NamedTuple):
    """The state of a pool at one moment."""

    limit: int | None
    in_use: int
    idle: int
    waiting: int
    maxshared: int
    maxwaiting: int | None = None


def too_many_text(
        stats: PoolStats, waited: float, holders: Sequence[Any],
        refusal: str | None = None, ages: Sequence[float] = ()) -> str:
    """Return why no connection could be handed out, and what to change.

    refusal: the reason, if it is none of the usual ones
    ages: the seconds since each pending connect began
    """
    limit = "unlimited" if stats.limit is None else stats.limit
    state = (
        f"(maxconnections: {limit}, maxshared: {stats.maxshared},"
        f" in use: {stats.in_use}, idle: {stats.idle},"
        f" waiting: {stats.waiting})")
    opening = _opening(ages)
    if refusal == late_text():
        return (
            f"{refusal} in {waited:.3g} seconds {state}.{opening} Check"
            " whether the server answers, or wait longer (maxwait).")
    if stats.limit is not None and stats.in_use >= stats.limit:
        reason = f"All connections of the pool are in use {state}."
        advice = "Raise maxconnections, close connections earlier,"
    elif refusal is not None:
        reason, advice = f"{refusal} {state}.", "Change that,"
    else:
        reason = f"All shared connections are in a transaction {state}."
        advice = (
            "Raise maxshared, end transactions earlier,"
            " ask for a dedicated connection,")
    oldest = "".join(f"\n- {holder}" for holder in holders[:_MANY])
    return f"{reason}{opening} {_advice(stats, waited, advice)}" + (
        f"\nThe oldest of those in use:{oldest}" if oldest else "")


def _advice(stats: PoolStats, waited: float, advice: str) -> str:
    if stats.maxwaiting is not None and (
            stats.waiting >= stats.maxwaiting):
        return f"{advice} or raise maxwaiting ({stats.maxwaiting})."
    if waited < _MOMENT:
        return f"{advice} or wait for one with blocking=True or maxwait."
    return (
        f"None has become free in {waited:.3g} seconds."
        f" {advice} or wait longer (maxwait).")


def late_text() -> str:
    """Return the message about a connect that takes too long."""
    return "No connection could be opened"


def _opening(ages: Sequence[float]) -> str:
    """Return a sentence about pending connects, if there are any."""
    if not ages:
        return ""
    number = (
        "A connection is" if len(ages) == 1
        else f"{len(ages)} connections are")
    since = "" if len(ages) == 1 else ", the first one"
    return f" {number} still being opened{since} for {ages[0]:.3g} seconds."


def ended_text() -> str:
    """Return the message about a pool that was shut down."""
    return "This pool was shut down and hands out no connections."


def closed_text(what: str, name: str) -> str:
    """Return the message about the use of something after its close()."""
    return f"Cannot use {name!r}: this {what} has already been closed."


def orphan_text() -> str:
    """Return the message about the use of a parent's connection in a child."""
    return (
        "This connection belongs to the parent process."
        " A forked child has to borrow connections of its own.")
