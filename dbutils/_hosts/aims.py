"""Aims: the role of a server that a request wants, and its largest lag."""

from __future__ import annotations

from .._base.checks import check_seconds, shown
from .._base.hints import Any, NamedTuple
from .._drivers.standing import PRIMARY, READ_ONLY, STANDBY

__all__ = ["Aim", "Wish", "check_after", "check_aim"]

# The characters of positions, of which statements are made.
_TOKEN = frozenset("0123456789ABCDEFabcdef:,-/")

_WRITES = frozenset((PRIMARY,))
_READS = frozenset((READ_ONLY, STANDBY))
_STANDBY = frozenset((STANDBY,))

# The roles that fit each target, the preferred ones first.
_CHOICES = {
    "primary": (_WRITES,),
    "standby": (_STANDBY,),
    "prefer-standby": (_STANDBY, frozenset((PRIMARY, READ_ONLY))),
    "prefer-primary": (_WRITES, _READS),
    "any": (_WRITES | _READS,),
}


class Aim(NamedTuple):
    """The role of a server that a request wants, and its largest lag."""

    target: str
    maxlag: float | None = None
    # The position that the server must have reached, if there is one.
    after: str | None = None

    def __str__(self) -> str:
        if self.maxlag is None:
            return self.target
        return f"{self.target}, at most {self.maxlag:g} seconds behind"

    @property
    def choices(self) -> tuple[frozenset[str], ...]:
        """The roles that fit, the preferred ones first."""
        return _CHOICES[self.target]

    @property
    def is_for_writing(self) -> bool:
        """Whether a server that takes writes is wanted, if there is one."""
        return self.choices[0] == _WRITES

    def is_met(self, role: str) -> bool:
        """Return whether a role fits."""
        return any(role in roles for roles in self.choices)

    def is_missed(self, old: str, new: str) -> bool:
        """Return whether a server that has changed its role has to be left."""
        return new not in self.choices[0] and (
            old in self.choices[0] or not self.is_met(new))


class Wish:
    """The aim of the connection that a function opens.

    It is known as long as it lives, so an interrupted function leaves none.
    """

    def __init__(self, aim: Aim) -> None:
        self.aim = aim
        # The wish that was known before in this thread, if any.
        self.outer: Any = None


def check_after(after: Any) -> str | None:
    """Return a token of position(), after checking it."""
    if after is None or (isinstance(after, str) and _TOKEN.issuperset(after)):
        return after or None
    raise ValueError(
        f"'after' must be what position() has returned, not {shown(after)}."
        " [DBU-01]")


def check_aim(target: Any, maxlag: Any = None) -> Aim:
    """Return an aim, after checking it."""
    if target not in _CHOICES:
        raise ValueError(
            f"'target' must be {', '.join(map(repr, list(_CHOICES)[:-1]))} or"
            f" {list(_CHOICES)[-1]!r}, not {shown(target)}. [DBU-03]")
    return Aim(target, check_seconds("maxlag", maxlag))
