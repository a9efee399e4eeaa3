"""A handler for AWS Lambda: the connection stays open between two calls.

The pool is made outside of the handler.  Lambda calls handler() for one event
at a time, so one connection is enough.  DATABASE_URL names the database.
"""

import os

from dbutils.pool_manager import PoolConfig, get_pool_manager

# A process that was frozen has maybe lost its connection without a word; it is
# looked at when it is borrowed, and replaced.
pool = get_pool_manager().get_pool(
    os.environ.get("DATABASE_URL", "sqlite:///notes.db"),
    pool_config=PoolConfig(max_total=1, max_wait_time=10, test_on_borrow=True))


def handler(event, context):
    """Return the name of the event, and the time of the database."""
    with pool.transaction() as db, db.cursor() as cursor:
        cursor.execute("select current_timestamp")
        time, = cursor.fetchone()
    return {"name": event["name"], "time": str(time)}
