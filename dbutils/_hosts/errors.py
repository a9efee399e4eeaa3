"""The error for the case that no server fits."""

from __future__ import annotations

from .._base.hints import Any

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from .aims import Aim
    from .host import Host

__all__ = ["NoServerError", "no_server"]


class NoServerError(ConnectionError):
    """No server can be used for a connection.

    Its attribute "causes" tells for each host why: its error, or a text.
    """

    __module__ = "dbutils.hosts"

    causes: dict[str, Any]
    # Whether a server would fit that has as many connections as it may; and
    # what was wanted.
    is_at_limit = False
    aim: Any = None

    def __init__(self, text: str = "", causes: Any = ()) -> None:
        super().__init__(text)
        self.causes = dict(causes)


def no_server(
        aim: Aim, hosts: list[Host], reason: str | None = None,
        is_at_limit: bool = False) -> NoServerError:
    """Return the error for a request that found no server.

    reason: why those were not used that fit
    is_at_limit: see NoServerError
    """
    causes = {
        host.name: reason if reason and aim.is_met(host.state)
        else host.reason() for host in hosts}
    errors = [
        cause for cause in causes.values() if isinstance(cause, BaseException)]
    text = "; ".join(
        f"{name} {_said(cause)}" for name, cause in causes.items())
    error = NoServerError(
        f"No server can be used ({aim}): {text}. [DBU-70]", causes)
    error.__cause__ = errors[-1] if errors else None
    error.is_at_limit, error.aim = is_at_limit, aim
    return error


def _said(cause: Any) -> str:
    if isinstance(cause, BaseException):
        lines = str(cause).strip().splitlines() or [type(cause).__name__]
        return f"cannot be reached ({lines[0].rstrip('.')})"
    return str(cause)
