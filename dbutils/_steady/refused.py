"""Statements that were on their way when their server was left.

When a server takes no writes any longer, the first statement that it refuses
gets the error, and all connections leave it.  Other statements may have been
sent before that.  The server has done nothing of them either, so they can go
to the one that takes writes now.
"""

from __future__ import annotations

from .._base.hints import Any
from .decisions import Loss
from .statements import LazyPattern

__all__ = ["refusal"]

# A single statement, of which a server does all or nothing.
_SINGLE = LazyPattern(r"\s*(?:insert|update|delete|merge)\b[^;]*;?\s*", "i")
# A node of Galera that is cut off from the others may have sent them a change.
_NO_QUORUM = 1047

_NOTHING_LOST = Loss(
    in_transaction=False, has_work=False, is_marked=False, is_private=False,
    is_read=True, is_exhausted=False, is_forbidden=False)


def refusal(session: Any, error: BaseException, call: Any) -> Loss | None:
    """Return that nothing is lost if another server may take a statement.

    It was refused by a server that other connections have left before.
    """
    driver, route = session.driver, session.route
    if not driver.is_read_only(error):
        return None
    is_bound = session.transaction or session.is_marked or session.is_exposed
    if is_bound or not route.was_left or not route.aim.is_for_writing or (
            driver.code(error) == _NO_QUORUM):
        return None
    text = call.args[0] if call.name == "execute" and call.args else None
    if not isinstance(text, str) or _SINGLE.fullmatch(text) is None:
        return None
    return _NOTHING_LOST._replace(is_exhausted=not call.can_be_repeated)
