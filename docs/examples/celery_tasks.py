"""Tasks of Celery: the processes of a worker have connections of their own.

A server of Redis carries the tasks and their results, BROKER_URL names it:
python database.py
celery --app celery_tasks worker --concurrency 4
python celery_tasks.py
"""

import os

from celery import Celery, group
from database import execute, pool

BROKER = os.environ.get("BROKER_URL", "redis://localhost/0")

# a process that dies loses no task: another one does it, maybe again
app = Celery(
    "celery_tasks", broker=BROKER, backend=BROKER, task_acks_late=True,
    task_reject_on_worker_lost=True, broker_connection_retry_on_startup=True)


def save(db, text):
    """Add a note once, also if it is done twice."""
    found = execute(db, "select 1 from notes where text = %s", text)
    if not found.fetchone():
        execute(db, "insert into notes values (%s)", text)


@app.task(name="add")
def add(text):
    """Add a note."""
    pool.run(lambda db: save(db, text))  # again after a deadlock or a loss


@app.task(name="count")
def count():
    """Return how many notes there are."""
    with pool.connection() as db:
        return execute(db, "select count(*) from notes").fetchone()[0]


if __name__ == "__main__":
    texts = [f"note {number}" for number in range(40)]
    group(add.s(text) for text in texts)().get(timeout=60)
    print(count.delay().get(timeout=60), "notes")
