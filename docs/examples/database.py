"""The pool of a program, which several of the examples share.

DATABASE_URL names the database, like postgresql://user:password@host/name or
mysql://user:password@host/name; otherwise it is a file of SQLite.  This makes
the table that they use:
python database.py
"""

import os

from dbutils.pool_manager import PoolConfig, get_pool_manager

# eight connections are enough for many threads; each request has its turn, and
# gets an error rather than wait for more than five seconds
pool = get_pool_manager().get_pool(
    os.environ.get("DATABASE_URL", "sqlite:///notes.db"),
    pool_config=PoolConfig(max_total=8, max_wait_time=5))


def execute(db, statement, *values):
    """Execute a statement with the marks of the driver; return the cursor."""
    if db.dbapi().paramstyle == "qmark":
        statement = statement.replace("%s", "?")
    cursor = db.cursor()
    cursor.execute(statement, values)
    return cursor


if __name__ == "__main__":
    with pool.transaction() as db:
        execute(
            db, "create table if not exists notes (text varchar(200) unique)")
