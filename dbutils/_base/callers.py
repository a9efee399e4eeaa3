"""The place in the program from which the library was called.

Recording it is cheap: the line is only computed when somebody reads it.
Another function tells what a thread does now.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from types import CodeType, FrameType

from .hints import Callable, Iterator, methodcaller

__all__ = ["caller", "frames", "line_of", "name_of", "stack_of", "where"]

if sys.version_info >= (3, 10):
    def findlinestarts(code: CodeType) -> Iterator[tuple[int, int | None]]:
        """Yield the first instruction of each line, and its number."""
        for start, _, line in code.co_lines():
            yield start, line
else:
    from dis import findlinestarts

# Frames of these files belong to the library, not to the program.
_HERE = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 - pathlib is large
_STANDARD = os.path.dirname(getattr(os, "__file__", ""))  # noqa: PTH120 - pathlib is large
# The functions with which the stack of each thread begins.
_STARTS = "_bootstrap", "_bootstrap_inner", "run"
_BETWEEN = (_HERE, f"{_STANDARD}{os.sep}contextlib.py")


_has_gil: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)


def caller(depth: int = 1) -> FrameType:
    """Return the innermost frame outside of this package.

    depth: the number of callers that are known to be inside
    """
    frame = sys._getframe(depth)  # noqa: SLF001 - the cheapest way
    while frame.f_code.co_filename.startswith(_BETWEEN):
        outer = frame.f_back
        if outer is None:
            break
        frame = outer
    return frame


def where(code: CodeType, instruction: int) -> str:
    """Return the file and the line of an instruction as text."""
    return f"{code.co_filename}:{line_of(code, instruction)}"


def line_of(code: CodeType, instruction: int) -> int:
    """Return the line of an instruction."""
    line = code.co_firstlineno
    for offset, number in findlinestarts(code):
        if offset > instruction:
            break
        line = number or line
    return line


def name_of(ident: int) -> str | None:
    """Return the name of a thread, None if it has ended.

    This reads the table of the threads without its lock.
    """
    thread = getattr(threading, "_active", {}).get(ident)
    return None if thread is None else str(thread.name)


def _present_frames() -> dict[int, FrameType]:
    """Return the frames of all threads; nothing is collected meanwhile.

    Before Python 3.12, a collection there can let another thread end, which
    then waits for ever for the lock that is held, with the GIL.  This is one
    step in C, which neither threads nor interrupts divide.
    """
    look = sys._current_frames  # noqa: SLF001 - the only way
    if sys.version_info >= (3, 12) or not gc.isenabled():
        return look()
    # not kept in a variable, since one of them is that of this function
    return list(map(  # type: ignore[no-any-return]  # those of the second
        methodcaller("__call__"), (gc.disable, look, gc.enable)))[1]


def frames() -> dict[int, FrameType]:
    """Return the present frames of all threads by their numbers.

    Without the GIL, it is only that of this thread: the others go on, and
    looking at the frames of a function that runs crashes Python.
    """
    if _has_gil():
        return _present_frames()
    return {threading.get_ident(): sys._getframe(1)}  # noqa: SLF001 - as caller()


def stack_of(ident: int | None) -> str:
    """Return the present stack of a thread as text.

    It is "" if the thread has ended, or if it cannot be seen.  Our functions
    and those that start a thread are left out, if there are others.
    """
    from traceback import extract_stack, format_list  # noqa: PLC0415 - rarely needed, large

    frame = frames().get(ident or 0)
    if frame is None:
        return ""
    try:
        stack = extract_stack(frame)
    finally:
        # it may be our own, which would keep the variables of all callers
        del frame
    own = [entry for entry in stack if not (
        entry.filename.startswith(_HERE) or (
            entry.name in _STARTS and entry.filename == threading.__file__))]
    return "".join(format_list(own or stack))
