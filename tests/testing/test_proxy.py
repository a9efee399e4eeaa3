"""The proxy for tests, in front of a server that echoes."""

import socket
import threading
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

import pytest
from patience import PATIENCE, wait_until

from dbutils.testing import Proxy

HOST = "127.0.0.1"


class Echoes(ThreadingTCPServer):
    """A server that echoes."""

    daemon_threads = True


class Echo(BaseRequestHandler):
    def handle(self):
        data = self.request.recv(1000)
        while data:
            self.request.sendall(data)
            data = self.request.recv(1000)


@pytest.fixture
def port():
    """The port of a server that echoes."""
    with Echoes((HOST, 0), Echo) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(PATIENCE)


@pytest.fixture
def proxy(port):
    with Proxy(port) as proxy:
        yield proxy


@pytest.fixture
def connect(proxy):
    clients = []

    def connect():
        client = socket.create_connection(
            (proxy.host, proxy.port), timeout=PATIENCE)
        clients.append(client)
        return client
    yield connect
    for client in clients:
        client.close()


def ask(client, text=b"hello"):
    client.sendall(text)
    return hear(client, len(text))


def hear(client, number):
    data = b""
    while len(data) < number:
        piece = client.recv(number - len(data))
        if not piece:
            break
        data += piece
    return data


def is_silent(client):
    client.settimeout(0.05)
    try:
        client.recv(1)
    except socket.timeout:
        return True
    finally:
        client.settimeout(PATIENCE)
    return False


def test_it_forwards(connect):
    first, second = connect(), connect()
    assert ask(first) == b"hello"
    assert ask(second, b"x" * 500000) == b"x" * 500000
    assert ask(first, b"again") == b"again"


def test_it_swallows_and_forwards_again(proxy, connect):
    old = connect()
    ask(old)
    proxy.swallow()
    new = connect()
    for client in (old, new):
        client.sendall(b"swallowed")
    assert is_silent(old)
    assert is_silent(new)
    wait_until(lambda: proxy.held == 1)
    proxy.resume()
    assert hear(old, 9) == hear(new, 9) == b"swallowed"
    assert proxy.held == 0


def test_it_can_leave_new_connections_alone(proxy, connect):
    old = connect()
    ask(old)
    proxy.swallow(new=False)
    assert ask(connect()) == b"hello"
    old.sendall(b"swallowed")
    assert is_silent(old)


@pytest.mark.parametrize("is_swallowed", [False, True])
def test_it_cuts(proxy, connect, is_swallowed):
    client = connect()
    ask(client)
    if is_swallowed:
        proxy.swallow(new=False)
    proxy.cut()
    assert hear(client, 1) == b""
    assert ask(connect()) == b"hello"


def test_it_cuts_what_it_holds(proxy, connect):
    proxy.swallow()
    client = connect()
    wait_until(lambda: proxy.held == 1)
    proxy.cut()
    assert proxy.held == 0
    assert hear(client, 1) == b""
    proxy.resume()
    assert ask(connect()) == b"hello"


def test_it_delays(proxy, connect, monkeypatch):
    pauses = []
    monkeypatch.setattr(threading.Event, "wait", _noting(pauses))
    proxy.delay = 5
    assert ask(connect()) == b"hello"
    assert pauses == [5, 5]  # there and back


def test_a_delay_does_not_outlast_a_cut(proxy, connect, monkeypatch):
    client = connect()
    ask(client)
    pauses, wait = [], threading.Event.wait

    def note(self, seconds=None):
        pauses.append(seconds)
        return wait(self, seconds)
    monkeypatch.setattr(threading.Event, "wait", note)
    proxy.delay = 10 * PATIENCE
    client.sendall(b"hello")
    wait_until(lambda: proxy.delay in pauses)
    proxy.cut()
    assert hear(client, 1) == b""


def _noting(pauses):
    wait = threading.Event.wait

    def note(self, seconds=None):
        if seconds is None:
            return wait(self)
        pauses.append(seconds)
        return self.is_set()
    return note


def test_a_side_that_hangs_up_is_told_to_the_other(connect):
    client = connect()
    ask(client)
    client.shutdown(socket.SHUT_WR)
    assert hear(client, 1) == b""


def test_without_a_server_it_hangs_up():
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        with Proxy(unused.getsockname()[1]) as proxy, (
                socket.create_connection((proxy.host, proxy.port))) as client:
            client.settimeout(PATIENCE)
            assert hear(client, 1) == b""


def test_it_ends_with_what_it_holds(port):
    with Proxy(port) as proxy:
        proxy.swallow()
        client = socket.create_connection((proxy.host, proxy.port))
        wait_until(lambda: proxy.held == 1)
    with client:
        assert hear(client, 1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((proxy.host, proxy.port))
