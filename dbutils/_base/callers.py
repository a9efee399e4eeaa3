"""The place in the program from which the library was called.

Recording it is cheap: the line is only computed when somebody reads it.
"""

from __future__ import annotations

import dis
import sys
from pathlib import Path
from types import CodeType, FrameType

__all__ = ["caller", "where"]

# Frames of these files belong to the library, not to the program.
_HERE = str(Path(__file__).parent.parent)
_BETWEEN = (_HERE, sys.modules["contextlib"].__file__ or _HERE)


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
    line = code.co_firstlineno
    for offset, number in dis.findlinestarts(code):
        if offset > instruction:
            break
        line = number or line
    return f"{code.co_filename}:{line}"
