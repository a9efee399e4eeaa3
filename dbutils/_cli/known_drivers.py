"""The command that prints what is known about the installed drivers."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from .._drivers.creators import is_driver
from .._drivers.driver import DriverFacts, is_told
from .._drivers.registered import load_entry_points
from .._drivers.registry import drivers_by_name
from .terminal import complain, say, show_table, tell

__all__ = ["show_drivers"]

_TOLD, _ACCOUNT, _NONE, _OLD = (
    "the driver", "own account", "no transactions", "unknown")

# The consequences of how open work is known.
_RULES = {
    _TOLD: (
        "Statements are repeated only if no work is open, as the driver"
        " tells."),
    _ACCOUNT: (
        "The same, only that everything but a read counts as work until the"
        " next commit or rollback, unless autocommit is known to be on."),
    _NONE: "Reads are repeated, and nothing is committed or rolled back.",
    _OLD: (
        "It declares no apilevel and paramstyle, so it is no DB-API 2 driver:"
        ' as with failover="always", statements are repeated after any error'
        " that can mean a loss."),
}


class _Row(NamedTuple):
    """The facts about one driver."""

    driver: str
    # How the library knows that work is open, and that a connection is lost.
    open_work: str
    loss: str
    # The fate of a connection that is lost while nobody uses it, and of a
    # session that statements have changed.
    idle: str
    session: str


def show_drivers(arguments: Any) -> int:
    """Print what is known, and return the exit status."""
    load_entry_points()
    known = drivers_by_name()
    names = arguments.modules or sorted(filter(_is_installed, known), key=(
        str.lower))
    try:
        rows = [_row(name, known.get(name)) for name in names]
    except ImportError as error:
        complain(f"{error}.")
        return 2
    if arguments.json:
        say(json.dumps([row._asdict() for row in rows], indent=2))
    else:
        _show(rows)
    return 0


def _is_installed(name: str) -> bool:
    if name.startswith("_"):  # the inner part of another one
        return False
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # of a package around it
        return False


def _row(name: str, driver: DriverFacts | None) -> _Row:
    if driver is None:
        work = _ACCOUNT if is_driver(import_module(name)) else _OLD
        return _Row(name, work, "code, question", "noticed", "replaced")
    sees = driver.socket_name is not None or is_told(driver.descriptor)
    signs = [sign for sign, applies in (
        ("socket", sees), ("flag", driver.tells_closed),
        ("code", is_told(driver.code)),
        ("question", not driver.is_known)) if applies]
    return _Row(
        name, _work(driver), ", ".join(signs),
        "in the process" if driver.is_embedded
        else "replaced" if sees else "noticed",
        "reset" if driver.can_clean else "replaced")


def _work(driver: DriverFacts) -> str:
    if not driver.has_transactions:
        return _NONE
    return _TOLD if driver.tells_work else _ACCOUNT


def _show(rows: list[_Row]) -> None:
    if not rows:
        say("No driver is installed that is known.")
        return
    show_table("Facts about drivers", rows, (
        "driver", "open work is told by", "a loss by", "dead idle ones",
        "changed sessions"))
    say()
    for work, rule in _RULES.items():
        if any(row.open_work == work for row in rows):
            tell(f"{work}: {rule}")
    say()
    tell(
        "Dead connections that are idle are replaced before a statement is"
        " sent where the socket is known. Otherwise they are noticed by an"
        " error: reads are repeated then, and for writes the error is raised"
        " and nothing is stored.")
