"""A pool that replaces dead connections before anybody gets them."""

import sqlite3

from dbutils.health_check_pooled_db import HealthCheckPooledDB

pool = HealthCheckPooledDB(
    sqlite3, mincached=3, maxconnections=5, maxwait=60,
    health_check_interval=60, database="health.db", check_same_thread=False)

for con in pool._idle_cache:  # as if the server had been restarted
    con.dbapi_connection.close()

report = pool.health_report()
print(report["status"], "with", report["invalid_connections"], "dead ones")
print(pool.health_check(), "were replaced")
print(pool.health_report()["status"])
pool.shutdown()
