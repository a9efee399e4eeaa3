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
    from .settings import Settings

__all__ = ["HasTerms", "Terms", "shared", "term"]


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


class HasTerms:
    """An object with terms and settings, which others of a pool may share."""

    __slots__ = ("settings", "terms")

    terms: Terms
    settings: Settings

    options: SteadyOptions = term("options")
    driver: DriverFacts = term("driver")
    # The failover policy decides when the connection is replaced.
    failover: Any = term("failover")
    # The knowledge of the pool, if there is one, about the server.
    throttle: Any = term("throttle")
    # Whether nothing has to be checked before a statement.
    is_simple: bool = term("is_simple")

    def join(self, common: dict[str, Any]) -> None:
        """Share with the other sessions of a pool what is equal, from now on.

        common: the shared values; empty for the first session
        """
        self.own_terms().common = common
        self.save_memory(common)

    def save_memory(self, common: dict[str, Any]) -> None:
        """Share what is equal and seldom changed."""
        if self.settings.is_plain:
            self.settings = shared(common, "settings", self.settings)
            self.settings.is_shared = True
        self.terms = shared(common, "terms", self.terms)
        self.terms.is_shared = True

    def own_terms(self) -> Terms:
        """Return the terms as an object that no other session has."""
        if self.terms.is_shared:
            self.terms = self.terms.copy()
        return self.terms

    def share_again(self) -> None:
        """Share what was copied for another driver connection, in a pool."""
        common = self.terms.common
        if common is not None:
            self.save_memory(common)
