"""Rules that the whole project keeps, read from the checkout."""

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

import dbutils

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "dbutils"

pytestmark = [
    pytest.mark.slow, pytest.mark.skipif(
        not PACKAGE.is_dir(),
        reason="there is no checkout around these tests")]

# a module may import what is in the layers before its own
LAYERS = [
    {"__init__"},
    {"_callers", "_checks", "_collecting", "_connection_url", "_deques",
     "_driver_methods", "_errors", "_mutex", "_secrets", "_sockets", "_sql",
     "_uris"},
    {"_counts", "_dialect", "_sqlalchemy", "_threads", "_turns", "_unsaved"},
    {"_finalizers", "_opening"},
    {"_managed", "_mysql_dialects", "_other_dialects", "_pg_dialects"},
    {"_dialects"},
    {"_crew", "_forks", "_outage", "_ping", "_slots", "_waiters"},
    {"_housekeeper", "_sharing", "_watchdog"},
    {"_upkeep"},
    {"_orders"},
    {"_connector"},
    {"_dbapi", "_drivers", "_failover", "_ledger"},
    {"_claims", "_cleaning", "_mistakes", "_more_drivers", "_steady"},
    {"drivers"},
    {"_affine", "_keeper", "_lease"},
    {"_queue"},
    {"_pool"},
    {"_db_cursor", "_features", "_forward", "_pg_line"},
    {"_db_line", "_simple"},
    {"_db_classic"},
    {"_db_safe", "_replaced", "_transactions"},
    {"_db_account", "_pooled", "_silence"},
    {"_demand", "_pg_rules"},
    {"steady_db", "steady_pg"},
    {"persistent_db", "persistent_pg", "simple_pooled_db",
     "simple_pooled_pg"},
    {"pooled_db", "pooled_pg"},
    {"dynamic_pooled_db", "health_check_pooled_db",
     "performance_optimized_pooled_db", "resource_allocation_pooled_db"},
    {"keyed_pool", "pool_manager"},
    {"uri_pool"},
    {"_server_facts", "_terminal"},
    {"_demo", "_doctor", "_known_drivers"},
    {"__main__"},
]
LAYER_OF = {
    name: number for number, names in enumerate(LAYERS) for name in names}

MODULES = sorted(PACKAGE.glob("*.py"))

