"""What opens the connections of a managed pool."""

from __future__ import annotations

from typing import Any, Callable, Iterable

from .._base.errors import quietly
from .._base.secrets import Secret, SecretDigest, hide_secrets, secrets_in
from .._drivers.dialects import dialect_for
from .._drivers.outages import is_refusal

__all__ = ["Connector", "prepare_or_close"]


class _Credentials:
    """A password, or what tells it, with a seal for all that is secret."""

    def __init__(self, password: Any, options: list[Any]) -> None:
        self.password = password
        self._seal = SecretDigest([_plain(password), *options])
        # What the server has said to them, if it has ever done that.
        self.were_accepted = self.were_refused = False

    def are(self, password: Any, options: list[Any]) -> bool:
        """Tell whether somebody else knows the same."""
        fits = self._seal.fits([_plain(password), *options])
        if callable(password) or callable(self.password):
            return fits and bool(password == self.password)
        return fits


def _plain(password: Any) -> Any:
    return None if callable(password) else password


class Connector:
    """Opens connections with the driver that a configuration demands.

    It is a creator for the pools, which have no parameters to pass then.
    """

    # It does nothing that a new session of the same connection would lose.
    is_plain = True

    def __init__(self, config: Any) -> None:
        self._dialect, self.dbapi = dialect_for(
            config.db_type.value, config.driver)
        self._arguments = self._dialect.translate(config, self.dbapi)
        self._secrets = secrets_in(config.options)
        self._credentials = _Credentials(config.password, self._secrets)

    def __repr__(self) -> str:
        return f"<connector with {self._dialect.module}>"

    @property
    def driver(self) -> str:
        """The name of the driver."""
        return self._dialect.module

    @property
    def silence(self) -> float | None:
        """How many seconds statements may go on without an answer."""
        return self._arguments.silence

    @property
    def is_proven(self) -> bool:
        """Whether the server has ever accepted the credentials."""
        return self._credentials.were_accepted

    @property
    def is_refused(self) -> bool:
        """Whether the server has only ever refused the credentials."""
        credentials = self._credentials
        return credentials.were_refused and not credentials.were_accepted

    def knows(self, config: Any) -> bool:
        """Tell whether a configuration has the same secrets."""
        return self._credentials.are(
            config.password, secrets_in(config.options))

    def change_password(self, password: Any) -> None:
        """Open connections with another password from now on."""
        self._credentials = _Credentials(password, self._secrets)

    def __call__(self) -> Any:
        """Open a connection.

        What tells the password is asked once more if it is not accepted.
        """
        credentials = self._credentials
        try:
            con = self._connect_with(credentials.password)
        except Exception as error:
            if is_refusal(error):
                credentials.were_refused = True
            raise
        credentials.were_accepted = True
        return con

    def _connect_with(self, password: Any) -> Any:
        if not callable(password):
            return self._connect(password)
        told = _told_by(password)
        try:
            return self._connect(told)
        except Exception as error:
            if not is_refusal(error):
                raise
            again = _told_by(password)
            if again == told:
                raise
        return self._connect(again)

    def _connect(self, password: Any) -> Any:
        try:
            con = self._dialect.connect(
                self.dbapi, self._arguments.parameters, password)
        except Exception as error:
            hide_secrets(error, [password, *self._secrets])
            raise
        prepare_or_close(con, self._arguments.steps)
        return con


def prepare_or_close(con: Any, steps: Iterable[Callable[[Any], Any]]) -> None:
    """Do something with a new connection, or close it if that fails."""
    is_ready = False
    try:
        for step in steps:
            step(con)
        is_ready = True
    finally:
        if not is_ready:
            with quietly("closing a connection that is not as demanded"):
                con.close()


def _told_by(password: Any) -> Any:
    """Return the password as it is now."""
    text = password()
    if text is not None and not isinstance(text, str):
        raise TypeError(
            "What tells the password must return a text, not something of"
            f" {type(text)!r}.")
    return None if text is None else Secret(text)
