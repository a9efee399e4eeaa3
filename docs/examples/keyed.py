"""Each customer has the same connection until the end of a dialogue.

This is the interface of psycopg2.pool, with any driver.  DATABASE_URL names
the database, like postgresql://user@host/name or mysql://user@host/name;
otherwise it is a file of SQLite.
"""

import os
import sqlite3
from urllib.parse import unquote, urlsplit

from dbutils.keyed_pool import PoolError, ThreadedConnectionPool


def make_pool(url):
    """Make a pool of one connection at least, and of three at most."""
    if url.startswith("postgresql:"):
        import psycopg2

        return ThreadedConnectionPool(1, 3, url, creator=psycopg2)
    if url.startswith("mysql:"):
        import pymysql

        parts = urlsplit(url)
        return ThreadedConnectionPool(
            1, 3, creator=pymysql, host=parts.hostname,
            port=parts.port or 3306, user=parts.username,
            password=unquote(parts.password or ""), database=parts.path[1:])
    return ThreadedConnectionPool(
        1, 3, creator=sqlite3, database=url, check_same_thread=False)


pool = make_pool(os.environ.get("DATABASE_URL", "keyed.db"))


def begin(customer):
    """Make a basket that only this customer can see."""
    db = pool.getconn(customer)
    db.cursor().execute("create temporary table basket (item varchar(40))")


def choose(customer, item):
    """Put something into the basket."""
    db = pool.getconn(customer)
    statement = "insert into basket values (%s)"
    if db.dbapi() is sqlite3:
        statement = statement.replace("%s", "?")
    db.cursor().execute(statement, (item,))


def end(customer):
    """Return what is in the basket, which ends with the connection."""
    cursor = pool.getconn(customer).cursor()
    cursor.execute("select item from basket order by item")
    items = [item for item, in cursor]
    pool.putconn(key=customer, close=True)
    return items


for name in "ann", "bob":
    begin(name)
choose("ann", "tea")
choose("bob", "milk")
choose("ann", "bread")
pool.getconn("cy")
try:
    begin("dan")
except PoolError as error:
    print(str(error).partition(" (")[0])
pool.putconn(key="cy")
print("ann takes", end("ann"))
print("bob takes", end("bob"))
pool.closeall()
