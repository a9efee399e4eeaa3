"""Where in the program something was asked for.

Keeping this costs little, since it is only worked out when it is read.
"""

from __future__ import annotations

import dis
import sys
from pathlib import Path
from types import CodeType
from typing import NamedTuple

__all__ = ["Caller", "caller"]

# What stands between the program and us.
_HERE = str(Path(__file__).parent)
_BETWEEN = (_HERE, sys.modules["contextlib"].__file__ or _HERE)


class Caller(NamedTuple):
    """A place in the code of the program."""

    code: CodeType
    instruction: int

    def __str__(self) -> str:
        """Return the file and the line."""
        line = self.code.co_firstlineno
        for offset, number in dis.findlinestarts(self.code):
            if offset > self.instruction:
                break
            line = number or line
        return f"{self.code.co_filename}:{line}"


def caller(depth: int = 1) -> Caller:
    """Return the innermost place outside of this package.

    depth: how many callers are known to be inside
    """
    frame = sys._getframe(depth)  # noqa: SLF001 - there is nothing as cheap
    while frame.f_back and frame.f_code.co_filename.startswith(_BETWEEN):
        frame = frame.f_back
    return Caller(frame.f_code, frame.f_lasti)
