"""The rules for failing over, for classic PyGreSQL.

They are those of _db_classic and _db_safe for a driver that has no cursors
and opens no transaction by itself.
"""

from __future__ import annotations

from typing import Any

from .._base.errors import add_note, quietly
from .decisions import Loss
from .pg_session import PgLine
from .safe import OUTCOME_UNKNOWN, can_repeat
from .statements import UNKNOWN_WORK, Kind, kind_of
from .unsaved import is_strict

__all__ = [
    "RESET_ALWAYS_ROLLBACK", "RESET_COMPLETELY", "WORKING", "PgClassic",
    "PgSafe", "call_kind", "is_query"]

# The methods that get a statement first.
_QUERYING = {"query", "query_formatted", "send_query"}
# The methods that are never repeated, and may change data.
WORKING = {
    "inserttable", "query_formatted", "query_prepared", "send_query",
    "truncate", "upsert"}

RESET_ALWAYS_ROLLBACK = 1
RESET_COMPLETELY = 2


class PgClassic:
    """Fail over as DBUtils 3.x does."""

    tolerance = 3  # as in Classic

    def reset(self, line: PgLine) -> None:
        """Make a new connection of it."""
        line.con.reset()
        line.begin_session()

    def end(self, line: PgLine, verb: str, sql: str | None) -> Any:
        """Begin or end a transaction."""
        return line.query(verb, sql)

    def run(
            self, line: PgLine, name: str,
            args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method of the connection, again if that was lost."""
        method = getattr(line.con, name)
        in_transaction = line.transaction
        if not in_transaction:
            self._refresh(line)
        if is_strict and not call_kind(name, args).is_read:
            line.work = True
        try:
            result = method(*args, **kwargs)
        except Exception as error:
            if in_transaction:
                line.transaction = False
                raise
            if not self.was_lost(line, error):
                raise
        else:
            line.usage += 1
            return result
        line.reset()
        result = method(*args, **kwargs)
        line.usage += 1
        return result

    def _refresh(self, line: PgLine) -> None:
        """Reset the connection if it is bad, or due for being replaced."""
        alive = line.check(4)
        if line.is_used_up() or (alive is None and line.has_bad_status):
            line.reset()

    def was_lost(self, line: PgLine, error: Exception) -> bool:
        """Tell whether an error means that the connection is lost."""
        failures = line.terms.failures
        lost = line.has_bad_status or (
            failures is not None and isinstance(error, failures))
        return lost and line.terms.is_fatal(error)

    def rinse(self, line: PgLine) -> bool:
        """Tell whether nothing has to be done after a visit."""
        return not (line.touched or line.transaction)

    def hand_back(self, line: PgLine, reset: Any) -> bool:
        """Clean the connection after a visit; tell whether it can stay."""
        if line.touched:
            line.change_back()
        if reset == RESET_COMPLETELY:
            line.reset()
        elif reset or line.transaction:
            with quietly("rolling back"):
                line.query("rollback", None)
        if callable(reset):
            reset(line.con)
        return reset != "session"


class PgSafe:
    """Fail over only where that is safe."""

    tolerance = 0  # as in Safe

    def __init__(self, replays: bool) -> None:
        self._replays = replays

    def reset(self, line: PgLine) -> None:
        """Make a new connection of it.

        The driver's own reset() would let no other thread run meanwhile.
        """
        line.renew()

    def _freshen(self, line: PgLine, moment: int) -> None:
        """Replace a connection that is known to be dead, or is due."""
        line.check(moment)
        is_due = line.is_used_up() or (line.terms.ping and line.is_gone())
        if line.lost or (is_due and not line.marked):
            line.renew()

    def end(self, line: PgLine, verb: str, sql: str | None) -> Any:
        """Begin or end a transaction."""
        if verb == "begin" and not line.transaction and not line.has_work():
            self._freshen(line, 0)
        if verb == "rollback" and line.lost:
            return None
        try:
            return line.query(verb, sql)
        except Exception as error:
            loss = self._loss(line, error, UNKNOWN_WORK._replace(
                is_read=verb == "begin"), in_transaction=verb != "begin")
            if loss is not None and verb in {"commit", "end"}:
                add_note(error, OUTCOME_UNKNOWN)
                raise
            if not can_repeat(line, error, loss):
                raise
        return line.query(verb, sql)

    def run(
            self, line: PgLine, name: str,
            args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method, again if that loses and doubles nothing."""
        kind = call_kind(name, args)
        if not line.transaction and not line.has_work():
            self._freshen(line, 4)
        if not kind.is_read:
            line.work = True
        if kind.marks:
            line.marked = True
        in_transaction = line.transaction or line.has_work()
        try:
            result = getattr(line.con, name)(*args, **kwargs)
        except Exception as error:
            loss = self._loss(line, error, kind, in_transaction)
            if not can_repeat(line, error, loss):
                raise
        else:
            line.usage += 1
            return result
        result = getattr(line.con, name)(*args, **kwargs)
        line.usage += 1
        return result

    def _loss(
            self, line: PgLine, error: Exception, kind: Kind,
            in_transaction: bool) -> Loss | None:
        """Return what would be lost or doubled, None if nothing was lost."""
        if not self._is_lost(line, error):
            if line.profile.is_read_only(error):
                line.valid = False
            return None
        loss = Loss(
            in_transaction=in_transaction, has_work=False,
            is_marked=line.marked, is_private=False, is_read=kind.is_read,
            is_forbidden=not self._replays, is_exhausted=False)
        line.lost = True
        line.transaction = line.marked = False
        return loss

    def was_lost(
            self, line: PgLine,
            error: Exception) -> bool:  # noqa: ARG002 - the line knows
        """Tell whether an error was the loss of the connection."""
        return line.lost

    def _is_lost(self, line: PgLine, error: Exception) -> bool:
        """Tell whether an error means that the connection is lost."""
        failures = line.terms.failures
        if line.has_bad_status:
            return line.terms.is_fatal(error)
        if failures is not None and isinstance(error, failures):
            return line.terms.is_fatal(error)
        return bool(line.profile.is_loss(error)) or line.is_gone()

    def rinse(self, line: PgLine) -> bool:
        """Tell whether nothing has to be done after a visit."""
        is_clean = line.valid and not (
            line.touched or line.marked or line.transaction or line.lost)
        return is_clean and not (line.has_bad_status or line.has_work())

    def hand_back(self, line: PgLine, reset: Any) -> bool:
        """Clean the connection after a visit; tell whether it can stay."""
        is_clean = False
        if not line.lost and line.valid and not line.has_bad_status:
            with quietly("cleaning a connection"):
                self._clean(line, reset)
                is_clean = True
        return is_clean

    def _clean(self, line: PgLine, reset: Any) -> None:
        if line.touched:
            line.change_back()
        if reset == RESET_COMPLETELY:
            line.renew()
            return
        if reset or line.transaction or line.has_work():
            line.query("rollback", None)
        if line.marked or reset == "session":
            line.profile.clean(line.con)
            line.prepare()
            line.marked = False
        if callable(reset):
            reset(line.con)


def is_query(name: str) -> bool:
    """Tell whether a method of this name asks the database something."""
    return name.startswith("get_") or name in {
        "query", "get", "insert", "update", "delete", "set_parameter"}


def call_kind(name: str, args: tuple[Any, ...]) -> Kind:
    """Return what is known about a method of the connection."""
    if name in _QUERYING and args:
        return kind_of(args[0])
    return UNKNOWN_WORK._replace(
        is_read=name.startswith("get"), marks=name == "set_parameter")
