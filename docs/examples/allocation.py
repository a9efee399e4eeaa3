"""A pool that decides who is next, and keeps places for the urgent."""

import sqlite3
from threading import Thread

from dbutils.resource_allocation_pooled_db import ResourceAllocationPooledDB

pool = ResourceAllocationPooledDB(
    sqlite3, maxconnections=2, maxwait=60,
    allocation_strategy="priority", database="queue.db",
    check_same_thread=False)
pool.limit("report", 1)  # of both connections

served = []


def request(priority, tag=None):
    """Get a connection when its turn has come."""
    with pool.connection(priority=priority, tag=tag):
        served.append(priority)


with pool.connection(), pool.connection():  # nothing is free now
    threads = [
        Thread(target=request, args=arguments)
        for arguments in (("low", "report"), ("normal",), ("critical",))]
    for thread in threads:
        thread.start()
for thread in threads:
    thread.join()
print(len(served), "requests were served")
pool.shutdown()
