"""The examples of the manual run."""

import importlib
import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager, suppress
from functools import partial
from threading import Thread

import drivers
import pytest
from drivers import ask as ask_for
from drivers import ready
from folders import EXAMPLES
from manuals import blocks
from patience import wait_until
from servers import HOST, free_port
from serving import ask, environment, gunicorn, run_example, url_of

pytestmark = pytest.mark.slow

# what each of them prints at the end
LAST_LINES = {
    "allocation": "3 requests were served",
    "basic": "20 guests",
    "configuration": "all came back: True",
    "crawler": "200 pages",
    "dynamic": "3 are kept from now on",
    "errors": "This pool was shut down and hands out no connections. [DBU-33]",
    "health": "healthy",
    "keyed": "ann takes ['bread', 'tea']",
    "manager": (
        "{'total_pools': 2, 'total_pools_created': 3,"
        " 'total_pools_destroyed': 1, 'total_connections_served': 4}"),
    "performance": "100% were there already",
    "replicas": "tea was read",
}
# and those that print something else when they are run again
SECOND_LAST_LINES = {"basic": "40 guests", "crawler": "400 pages"}
# those that are run by other tests, since they serve others, or print more
OTHERS = {
    "celery_tasks", "database", "django_app", "fastapi_app", "flask_app",
    "flask_shop", "lambda_handler", "metrics", "psycopg2_pool", "telemetry"}
DATABASES = ["sqlite", "postgresql+psycopg2", "mysql+pymysql"]

if not EXAMPLES.is_dir():
    pytest.skip(
        "there is no checkout around these tests", allow_module_level=True)


def test_all_examples_are_known():
    found = {path.stem for path in EXAMPLES.glob("*.py")}
    assert found == set(LAST_LINES) | OTHERS


def test_examples_with_different_tables_have_files_of_their_own():
    """One tries them one after the other, in the same folder."""
    files = [
        name for path in EXAMPLES.glob("*.py") for name in set(
            re.findall(r"\w+\.db(?=\")", path.read_text(encoding="utf-8")))]
    assert len(files) > 10
    assert {name for name in files if files.count(name) > 1} == {"notes.db"}


@pytest.mark.parametrize("name", sorted(LAST_LINES))
def test_an_example_runs_and_runs_again(name, tmp_path):
    for lines in (LAST_LINES, {**LAST_LINES, **SECOND_LAST_LINES}):
        assert lines[name] in run_example(name, tmp_path)


def on_server(kind, servers_running, *tables):
    """Return a driver, and the URL of its database without the driver."""
    url = url_of(kind, None, servers_running, *tables)
    family, _, name = kind.partition("+")
    return drivers.BY_NAME[name], url.replace(kind, family)


@pytest.mark.parametrize("kind", DATABASES[1:])
@pytest.mark.parametrize("name", ["keyed", "replicas"])
def test_an_example_runs_on_servers(name, kind, tmp_path, servers_running):
    _, url = on_server(kind, servers_running)
    assert LAST_LINES[name] in run_example(
        name, tmp_path, DATABASE_URL=url, DATABASE_URLS=url)


@pytest.mark.parametrize("kind", DATABASES[1:])
def test_the_manager_runs_on_servers(kind, tmp_path, servers_running):
    driver, url = on_server(kind, servers_running)
    shops = "north", "south", "west"
    con = driver.connect()
    if driver.family == "postgresql":
        con.autocommit = True  # such statements want no transaction
    for shop in shops:
        ask_for(con, f"create database {shop}")
    url = f"{url.rpartition('/')[0]}/{{}}"
    assert LAST_LINES["manager"] in run_example(
        "manager", tmp_path, DATABASE_URL=url)
    for shop in shops:
        ask_for(con, f"drop database {shop}")
    con.close()


@pytest.mark.parametrize("kind", DATABASES)
def test_the_metrics_of_a_pool_are_shown(kind, tmp_path, servers_running):
    drivers.load("prometheus_client")
    lines = run_example(
        "metrics", tmp_path, PORT=str(free_port()),
        DATABASE_URL=url_of(kind, tmp_path, servers_running))
    figures = {
        name.partition("{")[0]: float(number)
        for name, _, number in (line.rpartition(" ") for line in lines)}
    assert figures["db_client_connection_wait_time_seconds_count"] == 200
    assert figures["db_client_connection_max"] == 8


