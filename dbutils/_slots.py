"""The places of a pool."""

from __future__ import annotations

import enum
from threading import Lock
from typing import Any

__all__ = ["Slot", "State"]


class State(enum.Enum):
    """What a slot is doing."""

    OPENING = "opening", ("leased", "closed")
    LEASED = "leased", ("idle", "closed")
    IDLE = "idle", ("leased", "closed")
    CLOSED = "closed", ("closed",)

    def __init__(self, label: str, followers: tuple[str, ...]) -> None:
        self.label = label
        self.followers = followers


class Slot:
    """A place in a pool, from before its connection is opened.

    It outlives the visits to its connection; who visits it is a lease.
    """

    __slots__ = ("checking", "con", "for_sharing", "shared", "state")

    def __init__(self, con: Any = None) -> None:
        self.con = con
        self.state = State.OPENING
        # whether it counts as shared, from before its connection is ready
        self.for_sharing = False
        # the record of those who share the connection, once it is ready
        self.shared: Any = None
        # held while a connection is checked that others may be using
        self.checking: Any = None

    def __repr__(self) -> str:
        return f"<slot {self.state.label}: {self.con!r}>"

    def move(self, state: State) -> None:
        """Go over to another state, if that is possible from this one."""
        if state.label not in self.state.followers:
            raise RuntimeError(
                f"A slot cannot change from {self.state.label}"
                f" to {state.label}.")
        self.state = state

    def share(self, record: Any) -> None:
        """Begin to share the connection."""
        self.shared = record
        self.checking = Lock()
