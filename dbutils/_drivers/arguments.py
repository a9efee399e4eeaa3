"""The arguments with which a driver opens a connection."""

from __future__ import annotations

from .._base.hints import Any, Callable

__all__ = [
    "ConnectArguments", "accept_utf8", "demand_host", "tls_context"]

_UTF8 = {"utf8", "utf-8", "utf8mb4"}


class ConnectArguments:
    """The arguments for a driver, and the steps with a new connection."""

    def __init__(self, dbapi: Any) -> None:
        self.dbapi = dbapi
        self.parameters: dict[str, Any] = {}
        self.steps: list[Callable[[Any], Any]] = []
        # How many seconds a statement may wait for an answer, where the
        # driver itself does not limit that.
        self.silence: float | None = None

    def add(self, **parameters: Any) -> None:
        """Add the arguments that are not None."""
        self.parameters.update(
            (name, value) for name, value in parameters.items()
            if value is not None)

    def after_connect(self, attribute: str, value: Any) -> None:
        """Set an attribute of each new connection."""
        self.steps.append(lambda con: setattr(con, attribute, value))


def accept_utf8(
        self: Any, arguments: ConnectArguments,  # noqa: ARG001 - a method
        value: str) -> None:
    """Accept the only encoding of a driver; its class has this as method."""
    if value.lower() not in _UTF8:
        self.refuse("charset", " other than 'utf8'")


def demand_host(config: Any) -> None:
    """Refuse to encrypt a local socket; libpq would leave it plain."""
    hosts = (config.host or "").split(",")
    if config.ssl and not all(
            host and not host.startswith(("/", "@")) for host in hosts):
        raise ValueError(
            "'ssl' needs the name of a 'host', since what goes to a local"
            " socket is not encrypted. [DBU-19]")


def tls_context(config: Any) -> Any:
    """Return a context of the ssl module for the settings."""
    import ssl  # noqa: PLC0415 - only where it is used, it is large

    context = ssl.create_default_context(cafile=config.ssl_ca)
    # certificates that administrators make themselves are seldom as strict
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not config.ssl_ca:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if config.ssl_cert:
        context.load_cert_chain(config.ssl_cert, config.ssl_key)
    return context
