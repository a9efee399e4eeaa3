"""A pool whose size follows the load, and that can be changed at work."""

import sqlite3
from contextlib import ExitStack

from dbutils.dynamic_pooled_db import DynamicPooledDB

pool = DynamicPooledDB(
    sqlite3, maxconnections=20, maxwait=60, database="dynamic.db",
    check_same_thread=False)

with ExitStack() as stack:  # many at the same time, like at noon
    for _ in range(10):
        stack.enter_context(pool.connection())
# these are names of DBUtils 3, which can still be read
print(len(pool._idle_cache), "connections are idle after the rush")

pool.dynamic_adjust_config(maxcached=3, maxconnections=5)
print(len(pool._idle_cache), "are kept from now on")
pool.shutdown()
