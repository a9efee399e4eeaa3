"""A pool shows Prometheus how it is used.

Prometheus reads http://localhost:9100/metrics, or another PORT.
"""

import os
from threading import Barrier, Thread
from urllib.request import urlopen

from database import execute, pool
from prometheus_client import REGISTRY, start_http_server

from dbutils.prometheus import Collector

PORT = int(os.environ.get("PORT", "9100"))

REGISTRY.register(Collector())  # all pools, later ones, too
server, thread = start_http_server(PORT, "127.0.0.1")
together = Barrier(20)


def work():
    """Use the pool when all others do."""
    together.wait()
    for _ in range(10):
        with pool.connection() as db:
            execute(db, "select 1").fetchone()


threads = [Thread(target=work) for _ in range(20)]
for each in threads:
    each.start()
for each in threads:
    each.join()

with urlopen(f"http://127.0.0.1:{PORT}/metrics") as answer:
    for line in answer.read().decode().splitlines():
        if line.startswith("db_client") and "_bucket" not in line:
            print(line)
server.shutdown()
thread.join()
server.server_close()
