"""Error messages, and the one place where exceptions may be swallowed.

The messages are those that more than one module raises.
"""

from __future__ import annotations

import sys
import threading

from .atomic import loaded
from .children import call_in_child
from .hints import Any, Callable, partial, ref

__all__ = [
    "add_note", "closed_text", "ended_text", "explain", "facts",
    "log_swallowed", "logger", "orphan_text", "quietly", "release_frames",
    "tell"]


class _Logger:
    """The logger "dbutils", found when there is something to log.

    A program that has not loaded the module logging has no handler, and
    nothing is shown without one.  So it is never loaded here, which a
    finalizer or a forked child could not do.
    """

    def __getattr__(self, name: str) -> Any:
        """Return a method of the logger."""
        logging = loaded("logging")
        if not hasattr(logging, _LAST):
            return _ignore
        log = logging.getLogger("dbutils")
        silent = logging.NullHandler
        if not any(isinstance(other, silent) for other in list(log.handlers)):
            log.addHandler(silent())
        method = getattr(log, name)
        vars(self)[name] = method
        return method


# The last function of the module, which is there when that has been loaded.
_LAST = "captureWarnings"


def _ignore(*args: object, **kwargs: object) -> None:
    """Log nothing."""


logger: Any = _Logger()


class _Mark:
    """Lives as long as a thread is within a handler of the program."""

    __slots__ = ("__weakref__",)


class _Tellers:
    """The threads that are within a handler of the program."""

    def __init__(self) -> None:
        self.after_fork()

    def after_fork(self) -> None:
        """Forget all threads in a forked child."""
        # Weak references to the marks, by thread: if an interrupt keeps a
        # thread from tidying up, its mark is gone all the same.
        self.marks: dict[int, Any] = {}


_tellers = _Tellers()
call_in_child(_tellers.after_fork)


def tell(log: Callable[[], object]) -> None:
    """Log something in the middle of other work, which that must not disturb.

    A handler that fails is shown as the module logging shows it.  One that
    uses a pool itself has nothing more to log, or that would never end.
    """
    me, marks = threading.get_ident(), _tellers.marks
    outer = marks.get(me)
    if outer is not None and outer() is not None:
        return
    mark = _Mark()
    try:
        marks[me] = ref(mark)
        log()
    except Exception:  # noqa: BLE001 - of the program
        _show_failure()
    finally:
        del mark
        marks.pop(me, None)


def _show_failure() -> None:
    """Print the present error, unless that is switched off or impossible."""
    logging = sys.modules["logging"]
    if logging.raiseExceptions and sys.stderr is not None:
        from traceback import print_exc  # noqa: PLC0415 - rarely needed, large

        print_exc()


def facts(
        event: str, pool: str = "", connection: int | None = None,
        seconds: float | None = None) -> dict[str, Any]:
    """Return the fields that each record of the logger has.

    event: the word for what has happened
    pool: the name of the pool
    connection: the number of the connection in its pool
    seconds: how long it took or lasted
    """
    return {
        "event": event, "pool": pool, "connection": connection,
        "seconds": seconds}


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
    tell(partial(
        logger.debug, "%s failed with %s", step, type(error).__name__,
        extra=facts("swallowed")))


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
    return "This pool was shut down and hands out no connections. [DBU-33]"


def closed_text(what: str, name: str) -> str:
    """Return the message about the use of something after its close()."""
    return (
        f"Cannot use {name!r}: this {what} has already been closed. [DBU-40]")


def orphan_text() -> str:
    """Return the message about the use of a parent's connection in a child."""
    return (
        "This connection belongs to the parent process."
        " A forked child has to borrow connections of its own. [DBU-60]")
