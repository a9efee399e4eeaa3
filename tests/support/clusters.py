"""Servers that belong together: proxies, replicas, and a cluster of Galera.

They are started by fixtures, and always stopped.
"""

import os
import signal
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path

from patience import wait_until
from servers import (
    HOST,
    KINDS,
    PATIENCE,
    MariaDb,
    MissingServerError,
    PostgreSql,
    Standby,
    find,
    free_port,
    is_listening,
)


class Rooms:
    """The folders of servers that are started, and stopped, together."""

    def __init__(self, owner, folder):
        self.servers = []
        self._owner, self._folder = owner, folder

    def room(self, name):
        room = self._folder / name
        room.mkdir()
        self._owner.take(room)
        return room

    def begin(self, server):
        self.servers.append(server)
        server.start()
        return server

    def stop(self):
        for server in reversed(self.servers):
            server.stop()

    kill = stop


class HaProxy(Rooms):
    """HAProxy before a primary of PostgreSQL, and its standby as a backup.

    It asks both all the time whether they can be reached, and goes over to the
    standby as soon as the primary cannot.
    """

    owners = PostgreSql.owners

    def __init__(self, owner, folder):
        super().__init__(owner, folder)
        self._program = find("haproxy", Path("/usr/sbin"))
        if not self._program:
            raise MissingServerError("HAProxy is not installed")
        self.primary = PostgreSql(owner, self.room("primary"))
        self.standby = None
        self.port = free_port()
        self._socket = folder / "admin"
        self._process = None

    def start(self):
        self.begin(self.primary)
        self.standby = self.begin(Standby(
            self._owner, self.room("standby"), self.primary))
        path = self._folder / "haproxy.cfg"
        check = "check inter 100ms fall 1 rise 1"
        path.write_text("\n".join([
            "global", f"stats socket {self._socket} level admin",
            "defaults", "mode tcp", "timeout connect 5s", "timeout client 1h",
            "timeout server 1h", "listen postgresql",
            f"bind {HOST}:{self.port}",
            f"server primary {HOST}:{self.primary.port} {check}",
            f"server standby {HOST}:{self.standby.port} {check} backup", ""]))
        self._process = subprocess.Popen(
            self._owner.command(self._program, "-db", "-f", str(path)),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        wait_until(lambda: is_listening(self.port))

    def switch(self, state):
        """Lead new connections to the standby, or soon to the primary again.

        Those that are there stay where they are.

        state: of the primary, "maint" or "ready"
        """
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self._socket))
            sock.sendall(
                f"set server postgresql/primary state {state}\n".encode())
            assert not sock.recv(1000).strip()

    def stop(self):
        if self._process:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None
        super().stop()


class LoggingMariaDb(MariaDb):
    """A MariaDB server with a binary log, which others can follow."""

    number = 1

    def options(self):
        return [
            "--log-bin=log", "--gtid-strict-mode=1", "--log-slave-updates",
            f"--server-id={self.number}"]


class MariaDbReplica(LoggingMariaDb):
    """A MariaDB server that follows another one, and takes no writes."""

    number = 2

    def options(self):
        return [*super().options(), "--read-only=1"]


class MariaDbReplication(Rooms):
    """A MariaDB server, and one that can follow it."""

    owners = MariaDb.owners

    def __init__(self, owner, folder):
        super().__init__(owner, folder)
        self.primary = LoggingMariaDb(owner, self.room("primary"))
        self.replica = MariaDbReplica(
            owner, self.room("replica"), self.primary)

    def start(self):
        self.begin(self.primary)
        self.begin(self.replica)


class GaleraNode(MariaDb):
    """A node of a cluster of Galera, whose other nodes have its data."""

    library = Path("/usr/lib/galera/libgalera_smm.so")

    def __init__(self, owner, folder, first=None):
        if not self.library.exists():
            raise MissingServerError("Galera is not installed")
        super().__init__(owner, folder, first)
        self.group = f"{HOST}:{free_port()}"
        self._first = first

    def options(self):
        first = "" if self._first is None else self._first.group
        return [
            "--binlog-format=row", "--innodb-autoinc-lock-mode=2",
            "--wsrep-on=1", f"--wsrep-provider={self.library}",
            "--wsrep-cluster-name=tests", "--wsrep-sst-method=nothing",
            f"--wsrep-node-name={self._folder.name}",
            f"--wsrep-node-address={self.group}",
            f"--wsrep-cluster-address=gcomm://{first}",
            "--wsrep-provider-options="
            f"gmcast.listen_addr=tcp://{self.group};"
            f"ist.recv_addr={HOST}:{free_port()};gcache.size=16M;" + _SOON]


# By these options a node notices soon that another one is gone.
_SOON = (
    "evs.keepalive_period=PT0.1S;evs.inactive_check_period=PT0.1S;"
    "evs.suspect_timeout=PT3S;evs.inactive_timeout=PT6S")
# The program by which one node sends another one its data; it has them.
_NOTHING = """#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in
        --role) role=$2;;
        --address) address=$2;;
        --datadir) data=$2;;
        --gtid) position=$2;;
    esac
    shift
done
if [ "$role" = joiner ]; then
    echo "ready $address/"
    sed -n "s/^uuid: *//p" "$data/grastate.dat" | tr "\\n" ":"
    sed -n "s/^seqno: *//p" "$data/grastate.dat"
else
    echo "done $position"
fi
"""


class Galera(Rooms):
    """Two nodes of Galera, and an arbiter."""

    owners = MariaDb.owners

    def __init__(self, owner, folder):
        super().__init__(owner, folder)
        self._arbiter = find("garbd")
        if not self._arbiter:
            raise MissingServerError("The arbiter of Galera is not installed")
        script = folder / "wsrep_sst_nothing"
        script.write_text(_NOTHING)
        script.chmod(0o755)
        self._first = GaleraNode(owner, self.room("first"))
        self._process = None

    def start(self):
        with added_to_path(self._folder):
            self.begin(self._first)  # so that its data belong to a cluster
            self._first.kill(signal.SIGTERM)
            second = GaleraNode(
                self._owner, self.room("second"), self._first)
            self._first.start()
            self.begin(second)
        self._process = subprocess.Popen(
            self._owner.command(
                self._arbiter, "-a", f"gcomm://{self._first.group}",
                "-g", "tests", "-n", "arbiter", "-o",
                f"gmcast.listen_addr=tcp://{HOST}:{free_port()};" + _SOON),
            cwd=str(self._folder), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self):
        if self._process:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None
        super().stop()


@contextmanager
def added_to_path(folder):
    """Let programs be found in a folder, too."""
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{folder}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


KINDS.update({
    "haproxy": HaProxy, "mariadb replication": MariaDbReplication,
    "galera": Galera})
