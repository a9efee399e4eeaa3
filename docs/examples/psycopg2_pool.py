"""Programs for psycopg2.pool run with keyed_pool when this is imported.

The server is found as usual, by PGHOST, PGPORT, PGUSER and PGDATABASE.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg2

from dbutils import keyed_pool as pool


def simple():
    """Get a connection, use it, and put it back."""
    connections = pool.SimpleConnectionPool(1, 5, "")
    conn = connections.getconn()
    try:
        with conn, conn.cursor() as cursor:
            cursor.execute("select 1")
            print("simple:", cursor.fetchone()[0])
    finally:
        connections.putconn(conn)
    connections.closeall()


def threaded():
    """Let threads work, of which each has a connection for a moment."""
    connections = pool.ThreadedConnectionPool(2, 4, "")

    def work(number):
        conn = connections.getconn()
        try:
            with conn.cursor() as cursor:
                cursor.execute("select %s * 2", (number,))
                return cursor.fetchone()[0] == number * 2
        finally:
            connections.putconn(conn)

    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(work, range(20)))
    print(f"threads: {sum(results)} of {len(results)}")
    connections.closeall()


class Database:
    """A wrapper that manages the connections."""

    def __init__(self, minconn, maxconn):
        self.connections = pool.ThreadedConnectionPool(minconn, maxconn, "")

    @contextmanager
    def connection(self):
        """Have a connection whose work is committed, or rolled back."""
        conn = self.connections.getconn()
        try:
            yield conn
            conn.commit()
        except Exception:
            conn.rollback()
            raise
        finally:
            self.connections.putconn(conn)

    def execute_query(self, query, parameters=None):
        """Return the rows that a statement has found, if it finds any."""
        with self.connection() as conn, conn.cursor() as cursor:
            cursor.execute(query, parameters)
            return cursor.fetchall() if cursor.description else None

    def close(self):
        """Close all connections."""
        self.connections.closeall()


def wrapper():
    """Use the wrapper."""
    database = Database(1, 3)
    database.execute_query("drop table if exists things")
    database.execute_query("create table things (id integer, name text)")
    for thing in ((1, "one"), (2, "two")):
        database.execute_query("insert into things values (%s, %s)", thing)
    print("wrapper:", database.execute_query(
        "select id, name from things order by id"))
    database.execute_query("drop table things")
    database.close()


def monitoring():
    """Watch how many connections there are."""
    connections = pool.ThreadedConnectionPool(1, 3, "")
    conns = {key: connections.getconn(key) for key in ("web", "batch")}
    in_use = sum(not conn.closed for conn in conns.values())
    print(f"monitoring: {in_use} in use, {connections.maxconn} at most")
    for key, conn in conns.items():
        connections.putconn(conn, key)
    connections.closeall()


def retry():
    """Try again, after a longer pause each time, if all are in use."""
    connections = pool.ThreadedConnectionPool(1, 1, "")
    conn = connections.getconn()
    others_end = 2
    for attempt in range(5):
        try:
            other = connections.getconn()
        except (pool.PoolError, psycopg2.OperationalError):
            time.sleep(0.01 * 2 ** attempt)
            if attempt == others_end:
                connections.putconn(conn)
        else:
            print("retries:", attempt)
            connections.putconn(other)
            break
    connections.closeall()


if __name__ == "__main__":
    simple()
    threaded()
    wrapper()
    monitoring()
    retry()
