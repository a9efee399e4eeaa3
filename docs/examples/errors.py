"""What goes wrong with a pool, and what the program is told."""

import sqlite3

from dbutils.pooled_db import (
    InvalidConnectionError,
    PoolClosedError,
    PooledDB,
    TooManyConnectionsError,
)

pool = PooledDB(
    sqlite3, maxconnections=1, maxwait=0.1, database="errors.db",
    check_same_thread=False)

with pool.connection() as db:
    db.cursor().execute("create table if not exists things (name text unique)")
    db.commit()

# All connections are in use: the error says by whom, and for how long.
kept = pool.connection()
try:
    pool.connection()
except TooManyConnectionsError as error:
    print(str(error).splitlines()[0])
kept.close()

# A connection that was given back cannot be used any more.
try:
    kept.cursor()
except InvalidConnectionError as error:
    print(error)

# An error of the database is that of the driver, and the transaction is
# rolled back when the connection is given back.
try:
    with pool.transaction() as db:
        db.cursor().execute("insert into things values ('one')")
        db.cursor().execute("insert into things values ('one')")
except sqlite3.IntegrityError as error:
    print(type(error).__name__)
with pool.connection() as db, db.cursor() as cursor:
    cursor.execute("select count(*) from things")
    print(cursor.fetchone()[0], "things")

# A pool that was shut down is over.
pool.shutdown()
try:
    pool.connection()
except PoolClosedError as error:
    print(error)
