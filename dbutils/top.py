"""A look at the pools of a running process from outside.

A process calls serve(), and `python -m dbutils top` shows what its pools do:
how many connections are in use and by whom, and how many requests wait.
`python -m dbutils explain` tells in words if something is wrong.

There is nothing to be changed from outside, and only the same user and root
get a look.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from weakref import finalize

from . import __version__
from ._base.errors import quietly
from ._base.fork import register_for_fork
from ._base.hints import Any, partial
from ._base.threads import start_thread
from ._core.lease import core_of
from ._pooled.base import pools
from ._pooled.shown import name_of

__all__ = ["Server", "serve"]

# All that serve, also if the program does not keep the results of serve().
_servers: set[Any] = set()

# For how many seconds a client may keep the others waiting.
_PATIENCE = 5.0


def serve(path: str | None = None) -> Server:
    """Show the pools of this process to others of the same user.

    path: the socket to be made, by default one by which the command finds this
        process

    Call it in each process, thus after a fork.  It goes on until the process
    ends, or until close() of the result is called.  A second call returns the
    same object.
    """
    place = default_path(os.getpid()) if path is None else Path(path)
    return next(
        (server for server in _servers.copy() if server.path == place), None,
    ) or Server(place)


def default_path(process: int) -> Path:
    """Return the path of the socket of a process."""
    return folder() / f"{process}.sock"


def folder() -> Path:
    """Return the folder with the sockets of all processes of this user."""
    return Path(tempfile.gettempdir(), f"dbutils-{os.getuid()}")


class Server:
    """Answers each connection to a local socket with the state of all pools.

    path: where the socket is
    """

    def __init__(self, path: Path) -> None:
        """Begin to serve; use serve() instead."""
        if path.parent == folder():
            _make_private(path.parent)
        _remove_stale(path)
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX)
        # before there is a name by which anybody could connect
        os.fchmod(self._listener.fileno(), 0o600)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(5)
        self._end = finalize(self, _remove, path, os.getpid(), _link_to(path))
        _servers.add(self)
        register_for_fork(self, method="_after_fork")
        if not start_thread(
                partial(_serve, self._listener), "DBUtils top"):
            self.close()
            raise RuntimeError("No thread can be started. [DBU-61]")

    def close(self) -> None:
        """End serving."""
        _servers.discard(self)
        self._end()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _after_fork(self) -> None:
        """Leave the socket to the parent."""
        _servers.discard(self)
        self._listener.close()

    def __enter__(self) -> Server:
        """Return the server, which is closed at the end of the context."""
        return self

    def __exit__(self, *exc: object) -> None:
        """End serving."""
        self.close()


def _make_private(path: Path) -> None:
    """Make a folder that only this user can use, unless it exists."""
    path.mkdir(mode=0o700, exist_ok=True)
    facts = path.lstat()
    if facts.st_uid != os.getuid() or not stat.S_ISDIR(facts.st_mode) or (
            facts.st_mode & 0o077):
        raise PermissionError(
            f"{path} is not a private folder of this user. [DBU-91]")


def _remove_stale(path: Path) -> None:
    """Remove a socket that a process has left behind."""
    with suppress(FileNotFoundError):
        if path.is_symlink() and path.parent == folder():
            path.unlink()
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(
                f"{path} is there, and is no socket. [DBU-91]")
        if is_served(path):
            raise FileExistsError(
                f"{path} is used by another process. [DBU-91]")
        path.unlink()


def _link_to(path: Path) -> Path | None:
    """Make a link by which the command finds a socket elsewhere."""
    link = default_path(os.getpid())
    if path == link:
        return None
    with quietly("making a link to a socket"):
        _make_private(link.parent)
        if not is_served(link):
            _remove_stale(link)
            link.symlink_to(path.absolute())
            return link
    return None


def is_served(path: Path) -> bool:
    """Return whether a process listens at a socket."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
    return True


def _remove(path: Path, process: int, link: Path | None) -> None:
    """Remove a socket when it is not needed; a child does not do that."""
    if os.getpid() != process:
        return
    with suppress(FileNotFoundError):
        path.unlink()
    if link is not None and link.is_symlink():
        with suppress(FileNotFoundError):
            link.unlink()


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            client = listener.accept()[0]
        except OSError:
            return  # it was closed
        with quietly("telling another process about the pools"), client:
            client.settimeout(_PATIENCE)
            client.sendall(json.dumps(snapshot()).encode())


def snapshot() -> dict[str, Any]:
    """Return the state of all pools of this process, as plain data."""
    return {
        "version": __version__, "pid": os.getpid(), "time": time.time(),
        "pools": [_state_of(pool) for pool in pools()]}


def _state_of(pool: Any) -> dict[str, Any]:
    core = core_of(pool)
    return {
        "class": type(pool).__name__, "is_closed": core.is_closed,
        **core.state(name_of(pool), core.oldest_lease())._asdict(),
        "holders": [
            {"thread": holder.name, "seconds": round(holder.seconds, 3),
             "place": holder.place} for holder in core.holders()],
        "explanation": _explanation_of(pool)}


def _explanation_of(pool: Any) -> str:
    """Return the state of a pool in words, "" if that fails."""
    with quietly("explaining a pool"):
        return str(pool.explain())
    return ""
