"""What the other modules say, and how they keep silent.

The texts of errors that more than one module raises, and the one helper
through which an exception may be swallowed.
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


# How many visits an error tells about, and how long a wait is no wait.
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
        stats: PoolStats, waited: float, visits: Sequence[Any],
        refusal: str | None = None, ages: Sequence[float] = ()) -> str:
    """Say why no connection could be handed out, and what to change.

    refusal: the reason if it is neither of the usual ones
    ages: for how many seconds connections have been being opened
    """
    limit = "unlimited" if stats.limit is None else stats.limit
    state = (
        f"(maxconnections: {limit}, maxshared: {stats.maxshared},"
        f" in use: {stats.in_use}, idle: {stats.idle},"
        f" waiting: {stats.waiting})")
    opening = _opening(ages)
    if refusal == late_text():
        return (
            f"{refusal} in {waited:.3g} seconds {state}.{opening} Look"
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
    holders = "".join(f"\n- {visit}" for visit in visits[:_MANY])
    return f"{reason}{opening} {_advice(stats, waited, advice)}" + (
        f"\nThe oldest of those in use:{holders}" if holders else "")


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
    """Say that connecting has taken too long."""
    return "No connection could be opened"


def _opening(ages: Sequence[float]) -> str:
    """Say for how long connections have been being opened, if any are."""
    if not ages:
        return ""
    number = (
        "A connection is" if len(ages) == 1
        else f"{len(ages)} connections are")
    since = "" if len(ages) == 1 else ", the first one"
    return f" {number} still being opened{since} for {ages[0]:.3g} seconds."


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
