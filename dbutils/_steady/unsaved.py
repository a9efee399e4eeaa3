"""The warnings of Python's development mode about work that nobody has saved.

Work that was neither committed nor rolled back is reported when its borrower
gives the connection back, with the place in the program.  Where an error ends
a visit, its work should be lost, and there is no warning.
"""

from __future__ import annotations

import sys
import warnings
from types import CodeType
from typing import Any, Tuple

from .._base.callers import caller, where

__all__ = ["Place", "forgets_work", "is_failing", "is_strict", "place_here",
           "warn_of_work"]

# Whether there are such warnings.  Nothing is noted for them otherwise.
is_strict = sys.flags.dev_mode

Place = Tuple[CodeType, int]  # the code and one of its instructions


def place_here() -> Place:
    """Return the place in the program that has called the library."""
    frame = caller()
    return frame.f_code, frame.f_lasti


def is_failing() -> bool:
    """Return whether an error is on its way."""
    return sys.exc_info()[0] is not None


def forgets_work(session: Any) -> bool:
    """Return whether work is left that a program has done without an error.

    line: the inner side of a steady connection
    """
    return not is_failing() and bool(session.forgets_work())


def warn_of_work(
        consequence: str, place: Place | None = None,
        event: str = "A connection was given back") -> None:
    """Warn at a place in the program, or where it has called the library.

    consequence: what becomes of the work, and what to do
    """
    position = where(*(place or place_here()))
    path, _, number = position.rpartition(":")
    warnings.warn_explicit(
        f"{event} with work that was neither committed nor rolled back, at"
        f" {position}: {consequence}", ResourceWarning, path, int(number))
