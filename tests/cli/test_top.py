"""A look at the pools of another process."""

import json
import os
import re
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from forking import in_child, needs_fork
from patience import PATIENCE

from dbutils.pooled_db import PooledDB

if not hasattr(socket, "AF_UNIX"):
    pytest.skip("there are no local sockets", allow_module_level=True)

from dbutils import top
from dbutils._cli.main import main

pytestmark = pytest.mark.portable

SECRET = "TopSecret"

PROGRAM = f"""
import sqlite3, sys
from dbutils.pooled_db import PooledDB
from dbutils.top import serve

serve(*sys.argv[1:])
pool = PooledDB(
    lambda **_: sqlite3.connect(":memory:"), maxconnections=3, track=True,
    poolname="shop", password={SECRET!r})
kept = pool.connection(), pool.connection()  # here
kept[0].close()
print("ready", flush=True)
sys.stdin.read(1)
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A folder of our own, as short as the path of a socket has to be."""
    with tempfile.TemporaryDirectory(prefix="top") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(folder)


@pytest.fixture
def start():
    """Start programs that serve their state."""
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process
    yield start
    for process in started:
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
        process.stdout.close()


def tell(capsys, *arguments, command="top"):
    """Return the status of a command, and what it prints."""
    status = main([command, *map(str, arguments)])
    return (status, *capsys.readouterr())


def test_a_process_is_looked_at_once(start, capsys):
    process = start()
    status, text, errors = tell(capsys, "--once")
    assert (status, errors) == (0, "")
    assert f"Pools of process {process.pid}" in text
    assert re.search(r"shop +1 +3 +1 +0 +2 +0 +0 +0 +0 +0\n", text)
    assert re.search(r"<string>:10 +MainThread +shop +[\d.e-]+ s", text)
    assert SECRET not in text


def test_a_program_can_read_it(start, capsys):
    process = start()
    status, text, _ = tell(capsys, process.pid, "--once", "--json")
    assert status == 0
    state = json.loads(text)
    assert state["pid"] == process.pid
    pool, = state["pools"]
    assert pool["name"] == "shop"
    assert pool["class"] == "PooledDB"
    assert (pool["in_use"], pool["idle"], pool["maxconnections"]) == (1, 1, 3)
    holder, = pool["holders"]
    assert holder["thread"] == "MainThread"
    assert holder["place"] == "<string>:10"
    assert SECRET not in text


def test_the_socket_can_be_named(start, capsys, home):
    path = home / "mine"
    start(str(path))
    assert tell(capsys, path, "--once")[0] == 0
    assert stat.S_IMODE(os.lstat(path).st_mode) == 0o600


def test_a_process_whose_socket_was_named_is_found_by_its_number(
        start, capsys, home):
    process = start(str(home / "mine"))
    for arguments in [(process.pid,), ()]:
        status, text, errors = tell(capsys, *arguments, "--once")
        assert (status, errors) == (0, "")
        assert f"Pools of process {process.pid}" in text


def test_a_process_that_was_killed_is_not_asked(start, capsys):
    process = start()
    folder = Path(tempfile.gettempdir(), f"dbutils-{os.getuid()}")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "1.sock"))  # and is closed, but stays
    assert (folder / "1.sock").exists()
    status, text, errors = tell(capsys, "--once")
    assert (status, errors) == (0, "")
    assert f"Pools of process {process.pid}" in text


def test_of_several_processes_one_has_to_be_named(start, capsys):
    pids = [str(start().pid) for _ in range(2)]
    status, text, errors = tell(capsys, "--once")
    assert (status, text) == (2, "")
    assert all(pid in errors for pid in pids)


def test_it_is_told_if_nobody_serves(capsys, home):
    status, _, errors = tell(capsys, "--once")
    assert status == 2
    assert "dbutils.top.serve()" in errors
    status, _, errors = tell(capsys, 123456, "--once")
    assert status == 2
    assert "123456.sock" in errors
    status, _, errors = tell(capsys, home, "--once")
    assert status == 2
    assert str(home) in errors


