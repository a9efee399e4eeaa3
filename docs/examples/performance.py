"""A pool that measures itself, and says what could be improved."""

import sqlite3
from threading import Thread

from dbutils.performance_optimized_pooled_db import (
    PerformanceOptimizedPooledDB,
)

pool = PerformanceOptimizedPooledDB(
    sqlite3, maxconnections=8, maxwait=60, database="speed.db",
    check_same_thread=False)


def work():
    """Use the database for moments, as requests do."""
    for _ in range(500):
        with pool.connection() as db, db.cursor() as cursor:
            cursor.execute("select 1")
            cursor.fetchone()


threads = [Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()

report = pool.performance_report()
borrowing = report["connection_acquisition_time"]
print(f"{borrowing['count']} connections were lent,"
      f" half of them in less than {borrowing['p50'] * 1e6:.0f} microseconds")
print(f"{report['hit_rate']:.0%} were there already")
for suggestion in report["suggestions"]:
    print(suggestion)
pool.shutdown()
