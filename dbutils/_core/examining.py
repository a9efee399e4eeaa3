"""Asking the idle connections of a pool whether they are alive."""

from __future__ import annotations

from functools import partial

from .._base.atomic import snapshot
from .._base.hints import Any, Callable, NamedTuple
from .._base.together import run_together
from .opener import open_ahead
from .slots import DEAD

__all__ = [
    "Found", "drop", "examine_idle", "has_idle", "is_away", "is_in_use",
    "keep", "replace"]

# How many connections are examined at the same time.
_TOGETHER = 8


class Found(NamedTuple):
    """The result of one round."""

    valid: int
    invalid: int
    replaced: int


def examine_idle(
        core: Any, seconds: float | None,
        treat: Callable[[Any, Any], bool]) -> Found:
    """Examine the idle connections, at most half of them at a time.

    seconds: how long a server may take to answer
    treat: gets the core and the permit of a dead connection, and returns
        whether that was replaced; one of the functions in this module
    """
    results: list[tuple[bool, bool]] = []
    permits = snapshot(core.idle)
    while permits:
        number = max(min(_TOGETHER, len(core.idle) // 2), 1)
        batch, permits = permits[:number], permits[number:]
        looks = [partial(_examine, core, permit, seconds, treat)
                 for permit in batch]
        answers = run_together(looks) if number > 1 else [looks[0]()]
        results += [answer for answer in answers if answer is not None]
    return Found(
        sum(alive for alive, _ in results),
        sum(not alive for alive, _ in results),
        sum(replaced for _, replaced in results))


def _examine(
        core: Any, permit: Any, seconds: float | None,
        treat: Callable[[Any, Any], bool]) -> tuple[bool, bool] | None:
    """Return whether a connection is alive, and whether it was replaced.

    Return None if it is no longer idle; then it is left alone.
    """
    emptied = core.emptied
    if not core.take_out(permit):
        return None
    alive = replaced = False
    try:
        alive = _is_alive(core, permit.slot.con, seconds)
    finally:
        if alive or core.emptied != emptied:
            core.put_back(permit, emptied)
        else:
            replaced = treat(core, permit)
    return alive, replaced


def _is_alive(core: Any, con: Any, seconds: float | None) -> bool:
    """Ask the server, or only look if a request may need the connection."""
    if core.idle or core.slots.has_room():
        return bool(core.backend.ask_within(con, seconds))
    return bool(core.backend.seems_alive(con))


def has_idle(core: Any) -> bool:
    """Return whether a connection is idle, without reclaiming others."""
    return bool(core.idle)


def is_in_use(core: Any) -> bool:
    """Return whether somebody holds a connection."""
    return bool(core.has_holder())


def is_away(core: Any) -> bool:
    """Return whether the last attempt to connect has failed."""
    return core.throttle.error is not None


# The treatments of a dead connection.

def keep(core: Any, permit: Any) -> bool:
    """Put it back."""
    core.put_back(permit)
    return False


def drop(core: Any, permit: Any) -> bool:
    """Close it."""
    core.throttle.lost(permit.slot.number)
    core.discard(permit, DEAD)
    return False


def replace(connect: Callable[[], Any], core: Any, permit: Any) -> bool:
    """Open another connection instead; return whether there was a slot."""
    core.throttle.lost(permit.slot.number)
    core.close(permit.slot, DEAD)
    open_ahead(core, permit, connect)
    return True
