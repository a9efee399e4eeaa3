"""Database servers of the tests' own, on loopback, for one run of the tests.

They are started by fixtures, and always stopped.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

HOST = "127.0.0.1"
PATIENCE = 60  # seconds


class MissingServerError(Exception):
    """A server is not installed."""


def free_port():
    """Return a port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return sock.getsockname()[1]


def find(program, *folders):
    """Return the path of a program, in the last of these folders first."""
    for folder in sorted(folders, reverse=True):
        if (folder / program).exists():
            return str(folder / program)
    return shutil.which(program)


class Owner:
    """The user that servers run as, since they refuse to run as root."""

    def __init__(self, *names):
        self.user = None
        if os.getuid() == 0:
            self.user = next(
                pwd.getpwnam(name) for name in (*names, "nobody")
                if self._exists(name))

    @staticmethod
    def _exists(name):
        return any(user.pw_name == name for user in pwd.getpwall())

    @contextmanager
    def folder(self):
        """Make a folder that belongs to the owner, and remove it again."""
        path = tempfile.mkdtemp(prefix="dbutils-tests-")
        try:
            if self.user:
                os.chown(path, self.user.pw_uid, self.user.pw_gid)
            yield Path(path)
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def command(self, *command):
        """Return a command that runs another one as this user."""
        if not self.user:
            return list(command)
        return [
            "setpriv", f"--reuid={self.user.pw_uid}",
            f"--regid={self.user.pw_gid}", "--clear-groups", *command]

    def run(self, *command, **options):
        """Run a program to its end."""
        return subprocess.run(
            self.command(*command), check=True, timeout=PATIENCE,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **options)


class PostgreSql:
    """A PostgreSQL server that can be killed and started again."""

    def __init__(self, owner, folder, initdb, control):
        self.port = free_port()
        self._owner = owner
        self._folder = folder
        self._control = control
        self._data = str(folder / "data")
        self._run(
            initdb, "-D", self._data, "-U", "postgres", "-A", "trust", "-N",
            "--no-locale", "-E", "UTF8")

    def _run(self, *command):
        self._owner.run(*command, cwd=str(self._folder))

    def start(self):
        options = (
            f"-p {self.port} -k {self._folder} -c listen_addresses={HOST}"
            " -c fsync=off -c synchronous_commit=off -c max_connections=200"
            " -c log_min_messages=panic -c deadlock_timeout=50ms")
        self._run(
            self._control, "-D", self._data, "-w", "-o", options,
            "-l", str(self._folder / "log"), "start")

    def kill(self):
        """End all its processes at once."""
        self._run(
            self._control, "-D", self._data, "-w", "-m", "immediate", "stop")


@contextmanager
def restartable_postgresql():
    """Run a PostgreSQL server that the test may end."""
    folders = list(Path("/usr/lib/postgresql").glob("*/bin"))
    initdb, control = find("initdb", *folders), find("pg_ctl", *folders)
    if not (initdb and control):
        raise MissingServerError("PostgreSQL's programs are not installed")
    owner = Owner("postgres")
    with owner.folder() as folder:
        server = PostgreSql(owner, folder, initdb, control)
        server.start()
        try:
            yield server
        finally:
            with suppress(subprocess.CalledProcessError):  # it was killed
                server.kill()


@contextmanager
def postgresql():
    """Run a PostgreSQL server, and return its port."""
    with restartable_postgresql() as server:
        yield server.port


@contextmanager
def mariadb():
    """Run a MariaDB server, and return its port."""
    sbin = Path("/usr/sbin")
    install, server = find("mariadb-install-db"), find("mariadbd", sbin)
    if not (install and server):
        raise MissingServerError("MariaDB's programs are not installed")
    owner, port = Owner("mysql"), free_port()
    with owner.folder() as folder:
        options = [
            "--no-defaults", f"--datadir={folder / 'data'}",
            f"--tmpdir={folder}"]
        owner.run(
            install, *options, "--auth-root-authentication-method=normal",
            cwd=str(folder), stderr=subprocess.DEVNULL)
        process = subprocess.Popen(
            owner.command(
                server, *options, f"--port={port}", f"--bind-address={HOST}",
                f"--socket={folder / 'socket'}", "--skip-log-bin",
                "--innodb-flush-log-at-trx-commit=0", "--max-connections=200",
                "--innodb-lock-wait-timeout=5"),
            cwd=str(folder), text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        reader = Thread(target=process.stderr.read)
        try:
            wait_until_ready(process)
            reader.start()  # so that what it says later does not block it
            yield port
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(PATIENCE)
            if reader.ident:
                reader.join(PATIENCE)
            process.stderr.close()


def wait_until_ready(process):
    """Read what MariaDB says until it can be used."""
    said = []
    for line in process.stderr:
        said.append(line)
        if "ready for connections" in line:
            return
    raise MissingServerError("MariaDB did not start:\n" + "".join(said))
