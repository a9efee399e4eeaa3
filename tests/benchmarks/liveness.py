"""Measure what it costs to know that a connection is alive.

Compare a look at the socket with a question to the server, and a steady
read with one of the driver, interleaved, on a PostgreSQL server of its own.
Run it with a Python that has psycopg2 and dbutils.
"""

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import drivers
import servers

from dbutils.steady_db import connect

ROUNDS = 30
CALLS = 300


def nanoseconds(function):
    """Return how long one call takes."""
    begun = time.perf_counter()
    for _ in range(CALLS):
        function()
    return (time.perf_counter() - begun) / CALLS * 1e9


def reader(con):
    """Return a function that reads something with an open cursor."""
    cursor = con.cursor()

    def read():
        cursor.execute("select 1")
        cursor.fetchone()
    return read


def main():
    """Print the medians."""
    with servers.postgresql() as port:
        driver = drivers.BY_NAME["psycopg2"]
        driver.port = port
        raw = driver.connect()
        safe = connect(driver.load(), **driver.parameters())
        blind = connect(driver.load(), ping=0, **driver.parameters())
        classic = connect(
            driver.load(), failover="always", **driver.parameters())
        subjects = {
            "a look at the socket": safe._own_session.is_gone,
            "select 1 of the driver": reader(raw),
            'select 1, failover="safe"': reader(safe),
            'select 1, failover="safe", ping=0': reader(blind),
            'select 1, failover="always"': reader(classic)}
        times = {name: [] for name in subjects}
        for _ in range(ROUNDS):
            for name, function in subjects.items():
                times[name].append(nanoseconds(function))
        for name, values in times.items():
            print(f"{name:36}{statistics.median(values):10.0f} ns")
        for con in (raw, safe, blind, classic):
            con.close()


if __name__ == "__main__":
    main()
