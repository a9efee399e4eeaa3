"""A fleet of processes on a server that is too small for all of them."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import fleet_worker
import pytest
from drivers import BY_NAME, start
from fleet_worker import THREADS
from patience import PATIENCE, wait_until
from servers import KINDS, PostgreSql

import dbutils

PROCESSES = 12
CONNECTIONS = 40
MANY, FAIR = 10_000, 0.9
ROOT = Path(dbutils.__file__).parents[1]
WORKER = Path(fleet_worker.__file__)

pytestmark = [pytest.mark.slow, pytest.mark.portable]


class SmallPostgreSql(PostgreSql):
    """A PostgreSQL server with few connections."""

    def options(self):
        return f"{super().options()} -c max_connections={CONNECTIONS}"


class Worker:
    """A process of the fleet."""

    def __init__(self, port):
        path = os.pathsep.join([str(ROOT), str(WORKER.parent)])
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), str(port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": path})
        self.served = self.connections = 0
        self.errors = ""

    def tell(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def read(self):
        served, connections, self.errors = (
            self.process.stdout.readline().split(" ", 2))
        self.served, self.connections = int(served), int(connections)

    def end(self):
        self.process.kill()
        self.process.wait(PATIENCE)
        self.process.stdin.close()
        self.process.stdout.close()


def ask(workers):
    """Ask all of them at the same time, and return what was served."""
    for worker in workers:
        worker.tell()
    for worker in workers:
        worker.read()
    return [worker.served for worker in workers]


def fairness(numbers):
    """Return Jain's index: 1 if all have the same, less if not."""
    return sum(numbers) ** 2 / (
        len(numbers) * sum(number ** 2 for number in numbers))


def is_fair(before, after):
    """Return whether many requests were served, and alike.

    On a busy machine, that takes its time.
    """
    served = [now - number for number, now in zip(before, after)]
    return sum(served) > MANY and fairness(served) >= FAIR


@pytest.fixture
def fleet(monkeypatch):
    """Processes that have begun to work."""
    monkeypatch.setitem(KINDS, "small postgresql", SmallPostgreSql)
    BY_NAME["psycopg2"].load()
    with ExitStack() as stack:
        port = start(stack, "small postgresql").port
        workers = [Worker(port) for _ in range(PROCESSES)]
        for worker in workers:
            stack.callback(worker.end)
        for worker in workers:
            worker.read()
        for worker in workers:
            worker.tell()
        yield workers


def test_a_fleet_shares_a_server(fleet):
    """All are served alike, and what one of them leaves is soon in use."""
    wait_until(lambda: min(ask(fleet)) > 0 and all(
        worker.connections < THREADS - 1 for worker in fleet))
    before = ask(fleet)
    wait_until(lambda: is_fair(before, ask(fleet)))
    rest = sorted(fleet, key=lambda worker: -worker.connections)
    rest.pop(0).end()
    wait_until(lambda: ask(rest) and sum(
        worker.connections for worker in rest) >= CONNECTIONS - 1)
    assert [worker.errors for worker in rest] == ["[]\n"] * len(rest)
