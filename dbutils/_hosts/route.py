"""The way of one connection to one of several servers."""

from __future__ import annotations

from .._base.errors import quietly
from .._base.hints import Any, Iterable
from .._base.secrets import wrap_secrets

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from .aims import Aim
    from .cluster import Cluster
    from .host import Host, Seat

__all__ = ["Route"]


class Route:
    """Opens the driver connections of one session, one after the other.

    It is the creator of the session, which asks it for another connection when
    it has lost one, and tells it when the server refuses to write.
    """

    def __init__(self, cluster: Cluster, aim: Aim) -> None:
        self.cluster = cluster
        self.aim = aim
        self.dbapi = cluster.dbapi
        self.is_plain = cluster.is_plain
        # The server, and the place that the connection takes there.
        self.host: Host | None = None
        self._seat: Seat | None = None
        # The parameters of the last connection.
        self.arguments: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})
        # Returns the session, or None.
        self.session: Any = type(None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Open a connection to a server that fits."""
        kwargs = wrap_secrets(kwargs)  # so that no traceback shows them
        self.vacate()  # that of a connection that is closed
        self.arguments = args, kwargs
        return self.cluster.open(self)

    def open_another(self, *args: Any, **kwargs: Any) -> Any:
        """Open one more connection to the same server, for a short time."""
        host: Any = self.host
        return host.open(args, wrap_secrets(kwargs))

    def _hands_on(self, options: Iterable[str]) -> bool:
        """Return whether these options reach the drivers of all servers."""
        return self.cluster.hands_on(options)

    def has_option(self, name: str) -> bool:
        """Return whether the program gives an option to this server only."""
        return self.host is not None and self.host.has_option(name)

    def vacate(self) -> None:
        """Leave the place at the server to others."""
        host, seat, self._seat = self.host, self._seat, None
        if host is not None and seat is not None:
            host.give_up(seat)

    def settle(self, host: Host, seat: Seat) -> None:
        """Note to which server the connection leads.

        Doubts that come from now on concern it.
        """
        session = self.session()
        if session is not None:
            session.is_doubted = False
        self.host, self._seat = host, seat
        self.cluster.add_route(self)

    def fits(self, aim: Aim, is_limited: bool = False) -> bool:
        """Return whether the server has a role that is wanted.

        The second parameter is that of Cluster.fits().
        """
        return self.host is not None and self.cluster.fits(
            self.host, aim, is_limited)

    def note_loss(self) -> None:
        """Note that the connection was lost."""
        if self.host is not None:
            self.cluster.doubt(self.host)

    def note_refusal(self) -> None:
        """Note that the server does not take writes."""
        if self.host is not None:
            self.cluster.note_refusal(self.host)

    @property
    def was_left(self) -> bool:
        """Whether others have left the server, or are leaving it."""
        session = self.session()
        return self.host is not None and (
            self.host.is_accused or bool(session and session.is_doubted))

    def cut(self) -> None:
        """End what is going on, since the server does not answer."""
        session = self.session()
        if session is not None:
            with quietly("cutting a connection to a silent server"):
                session.cut()

    def leave(self) -> None:
        """Replace the connection before it is used for other work."""
        session = self.session()
        if session is not None:
            session.doubt()
