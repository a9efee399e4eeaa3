"""Whether the garbage collector is at work in this thread.

It can begin at almost any moment, also while the thread holds locks of the
driver or of the program.  A finalizer that it calls must not talk to the
database then; one that is called because the last reference was dropped
can, since this happens where the program drops it.
"""

from __future__ import annotations

import gc
from threading import get_ident
from typing import Any

__all__ = ["collecting", "is_collecting"]

# The threads in which it is at work, nearly always none.
collecting: set[int] = set()


def _note(phase: str, info: Any) -> None:  # noqa: ARG001 - gc passes both
    if phase == "start":
        collecting.add(get_ident())
    else:
        collecting.discard(get_ident())


gc.callbacks.append(_note)


def is_collecting() -> bool:
    """Tell whether this is called by the garbage collector."""
    return bool(collecting) and get_ident() in collecting
