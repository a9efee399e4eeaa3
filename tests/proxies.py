"""A TCP proxy of the tests that can let its connections vanish."""

import select
import socket
from contextlib import suppress
from threading import Event, Thread

from servers import HOST


class Proxy:
    """Forwards connections to a port until it is told to swallow all."""

    def __init__(self, port):
        self._port = port
        self._pairs = {}
        self._vanished = set()
        self._end = Event()
        self._listener = socket.socket()
        self._listener.bind((HOST, 0))
        self._listener.listen(100)
        self.port = self._listener.getsockname()[1]
        self._thread = Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._end.set()
        self._thread.join()
        for sock in (self._listener, *self._pairs, *self._vanished):
            sock.close()

    def vanish(self):
        """Forward nothing more of the connections that there are."""
        self._vanished.update(self._pairs)

    def cut(self):
        """Let the clients know of the connections that have vanished."""
        for sock in self._vanished:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _run(self):
        while not self._end.is_set():
            sockets = [sock for sock in list(self._pairs)
                       if sock not in self._vanished]
            readable = select.select(
                [self._listener, *sockets], [], [], 0.01)[0]
            for sock in readable:
                if sock is self._listener:
                    self._accept()
                elif sock in self._pairs and sock not in self._vanished:
                    self._forward(sock)

    def _accept(self):
        here = self._listener.accept()[0]
        there = socket.create_connection((HOST, self._port))
        self._pairs[here] = there
        self._pairs[there] = here

    def _forward(self, sock):
        other = self._pairs[sock]
        data = b""
        with suppress(OSError):
            data = sock.recv(65536)
        if data:
            with suppress(OSError):
                other.sendall(data)
            return
        for one in (sock, other):
            del self._pairs[one]
            one.close()
