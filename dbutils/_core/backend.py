"""The interfaces that a pool uses: a backend, and a policy."""

from __future__ import annotations

from .._base.hints import Any, Sequence

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from .limits import Limits
    from .quotas import Admission, Request
    from .throttle import ConnectThrottle
    from .waiting import Waiter

__all__ = ["AdmissionPolicy", "Backend", "Kinds"]


class Backend:
    """Does the work on connections; pools choose a subclass."""

    # Whether the database is known to be in this process.
    is_embedded = False
    # How often a connection is used until it is replaced, if that is limited.
    maxusage: int | None = None

    def is_outage(self, error: BaseException) -> bool:
        """Return whether another attempt to connect can help."""
        return isinstance(error, OSError)

    def is_full(self, error: BaseException) -> bool:
        """Return whether a server says that it has too many connections."""
        return False

    def after_open(
            self, con: Any, throttle: ConnectThrottle, number: int) -> None:
        """Tell a new connection what the pool knows about the server.

        number: that of the connection in its pool
        """

    def seems_ready(self, con: Any) -> bool:
        """Return whether a quick look is enough to hand a connection out."""
        return False

    def check(self, con: Any) -> None:
        """Check a connection before it is handed out, and reconnect it."""

    def check_share(self, con: Any, seconds: float) -> None:
        """Check a shared connection within a time.

        A dead one stays with its sharers until they next use it.
        """

    def is_alive(self, con: Any, seconds: float) -> bool:
        """Return whether a connection is alive, within a time."""
        return True

    def seems_alive(self, con: Any) -> bool:
        """Return whether nothing is known to be wrong, without a question."""
        return True

    def ask(self, con: Any) -> bool:
        """Return whether the server answers on a connection."""
        return True

    def ask_within(self, con: Any, seconds: float) -> bool:
        """Return whether the server answers within a time."""
        return self.ask(con)

    def reset_elsewhere(self, is_elsewhere: bool, cons: list[Any]) -> None:
        """Reset connections in other threads, or when they come back."""

    def retire(self, con: Any) -> None:
        """Keep a connection from coming back on the fast way."""

    def keep(self, con: Any) -> None:
        """Allow a connection to do so again."""

    @staticmethod
    def take_with_care(core: Any) -> Any:  # noqa: ARG004 - unknown here
        """Return an idle permit on the fast way, or raise an IndexError.

        This is the way for pools that look at connections or count requests;
        without it, all requests go the long way.
        """
        raise IndexError

    @staticmethod
    def way_to_usual(core: Any, take: Any) -> Any:  # noqa: ARG004 - unknown here
        """Return the fast way out to idle connections for usual requests.

        take: that for connections that are all alike
        """
        return core.backend.take_with_care

    def limit_usage(self, con: Any) -> None:
        """Tell a connection that the limit of its usage was changed."""

    def tells_crowd(self, con: Any) -> bool:
        """Return whether its server can be asked how full it is."""
        return False

    def is_crowded(self, con: Any) -> bool | None:
        """Return whether its server is nearly full, None if that failed."""
        return False

    def opens_at_once(self, con: Any) -> bool:
        """Return whether opening such connections takes no time."""
        return False

    def needs_reset(self, con: Any) -> bool:
        """Return whether a reset has to ask the server."""
        return True

    def quick_reset(self, con: Any) -> bool:
        """Do the same if that takes one step; return whether it was done."""
        return False

    def reset(self, con: Any) -> bool:
        """Reset a returned connection; return whether it can stay."""
        return True

    def close(self, con: Any) -> None:
        """Close a connection for good."""
        con.close()

    # Leases that last for long.

    def busy_of(self, con: Any, checkout: Any) -> Any:
        """Return the time in statements, None if it is not measured."""
        return None

    def take_away(self, con: Any, checkout: Any, text: str) -> None:
        """End the use of a connection that a thread may be using just now.

        text: says so in the errors of all later uses
        """

    # Forks.  A connection is told of them by the pool while it is in a slot.

    def enter(self, con: Any) -> Any:
        """Note that a connection is in a slot now.

        Return what the fast ways use of it.
        """

    def leave(self, con: Any) -> None:
        """Note that a connection is about to leave its slot."""

    def after_fork(self, con: Any) -> None:
        """Leave a connection to the parent of a forked child."""

    # Sharing.

    def share(self, con: Any) -> Any:
        """Return a record of those who share a connection."""
        raise NotImplementedError

    def is_shareable(self, con: Any) -> bool:
        """Return whether another thread may share a connection now."""
        raise NotImplementedError

    def part(self, con: Any, share: Any) -> None:
        """End the work of a share of a connection that has other sharers."""

    def can_be_closed_in_use(self, con: Any) -> bool:
        """Return whether closing disturbs only those who share it."""
        return True


class Kinds:
    """Tells connections apart that do not fit all requests.

    A request that gets the place of one that does not fit opens another.
    """

    # Whether it can be that none can be opened though there is a place.
    has_limits = False

    def fits(self, con: Any, request: Any) -> bool:
        """Return whether a connection fits a request; None is a usual one."""
        raise NotImplementedError

    def suffices(self, con: Any, request: Any) -> bool:
        """Return whether it fits if no better one can be opened for now."""
        raise NotImplementedError

    def assign(self, con: Any, request: Any) -> None:
        """Note which request has got a connection."""

    def refusal(self, request: Any) -> Exception | None:
        """Return why no connection that fits can be opened for now.

        None means that it is worth an attempt.
        """

class AdmissionPolicy:
    """Decides which request is served next, and which has to wait."""

    # Whether a request may have to wait though a connection is idle.
    has_limits = False

    def check_limits(self, limits: Limits) -> None:
        """Raise an error if the pool cannot have other limits."""

    def request(self, priority: Any, tag: Any) -> Request:
        """Return what a request wants, after checking it."""
        raise NotImplementedError

    def rank(self, waiters: list[Waiter]) -> Sequence[Waiter]:
        """Return the waiters in the order of service."""
        return waiters

    def admit(self, request: Request) -> Admission | None:
        """Return the admission of a request if it may be served now."""
        raise NotImplementedError

    def served(self, request: Request) -> None:
        """Note that a waiter is served."""

    def not_served(self, request: Request) -> None:
        """Note that a waiter had gone before it was served."""

    def refusal(self, request: Request) -> str | None:
        """Return why a request may not be served, if that is the reason."""
        raise NotImplementedError

    def after_fork(self) -> None:
        """Forget what is in use in the parent of a forked child."""
