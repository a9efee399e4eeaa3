"""A network between a program and its server that fails when it is told to.

Each connection has two threads, one for each direction, which wait for the
gate of the connection to be open before they forward anything.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from .._base.hints import Any

__all__ = ["Proxy"]

_HOST = "127.0.0.1"
_PIECE = 65536


class Proxy:
    """A TCP proxy that delays, swallows and cuts connections.

    A program connects to its port instead of that of the server:

        with Proxy(5432) as proxy:
            pool = PooledDB(psycopg2, host=proxy.host, port=proxy.port, ...)
            proxy.swallow()

    delay: how many seconds later it forwards each piece of data, 0 at first;
        it can be changed at any time
    """

    __module__ = "dbutils.testing"

    def __init__(self, port: int, host: str = _HOST) -> None:
        """Set up a proxy in front of a server.

        port, host: where the server listens
        """
        self.delay = 0.0
        self.target = host, port
        self._lock = threading.Lock()
        self._links: list[_Link] = []
        self._is_open = True
        self._has_ended = False
        self._listener = socket.socket()
        self._listener.bind((_HOST, 0))
        self._listener.listen(128)
        self.host, self.port = self._listener.getsockname()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Proxy:
        """Begin to forward."""
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Cut all connections, and listen no longer."""
        self._has_ended = True
        # This connection ends its wait for the next one.
        with suppress(OSError), socket.create_connection(
                (self.host, self.port)):
            self._thread.join()
        self._listener.close()
        self.cut()

    @property
    def held(self) -> int:
        """How many connections it has accepted, but not yet passed on."""
        return sum(link.is_held for link in self._links)

    def swallow(self, new: bool = True) -> None:
        """Forward nothing more of the connections that there are.

        new: whether it also passes no new connections on

        To both sides the other one has fallen silent.
        """
        with self._lock:
            self._is_open = self._is_open and not new
            for link in self._links:
                link.gate.clear()

    def resume(self) -> None:
        """Forward again, what was swallowed first."""
        with self._lock:
            self._is_open = True
            for link in self._links:
                link.gate.set()

    def cut(self) -> None:
        """End the connections that there are, those held back, too."""
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            link.end()
        for link in links:
            link.join()

    def _listen(self) -> None:
        while True:
            client = self._listener.accept()[0]
            if self._has_ended:
                client.close()
                return
            link = _Link(self, client)
            with self._lock:
                self._links = [
                    other for other in self._links if not other.is_over]
                self._links.append(link)
                if self._is_open:
                    link.gate.set()
                link.start()


class _Link:
    """A connection through a proxy."""

    def __init__(self, proxy: Proxy, client: Any) -> None:
        self._proxy = proxy
        self._client, self._server = client, socket.socket()
        # It is open while data is forwarded.
        self.gate = threading.Event()
        self.is_held = True
        self._over = threading.Event()
        self._there = threading.Thread(target=self._run, daemon=True)
        self._back = threading.Thread(
            target=self._forward, args=(self._server, client), daemon=True)

    @property
    def is_over(self) -> bool:
        """Whether it forwards nothing more."""
        return self._over.is_set()

    def start(self) -> None:
        """Begin to forward."""
        self._there.start()

    def end(self) -> None:
        """Tell both ends that the connection is over."""
        self._over.set()
        self.gate.set()
        for sock in (self._client, self._server):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def join(self) -> None:
        """Wait until the connection has ended and is closed."""
        self._there.join()

    def _run(self) -> None:
        self.gate.wait()
        self.is_held = False
        with self._client, self._server:
            try:
                self._server.connect(self._proxy.target)
            except OSError:
                self._over.set()
            if self.is_over:
                self.end()
                return
            self._back.start()
            self._forward(self._client, self._server)
            self._back.join()

    def _forward(self, source: Any, sink: Any) -> None:
        with suppress(OSError):
            while not self.is_over:
                data = source.recv(_PIECE)
                if self._proxy.delay:
                    self._over.wait(self._proxy.delay)
                self.gate.wait()
                if not data or self.is_over:  # or has been cut meanwhile
                    break
                sink.sendall(data)
        self.end()
