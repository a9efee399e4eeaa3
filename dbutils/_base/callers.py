"""Where in the program something was asked for.

Keeping this costs little, since it is only worked out when it is read.
"""

from __future__ import annotations

import dis
import sys
from pathlib import Path
from types import CodeType, FrameType

__all__ = ["caller", "where"]

# What stands between the program and us.
_HERE = str(Path(__file__).parent.parent)
_BETWEEN = (_HERE, sys.modules["contextlib"].__file__ or _HERE)


def caller(depth: int = 1) -> FrameType:
    """Return the innermost frame outside of this package.

    depth: how many callers are known to be inside
    """
    frame = sys._getframe(depth)  # noqa: SLF001 - nothing is as cheap
    while frame.f_code.co_filename.startswith(_BETWEEN):
        outer = frame.f_back
        if outer is None:
            break
        frame = outer
    return frame


def where(code: CodeType, instruction: int) -> str:
    """Return the file and the line of an instruction."""
    line = code.co_firstlineno
    for offset, number in dis.findlinestarts(code):
        if offset > instruction:
            break
        line = number or line
    return f"{code.co_filename}:{line}"
