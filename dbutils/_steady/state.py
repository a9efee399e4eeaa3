"""The states of a session and of its socket, as far as they are known."""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from .._base.hints import Any

__all__ = [
    "GONE", "INHERITED", "IN_DOUBT", "LOST", "OPEN", "QUIET", "SUSPECT",
    "UNREAD", "state_text"]

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

# The results of a look at a socket.
QUIET = "nothing to read, as expected"
GONE = "the other side has closed it"
UNREAD = "data that nobody has asked for, so that only asking helps"

_WORDS = ("open", "not valid", "in doubt", "lost", "of another process")


def state_text(session: Any) -> str:
    """Return the state of a session in words."""
    is_closed = session.closed and session.state <= SUSPECT
    return "closed" if is_closed else _WORDS[session.state]
