"""Error messages, and the one place where exceptions may be swallowed.

The messages are those that more than one module raises.
"""

from __future__ import annotations

import sys

from .hints import Any

__all__ = [
    "add_note", "closed_text", "ended_text", "explain", "log_swallowed",
    "logger", "orphan_text", "quietly", "release_frames"]


class _Logger:
    """The logger "dbutils", found when there is something to log.

    A program that has not loaded the module logging has no handler, so what
    is no warning is not logged.  Then nothing is loaded, which a finalizer or
    a forked child could not do.
    """

    def __getattr__(self, name: str) -> Any:
        """Return a method of the logger."""
        if name in _QUIET and not hasattr(sys.modules.get("logging"), _FIND):
            return _ignore
        from logging import getLogger  # noqa: PLC0415 - rarely needed, large

        method = getattr(getLogger("dbutils"), name)
        vars(self)[name] = method
        return method


# The methods for what no handler of last resort shows, and the function that
# is there when the module has been loaded.
_QUIET = ("debug", "info")
_FIND = "getLogger"


def _ignore(*args: object) -> None:
    """Log nothing."""


logger: Any = _Logger()


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
    if isinstance(error, Exception):
        return
    traceback = error.__traceback__
    while traceback is not None:
        try:  # noqa: SIM105 - suppress() would be a frame of its own
            traceback.tb_frame.clear()
        except RuntimeError:
            pass  # the function still runs
        traceback = traceback.tb_next


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
