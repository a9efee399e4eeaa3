"""The commands "top" and "explain": what the pools of another process do."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from .terminal import complain, say, show_table

__all__ = ["explain_process", "show_process"]

# How many holders are shown, and how long a place may be.
_FEW = 10
_LONG = 60
# The control sequence that clears a terminal.
_CLEAR = "\x1b[H\x1b[2J"
# The fields of a pool that is explained, and the text for those that are not.
_EXPLAINED = ("name", "class", "explanation")
_UNEXPLAINED = "This pool cannot be explained."
# The events that are counted since a pool began, and shown by the second, too.
_EVENTS = ("opened", "closed", "reconnects", "refused", "waited", "errors")


def show_process(arguments: Any) -> int:
    """Show the pools of a process, again and again or once.

    Return 0, or 2 if there is no such process.
    """
    path = _find(arguments.process)
    if path is None:
        return 2
    before = None
    while True:
        state = _ask_or_complain(path)
        if state is None:
            return 0 if before else 2
        if arguments.json:
            say(json.dumps(state))
        else:
            _show(state, before, is_first=before is None)
        if arguments.once:
            return 0
        before = state
        threading.Event().wait(arguments.interval)


def explain_process(arguments: Any) -> int:
    """Print what is wrong with the pools of a process, and what helps.

    Return 0, or 2 if there is no such process.
    """
    path = _find(arguments.process)
    state = None if path is None else _ask_or_complain(path)
    if state is None:
        return 2
    if arguments.json:
        say(json.dumps({
            **state, "pools": [
                {name: pool.get(name) for name in _EXPLAINED}
                for pool in state["pools"]]}))
        return 0
    texts = [pool.get("explanation") or _UNEXPLAINED for pool in
             state["pools"]]
    say("\n\n".join(texts) or f"Process {state['pid']} has no pools.")
    return 0


def _ask_or_complain(path: Path) -> dict[str, Any] | None:
    """Return the state that a process tells, or None after saying why not."""
    try:
        return _ask(path)
    except (FileNotFoundError, ConnectionError, ValueError):
        complain(f"No process serves {path}.")
    except OSError as error:
        complain(f"{path} cannot be used: {error.strerror or error}.")
    return None


def _find(process: str | None) -> Path | None:
    """Return the socket of a process, or None after saying why not."""
    if not hasattr(os, "getuid") or not hasattr(socket, "AF_UNIX"):
        complain("This command needs local sockets, which are missing here.")
        return None
    from ..top import (  # noqa: PLC0415 - not everywhere
        default_path,
        folder,
        is_served,
    )

    if process is not None:
        return default_path(int(process)) if process.isdigit() else (
            Path(process))
    # one that was killed has left its socket behind
    found = sorted(filter(is_served, folder().glob("*.sock")))
    if len(found) == 1:
        return found[0]
    if not found:
        complain(
            "No process serves its state. Call dbutils.top.serve() there, or"
            " name its socket.")
    else:
        numbers = ", ".join(path.stem for path in found)
        complain(f"Which process? There are {numbers}.")
    return None


def _ask(path: Path) -> dict[str, Any]:
    """Return the state that a process tells."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        parts = []
        part = client.recv(65536)
        while part:
            parts.append(part)
            part = client.recv(65536)
    state: dict[str, Any] = json.loads(b"".join(parts))
    return state


def _show(
        state: dict[str, Any], before: dict[str, Any] | None,
        is_first: bool) -> None:
    if sys.stdout.isatty() and not is_first:
        say(_CLEAR)
    pools = state["pools"]
    if not pools:
        say(f"Process {state['pid']} has no pools.")
        return
    rates = _rates(state, before)
    show_table(
        f"Pools of process {state['pid']}",
        [_row(pool, rate) for pool, rate in zip(pools, rates)],
        ["pool", "in use", "of", "idle", "waiting", *_EVENTS])
    holders = sorted(
        ((holder["seconds"], pool["name"], holder) for pool in pools
         for holder in pool["holders"]), key=lambda item: -item[0])
    if holders:
        show_table("Who has had connections for longest", [
            (holder["place"][-_LONG:], holder["thread"], name,
             f"{seconds:.3g} s") for seconds, name, holder in holders[:_FEW]],
            ["taken at", "by", "from", "for"])


def _row(pool: dict[str, Any], rates: dict[str, float]) -> list[Any]:
    limit = pool["maxconnections"]
    return [
        pool["name"], pool["in_use"], "-" if limit is None else limit,
        pool["idle"], pool["waiting"], *(
            f"{pool[event]} ({rates[event]:.3g}/s)" if event in rates
            else pool[event] for event in _EVENTS)]


def _rates(
        state: dict[str, Any],
        before: dict[str, Any] | None) -> list[dict[str, float]]:
    """Return how often events happened in a second, for each pool."""
    if before is None:
        return [{}] * len(state["pools"])
    seconds = max(state["time"] - before["time"], 0.001)
    old = {(pool["name"], pool["class"]): pool for pool in before["pools"]}
    return [{
        event: (pool[event] - earlier[event]) / seconds for event in _EVENTS
    } if earlier is not None else {} for pool, earlier in (
        (pool, old.get((pool["name"], pool["class"])))
        for pool in state["pools"])]
