"""Programs that serve others for a while, and what they answer."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection

import drivers
from drivers import ready
from folders import EXAMPLES
from patience import wait_until
from servers import HOST, is_listening


def ask(port, method, path, form=None):
    """Return the status and the answer of a web server."""
    connection = HTTPConnection(HOST, port, timeout=20)
    try:
        connection.request(method, path, form, {} if form is None else {
            "Content-Type": "application/x-www-form-urlencoded"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def environment(**variables):
    """Return the variables of this process, and these."""
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **variables}


@contextmanager
def at_work(folder, is_ready, *command, place=EXAMPLES, **variables):
    """Run a module of Python until the end of a block.

    folder: where its log is written
    is_ready: a function that gets the log, and returns whether it has begun
    command: the module and its parameters
    place: the folder that is its own
    variables: those of its environment
    """
    log = folder / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], stderr=stream, stdout=stream,
            stdin=subprocess.DEVNULL, cwd=str(place),
            env=environment(**variables))
        try:
            wait_until(lambda: is_ready(log.read_text()) or (
                process.poll() is not None))
            assert process.poll() is None, log.read_text()
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    assert "Traceback" not in log.read_text()


def gunicorn(folder, port, url, name="flask_app", place=EXAMPLES):
    """Run a web application with two processes of several threads."""
    return at_work(
        folder, lambda log: log.count("Booting worker") == 2, "gunicorn",
        "--workers", "2", "--threads", "4", "--preload", "--bind",
        f"{HOST}:{port}", f"{name}:app", place=place, DATABASE_URL=url)


def uvicorn(folder, port, url, name):
    """Run a web application with a process of many threads."""
    return at_work(
        folder, lambda log: is_listening(port), "uvicorn", "--host", HOST,
        "--port", str(port), f"{name}:app", DATABASE_URL=url)


def worker(folder, broker, url, name):
    """Run a worker of Celery with two processes."""
    return at_work(
        folder, lambda log: "ready." in log, "celery", "--app", name,
        "worker", "--concurrency", "2", "--loglevel", "INFO",
        "--without-mingle", "--without-gossip",  # there is no other worker
        BROKER_URL=broker, DATABASE_URL=url)


def run_example(name, folder, **variables):
    """Run an example to its end; return the lines that it has printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py")],
        cwd=str(folder), capture_output=True, text=True, timeout=120,
        check=False, env=environment(**variables))
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout.splitlines()


def url_of(kind, folder, servers_running, *tables):
    """Return the URL of a database in which these tables are not.

    kind: like "sqlite" or "postgresql+psycopg2", with the driver
    folder: for a file of SQLite
    """
    family, _, name = kind.partition("+")
    if family == "sqlite":
        return f"sqlite:///{folder / 'example.db'}"
    driver = ready(
        drivers.BY_NAME["pg8000.dbapi" if name == "pg8000" else name],
        servers_running)
    for table in tables:
        driver.run(f"drop table if exists {table}")
    user = (
        "postgres@{}/postgres" if family == "postgresql" else "root@{}/test")
    return f"{kind}://" + user.format(f"{HOST}:{driver.port}")
