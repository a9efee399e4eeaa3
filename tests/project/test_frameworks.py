"""The examples for web frameworks and workers run, as their users run them.

The frameworks are in the extra "examples".  The environment of tox with the
same name has all of them.
"""

import json
import os
import subprocess
import sys
from contextlib import ExitStack

import pytest
from drivers import IN_CI, load, start
from folders import EXAMPLES
from patience import in_threads, join
from servers import HOST, free_port
from serving import (
    ask,
    environment,
    gunicorn,
    run_example,
    url_of,
    uvicorn,
    worker,
)

ALL_ARE_THERE = bool(os.environ.get("DBUTILS_EXAMPLES"))

pytestmark = [
    pytest.mark.slow, pytest.mark.skipif(
        not hasattr(os, "fork"), reason="there are no forks"),
    pytest.mark.skipif(
        IN_CI and not ALL_ARE_THERE, reason="tox has an environment for it")]

if not EXAMPLES.is_dir():
    pytest.skip(
        "there is no checkout around these tests", allow_module_level=True)


@pytest.fixture(params=["sqlite", "postgresql+psycopg2", "mysql+pymysql"])
def url(request, tmp_path, servers_running):
    """A database with an empty table for notes."""
    url = url_of(request.param, tmp_path, servers_running, "notes")
    run_example("database", tmp_path, DATABASE_URL=url)
    return url


@pytest.fixture
def broker():
    """The URL of a server of Redis, for this test."""
    with ExitStack() as stack:
        yield f"redis://{HOST}:{start(stack, 'redis').port}/0"


def keep_notes(port, add):
    """Add notes by a function from several threads at once, and read them."""
    statuses = []

    def work():
        for _ in range(5):
            number = next(numbers)
            statuses.append(add(f"note+{number}"))
            assert ask(port, "GET", "/notes")[0] == 200

    numbers = iter(range(40))
    join(in_threads(work, 8))
    assert statuses == [204] * 40
    notes = json.loads(ask(port, "GET", "/notes")[1])
    assert sorted(notes) == sorted(f"note {number}" for number in range(40))


def test_fastapi_runs_with_uvicorn(tmp_path, url):
    for name in "fastapi", "uvicorn":
        load(name, ALL_ARE_THERE)
    port = free_port()
    with uvicorn(tmp_path, port, url, "fastapi_app"):
        keep_notes(port, lambda text: ask(
            port, "POST", f"/notes?text={text}")[0])


def test_django_runs_with_gunicorn(tmp_path, url):
    for name in "django", "gunicorn":
        load(name, ALL_ARE_THERE)
    port = free_port()
    with gunicorn(tmp_path, port, url, "django_app"):
        keep_notes(port, lambda text: ask(
            port, "POST", "/notes", f"text={text}")[0])


# what asks an application whose pool has no connection in time
BUSY = """
import {name} as example
from dbutils.pooled_db import TooManyConnectionsError
{imports}

def refuse(*args):
    raise TooManyConnectionsError

example.execute = refuse
answer = {client}.get("/notes")
print(answer.status_code, answer.headers["Retry-After"])
"""


@pytest.mark.parametrize(("name", "imports", "client"), [
    ("fastapi_app", "from fastapi.testclient import TestClient",
     "TestClient(example.app)"),
    ("django_app", "from django.test import Client",
     "Client(SERVER_NAME='localhost')")])
def test_an_application_that_is_busy_asks_to_come_again(
        name, imports, client, tmp_path):
    for module in "fastapi", "httpx", "django":
        load(module, ALL_ARE_THERE)
    done = subprocess.run(
        [sys.executable, "-c", BUSY.format(
            name=name, imports=imports, client=client)],
        cwd=str(EXAMPLES), stdout=subprocess.PIPE, check=True, text=True,
        env=environment(DATABASE_URL=f"sqlite:///{tmp_path / 'busy.db'}"))
    assert done.stdout == "503 2\n"


def test_celery_runs_with_redis(tmp_path, url, request):
    for name in "celery", "redis":
        load(name, ALL_ARE_THERE)
    broker = request.getfixturevalue("broker")
    with worker(tmp_path, broker, url, "celery_tasks"):
        lines = run_example(
            "celery_tasks", tmp_path, BROKER_URL=broker, DATABASE_URL=url)
    assert lines == ["40 notes"]
