"""The present work of the threads that hold the connections of a pool.

A look at the stack of a thread tells whether the function that has taken a
connection still runs, and what it is about.
"""

from __future__ import annotations

import os
import threading
from linecache import getline
from pathlib import Path
from sysconfig import get_paths
from types import FrameType

from .._base.callers import frames
from .._base.hints import Any, Iterator, NamedTuple
from .slots import Holder

__all__ = [
    "AGAIN", "BUSY", "ELSEWHERE", "ENDED", "LEFT", "RESTS", "UNKNOWN",
    "WAITS", "Whereabouts", "find_all", "is_leak", "place_text"]

# In seconds: when a use is long, and when one whose function has ended is a
# leak.
_LONG = 1.0
_LEAK = 5.0

# The thread has ended; it runs no function of the program; it runs another one
# than that which has taken the connection; it asks for another connection at
# the same place; it waits for one at another place; it is busy with the
# database; it does something else; it cannot be seen.
ENDED, RESTS, LEFT, AGAIN = "ended", "rests", "left", "again"
WAITS, BUSY, ELSEWHERE, UNKNOWN = "waits", "busy", "elsewhere", "unknown"

_HERE = f"{Path(__file__).parents[1]}{os.sep}"
# Functions in these folders do not belong to the program.
_OTHERS = tuple({
    path for name, path in get_paths().items()
    if name in {"stdlib", "platstdlib", "purelib", "platlib"}})
# The flags of coroutines, generators and asynchronous generators.
_SUSPENDS = 0x80 | 0x20 | 0x200


class Whereabouts(NamedTuple):
    """A holder, and what its thread does now.

    kind: one of the words of this module
    place, function, source: where the program is now, if that is known
    inside: in which line of another file, if that is known
    keeps: whether the same place has taken more than one that is still held
    waits: whether the thread waits for the pool
    worked: for how many seconds the thread has had it before it began to wait
    """

    holder: Holder
    kind: str
    place: str = ""
    function: str = ""
    source: str = ""
    inside: str = ""
    keeps: bool = False
    waits: bool = False
    worked: float = 0.0


def find_all(
        holders: list[Holder],
        waiting: dict[int | None, float]) -> list[Whereabouts]:
    """Return what the threads of all holders do.

    waiting: the numbers of the threads that wait for the pool, and since when
    """
    alive = set(getattr(threading, "_active", {}))
    numbers: dict[Any, int] = {}
    for holder in holders:
        numbers[_origin(holder)] = numbers.get(_origin(holder), 0) + 1
    present = frames()
    try:
        return [
            _find(holder, present.get(holder.thread), holder.thread in alive,
                  waiting.get(holder.thread), numbers[_origin(holder)])
            for holder in holders]
    finally:
        present.clear()  # since one of them is that of this function


def is_leak(found: Whereabouts) -> bool:
    """Return whether a connection seems never to be given back."""
    return found.kind in {ENDED, AGAIN} or (
        found.holder.seconds >= _LONG and (
            found.kind == RESTS or found.keeps
            or (found.kind == LEFT and found.worked >= _LEAK)))


def place_text(found: list[Whereabouts], *, asked: bool = False) -> str:
    """Return one or two places, the most frequent first.

    asked: whether those where the threads are now instead of those where they
        have taken their connections
    """
    numbers: dict[str, int] = {}
    for one in found:
        place = one.place if asked else one.holder.place
        if place:
            numbers[place] = numbers.get(place, 0) + 1
    places = sorted(numbers, key=lambda place: -numbers[place])
    more = len(places) - 2
    others = "" if more <= 0 else (
        f" and {more} other place{'' if more == 1 else 's'}")
    return f"{' and '.join(places[:2])}{others}"


def _origin(holder: Holder) -> tuple[Any, ...]:
    return holder.thread, holder.code, holder.instruction


def _find(
        holder: Holder, frame: FrameType | None, is_alive: bool,
        since: float | None, number: int) -> Whereabouts:
    """Return what a thread does.

    since: when it has begun to wait for the pool, if it waits
    number: how many it has that were taken at the same place
    """
    if frame is None:
        return Whereabouts(holder, UNKNOWN if is_alive else ENDED)
    stack = _stack_of(holder.thread, frame)
    files = [outer.f_code.co_filename for outer in stack]
    home = str(Path(holder.code.co_filename).parent)
    ours = [outer for outer in stack if _is_of_program(outer, home)]
    depth = next((
        number for number, outer in enumerate(stack)
        if outer.f_code is holder.code), None)
    calls = sum(1 for outer in stack if outer.f_code is holder.code)
    found = Whereabouts(
        holder, _kind(
            holder, files[:depth], depth is not None, bool(ours),
            since is not None),
        # each of several calls of a function may have one, as in a recursion
        keeps=number > max(calls, 1) and not _suspends(holder),
        waits=since is not None,
        worked=holder.seconds if since is None else since - holder.since)
    if found.kind == WAITS and _asks_again(holder, stack):
        found = found._replace(kind=AGAIN)
    if not ours:
        return found
    now = ours[0]
    name = now.f_code.co_filename
    return found._replace(
        place=f"{name}:{now.f_lineno}", function=now.f_code.co_name,
        source=getline(name, now.f_lineno or 0).strip(),
        inside="" if stack[0] is now or _is_here(files[0]) else (
            f"{files[0]}:{stack[0].f_lineno} in {stack[0].f_code.co_name}"))


def _kind(
        holder: Holder, files: list[str], is_running: bool,
        has_program: bool, waits: bool) -> str:
    """Return what a thread does.

    files: those of the functions that were called since
    is_running: whether the function that has taken the connection runs
    has_program: whether any function of the program runs
    """
    if waits and is_running:
        return WAITS
    if not has_program:
        return RESTS
    if not is_running:
        return UNKNOWN if _suspends(holder) else LEFT
    return BUSY if any(map(_is_here, files)) else ELSEWHERE


def _asks_again(holder: Holder, stack: list[FrameType]) -> bool:
    """Return whether a thread asks where it has taken the one that it has.

    Then it is not the same call of that function, or it is one with a loop.
    """
    # a generator that has taken it goes on, also when it is not seen
    return not _suspends(holder) and all(
        outer.f_lasti == holder.instruction for outer in stack
        if outer.f_code is holder.code)


def _suspends(holder: Holder) -> bool:
    """Return whether the function that has taken a connection can pause."""
    return bool(holder.code.co_flags & _SUSPENDS)


def _up_from(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the frames of a stack, the innermost first."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def _stack_of(thread: int, frame: FrameType) -> list[FrameType]:
    """Return the stack of a thread, the innermost frame first.

    Without our own functions if it is the one that asks.
    """
    stack = list(_up_from(frame))
    if thread == threading.get_ident():
        while len(stack) > 1 and _is_here(stack[0].f_code.co_filename):
            stack.pop(0)
    return stack


def _is_here(name: str) -> bool:
    return name.startswith(_HERE)


def _is_of_program(frame: FrameType, home: str) -> bool:
    """Return whether a function belongs to the program.

    home: the folder of a file that does; it may be among installed packages
    """
    name = frame.f_code.co_filename
    if _is_here(name) or name.startswith("<frozen"):
        return False
    return str(Path(name).parent) == home or not name.startswith(_OTHERS)
