"""The state of a session, as far as it is known."""

from __future__ import annotations

from .._base.hints import Any

__all__ = [
    "INHERITED", "IN_DOUBT", "LOST", "OPEN", "SUSPECT", "state_text"]

# Comparing plain numbers is quick, and the fast ways only look whether the
# number is 0.  From LOST on there is nothing to lose.

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

_WORDS = ("open", "not valid", "in doubt", "lost", "of another process")


def state_text(session: Any) -> str:
    """Return the state of a session in words."""
    is_closed = session.closed and session.state <= SUSPECT
    return "closed" if is_closed else _WORDS[session.state]
