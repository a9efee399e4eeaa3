"""The examples of the manual run."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread

import drivers
import pytest
from conftest import ready
from patience import wait_until
from servers import HOST, free_port

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parent.parent / "docs" / "examples"
# what each of them prints at the end
LAST_LINES = {
    "allocation": "3 requests were served",
    "basic": "20 guests",
    "configuration": "all came back: True",
    "dynamic": "3 are kept from now on",
    "errors": "This pool was shut down, it has no connections any more.",
    "health": "healthy",
    "manager": (
        "{'total_pools': 2, 'total_pools_created': 3,"
        " 'total_pools_destroyed': 1, 'total_connections_served': 4}"),
    "performance": "100% were there already",
}
# and those that print something else when they are run again
SECOND_LAST_LINES = {"basic": "40 guests"}
# those that are run by other tests, since they need a server
OTHERS = {"psycopg2_pool", "flask_app"}

if not EXAMPLES.is_dir():
    pytest.skip(
        "there is no checkout around these tests", allow_module_level=True)


def test_all_examples_are_known():
    found = {path.stem for path in EXAMPLES.glob("*.py")}
    assert found == set(LAST_LINES) | OTHERS


@pytest.mark.parametrize("name", sorted(LAST_LINES))
def test_an_example_runs_and_runs_again(name, tmp_path):
    for lines in (LAST_LINES, {**LAST_LINES, **SECOND_LAST_LINES}):
        done = subprocess.run(
            [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py")],
            cwd=str(tmp_path), capture_output=True, text=True, timeout=120,
            check=False)
        assert done.stderr == ""
        assert done.returncode == 0
        assert lines[name] in done.stdout.splitlines()


def ask(port, method, path):
    """Return the status and the answer of a web server."""
    connection = HTTPConnection(HOST, port, timeout=20)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@contextmanager
def gunicorn(folder, port, url):
    """Run the web application with two processes of several threads."""
    log = folder / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--workers", "2", "--threads",
             "4", "--preload", "--chdir", str(EXAMPLES), "--bind",
             f"{HOST}:{port}", "flask_app:app"], stderr=stream,
            stdout=stream, env={
                **os.environ, "PYTHONDONTWRITEBYTECODE": "1",
                "DATABASE_URL": url})
        try:
            wait_until(lambda: log.read_text().count("Booting worker") == 2)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    assert "Traceback" not in log.read_text()


@pytest.fixture(params=[
    "sqlite", "postgresql+psycopg2", "postgresql+pg8000", "mysql+pymysql",
    "mysql+mysql.connector"])
def url(request, tmp_path, servers_running):
    """A database without the table of the web application."""
    kind, _, name = request.param.partition("+")
    if kind == "sqlite":
        return f"sqlite:///{tmp_path / 'visits.db'}"
    driver = ready(
        drivers.BY_NAME["pg8000.dbapi" if name == "pg8000" else name],
        servers_running)
    driver.run("drop table if exists visits")
    user, base = (
        ("postgres", "postgres") if kind == "postgresql"
        else ("root", "test"))
    return f"{request.param}://{user}@{HOST}:{driver.port}/{base}"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_the_web_application_runs_in_several_processes(tmp_path, url):
    drivers.load("gunicorn")
    port = free_port()
    statuses, processes = [], set()

    def visit():
        for _ in range(5):
            statuses.append(ask(port, "POST", "/visit/index")[0])
            answer = json.loads(ask(port, "GET", "/visits")[1])
            processes.add(answer["process"])

    with gunicorn(tmp_path, port, url):
        threads = [Thread(target=visit) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(lambda: len(processes) == 2 or visit())
        answer = json.loads(ask(port, "GET", "/visits")[1])
    assert set(statuses) == {204}
    assert answer["visits"] == {"index": len(statuses)}
