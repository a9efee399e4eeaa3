"""The pages of the manual: their code, their links, their languages."""

import ast
import importlib
import inspect
import json
import math
import re
from functools import lru_cache
from html import unescape
from html.parser import HTMLParser
from itertools import product
from textwrap import dedent

import drivers
import pytest
from drivers import HOST, ready
from folders import DOCS, EXAMPLES
from manuals import CHINESE, PAGES, all_blocks, blocks, german

import dbutils.drivers
import dbutils.hosts
import dbutils.testing
import dbutils.top
from dbutils import ConnectionConfig, PoolConfig, PooledDB
from dbutils._steady.mistakes import OPTIONS
from dbutils.pool_manager import get_pool_manager

pytest.importorskip("opentelemetry")
pytest.importorskip("prometheus_client")

import dbutils.otel
import dbutils.prometheus

pytestmark = [
    pytest.mark.portable, pytest.mark.skipif(
        not DOCS.is_dir(), reason="there is no checkout around these tests")]

HTML = sorted(
    path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.html"))
# how many lines screens have
TWO_SCREENS, THREE_SCREENS = 125, 195


def code_with(*needs):
    return [block for name in PAGES for block in blocks(name, *needs)]


def read(name):
    return (DOCS / name).read_text(encoding="utf-8")


# The code.


@pytest.fixture
def url(servers_running, monkeypatch):
    """A database of PostgreSQL, in the environment."""
    driver = ready(drivers.BY_NAME["psycopg2"], servers_running)
    driver.run("drop table if exists notes")
    url = f"postgresql://postgres@{HOST}:{driver.port}/postgres"
    monkeypatch.setenv("DATABASE_URL", url)
    return url


def names_of(code):
    """Run a program; return its names."""
    names = {"__name__": "notes"}
    exec(compile(code, "notes", "exec"), names)
    return names


def try_notes(names):
    """Use a web application of Flask that keeps notes."""
    client = names["app"].test_client()
    assert client.get("/notes").get_json() == []
    for _ in range(3):
        answer = client.post("/notes", data={"text": "buy milk"})
        assert answer.status_code == 204
    assert client.get("/notes").get_json() == ["buy milk"] * 3
    return client


@pytest.mark.slow
@pytest.mark.parametrize(("_", "code"), code_with("web"))
def test_the_web_applications_on_sqlite_run(_, code, tmp_path, monkeypatch):
    drivers.load("flask")
    monkeypatch.chdir(tmp_path)
    names = names_of(code)
    try_notes(names)
    assert names["pool"].stats().in_use == 0
    names["pool"].shutdown()


@pytest.mark.slow
@pytest.mark.parametrize(("_", "code"), code_with("web_on_postgresql"))
def test_the_web_applications_on_postgresql_run(_, code, url):
    drivers.load("flask")
    names = names_of(code)
    pool = names["pool"]
    client = try_notes(names)
    assert pool.stats().in_use == 0
    if "health" in names:
        assert client.get("/health").status_code == 200
        held = [pool.connection() for _ in range(8)]
        answer = client.get("/health")
        assert (answer.status_code, answer.headers["Retry-After"]) == (
            503, "2")
        for db in held:
            db.close()
    pool.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize(("_", "code"), code_with("api"))
def test_the_programs_for_fastapi_run(_, code, tmp_path, monkeypatch):
    drivers.load("fastapi")
    drivers.load("httpx")
    # this one does not mind what is deprecated in there
    testclient = pytest.importorskip("fastapi.testclient")
    monkeypatch.chdir(tmp_path)
    assert "maxwait=5" in code
    names = names_of(code.replace("maxwait=5", "maxwait=0.1"))
    pool = names["pool"]
    client = testclient.TestClient(names["app"])
    assert client.post("/notes?text=milk").status_code == 204
    assert client.get("/notes").json() == ["milk"]
    assert pool.stats().in_use == 0
    held = [pool.connection() for _ in range(8)]
    assert client.get("/notes").status_code == 503
    assert client.post("/notes?text=tea").status_code == 503
    for db in held:
        db.close()
    pool.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize(("_", "code"), code_with("function"))
def test_the_handlers_of_lambda_run(_, code, url):
    names = names_of(code)
    for name in "ann", "bob":
        assert names["handler"]({"name": name}, None)["name"] == name
    assert names["pool"].stats().opened == 1
    names["pool"].shutdown()


def functions_of(code):
    """Return the functions of a program, without bodies and docstrings."""
    return {
        node.name: ast.dump(node.args) + "".join(
            map(ast.dump, node.decorator_list))
        for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("page", "needs", "example"), [
    ("howto/fastapi.rst", "api", "fastapi_app"),
    ("howto/lambda.rst", "function", "lambda_handler")])
def test_a_page_shows_the_program_of_an_example(page, needs, example):
    (_, code), = (block.values for block in blocks(page, needs))
    path = EXAMPLES / f"{example}.py"
    assert f"docs/examples/{path.name}" in read(page)
    assert functions_of(code) == functions_of(
        path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [*PAGES, *map(german, PAGES), CHINESE])
def test_no_command_shows_a_password_to_others(name):
    """The doctor would complain of its own example."""
    assert not re.search(r"dbutils .*(\$DATABASE_URL|:\w+@)", read(name))


@pytest.mark.parametrize("name", PAGES)
def test_the_examples_that_a_page_names_are_there(name):
    for example in re.findall(r"docs/examples/(\w+\.py)", read(name)):
        assert (EXAMPLES / example).is_file()


@pytest.fixture
def psycopg2_connects(url, monkeypatch):
    """The parameters with which psycopg2 connects, to the server of tests."""
    import psycopg2
    real, seen = psycopg2.connect, []

    def connect(*args, **kwargs):
        seen.append(kwargs)
        return real(url)
    monkeypatch.setattr(psycopg2, "connect", connect)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize(("_", "code"), code_with("manager"))
def test_the_code_with_passwords_runs(_, code, psycopg2_connects):
    names_of(code)
    assert psycopg2_connects[0]["password"] == "the secret of today"
    get_pool_manager().shutdown()


@pytest.mark.slow
@pytest.mark.parametrize(("_", "code"), code_with("engine"))
def test_the_code_with_an_engine_runs(_, code, psycopg2_connects):
    drivers.load("sqlalchemy")
    pool = names_of(code)["pool"]
    assert (pool.stats().opened, pool.stats().in_use) == (1, 0)
    pool.shutdown()


def test_the_tests_that_are_shown_pass():
    (code,), = (
        block.values for block in blocks("howto/testing.rst")
        if "def test_" in block.values[0])
    tests = {name: test for name, test in names_of(code).items()
             if name.startswith("test_")}
    assert len(tests) == 3
    for test in tests.values():
        test()


CREATORS = {
    "PooledDB": PooledDB, "PoolConfig": PoolConfig,
    "ConnectionConfig": ConnectionConfig}


def options_in(code):
    """Yield our functions and the drivers that are called, with options."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and (
                getattr(node.func, "id", None) in CREATORS):
            driver = getattr(node.args[0], "id", None) if node.args else None
            yield CREATORS[node.func.id], driver, {
                keyword.arg for keyword in node.keywords}


COMPILED = [
    pytest.param(dedent(block["code"]), id=place)
    for name in PAGES for block, place in all_blocks(name)
    if block["obstacle"]]


@pytest.mark.slow
@pytest.mark.parametrize("code", COMPILED)
def test_code_that_is_only_compiled_has_options_that_exist(code):
    compile(code, "page", "exec")
    found = list(options_in(code))
    assert found
    for function, driver, options in found:
        known = set(inspect.signature(function).parameters)
        if driver is not None and options - known:
            module = importlib.import_module(driver)
            parameters = inspect.signature(module.connect).parameters
            if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
                parameters = {**parameters, **dict.fromkeys((
                    "host", "port", "user", "password", "dbname"))}
            known |= set(parameters)
        assert options <= known


# options of drivers, servers and other libraries of which the pages speak
OTHER_OPTIONS = {
    "acquisition_timeout", "application-group", "as_dict", "buffered",
    "cache", "check_same_thread",
    "conninfo", "dsn", "homogeneous", "plugins", "pool_pre_ping", "poolclass",
    "prepare_threshold", "reconnect", "release_timeout", "row_factory",
    "server_type", "set_encoding", "statement_timeout"}

MODULES = [
    dbutils.drivers, dbutils.hosts, dbutils.otel, dbutils.prometheus,
    dbutils.testing, dbutils.top, dbutils]


def routines_of(thing):
    """Yield a function, or a class with its functions."""
    if inspect.isfunction(thing):
        yield thing
    elif inspect.isclass(thing) and not issubclass(thing, Exception):
        for name in dir(thing):
            if name == "__init__" or not name.startswith("_"):
                yield getattr(thing, name)


@lru_cache(maxsize=None)
def our_options():
    """Return the names of the parameters of all public functions."""
    return {
        name for module in MODULES for thing in module.__all__
        for function in routines_of(getattr(module, thing))
        if inspect.isfunction(getattr(function, "__func__", function))
        for name in inspect.signature(function).parameters}


@pytest.mark.parametrize("name", [*PAGES, CHINESE])
def test_options_of_which_a_page_speaks_exist(name):
    told = {
        option for literal in re.findall(r"``([^`]+)``", read(name))
        for option in re.findall(r"([\w-]+)=(?=\S)", literal)}
    assert told <= {*OPTIONS, *our_options(), *OTHER_OPTIONS}


@pytest.mark.parametrize("name", PAGES)
def test_code_before_a_change_is_code(name, tmp_path, monkeypatch):
    """That of DBUtils 3 also runs, since nothing has to be changed."""
    monkeypatch.chdir(tmp_path)
    for block, place in all_blocks(name):
        if block["side"] == "before":
            code = compile(dedent(block["code"]), place, "exec")
            if "import sqlite3\nfrom dbutils" in dedent(block["code"]):
                names = {}
                exec(code, names)
                assert names["pool"]._connections == 0
                names["pool"].close()


@pytest.mark.parametrize("name", PAGES)
def test_all_code_is_run_or_compiled(name):
    assert len(all_blocks(name)) == read(name).count(".. code:: python")
    assert name == "explanation/pitfalls.rst" or not any(
        block["reason"] for block, _ in all_blocks(name))


# The languages.


def shape(name):
    """Return what all languages have in common, in order."""
    text = read(name)
    return (
        re.findall(r"^\.\. _(\S+):$", text, re.MULTILINE),
        re.findall(r"^([+=-])\1{4,}$", text, re.MULTILINE),
        [(block["needs"], block["side"], without_comments(block["code"]))
         for block, _ in all_blocks(name)],
        re.findall(r"^\.\. code:: (?!python)\w+\n((?: {3,}.*\n|\n)+)", text,
                   re.MULTILINE),
        len(re.findall(r"^(?:\d+\.|\*) ", text, re.MULTILINE)))


def without_comments(code):
    """Return code without comments, docstrings and prose."""
    code = re.sub(r'"""[^"]*"""|"[^"\n]* [^"\n]*"', '"prose"', code)
    return [line.split("#")[0].rstrip() for line in code.splitlines()]


@pytest.mark.parametrize("name", PAGES)
def test_both_languages_say_the_same_things(name):
    assert shape(german(name)) == shape(name)


@pytest.mark.parametrize("name", PAGES)
def test_each_section_has_a_label_that_stays(name):
    labels, underlines = shape(name)[:2]
    assert len(labels) == len(set(labels)) == len(underlines) - 1
    for page in name, german(name):
        assert re.findall(
            r'<a class="depth-\d" href="#(.+?)"',
            read(page.replace(".rst", ".html"))) == labels


@pytest.mark.parametrize("name", [name for name in PAGES if "/" in name])
def test_a_page_has_at_most_three_screens_and_an_answer_two(name):
    is_answer = name.startswith("howto/")
    assert read(name).count("\n") <= (
        TWO_SCREENS if is_answer else THREE_SCREENS)


# The built pages.


class Reader(HTMLParser):
    """Collects the anchors of a page, and what it refers to."""

    def __init__(self, name):
        super().__init__()
        self.ids, self.links, self.loaded, self.here = [], [], [], []
        self.attributes = {}
        self.feed(read(name))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.attributes.setdefault(tag, found)
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
            if "aria-current" in found:
                self.here.append(found["href"])
        elif "href" in found or "src" in found:
            self.loaded.append(found.get("href") or found["src"])


PARSED = {}


def parsed(name):
    if name not in PARSED:
        PARSED[name] = Reader(name)
    return PARSED[name]


def target(name, link):
    """Return the page to which a link leads, and the anchor."""
    path, _, anchor = link.partition("#")
    found = (DOCS / name).parent / path if path else DOCS / name
    return found.resolve().relative_to(DOCS.resolve()).as_posix(), anchor


def inner_links(name):
    return [
        target(name, link) for link in parsed(name).links
        if "://" not in link]


@pytest.mark.parametrize("name", HTML)
def test_all_links_lead_to_pages_and_anchors_that_are_there(name):
    assert len(parsed(name).ids) == len(set(parsed(name).ids))
    for page, anchor in inner_links(name):
        assert (DOCS / page).is_file(), page
        if anchor:
            assert anchor in parsed(page).ids, (page, anchor)


@pytest.mark.parametrize("name", [*PAGES, *map(german, PAGES), CHINESE])
def test_links_lead_to_sources_where_these_are_read(name):
    links = re.findall(r"<([^<>\s]+)>`_", read(name))
    assert links
    for link in links:
        assert "://" in link or (DOCS / target(name, link)[0]).is_file()
        assert ".html" not in link


def words_in(text):
    """Return the pieces of HTML between which a line can be broken."""
    plain = re.sub(r"<(?!wbr)[^>]*>", "", text)
    return [
        unescape(word) for word in re.split(r"<wbr>|\s+|(?<=\w)-", plain)]


@pytest.mark.parametrize("name", HTML)
def test_names_can_be_broken_where_phones_have_no_room(name):
    text = read(name)
    for pattern, room in [
            (r"<h1.*?>(.+?)</h1>", 23),
            (r"<t[dh][^>]*>(.*?)</t[dh]>", 21),
            (r'<span class="docutils literal">(.+?)</span>', 36),
            (r'<span class="pre">(.+?)</span>', 29)]:
        for part in re.findall(pattern, text, re.DOTALL):
            assert max(map(len, words_in(part))) <= room, part


@pytest.mark.parametrize("name", HTML)
def test_no_row_of_a_table_is_torn(name):
    """In the source, a line that begins in the first column is a new row."""
    for row in re.findall(r"<tr>(.+?)</tr>", read(name), re.DOTALL):
        cells = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)
        first, *others = [
            re.sub("<[^>]*>", "", cell).strip() for cell in cells]
        assert first
        assert not first.endswith(",")
        assert any(others)


@pytest.mark.parametrize("name", HTML)
def test_a_page_loads_nothing_from_elsewhere(name):
    assert len(parsed(name).loaded) >= 2
    for link in parsed(name).loaded:
        assert "//" not in link
        assert (DOCS / target(name, link)[0]).is_file()
    for file in ("doc.css", "doc.js"):
        assert "//" not in re.sub(r"(?m)^ *// .*$", "", read(file))


@pytest.mark.parametrize("name", HTML)
def test_the_navigation_shows_all_pages_and_the_present_one(name):
    assert [target(name, link) for link in parsed(name).here] == [(name, "")]
    linked = {page for page, _ in inner_links(name)}
    for source in PAGES:
        page = source.replace(".rst", "")
        assert {f"{page}.html", f"{page}.de.html"} & linked
    sections = re.findall(r'<section id="[^"]+">', read(name))
    shown = re.findall(r'<a class="depth-\d" href="#', read(name))
    assert 0 < len(shown) <= len(sections)


@pytest.mark.parametrize(("name", "known"), [
    ("main.html", {
        "dbutils-user-s-guide", "pools-pooled-db", "parameters-of-a-pool",
        "when-a-statement-is-repeated-and-when-not", "all-parameters",
        "mysql-server-has-gone-away", "how-it-is-built-inside"}),
    ("main.de.html", {
        "dbutils-benutzerhandbuch", "fallstricke", "parameter-eines-pools",
        "was-die-groszen-bedeuten", "uber-einen-rechner-hinaus"})])
def test_the_anchors_of_the_manual_on_one_page_lead_to_its_pages(name, known):
    """Programs and letters refer to them."""
    assert known <= set(parsed(name).ids)
    items = re.findall(
        r'<p id="([\w-]+)"><a class="reference external" href="([^"]+)">',
        read(name))
    assert len(dict(items)) == 85
    for _, link in items:
        page, anchor = target(name, link)
        assert page != name
        assert page.endswith(name.replace("main", ""))
        assert not anchor or anchor in parsed(page).ids
    assert '<ul class="moved' in read(name)
    assert '.moved' in read("doc.js")


class Math:
    """The functions of JavaScript that the calculation of sizes uses."""

    ceil, floor, max, min = math.ceil, math.floor, max, min


@pytest.mark.parametrize("name", [
    "explanation/size.rst", "explanation/size.de.rst"])
def test_sizes_are_calculated_by_the_form_as_in_the_text(name):
    formula = re.search(
        r"function sizeOf\(.+?\) \{\s+return ([^;]+);", read("doc.js"))[1]
    code, = (block["code"] for block, _ in all_blocks(name))
    size = names_of(dedent(code))["size"]
    for figures in product((1, 2, 8, 32), (1, 3, 8, 40), (21, 100), (0, 20)):
        names = dict(zip(
            ("processors", "processes", "limit", "others"), figures))
        result = eval(" ".join(formula.split()), {"Math": Math, **names})
        assert result == size(*figures)
    row = re.search(r"^8 +(\d+) +(\d+) +(\d+) +(\d+)$", read(name), re.M)
    assert [int(cell) for cell in row.groups()] == [
        size(8, processes, 100) for processes in (1, 4, 8, 40)]
    fields = re.findall(r'<input name="(\w+)"', read(name))
    assert fields == ["processors", "processes", "limit", "others"]


@pytest.mark.parametrize("name", ["index.html", "index.de.html"])
@pytest.mark.parametrize(("page", "words"), [
    ("howto/flask", ["psycopg2", "gunicorn", "teardown_appcontext"]),
    ("howto/crawler", ["pymysql", "ThreadPoolExecutor", "maxconnections"]),
    ("howto/from-dbutils", ["pooled_db"]),
    ("howto/from-psycopg2-pool", ["keyed_pool"]),
    ("howto/gone-away", ["ping", "pymysql"]),
    ("howto/sizing", ["doctor", "maxconnections"]),
    ("reference/pooled-db", ["maxconnections", "TooManyConnectionsError"]),
    ("explanation/full", ["nested", "ondeadlock"])])
def test_the_questions_of_users_are_answered_by_a_click(name, page, words):
    ends = name.replace("index", "")
    assert (page + ends, "") in inner_links(name)
    assert all(word in read(page + ends) for word in words)


def test_the_list_for_programs_has_the_sources_of_all_pages():
    listed = re.findall(r"^- \[.+?\]\((.+?)\): \S", read("llms.txt"), re.M)
    assert sorted(name.replace(".rst", ".html") for name in listed) == HTML


@pytest.mark.parametrize("language", ["en", "de", "zh"])
def test_the_index_of_the_search_leads_to_sections(language):
    text = read(f"search.{language}.js")
    entries = json.loads(text[text.index("["):].rstrip(";\n"))
    assert len(entries) >= 5
    for link, title, words, names in entries:
        page, anchor = target("index.html", link)
        assert parsed(page).attributes["html"]["lang"][:2] == language
        assert not anchor or anchor in parsed(page).ids
        assert title
        assert set(names.split()) <= set(words.split())


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize(("name", "place"), [
    ("maxwait", "pooled-db#parameters-of-a-pool"),
    ("maxlifetime", "lifetimes#how-long-connections-live"),
    ("shutdown", "pool-methods#all-methods"),
    ("getconn", "keyed-pool#how-it-is-used"),
    ("socket_timeout", "connection-config#the-settings-of-a-connection")])
def test_the_index_of_the_search_knows_where_names_are_explained(
        language, name, place):
    text = read(f"search.{language}.js")
    ends = ".html" if language == "en" else ".de.html"
    assert f"reference/{place.replace('#', f'{ends}#')}" in [
        link for link, _, _, names in json.loads(
            text[text.index("["):].rstrip(";\n"))
        if name in names.split()]
