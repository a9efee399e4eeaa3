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
        self._is_hole = False
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

    def be_a_hole(self):
        """Answer nothing from now on, also on new connections."""
        self._is_hole = True
        self.vanish()

    def cut(self):
        """Tell the clients which connections have vanished."""
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
        if self._is_hole:
            self._vanished.add(here)
        else:
            self._connect(here)

    def _connect(self, here):
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


class Hole(Proxy):
    """Accepts connections, and forwards nothing until it is told to."""

    def __init__(self, port):
        super().__init__(port)
        self._held = []
        self.swallows = True

    def __exit__(self, *exc):
        super().__exit__(*exc)
        for sock in self._held:
            sock.close()

    @property
    def held(self):
        """How many connections hang in it."""
        return len(self._held)

    def forward(self):
        """Forward what it holds, and all that comes."""
        self.swallows = False
        for here in self._emptied():
            self._connect(here)

    def drop(self):
        """Close what it holds, and forward all that comes."""
        self.swallows = False
        for here in self._emptied():
            here.close()

    def _emptied(self):
        held, self._held = self._held, []
        return held

    def _accept(self):
        here = self._listener.accept()[0]
        if self.swallows:
            self._held.append(here)
        else:
            self._connect(here)
