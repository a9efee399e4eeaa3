"""How the settings of a connection are said to a driver.

A dialect knows one driver.  What a driver does not understand is an error,
since somebody who asks for encryption, say, must not go without it.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Mapping

__all__ = [
    "ConnectArguments", "Dialect", "SpeaksUtf8", "needs_host", "tls_context",
    "whole"]

# The settings in the order in which they are said; those for encryption and
# the options for the driver itself follow, the password is said at last.
_SETTINGS = (
    "host", "port", "database", "user", "charset", "autocommit",
    "connection_timeout", "socket_timeout", "application_name")
_UTF8 = {"utf8", "utf-8", "utf8mb4"}


class ConnectArguments:
    """What a driver is told, and what is done with a new connection."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.parameters: dict[str, Any] = {}
        self.steps: list[Callable[[Any], Any]] = []
        # How many seconds a statement may go on without an answer, where it
        # is not the driver that limits that.
        self.silence: float | None = None

    def add(self, **parameters: Any) -> None:
        """Tell the driver something, unless it is None."""
        self.parameters.update(
            (name, value) for name, value in parameters.items()
            if value is not None)

    def after_connect(self, attribute: str, value: Any) -> None:
        """Set an attribute of a new connection."""
        self.steps.append(lambda con: setattr(con, attribute, value))


class Dialect:
    """What all dialects have in common.

    A setting that needs more than another name has a method of its own.
    """

    # The driver, as it is imported.
    module = ""
    # The settings that are passed on, with the names of the parameters.
    names: Mapping[str, str] = {}
    # What there is instead of settings that the driver does not know.
    hints: Mapping[str, str] = {}
    # Options that could overrule the settings for encryption.
    overruling: frozenset[str] = frozenset()

    def translate(self, config: Any, driver: Any) -> ConnectArguments:
        """Return the words for the settings of a connection.

        driver: the module
        """
        arguments = ConnectArguments(driver)
        for setting in _SETTINGS:
            value = getattr(config, setting)
            if value is not None:
                self._say(arguments, setting, value)
        if config.ssl is not None:
            self.say_ssl(arguments, config)
        self._say_options(arguments, config)
        return arguments

    def _say(
            self, arguments: ConnectArguments, setting: str, value:
            Any) -> None:
        add = getattr(self, f"say_{setting}", None)
        if add is not None:
            add(arguments, value)
        elif setting in self.names:
            arguments.add(**{self.names[setting]: value})
        else:
            self.refuse(setting)

    def _say_options(self, arguments: ConnectArguments, config: Any) -> None:
        given = {name.lower() for name in arguments.parameters}
        given |= {"password", "passwd", "pwd"}
        if config.ssl:
            given |= self.overruling
        for name, value in config.options.items():
            if name.lower() in given:
                raise ValueError(
                    f"The option {name!r} of {self.module} is the matter of"
                    " a setting.")
            arguments.parameters[name] = value

    def refuse(self, setting: str) -> None:
        """Raise the error for a setting that the driver does not know."""
        hint = self.hints.get(setting, "")
        raise ValueError(f"{self.module} cannot honour {setting!r}{hint}.")

    def say_ssl(self, arguments: ConnectArguments, config: Any) -> None:  # noqa: ARG002
        """Demand that the connection is encrypted, or not."""
        self.refuse("ssl")

    def connect(
            self, driver: Any, parameters: dict[str, Any],
            password: Any) -> Any:
        """Open a connection."""
        if password is None:
            return driver.connect(**parameters)
        return driver.connect(**parameters, password=password)


class SpeaksUtf8(Dialect):
    """A driver that knows one encoding only."""

    hints: Mapping[str, str] = {"charset": " other than 'utf8'"}

    def say_charset(self, arguments: ConnectArguments, value: str) -> None:  # noqa: ARG002
        """Accept the encoding."""
        if value.lower() not in _UTF8:
            self.refuse("charset")


def needs_host(config: Any) -> None:
    """Refuse to encrypt what goes to a local socket, as libpq would not."""
    hosts = (config.host or "").split(",")
    if config.ssl and not all(
            host and not host.startswith(("/", "@")) for host in hosts):
        raise ValueError(
            "'ssl' needs the name of a 'host', since what goes to a local"
            " socket is not encrypted.")


def whole(seconds: float) -> int:
    """Return a time for drivers that want whole seconds."""
    return max(math.ceil(seconds), 1)


def tls_context(config: Any) -> Any:
    """Return the terms on which the ssl module of Python encrypts."""
    import ssl  # noqa: PLC0415 - only where it is used, it is large

    context = ssl.create_default_context(cafile=config.ssl_ca)
    # certificates of the servers' own making are seldom as strict
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not config.ssl_ca:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if config.ssl_cert:
        context.load_cert_chain(config.ssl_cert, config.ssl_key)
    return context