STANDARD = {
    "__future__", "_thread", "_threading_local", "argparse", "atexit",
    "bisect", "collections", "contextlib", "contextvars", "copy",
    "dataclasses", "difflib", "dis", "enum", "functools", "gc", "getpass",
    "hashlib", "hmac", "importlib", "itertools", "json", "logging", "math",
    "operator", "os", "pathlib", "queue", "random", "re", "select", "signal",
    "socket", "sqlite3", "ssl", "stat", "statistics", "struct", "subprocess",
    "sys", "tempfile", "threading", "time", "traceback", "types", "typing",
    "urllib", "warnings", "weakref"}


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(tree):
    """Yield the modules that are imported, those of the package with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield "." + (node.module or "__init__")
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_imports_point_down(path):
    layer = LAYER_OF[path.stem]
    for name in imports_of(parse(path)):
        if name.startswith("."):
            assert LAYER_OF[name[1:]] < layer, name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_only_the_standard_library_is_needed(path):
    for name in imports_of(parse(path)):
        known = name.startswith(".") or name.split(".")[0] in STANDARD
        assert known or (name.split(".")[0], path.stem) in {
            ("pg", "_dbapi"), ("rich", "_terminal")}


def code_lines(function):
    """Count the lines of a function without its docstring."""
    body = function.body
    if ast.get_docstring(function):
        body = body[1:]
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


# ast tells the last lines of nodes from Python 3.8 on
has_last_lines = pytest.mark.skipif(
    not hasattr(ast.parse("1").body[0], "end_lineno"),
    reason="this Python does not tell where functions end")


@has_last_lines
@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_functions_are_short_and_classes_not_long(path):
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef):
            assert code_lines(node) <= 40, node.name
        elif isinstance(node, ast.ClassDef):
            # one thing of 300 lines is better than two slices of it
            assert node.end_lineno - node.lineno <= 300, node.name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_try_stands_in_a_try(path):
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Try):
            inner = [sub for child in node.body for sub in ast.walk(child)]
            assert not any(isinstance(sub, ast.Try) for sub in inner)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_begins_with_a_short_description(path):
    text = ast.get_docstring(parse(path))
    assert text
    assert len(text.splitlines()) <= 18


def explanations_in(path):
    """Return what the functions of a module say about parameters."""
    texts = [
        ast.get_docstring(node) or "" for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef)]
    return re.findall(
        r"^([a-z]+(?:, [a-z]+)*: .*)$", "\n".join(texts), re.MULTILINE)


def test_parameters_are_explained_only_once():
    seen = {}
    for path in MODULES:
        for said in explanations_in(path):
            seen.setdefault(said, []).append(path.stem)
    assert len(seen) > 20
    assert [places for places in seen.values() if len(places) > 1] == []


@pytest.mark.parametrize("name", [
    "pyproject.toml", "README.md", "docs/main.rst", "docs/main.de.rst",
    "docs/changelog.rst", "docs/contributing.rst", ".bumpversion.cfg"])
def test_the_version_is_the_same_everywhere(name):
    assert dbutils.__version__ in (ROOT / name).read_text(encoding="utf-8")


def test_the_readme_has_exactly_two_set_up_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)\n```", text, re.DOTALL)
    assert blocks == [
        "python -m dbutils",
        'python -m pip install -e ".[tests]" && python -m pytest']


REPOSITORY = "https://github.com/WebwareForPython/DBUtils"
RAW = "https://raw.githubusercontent.com/WebwareForPython/DBUtils"


def test_the_links_of_the_readme_work_on_the_pages_of_an_index():
    """They are absolute, and what they lead to is there."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    defined = dict(re.findall(r"^\[(.+?)\]: (\S+)$", text, re.MULTILINE))
    assert re.findall(r"\]\(", text) == []
    assert set(re.findall(r"\]\[(.+?)\]", text)) == set(defined)
    assert len(defined) >= 6
    for link in defined.values():
        found = re.fullmatch(
            f"(?:{REPOSITORY}/(?:blob|tree)|{RAW})/main/(.+)", link)
        assert (ROOT / found[1]).exists()


def test_an_index_shows_where_the_project_is():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = re.search(r"^\[project\.urls\]\n((?:.+\n)+)", text, re.M)[1]
    urls = dict(re.findall(r'^(\w+) = "(.+)"$', section, re.M))
    assert {"Homepage", "Documentation", "Changelog", "Issues"} <= set(urls)
    assert all(url.startswith(REPOSITORY) for url in urls.values())


def test_the_readme_says_how_long_the_tests_take_and_how_to_run_short_ones():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "minutes on two processors" in text
    assert 'pytest -m "not slow"' in text
    assert re.search(r"`(tests/\w+\.py)` takes seconds", text)


def test_the_first_program_of_the_readme_works_and_works_again(
        tmp_path, monkeypatch):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    program, = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    for number in 20, 40:
        names = {}
        exec(compile(program, "README.md", "exec"), names)
        with names["pool"].connection() as db, db.cursor() as cursor:
            cursor.execute("select count(*) from visits")
            assert cursor.fetchone() == (number,)
        names["pool"].close()


def test_nothing_but_the_agreed_stands_at_the_top():
    expected = {
        "pyproject.toml", "tox.ini", "README.md", "LICENSE", "MANIFEST.in",
        "dbutils", "docs", "tests"}
    found = {path.name for path in ROOT.iterdir()
             if not path.name.startswith((".", "DBUtils.egg-info"))}
    assert expected <= found
    assert found - expected <= {"build", "dist", "venv", "__pycache__"}


def test_the_entry_points_lead_somewhere():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = re.search(
        r'^\[project\.entry-points\."sqlalchemy\.plugins"\]\n((?:.+\n)+)',
        text, re.M)[1]
    names = dict(re.findall(r'^(\w+) = "(.+)"$', section, re.M))
    assert list(names) == ["dbutils"]
    module, name = names["dbutils"].split(":")
    assert callable(getattr(import_module(module), name))
