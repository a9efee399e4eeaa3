"""Reading the settings of a connection from a URL or from variables.

No error shows the URL, since it may contain a password.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from .._base.hints import Any, Mapping

__all__ = ["settings_of_url", "settings_of_variables"]

_NUMBERS = {
    "port": int, "connection_timeout": float, "socket_timeout": float}
_FLAGS = {"autocommit", "ssl"}
_TEXTS = {
    "host", "user", "password", "charset", "ssl_ca", "ssl_cert", "ssl_key",
    "application_name", "driver", "hosts"}
_SCHEME = re.compile(r"[\w.+-]+$", re.ASCII)
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


def settings_of_url(url: str) -> dict[str, Any]:
    """Return the settings in a URL.

    Unknown settings after the question mark are options for the driver.
    """
    scheme, mark, _ = url.partition("://")
    if not mark or not _SCHEME.match(scheme):
        raise ValueError(
            "The URL of a database begins with its kind,"
            " like 'postgresql://'. [DBU-16]")
    parts = _split(url)
    if parts is None:  # the original error could show the password
        raise ValueError(
            "The URL cannot be read. In names and passwords, characters other"
            " than letters and digits must be written like '%2F'. [DBU-16]")
    kind, _, driver = scheme.lower().partition("+")
    settings: dict[str, Any] = {
        "db_type": kind, "driver": driver or None, "port": parts.port,
        "host": _host_of(parts.netloc.rpartition("@")[2]),
        "database": unquote(parts.path[1:]) or None}
    for name, value in (("user", parts.username), (
            "password", parts.password)):
        settings[name] = None if value is None else unquote(value)
    settings["user"] = settings["user"] or None  # as in "//:password@host"
    settings.update(_settings_of_query(parts.query))
    return settings


def _split(url: str) -> SplitResult | None:
    """Return the parts of a URL, or None if it is malformed."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises an error if it is no number
    except ValueError:
        return None
    return parts


def _host_of(place: str) -> str | None:
    """Return the host, or the path of a local socket."""
    if place.startswith("["):
        return place[1:].partition("]")[0]
    return unquote(place.partition(":")[0]) or None


def _settings_of_query(query: str) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    options = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name in _NUMBERS or name in _FLAGS or name in _TEXTS:
            settings[name] = _value_of(name, text)
        else:
            options[name] = text
    settings["options"] = options
    return settings


def settings_of_variables(
        variables: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """Return the settings in environment variables.

    prefix: the beginning of their names
    """
    def read(name: str) -> str | None:
        return variables.get(f"{prefix}{name.upper()}") or None

    url = read("url")
    settings = settings_of_url(url) if url else {}
    options = read("options")
    if options:
        found = _settings_of_query(options)["options"]
        settings["options"] = {**settings.get("options", {}), **found}
    for name in ("database", *_NUMBERS, *_FLAGS, *_TEXTS):
        text = read(name)
        if text is not None:
            settings[name] = _value_of(name, text)
    kind = read("type") or read("db_type")
    if kind is not None:
        settings["db_type"] = kind
    if "db_type" not in settings:
        raise ValueError(
            f"Neither {prefix}URL nor {prefix}TYPE is set. One of them must"
            " contain the kind of the database. [DBU-16]")
    return settings


def _value_of(name: str, text: str) -> Any:
    """Return the value of a setting that is given as text."""
    if name in _FLAGS:
        return _flag(name, text)
    if name not in _NUMBERS:
        return text
    try:
        return _NUMBERS[name](text)
    except ValueError:
        raise ValueError(
            f"{name!r} must be a number, not {text!r}. [DBU-16]") from None


def _flag(name: str, text: str) -> bool:
    if text.lower() not in _TRUE | _FALSE:
        raise ValueError(
            f"{name!r} must be 'true' or 'false', not {text!r}. [DBU-16]")
    return text.lower() in _TRUE
