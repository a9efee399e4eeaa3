"""The database that a command is to use, as the command says."""

from __future__ import annotations

import os
from dataclasses import replace

from .._manager.config import kind_of
from ..pool_manager import ConnectionConfig

__all__ = ["config_of", "text_of"]

_PASSWORDS = {"postgresql": "PGPASSWORD", "mysql": "MYSQL_PWD"}
_PACKAGES = {
    "postgresql": "psycopg2-binary", "mysql": "PyMySQL",
    "oracle": "oracledb", "sqlserver": "pyodbc"}
# The beginning of the mark of a message; it stays at the end.
_MARK = " [DBU-"


def config_of(uri: str) -> ConnectionConfig:
    """Return the configuration, with a password from the usual variable."""
    config = (
        ConnectionConfig.from_url(uri) if uri else ConnectionConfig.from_env())
    usual = _PASSWORDS.get(kind_of(config), "DB_PASSWORD")
    password = os.environ.get(usual) or os.environ.get("DB_PASSWORD")
    if config.password is None and password:
        return replace(config, password=password)
    return config


def text_of(error: Exception, uri: str) -> str:
    """Return one line with the problem and the remedy."""
    said = [part for part in error.args if isinstance(part, str)]
    lines = (said[-1] if said else str(error)).strip().splitlines() or [
        type(error).__name__]
    text, begin, rest = lines[0].partition(_MARK)
    text, mark = text.rstrip("."), begin + rest
    if isinstance(error, ImportError):
        kind = uri.partition(":")[0].partition("+")[0]
        package = _PACKAGES.get(kind, _PACKAGES["postgresql"])
        return f"{text}. Install one, like: pip install {package}{mark}"
    if isinstance(error, ValueError):
        return f"{text}.{mark}"
    check = (
        "the name of the file; an absolute one has four slashes before it, as"
        " in sqlite:////folder/file" if uri.startswith("sqlite") else
        "that the server runs, and the host, port, user, password and"
        " database in the URI")
    return f"The database cannot be used: {text}. Check {check}.{mark}"
