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

from patience import wait_until

HOST = "127.0.0.1"
PATIENCE = 60  # seconds
MODES = ("session", "transaction")  # of PgBouncer


class MissingServerError(Exception):
    """A server is not installed."""


def free_port():
    """Return a port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return sock.getsockname()[1]


def is_listening(port):
    """Return whether a program can be reached on a port."""
    with socket.socket() as sock:
        return sock.connect_ex((HOST, port)) == 0


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
            self.take(path)
            yield Path(path)
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def take(self, path):
        """Give a file to the owner."""
        if self.user:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

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

    owners = ("postgres",)

    def __init__(self, owner, folder):
        folders = list(Path("/usr/lib/postgresql").glob("*/bin"))
        initdb, self._control = (
            find(program, *folders) for program in ("initdb", "pg_ctl"))
        if not (initdb and self._control):
            raise MissingServerError("PostgreSQL's programs are not installed")
        self.port = free_port()
        self._owner = owner
        self._folder = folder
        self._data = folder / "data"
        self._run(
            initdb, "-D", str(self._data), "-U", "postgres", "-A", "trust",
            "-N", "--no-locale", "-E", "UTF8")

    def _run(self, *command):
        self._owner.run(*command, cwd=str(self._folder))

    def options(self):
        return (
            f"-p {self.port} -k '' -c listen_addresses={HOST}"
            " -c fsync=off -c synchronous_commit=off -c max_connections=200"
            " -c log_min_messages=fatal -c deadlock_timeout=50ms")

    def start(self):
        self._run(
            self._control, "-D", str(self._data), "-w", "-o",
            self.options(), "-l", str(self._folder / "log"), "start")

    def kill(self):
        """End all its processes at once, without a chance to tidy up."""
        note = self._data / "postmaster.pid"
        process = int(note.read_text().split()[0])
        os.kill(process, signal.SIGSTOP)  # so that it starts no other one
        processes = [process, *children_of(process)]
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        wait_until(lambda: not any(map(is_running, processes)))
        note.unlink()  # or the next one might take a zombie for a server

    def stop(self):
        """End it, and let it tidy up."""
        with suppress(subprocess.CalledProcessError):  # it was killed
            self._run(
                self._control, "-D", str(self._data), "-w",
                "-m", "immediate", "stop")


class Standby(PostgreSql):
    """A PostgreSQL server that follows another one."""

    def __init__(self, owner, folder, primary):
        backup = find("pg_basebackup", *Path("/usr/lib/postgresql").glob(
            "*/bin"))
        if not backup:
            raise MissingServerError("pg_basebackup is not installed")
        self.port = free_port()
        self._owner = owner
        self._folder = folder
        self._data = folder / "data"
        self._control = primary._control
        self._run(
            backup, "-h", HOST, "-p", str(primary.port), "-U", "postgres",
            "-D", str(self._data), "-R", "-X", "stream", "-c", "fast")

    def promote(self):
        """Make it a primary, and wait until it is."""
        self._run(self._control, "-D", str(self._data), "-w", "promote")


class Replication:
    """A PostgreSQL server and two standbys."""

    owners = PostgreSql.owners

    def __init__(self, owner, folder):
        self.servers = []
        self._owner, self._folder = owner, folder
        self.primary = PostgreSql(owner, self._room("primary"))

    def _room(self, name):
        room = self._folder / name
        room.mkdir()
        self._owner.take(room)
        return room

    def start(self):
        self._start(self.primary)
        for name in "first", "second":
            self._start(Standby(self._owner, self._room(name), self.primary))

    def _start(self, server):
        server.start()
        self.servers.append(server)

    def stop(self):
        for server in reversed(self.servers):
            server.stop()


class MariaDb:
    """A MariaDB server that can be killed and started again."""

    owners = ("mysql",)

    def __init__(self, owner, folder, other=None):
        """Set up a server.

        other: one that does not run, and whose data this one begins with
        """
        install = find("mariadb-install-db")
        self._server = find("mariadbd", Path("/usr/sbin"))
        if not (install and self._server):
            raise MissingServerError("MariaDB's programs are not installed")
        self.port = free_port()
        self._owner = owner
        self._folder = folder
        self._process = self._reader = None
        self._options = [
            "--no-defaults", f"--datadir={folder / 'data'}",
            f"--tmpdir={folder}"]
        if other is not None:
            owner.run("cp", "-r", str(other._folder / "data"), str(folder))
            return
        owner.run(
            install, *self._options,
            "--auth-root-authentication-method=normal", cwd=str(folder),
            stderr=subprocess.DEVNULL)

    def options(self):
        return ["--skip-log-bin"]

    def start(self):
        self._process = subprocess.Popen(
            self._owner.command(
                self._server, *self._options, f"--port={self.port}",
                f"--bind-address={HOST}",
                f"--socket={self._folder / 'socket'}",
                "--innodb-flush-log-at-trx-commit=0",
                "--max-connections=200", "--innodb-lock-wait-timeout=5",
                *self.options()),
            cwd=str(self._folder), text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_until_ready(self._process)
        # so that what it says later does not block it
        self._reader = Thread(target=self._process.stderr.read)
        self._reader.start()

    def kill(self, number=signal.SIGKILL):
        """End it at once, without a chance to tidy up."""
        process, reader = self._process, self._reader
        if process:
            process.send_signal(number)
            process.wait(PATIENCE)
            if reader:
                reader.join(PATIENCE)
            process.stderr.close()
        self._process = self._reader = None

    stop = kill


class Certificates:
    """The files by which a server and its clients prove their identity."""

    def __init__(self, folder, owner):
        import trustme  # only needed where these servers are

        authority = trustme.CA()
        for name, identity in (
                ("server", HOST), ("client", "client@example.com")):
            proof = authority.issue_cert(identity, common_name=identity)
            proof.private_key_pem.write_to_path(folder / f"{name}.key")
            proof.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
            (folder / f"{name}.key").chmod(0o600)
        authority.cert_pem.write_to_path(folder / "ca.pem")
        trustme.CA().cert_pem.write_to_path(folder / "stranger.pem")
        for path in folder.glob("server.*"):
            owner.take(path)
        self.folder = folder

    def __getattr__(self, name):
        """Return the path of a file, like server_key or ca_pem."""
        return str(self.folder / name.replace("_", "."))


class SecurePostgreSql(PostgreSql):
    """A PostgreSQL server that only lets in who comes encrypted."""

    def __init__(self, owner, folder):
        super().__init__(owner, folder)
        self.certificates = Certificates(folder, owner)
        (self._data / "pg_hba.conf").write_text(
            "hostssl all postgres 127.0.0.1/32 trust\n"
            "hostssl all all 127.0.0.1/32 scram-sha-256\n")

    def options(self):
        files = self.certificates
        return (
            f"{super().options()} -c ssl=on"
            f" -c ssl_cert_file={files.server_pem}"
            f" -c ssl_key_file={files.server_key}"
            f" -c ssl_ca_file={files.ca_pem}"
            " -c password_encryption=scram-sha-256")


class SecureMariaDb(MariaDb):
    """A MariaDB server that can encrypt."""

    def __init__(self, owner, folder):
        super().__init__(owner, folder)
        files = self.certificates = Certificates(folder, owner)
        self._options += [
            f"--ssl-ca={files.ca_pem}", f"--ssl-cert={files.server_pem}",
            f"--ssl-key={files.server_key}"]


class PgBouncer:
    """PgBouncer before a PostgreSQL server of its own.

    Its databases have the names of the modes: session and transaction.
    """

    owners = ("postgres",)

    def __init__(self, owner, folder):
        self._program = find("pgbouncer", Path("/usr/sbin"))
        if not self._program:
            raise MissingServerError("PgBouncer is not installed")
        self._server = PostgreSql(owner, folder)
        self._owner = owner
        self._folder = folder
        self._process = None
        self.port = free_port()

    def start(self):
        self._server.start()
        target = f"host={HOST} port={self._server.port} dbname=postgres"
        path = self._folder / "pgbouncer.ini"
        path.write_text("\n".join([
            "[databases]",
            *(f"{mode} = {target} pool_mode={mode}"
              for mode in MODES),
            "[pgbouncer]", f"listen_addr = {HOST}",
            f"listen_port = {self.port}", "unix_socket_dir =",
            "auth_type = trust", "auth_file = users",
            "max_client_conn = 60",
            "default_pool_size = 10", "query_wait_timeout = 20", ""]))
        (self._folder / "users").write_text('"postgres" ""')
        self._process = subprocess.Popen(
            self._owner.command(self._program, str(path)),
            cwd=str(self._folder), text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: is_listening(self.port))

    def stop(self):
        if self._process:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None
        self._server.stop()

    kill = stop


class Redis:
    """A server of Redis, which keeps nothing."""

    owners = ("redis",)

    def __init__(self, owner, folder):
        self._program = find("redis-server")
        if not self._program:
            raise MissingServerError("Redis is not installed")
        self._owner = owner
        self._folder = folder
        self._process = None
        self.port = free_port()

    def start(self):
        self._process = subprocess.Popen(
            self._owner.command(
                self._program, "--port", str(self.port), "--bind", HOST,
                "--save", "", "--appendonly", "no"),
            cwd=str(self._folder), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: is_listening(self.port))

    def stop(self):
        if self._process:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None


def children_of(process):
    """Return the processes that this one has started."""
    children = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            parent = path.read_text().rpartition(")")[2].split()[1]
            if int(parent) == process:
                children.append(int(path.parent.name))
    return children


def is_running(process):
    """Return whether a process is there, and has not ended yet."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@contextmanager
def running(kind):
    """Run a server of this kind in a folder of its own."""
    owner = Owner(*kind.owners)
    with owner.folder() as folder:
        server = kind(owner, folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def wait_until_ready(process):
    """Read what MariaDB says until it can be used."""
    said = []
    for line in process.stderr:
        said.append(line)
        # Galera says so as well, when the server is not ready yet.
        if ": ready for connections" in line:
            return
    raise MissingServerError("MariaDB did not start:\n" + "".join(said))


KINDS = {
    "postgresql": PostgreSql, "mariadb": MariaDb,
    "replication": Replication, "secure postgresql": SecurePostgreSql,
    "secure mariadb": SecureMariaDb, "pgbouncer": PgBouncer,
    "redis": Redis}
