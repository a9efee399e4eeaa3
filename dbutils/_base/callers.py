"""The place in the program from which the library was called.

Recording it is cheap: the line is only computed when somebody reads it.
Another function tells what a thread does now.
"""

from __future__ import annotations

import os
import sys
import threading
from types import CodeType, FrameType

from .hints import Iterator

__all__ = ["caller", "line_of", "name_of", "stack_of", "where"]

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
_BETWEEN = (_HERE, f"{_STANDARD}{os.sep}contextlib.py")


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


def stack_of(ident: int | None) -> str:
    """Return the present stack of a thread as text, "" if it has ended."""
    from traceback import format_stack  # noqa: PLC0415 - rarely needed, large

    frame = sys._current_frames().get(ident or 0)  # noqa: SLF001 - the only way
    return "" if frame is None else "".join(format_stack(frame))
