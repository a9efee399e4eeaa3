"""Looking at sockets."""

import select
import socket
from threading import Thread

import pytest
from patience import wait_until

from dbutils._steady.sockets import SocketProbe
from dbutils._steady.state import GONE, QUIET, UNREAD


@pytest.fixture
def pair():
    """Two sockets that are connected over the network."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        here = socket.create_connection(server.getsockname())
        there = server.accept()[0]
    with here, there:
        yield here, there


def wait_for_data(sock):
    assert select.select([sock], [], [], 10)[0]


def test_a_live_socket_is_quiet(pair):
    assert SocketProbe(pair[0].fileno()).look() is QUIET


def test_a_socket_closed_on_the_other_side_is_gone(pair):
    watch = SocketProbe(pair[0].fileno())
    pair[1].close()
    wait_for_data(pair[0])
    assert watch.look() is GONE


def test_a_last_word_does_not_hide_the_end(pair):
    watch = SocketProbe(pair[0].fileno())
    pair[1].sendall(b"terminating")
    pair[1].close()
    wait_for_data(pair[0])
    while pair[0].recv(11, socket.MSG_PEEK) != b"terminating":
        pass
    wait_until(lambda: watch.look() is GONE)


def test_unread_data_says_nothing(pair):
    pair[1].sendall(b"notice")
    wait_for_data(pair[0])
    assert SocketProbe(pair[0].fileno()).look() is UNREAD


def test_a_socket_closed_on_this_side_is_gone(pair):
    watch = SocketProbe(pair[0].fileno())
    pair[0].close()
    assert watch.look() is GONE


def test_threads_can_look_at_the_same_time(pair):
    def look():
        for _ in range(2000):
            seen.add(watch.look())

    seen = set()
    watch = SocketProbe(pair[0].fileno())
    threads = [Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {QUIET}


def test_without_poll_there_is_select(pair, monkeypatch):
    monkeypatch.delattr(select, "poll")
    watch = SocketProbe(pair[0].fileno())
    assert watch.look() is QUIET
    pair[1].close()
    wait_for_data(pair[0])
    assert watch.look() is UNREAD
    pair[0].close()
    assert watch.look() is UNREAD