def test_it_is_shown_again_until_the_process_ends(start):
    process = start()
    looking = subprocess.Popen(
        [sys.executable, "-m", "dbutils", "top", str(process.pid), "--json",
         "--interval", "0.01"], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    assert [
        json.loads(looking.stdout.readline())["pid"] for _ in range(3)
    ] == [process.pid] * 3
    process.stdin.close()
    process.wait(PATIENCE)
    _, errors = looking.communicate(timeout=PATIENCE)
    assert (looking.returncode, errors.count("No process serves")) == (0, 1)


@pytest.mark.parametrize("command", ["top", "explain"])
def test_a_reader_may_end_early(start, command):
    process = start()
    receiving, sending = os.pipe()
    os.close(receiving)
    with os.fdopen(sending) as gone:
        done = subprocess.run(
            [sys.executable, "-m", "dbutils", command, str(process.pid)],
            check=False, stdout=gone, stderr=subprocess.PIPE, text=True,
            timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")


def test_events_are_shown_by_the_second(
        capsys, monkeypatch, home):
    from dbutils._cli import top as command
    path = home / "here"
    pool = PooledDB(sqlite3, database=":memory:", poolname="mine")
    looks = []

    class Event:
        def wait(self, seconds):
            looks.append(seconds)
            if len(looks) == 2:
                raise KeyboardInterrupt
            pool.connection()

    monkeypatch.setattr(
        command, "threading", SimpleNamespace(Event=Event))
    with top.serve(path):
        status, text, _ = tell(capsys, path, "--interval", 7)
    assert status == 130
    assert looks == [7, 7]
    first, second = re.findall("^mine .*", text, re.MULTILINE)
    assert "/s)" not in first
    assert re.search(r" 1 \([\d.e+]+/s\) +0 \(0/s\)", second)
    pool.close()


def test_a_process_without_pools_says_so(capsys, monkeypatch, home):
    monkeypatch.setattr(top, "pools", list)
    path = home / "here"
    with top.serve(path):
        assert "has no pools" in tell(capsys, path, "--once")[1]


# The command "explain".

def test_pools_are_explained(start, capsys):
    process = start()
    status, text, errors = tell(capsys, process.pid, command="explain")
    assert (status, errors) == (0, "")
    first, second, *_ = text.splitlines()
    assert first == "PooledDB 'shop' 1 of 3 in use, 1 idle, 0 waiting"
    assert second == "Nothing seems to be wrong."
    assert re.search(
        r"\n- MainThread, for \d+.* m?s, taken at <string>:10 in <module>\(\)",
        text)
    assert SECRET not in text
    status, text, errors = tell(capsys, "--json", command="explain")
    assert (status, errors) == (0, "")
    state = json.loads(text)
    assert state["pid"] == process.pid
    pool, = state["pools"]
    assert pool.keys() == {"name", "class", "explanation"}
    assert pool["explanation"].startswith(first)


def test_it_is_told_if_there_is_nothing_to_explain(capsys, monkeypatch, home):
    status, text, errors = tell(capsys, command="explain")
    assert (status, text) == (2, "")
    assert "dbutils.top.serve()" in errors
    status, text, errors = tell(capsys, 123456, command="explain")
    assert (status, text) == (2, "")
    assert "123456.sock" in errors
    path = home / "here"
    monkeypatch.setattr(top, "pools", list)
    with top.serve(path):
        assert "has no pools" in tell(capsys, path, command="explain")[1]


def test_a_pool_that_explains_nothing_is_told(capsys, monkeypatch, home):
    pool = PooledDB(sqlite3, database=":memory:")
    monkeypatch.setattr(top, "pools", lambda: [pool])
    monkeypatch.setattr(PooledDB, "explain", lambda pool: 1 / 0)
    path = home / "here"
    with top.serve(path):
        status, text, _ = tell(capsys, path, command="explain")
    assert (status, text) == (0, "This pool cannot be explained.\n")


# The side of the process.

@pytest.fixture
def path(home):
    return home / "socket"


def ask(path):
    """Return what a process tells."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(path))
        return json.loads(client.makefile().read())


def test_only_the_same_user_gets_a_look():
    with top.serve() as server:
        assert ask(server.path)["pid"] == os.getpid()
        assert stat.S_IMODE(server.path.lstat().st_mode) == 0o600
        assert stat.S_IMODE(server.path.parent.lstat().st_mode) == 0o700


def test_a_folder_for_all_is_refused():
    top.folder().mkdir()
    top.folder().chmod(0o755)
    with pytest.raises(PermissionError, match="private"):
        top.serve()
    assert not list(top.folder().iterdir())


def test_after_the_end_the_socket_is_gone(path):
    server = top.serve(path)
    server.close()
    server.close()
    assert not path.exists()
    with top.serve(path):
        assert ask(path)["version"]


def test_the_link_to_a_socket_is_gone_with_it(path, home):
    link = top.default_path(os.getpid())
    with top.serve(path), top.serve(home / "other"):
        assert link.resolve() == path.resolve()
        assert ask(link)["version"]
    assert not list(top.folder().iterdir())
    with top.serve(path), top.serve():
        assert not link.is_symlink()
        assert ask(link)["version"]
    assert not list(top.folder().iterdir())


def test_a_link_that_cannot_be_made_is_left_out(path):
    top.folder().write_text("this is no folder")
    with top.serve(path):
        assert ask(path)["version"]


def test_a_socket_that_was_left_behind_is_replaced(path):
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with top.serve(path):
        assert ask(path)["version"]


def test_the_socket_of_another_process_stays(path):
    with top.serve(path):
        with pytest.raises(FileExistsError, match="another process"):
            top.Server(path)
        assert ask(path)["version"]


def test_a_file_stays(path):
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="no socket"):
        top.serve(path)
    assert path.read_text() == "mine"


def test_who_does_not_listen_stops_nobody_for_long(path, monkeypatch):
    monkeypatch.setattr(top, "_PATIENCE", 0.01)
    monkeypatch.setattr(top, "snapshot", lambda: "x" * 10**7)
    with top.serve(path), socket.socket(socket.AF_UNIX) as slow:
        slow.connect(str(path))
        monkeypatch.setattr(top, "snapshot", dict)
        # the first answer may have begun before that
        assert ask(path) in ({}, "x" * 10**7)


@needs_fork
def test_a_child_neither_answers_nor_takes_the_socket_away(path):
    with top.serve(path) as server:
        def end():
            server.close()
            return path.exists()
        assert in_child(end)
        assert ask(path)["pid"] == os.getpid()

        def serve():
            with top.serve(f"{path}2"):
                return ask(f"{path}2")["pid"] == os.getpid()
        assert in_child(serve)


def test_without_a_thread_there_is_no_socket(path, monkeypatch):
    monkeypatch.setattr(top, "start_thread", lambda *_: False)
    with pytest.raises(RuntimeError, match="thread"):
        top.serve(path)
    assert not path.exists()
    monkeypatch.undo()


def test_a_second_call_changes_nothing(path):
    with top.serve(path) as server:
        assert top.serve(path) is server
        with top.serve() as other:
            assert other is not server
            assert top.serve() is other


def test_a_pool_that_is_gone_is_not_shown(path):
    pool = PooledDB(sqlite3, database=":memory:", poolname="only here")
    with top.serve(path):
        assert "only here" in str(ask(path))
        del pool
        assert "only here" not in str(ask(path))
