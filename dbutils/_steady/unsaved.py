"""The warnings of Python's development mode about unsaved work.

Work that was neither committed nor rolled back is reported when its connection
is given back, with the place in the program.  If an error is being raised,
there is no warning: then the work is meant to be lost.
"""

from __future__ import annotations

import sys
import warnings
from types import CodeType

from .._base.callers import caller, where
from .._base.hints import Any, Tuple

__all__ = ["Place", "forgets_work", "is_failing", "is_strict", "place_here",
           "warn_of_work"]

# Whether there are such warnings.  Otherwise no places are recorded.
is_strict = sys.flags.dev_mode

Place = Tuple[CodeType, int]  # the code and one of its instructions


def place_here() -> Place:
    """Return the place in the program that has called the library."""
    frame = caller()
    return frame.f_code, frame.f_lasti


def is_failing() -> bool:
    """Return whether an error is being handled or raised."""
    return sys.exc_info()[0] is not None


def forgets_work(session: Any) -> bool:
    """Return whether a session has unsaved work while no error is raised.

    session: the session of a steady connection
    """
    return not is_failing() and bool(session.forgets_work())


def warn_of_work(
        consequence: str, place: Place | None = None,
        event: str = "A connection was given back") -> None:
    """Warn at a place in the program, by default where it called us.

    consequence: the effect on the work, and the cure
    """
    position = where(*(place or place_here()))
    path, _, number = position.rpartition(":")
    warnings.warn_explicit(
        f"{event} with work that was neither committed nor rolled back, at"
        f" {position}: {consequence} [DBU-53]", ResourceWarning, path,
        int(number))
