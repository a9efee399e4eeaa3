"""Writes go to the primary, reads to standbys, which have what was written.

DATABASE_URLS names the servers, with spaces between them, in any order: the
pool finds out which one is the primary, also when that changes.
"""

import os

from dbutils.hosts import Targets
from dbutils.pooled_db import PooledDB

targets = Targets(
    os.environ.get("DATABASE_URLS", "sqlite:///orders.db").split())
pool = PooledDB(targets, maxconnections=8, maxwait=10)

with pool.transaction() as db:
    db.cursor().execute("drop table if exists orders")
    db.cursor().execute("create table orders (item varchar(40))")

with pool.connection() as db:  # to the primary
    db.cursor().execute("insert into orders values ('tea')")
    db.commit()
    is_replicated = len(targets.states()) > 1
    token = db.position() if is_replicated else None

# a standby that has replayed this insert; otherwise the primary
with pool.connection(
        target="prefer-standby", after=token) as db, db.cursor() as cursor:
    cursor.execute("select item from orders")
    print(cursor.fetchone()[0], "was read")

for host, state in targets.states().items():
    print(f"{host} is {state}")
pool.shutdown()
