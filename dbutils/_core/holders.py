"""The holders of connections, as programs see them."""

from __future__ import annotations

from .._base.callers import line_of, name_of, stack_of
from .._base.hints import Any, NamedTuple
from .slots import Holder

__all__ = ["LeaseHolder", "lease_holders"]


class LeaseHolder(NamedTuple):
    """The thread that has taken a connection, and where it did so.

    thread, ident: the name and the number of the thread; the name is None if
        it has ended
    seconds: for how long it has had the connection
    file, line, function: the place in the program
    tag: the tag of the request, if it had one

    All are None if the pool has not noted them, see its option "track".
    """

    thread: str | None = None
    ident: int | None = None
    seconds: float | None = None
    file: str | None = None
    line: int | None = None
    function: str | None = None
    tag: Any = None

    def stack(self) -> str:
        """Return what the thread does now, "" if it has ended."""
        return stack_of(self.ident)


LeaseHolder.__module__ = "dbutils.pooled_db"  # where programs find it


def lease_holders(core: Any) -> list[LeaseHolder]:
    """Return the holders of a pool, the longest first, the unknown last."""
    known, unknown = core.oldest.read(core.permits_in_use())
    return [*map(_shown, known), *[LeaseHolder()] * unknown]


def _shown(holder: Holder) -> LeaseHolder:
    code = holder.code
    return LeaseHolder(
        name_of(holder.thread), holder.thread, holder.seconds,
        code.co_filename, line_of(code, holder.instruction), code.co_name,
        holder.tag)