@pytest.mark.parametrize("kind", DATABASES)
def test_the_telemetry_of_a_pool_is_shown(kind, tmp_path, servers_running):
    drivers.load("opentelemetry.sdk")
    found = json.loads("".join(run_example(
        "telemetry", tmp_path,
        DATABASE_URL=url_of(kind, tmp_path, servers_running))))
    metrics = found["resource_metrics"][0]["scope_metrics"][0]["metrics"]
    use, = (metric for metric in metrics
            if metric["name"] == "db.client.connection.use_time")
    assert use["data"]["data_points"][0]["count"] == 1


# calls a handler for each line, as AWS Lambda does for each event
RUNTIME = """
import json, sys
from lambda_handler import handler
for line in sys.stdin:
    print(json.dumps(handler(json.loads(line), None)), flush=True)
"""


@contextmanager
def handler(url):
    """Yield a function that calls the handler in a process of its own."""
    def call(name):
        print(json.dumps({"name": name}), file=runtime.stdin, flush=True)
        return json.loads(runtime.stdout.readline())["name"]

    with subprocess.Popen(
            [sys.executable, "-W", "error", "-c", RUNTIME],
            cwd=str(EXAMPLES), stdin=subprocess.PIPE, text=True,
            stdout=subprocess.PIPE,
            env=environment(DATABASE_URL=url)) as runtime:
        yield call
    assert runtime.returncode == 0


@pytest.mark.parametrize("kind", DATABASES)
def test_the_handler_for_lambda_runs(kind, tmp_path, servers_running):
    with handler(url_of(kind, tmp_path, servers_running)) as call:
        assert [call(name) for name in ("ann", "bob")] == ["ann", "bob"]


def test_the_handler_keeps_its_connection_and_replaces_it(servers_running):
    driver, url = on_server("postgresql+psycopg2", servers_running)
    sessions = []
    with handler(f"{url}?application_name=function") as call:
        for name in "ann", "bob", "cy":
            assert call(name) == name
            (session,), = driver.run(
                "select pid from pg_stat_activity"
                " where application_name = 'function'")
            sessions.append(session)
            if name == "bob":  # before the process goes on
                driver.kill(session)
    first, second, third = sessions
    assert first == second != third


@pytest.fixture(params=[
    "sqlite", "postgresql+psycopg2", "postgresql+pg8000", "mysql+pymysql",
    "mysql+mysql.connector"])
def url(request, tmp_path, servers_running):
    """A database without the table of the web application."""
    return url_of(request.param, tmp_path, servers_running, "visits")


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.parametrize("page", ["start.rst", "howto/flask.rst"])
def test_the_web_applications_of_the_manual_run_with_gunicorn(
        page, tmp_path, servers_running):
    drivers.load("gunicorn")
    (_, code), = (block.values for block in blocks(page, "web_on_postgresql"))
    (tmp_path / "notes.py").write_text(code, encoding="utf-8")
    driver = ready(drivers.BY_NAME["psycopg2"], servers_running)
    driver.run("drop table if exists notes")
    port = free_port()
    url = f"postgresql://postgres@{HOST}:{driver.port}/postgres"
    with gunicorn(tmp_path, port, url, "notes", tmp_path):
        for _ in range(8):
            assert ask(port, "POST", "/notes", "text=buy+milk")[0] == 204
        assert json.loads(ask(port, "GET", "/notes")[1]) == ["buy milk"] * 8


@contextmanager
def crawler(kind, servers_running):
    """Run the crawler, which finds everything once, on an empty database."""
    _, url = on_server(kind, servers_running, "queue", "pages", "links")
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(EXAMPLES / "crawler.py")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(DATABASE_URL=url))
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


@pytest.mark.parametrize("kind", DATABASES[1:])
def test_the_crawler_runs_on_servers(kind, servers_running):
    with crawler(kind, servers_running):
        pass


def test_the_crawler_goes_on_when_its_sessions_are_ended(servers_running):
    driver = ready(drivers.BY_NAME["pymysql"], servers_running)
    ended = 0
    with crawler("mysql+pymysql", servers_running) as process:
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
