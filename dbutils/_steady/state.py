"""The state of a session, as far as it is known."""

from __future__ import annotations

import enum

__all__ = [
    "INHERITED", "IN_DOUBT", "LOST", "OPEN", "SUSPECT", "SessionState"]


class SessionState(enum.IntEnum):
    """The state of a session; from LOST on there is nothing to lose."""

    # It can be used, as far as is known.
    OPEN = 0
    # It can be used, but the next use outside of a transaction replaces it.
    SUSPECT = 1
    # An interrupt may have left something unsent or unread in it.
    IN_DOUBT = 2
    # It was lost, with everything that was open.
    LOST = 3
    # It belongs to the parent process.
    INHERITED = 4


# A session has one of these plain numbers: comparing them is quicker, and the
# fast ways only look whether the number is 0.
OPEN, SUSPECT, IN_DOUBT, LOST, INHERITED = map(int, SessionState)
