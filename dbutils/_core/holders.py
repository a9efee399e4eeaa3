"""The holders of connections, as programs see them."""

from __future__ import annotations

from itertools import starmap
from time import monotonic

from .._base.callers import line_of, name_of, stack_of
from .._base.hints import Any, NamedTuple, partial
from .slots import Holder, holder_of

__all__ = ["LeaseHolder", "busy_of", "lease_holders"]


class LeaseHolder(NamedTuple):
    """The thread that has taken a connection, and where it did so.

    thread, ident: the name and the number of the thread; the name is None if
        it has ended
    seconds: for how long it has had the connection
    file, line, function: the place in the program
    tag: the tag of the request, if it had one
    busy: for how many seconds of these statements were executed
    idle: the share of the time without a statement, from 0 to 1

    "busy" and "idle" are None if the pool does not measure that, see its
    options "track" and "idleafter", and for shared connections.  All are None
    if the pool has not noted them.
    """

    thread: str | None = None
    ident: int | None = None
    seconds: float | None = None
    file: str | None = None
    line: int | None = None
    function: str | None = None
    tag: Any = None
    busy: float | None = None
    idle: float | None = None

    def stack(self) -> str:
        """Return what the thread does now, "" if it has ended."""
        return stack_of(self.ident)


LeaseHolder.__module__ = "dbutils.pooled_db"  # where programs find it


def lease_holders(core: Any) -> list[LeaseHolder]:
    """Return the holders of a pool, the longest first, the unknown last."""
    uses = [(holder_of(permit), busy_of(core, permit, permit.checkout))
            for permit in core.permits_in_use()]
    known = [(holder, busy) for holder, busy in uses if holder is not None]
    known.sort(key=lambda use: use[0].since)
    now = monotonic()  # once, or they would not seem to be in order
    return [*starmap(partial(_shown, now), known), *[LeaseHolder()] * (
        len(uses) - len(known))]


def busy_of(core: Any, permit: Any, checkout: Any) -> Any:
    """Return the time of a lease in statements, None if it is unknown.

    Those who share a connection have none of their own.
    """
    con = permit.slot.con
    if con is None or permit.is_share:
        return None
    return core.backend.busy_of(con, checkout)


def _shown(now: float, holder: Holder, busy: Any) -> LeaseHolder:
    code = holder.code
    return LeaseHolder(
        name_of(holder.thread), holder.thread, now - holder.since,
        code.co_filename, line_of(code, holder.instruction), code.co_name,
        holder.tag, None if busy is None else busy.read(),
        None if busy is None else busy.idle_share(holder.since))
