"""Translation of the URIs of pyDAL to the URLs of this library."""

from __future__ import annotations

import os
from pathlib import PurePath
from urllib.parse import quote

__all__ = ["absolute_uri", "is_memory", "memory_file", "url_of"]

# Names of pyDAL that only differ in the SQL that it generates.
_KINDS = {"postgres2": "postgres", "postgres3": "postgres"}


def is_memory(uri: str) -> bool:
    """Return whether a URI means a new database for each pool."""
    return uri.partition("://")[0].startswith("sqlite:memory")


def memory_file() -> str:
    """Return the name of a new database in memory, shared by connections."""
    return f"file:dbutils-{os.urandom(8).hex()}?mode=memory&cache=shared"


def absolute_uri(uri: str, folder: str) -> str:
    """Return a URI that means the same in every folder.

    Only a URI of SQLite changes.
    """
    return url_of(uri, folder) if uri.startswith("sqlite:") else uri


def url_of(uri: str, folder: str) -> str:
    """Return a URL that means the same in every folder."""
    kind, mark, rest = uri.partition("://")
    if not mark:
        return uri
    place, sign, settings = rest.partition("?")
    if kind == "sqlite":
        return _file_url(uri, folder, place, sign + settings)
    name, _, driver = kind.partition(":")
    name = _KINDS.get(name, name)
    scheme = f"{name}+{driver}" if driver else name
    place, at, rest = _split(rest)
    rest, sign, settings = rest.partition("?")
    settings = "&".join(
        _setting(part, name) for part in settings.split("&"))
    return f"{scheme}{mark}{place}{at}{rest}{sign}{settings}"


def _file_url(uri: str, folder: str, file: str, settings: str) -> str:
    if file.startswith("/"):  # it belongs to the mark
        file = file[1:]
    if file in {"", ":memory:"}:
        return uri
    return f"sqlite:///{PurePath(quote(folder), file)}{settings}"


def _split(rest: str) -> tuple[str, str, str]:
    """Return the user with the password, the mark "@", and the rest.

    pyDAL ends the password at the first "@", and allows characters in it that
    a URL has to write as "%2F" or the like.
    """
    names, at, place = rest.partition("@")
    if not at or "/" not in place or ":" not in names:
        return "", "", rest
    user, colon, password = names.partition(":")
    return f"{user}{colon}{quote(password, safe='%:!$&*+,;=~')}", at, place


def _setting(part: str, kind: str) -> str:
    """Return a setting with the name that it has in this library."""
    name, sign, value = part.partition("=")
    if name == "set_encoding":
        return f"charset={value}"
    if name == "ssl" and not value:
        return "ssl=true"
    if name == "unix_socket":  # PostgreSQL expects the folder
        if kind.startswith("postgres"):
            value = str(PurePath(value).parent)
        return f"host={value}"
    return f"{name}{sign}{value}"
