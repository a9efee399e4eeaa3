"""Where in the program something was asked for.

Keeping this costs little, since it is only worked out when it is read.
"""

from __future__ import annotations

import dis
import sys
from pathlib import Path
from types import CodeType
from typing import Tuple

__all__ = ["caller", "where"]

# What stands between the program and us.
_HERE = str(Path(__file__).parent)
_BETWEEN = (_HERE, sys.modules["contextlib"].__file__ or _HERE)


# A place in the code of the program: a piece of code, and an instruction.
Place = Tuple[CodeType, int]


def caller(depth: int = 1) -> Place:
    """Return the innermost place outside of this package.

    depth: how many callers are known to be inside
    """
    frame = sys._getframe(depth)  # noqa: SLF001 - there is nothing as cheap
    while frame.f_back and frame.f_code.co_filename.startswith(_BETWEEN):
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


def where(place: Place) -> str:
    """Return the file and the line of a place."""
    code, instruction = place
    line = code.co_firstlineno
    for offset, number in dis.findlinestarts(code):
        if offset > instruction:
            break
        line = number or line
    return f"{code.co_filename}:{line}"
