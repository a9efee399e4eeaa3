"""The examples of the manual run."""

import importlib
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPConnection
from threading import Thread

import drivers
import pytest
from drivers import ready
from folders import EXAMPLES
from patience import wait_until
from servers import HOST, free_port

pytestmark = pytest.mark.slow

# what each of them prints at the end
LAST_LINES = {
    "allocation": "3 requests were served",
    "basic": "20 guests",
    "configuration": "all came back: True",
    "crawler": "200 pages",
    "dynamic": "3 are kept from now on",
    "errors": "This pool was shut down and hands out no connections.",
    "health": "healthy",
    "manager": (
        "{'total_pools': 2, 'total_pools_created': 3,"
        " 'total_pools_destroyed': 1, 'total_connections_served': 4}"),
    "performance": "100% were there already",
}
# and those that print something else when they are run again
SECOND_LAST_LINES = {"basic": "40 guests", "crawler": "400 pages"}
# those that are run by other tests, since they need a server
OTHERS = {"psycopg2_pool", "flask_app", "flask_shop"}

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
def gunicorn(folder, port, url, name="flask_app"):
    """Run a web application with two processes of several threads."""
    log = folder / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--workers", "2", "--threads",
             "4", "--preload", "--chdir", str(EXAMPLES), "--bind",
             f"{HOST}:{port}", f"{name}:app"], stderr=stream,
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

    def checkout():
        for _ in range(5):
            statuses.append(ask(port, "POST", "/visit/index")[0])
            answer = json.loads(ask(port, "GET", "/visits")[1])
            processes.add(answer["process"])

    with gunicorn(tmp_path, port, url):
        threads = [Thread(target=checkout) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(lambda: len(processes) == 2 or checkout())
        answer = json.loads(ask(port, "GET", "/visits")[1])
    assert set(statuses) == {204}
    assert answer["visits"] == {"index": len(statuses)}


@contextmanager
def crawler(driver):
    """Run the crawler, which finds everything once, on an empty database."""
    for table in "queue", "pages", "links":
        driver.run(f"drop table if exists {table}")
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(EXAMPLES / "crawler.py")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={
            **os.environ,
            "DATABASE_URL": f"mysql://root@{HOST}:{driver.port}/test"})
    with process:
        try:
            yield process
            found, errors = process.communicate(timeout=120)
        finally:
            process.kill()
    assert errors == ""
    assert found.splitlines()[:-1] == [
        "200 pages", "400 links", "1 failed", "29 repeated"]


def end_sessions(driver):
    """End the sessions of a crawler at work; return how many they were."""
    others = driver.run(
        "select id from information_schema.processlist where user = 'root'"
        " and db = 'test' and id <> connection_id()")
    if len(others) < 5:
        return 0
    for session, in others:
        with suppress(driver.load().Error):  # it has ended by itself
            driver.run(f"kill {session}")
    return len(others)


def test_the_crawler_runs_on_mariadb(servers_running):
    with crawler(ready(drivers.BY_NAME["pymysql"], servers_running)):
        pass


def test_the_crawler_goes_on_when_its_sessions_are_ended(servers_running):
    driver = ready(drivers.BY_NAME["pymysql"], servers_running)
    ended = 0
    with crawler(driver) as process:
        while process.poll() is None and ended < 40:
            ended += end_sessions(driver)
    assert ended


@pytest.fixture(params=["sqlite", "psycopg2"])
def shop_url(request, tmp_path):
    """A database without the tables of the shop."""
    drivers.load("flask")
    if request.param == "sqlite":
        return str(tmp_path / "shop.db")
    driver = ready(
        drivers.BY_NAME[request.param],
        request.getfixturevalue("servers_running"))
    for table in "orders", "items", "members":
        driver.run(f"drop table if exists {table}")
    return f"postgresql://postgres@{HOST}:{driver.port}/postgres"


@pytest.fixture
def shop(shop_url, monkeypatch):
    """The web application, in this process."""
    monkeypatch.setenv("DATABASE_URL", shop_url)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    sys.modules.pop("flask_shop", None)
    with monkeypatch.context() as context:
        context.setattr(sys, "dont_write_bytecode", True)
        module = importlib.import_module("flask_shop")
    yield module
    module.pool.shutdown()
    del sys.modules["flask_shop"]


@pytest.fixture
def member(shop):
    """Somebody with a browser, who has logged in."""
    client = shop.app.test_client()
    assert client.get("/").headers["Location"].endswith("/login")
    client.post("/login", data={"name": "ann", "password": "book"})
    return client


def test_the_shop_shows_pages_of_its_list(member):
    for page, number, links in (
            (1, 10, {"next"}), (2, 10, {"next", "back"}), (4, 5, {"back"})):
        text = member.get(f"/?page={page}").get_data(as_text=True)
        assert text.count("<li>") == number
        assert {link for link in ("next", "back") if link in text} == links


def test_only_the_right_password_opens_the_shop(shop, member):
    other = shop.app.test_client()
    other.post("/login", data={"name": "ann", "password": "another"})
    assert other.get("/").status_code == 302
    other.post("/login", data={"name": "ann", "password": "book"})
    assert other.get("/").status_code == 200


def test_the_shop_takes_an_order_as_a_whole_or_not_at_all(shop, member):
    def order(amount):
        answer = member.post("/order", data={"item": 3, "amount": amount})
        page = member.get("/").get_data(as_text=True)
        return answer.status_code, page

    status, page = order(2)
    assert (status, "Thank you." in page, "book 3: 18" in page) == (
        302, True, True)
    status, page = order(19)
    assert (status, "not enough" in page, "book 3: 18" in page) == (
        302, True, True)
    assert order("x")[0] == 400
    with shop.pool.transaction() as db:
        shop.query(db, "drop table orders")
    status, page = order(1)  # has changed the stock before it failed
    assert (status, "book 3: 18" in page) == (500, True)


def test_the_shop_is_busy_and_well_again(shop, member):
    ask_for_health = partial(member.get, "/health")
    assert ask_for_health().get_json()["status"] == "healthy"
    held = [shop.pool.connection() for _ in range(4)]
    answer = ask_for_health()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    for db in held:
        db.close()
    assert member.get("/").status_code == 200
    assert ask_for_health().status_code == 200
    assert member.get("/nowhere").status_code == 404


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_the_shop_runs_in_several_processes(tmp_path, shop_url):
    drivers.load("gunicorn")
    port = free_port()
    processes = set()

    def look():
        status, answer = ask(port, "GET", "/health")
        if status == 200:  # and not too busy to connect in a second
            processes.add(json.loads(answer)["process"])

    with gunicorn(tmp_path, port, shop_url, "flask_shop"):
        wait_until(lambda: len(processes) == 2 or look())
        assert ask(port, "GET", "/")[0] == 302
