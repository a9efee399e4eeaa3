"""A process of a fleet: threads that use a pool, and tell how often.

It gets the port of a server, waits for a line, and then answers each line
with the number of requests served, how many connections the pool has, and the
errors.  It ends with its input.
"""

import sys
from threading import Event

from patience import PATIENCE, in_threads

from dbutils import PooledDB

THREADS = 8


class Worker:
    """The threads of one process."""

    def __init__(self, driver, port):
        self.pool = PooledDB(
            driver, maxconnections=THREADS, maxwait=PATIENCE,
            host="127.0.0.1", port=port, user="postgres")
        self.served = []
        self.errors = []
        self.end = Event()

    def work(self):
        while not self.end.is_set():
            try:
                with self.pool.connection() as db, db.cursor() as cursor:
                    cursor.execute("select pg_sleep(0.005)")
                self.served.append(None)
            except Exception as error:
                self.errors.append(error)

    def answer(self):
        stats = self.pool.stats()
        sys.stdout.write(
            f"{len(self.served)} {stats.in_use + stats.idle}"
            f" {self.errors!r}\n")
        sys.stdout.flush()


def main():
    import psycopg2  # not everybody has it

    worker = Worker(psycopg2, int(sys.argv[1]))
    worker.answer()
    sys.stdin.readline()
    threads = in_threads(worker.work, THREADS)
    for _ in sys.stdin:
        worker.answer()
    worker.end.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
