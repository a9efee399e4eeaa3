"""Threads share a few connections to a database."""

import sqlite3
from threading import Thread

from dbutils.pooled_db import PooledDB

pool = PooledDB(
    sqlite3, maxconnections=4, maxwait=60,  # seconds to wait if all are in use
    database="guests.db", check_same_thread=False)

with pool.connection() as db:
    db.cursor().execute("create table if not exists guests (name text)")
    db.commit()


def register(name):
    """Add a guest; the connection goes back to the pool at the end."""
    with pool.connection() as db:
        cursor = db.cursor()
        cursor.execute("insert into guests values (?)", (name,))
        db.commit()  # the end of the block does not commit


threads = [
    Thread(target=register, args=(f"guest {number}",)) for number in range(20)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()

with pool.connection() as db, db.cursor() as cursor:
    cursor.execute("select count(*) from guests")
    print(cursor.fetchone()[0], "guests")

pool.shutdown()
