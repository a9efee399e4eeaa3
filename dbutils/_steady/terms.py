"""The terms of a session: what is the same for most sessions of a pool.

Such sessions share one object.  One that differs gets a copy of its own when
its terms are changed, so the others do not notice.
"""

from __future__ import annotations

from .._base.hints import Any, attrgetter
from .._drivers.driver import NO_DRIVER, DriverFacts

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from .options import SteadyOptions

__all__ = ["Terms", "shared", "term"]


_OF_SHARING = {"common", "is_shared"}


class Terms:
    """The options of a session, and the facts that follow from them."""

    __slots__ = (
        "checks", "common", "driver", "failover", "is_shared", "is_simple",
        "options", "ping", "throttle")

    def __init__(self, options: SteadyOptions, checks: Any = None) -> None:
        self.options = options
        self.checks = checks
        self.ping = options.ping
        self.driver: DriverFacts = NO_DRIVER
        self.failover: Any = None
        self.throttle: Any = None
        # All that the sessions of the pool share, if there is one.
        self.common: dict[str, Any] | None = None
        self.is_simple = self.is_shared = False

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        """Return whether other terms say the same, shared or not."""
        return isinstance(other, Terms) and all(
            getattr(self, name) == getattr(other, name)
            for name in Terms.__slots__ if name not in _OF_SHARING)

    def copy(self) -> Terms:
        """Return a copy that is not shared, to be changed."""
        other = Terms(self.options, self.checks)
        for name in Terms.__slots__:
            if name != "is_shared":
                setattr(other, name, getattr(self, name))
        return other


def term(name: str) -> Any:
    """Return a property that shows one of the terms as that of a session."""
    def change(session: Any, value: Any) -> None:
        if getattr(session.terms, name) is not value:
            setattr(session.own_terms(), name, value)

    return property(attrgetter(f"terms.{name}"), change)


def shared(common: dict[str, Any], name: str, value: Any) -> Any:
    """Return what is shared under that name if it is equal to the value.

    common: the shared values; empty for the first session
    """
    known = common.setdefault(name, value)
    return known if known == value else value
