"""The states of a session and of its socket, as far as they are known."""

from __future__ import annotations

__all__ = [
    "GONE", "INHERITED", "IN_DOUBT", "LOST", "OPEN", "QUIET", "SUSPECT",
    "UNREAD"]

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

# What a look at a socket has found.
QUIET = "nothing to read, as expected"
GONE = "the other side has closed it"
UNREAD = "data that nobody has asked for, so that only asking helps"
