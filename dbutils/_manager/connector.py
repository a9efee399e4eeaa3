"""Opening the connections of managed pools."""

from __future__ import annotations

from .._base.errors import quietly
from .._base.hints import Any, Callable, Iterable
from .._base.secrets import Secret, SecretDigest, hide_secrets, secrets_in
from .._drivers.outages import is_refusal
from .._drivers.registry import driver_named

__all__ = ["Connector", "prepare_or_close"]


class _Credentials:
    """A password, or a function for it, and a digest of all secrets."""

    def __init__(self, password: Any, options: list[Any]) -> None:
        self.password = password
        self._digest = SecretDigest([_plain(password), *options])
        # Whether the server has ever accepted or refused them.
        self.were_accepted = self.were_refused = False

    def are(self, password: Any, options: list[Any]) -> bool:
        """Return whether a password and options are the same."""
        fits = self._digest.fits([_plain(password), *options])
        if callable(password) or callable(self.password):
            return fits and bool(password == self.password)
        return fits


def _plain(password: Any) -> Any:
    return None if callable(password) else password


class Connector:
    """Opens connections as a configuration says.

    A connector is the creator of a pool, which passes no parameters to it.
    """

    # A connector makes no settings that resetting the session would lose.
    is_plain = True

    def __init__(self, config: Any) -> None:
        self._driver, self.dbapi = driver_named(
            config.db_type.value, config.driver)
        self._arguments = self._driver.arguments_for(config, self.dbapi)
        self._secrets = secrets_in(config.options)
        self._credentials = _Credentials(config.password, self._secrets)

    def __repr__(self) -> str:
        return f"<connector with {self._driver.module}>"

    @property
    def driver(self) -> str:
        """Return the name of the driver."""
        return self._driver.module

    @property
    def silence(self) -> float | None:
        """Return the seconds that statements may take to answer, or None."""
        return self._arguments.silence

    @property
    def is_proven(self) -> bool:
        """Return whether the server has ever accepted the credentials."""
        return self._credentials.were_accepted

    @property
    def is_refused(self) -> bool:
        """Return whether the server has only ever refused the credentials."""
        credentials = self._credentials
        return credentials.were_refused and not credentials.were_accepted

    def knows(self, config: Any) -> bool:
        """Return whether a configuration has the same secrets."""
        return self._credentials.are(
            config.password, secrets_in(config.options))

    def change_password(self, password: Any) -> None:
        """Use another password for new connections."""
        self._credentials = _Credentials(password, self._secrets)

    def __call__(self) -> Any:
        """Open a connection.

        If the server refuses the password, its function is called again.
        """
        return self.open(self._arguments)

    def open(self, arguments: Any) -> Any:
        """Do the same with other arguments."""
        credentials = self._credentials
        try:
            con = self._connect_with(credentials.password, arguments)
        except Exception as error:
            if is_refusal(error):
                credentials.were_refused = True
            raise
        credentials.were_accepted = True
        return con

    def _connect_with(self, password: Any, arguments: Any) -> Any:
        if not callable(password):
            return self._connect(password, arguments)
        text = _call(password)
        try:
            return self._connect(text, arguments)
        except Exception as error:
            if not is_refusal(error):
                raise
            again = _call(password)
            if again == text:
                raise
        return self._connect(again, arguments)

    def _connect(self, password: Any, arguments: Any) -> Any:
        try:
            con = self._driver.connect(
                self.dbapi, arguments.parameters, password)
        except Exception as error:
            hide_secrets(error, [password, *self._secrets])
            raise
        prepare_or_close(con, arguments.steps)
        return con

    def towards(self, name: str, config: Any) -> HostConnector:
        """Return what opens connections to one of several hosts.

        name: that of the host
        """
        return HostConnector(
            name, self, self._driver.arguments_for(config, self.dbapi))


class HostConnector:
    """Opens connections to one of several hosts."""

    is_plain = True

    def __init__(
            self, name: str, connector: Connector, arguments: Any) -> None:
        self.__name__ = name
        self.dbapi = connector.dbapi
        self._connector = connector
        self._arguments = arguments

    def __call__(self) -> Any:
        """Open a connection."""
        return self._connector.open(self._arguments)


def prepare_or_close(con: Any, steps: Iterable[Callable[[Any], Any]]) -> None:
    """Run steps with a new connection, or close it if one of them fails."""
    is_ready = False
    try:
        for step in steps:
            step(con)
        is_ready = True
    finally:
        if not is_ready:
            with quietly("closing a connection that could not be prepared"):
                con.close()


def _call(password: Any) -> Any:
    """Return the present password, which a function returns."""
    text = password()
    if text is not None and not isinstance(text, str):
        raise TypeError(
            "The function for the password must return a text, not an object"
            f" of the type {type(text).__name__!r}. [DBU-18]")
    return None if text is None else Secret(text)
