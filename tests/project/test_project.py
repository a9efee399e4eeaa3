"""Rules that the whole project keeps, read from the checkout."""

import ast
import re
from importlib import import_module

import pytest
from folders import ROOT
from sources import MODULES, PACKAGE, name_of, parse

import dbutils

pytestmark = [
    pytest.mark.slow, pytest.mark.skipif(
        not PACKAGE.is_dir(),
        reason="there is no checkout around these tests")]

# the parts of the package that a module in a part may import, besides its own
PARTS = {
    "_base": set(),
    "_drivers": {"_base"},
    "_core": {"_base"},
    "_steady": {"_base", "_drivers"},
    "_manager": {"_base", "_drivers"},
    "_hosts": {"_base", "_drivers", "_steady", "_manager"},
    "_pooled": {"_base", "_drivers", "_core", "_steady", "_hosts"},
    "_testing": {"_base", "_core"},
}
# public modules in the order in which they may import each other, and those
# that need not all of the parts
PUBLIC = [
    "drivers", "hosts", "steady_db", "steady_pg",
    "persistent_db", "persistent_pg",
    "simple_pooled_db", "simple_pooled_pg", "pooled_db", "pooled_pg",
    "dynamic_pooled_db", "health_check_pooled_db",
    "resource_allocation_pooled_db", "performance_optimized_pooled_db",
    "pool_manager", "keyed_pool", "uri_pool", "testing", "top",
    "otel", "prometheus"]
NEEDS = {
    "drivers": {"_drivers"},
    "hosts": {"_hosts"},
    "steady_db": {"_base", "_drivers", "_steady", "_hosts"},
    "steady_pg": {"_base", "_drivers", "_steady", "_hosts"},
    "testing": {"_testing"},
}
STANDARD = {
    "__future__", "_collections", "_collections_abc", "_functools",
    "_operator", "_signal", "_socket", "_thread", "_threading_local",
    "_weakref", "_weakrefset", "argparse", "atexit", "bisect", "collections",
    "contextlib", "contextvars", "copy", "dataclasses", "difflib", "dis",
    "enum", "functools", "gc", "getpass", "hashlib", "hmac", "importlib",
    "inspect", "itertools", "json", "linecache", "logging", "math",
    "operator", "os",
    "pathlib", "pkgutil", "queue", "random", "re", "select", "shutil",
    "signal", "socket", "sqlite3", "ssl", "stat", "statistics", "struct",
    "subprocess", "sys", "sysconfig", "tempfile", "textwrap", "threading",
    "time", "traceback", "types", "typing", "urllib", "warnings", "weakref"}


def for_type_checkers(tree):
    """Return what only type checkers read."""
    return {
        inner for node in ast.walk(tree)
        if isinstance(node, ast.If)
        and getattr(node.test, "id", None) == "TYPE_CHECKING"
        for part in node.body for inner in ast.walk(part)}


def imports_of(path, at_run_time=False):
    """Yield the modules that are imported, those of the package with a dot."""
    folder, tree = name_of(path).split(".")[:-1], parse(path)
    left_out = for_type_checkers(tree) if at_run_time else ()
    for node in ast.walk(tree):
        if node in left_out:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom) and node.level:
            above = ["", *folder[:len(folder) - node.level + 1]]
            for alias in node.names:
                yield ".".join([*above, node.module or alias.name])
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def may_import(importer, imported):
    """Return whether the house allows an import, apart from circles."""
    part, target = importer.split(".")[0], imported.split(".")[0]
    if part == "_cli" or target in {part, "__version__"}:
        return True
    if part in PARTS:
        return target in PARTS[part]
    if part == "__init__":  # for type checkers only, see test_package.py
        return target in PUBLIC
    if part == "__main__":
        return target == "_cli"
    if target in PUBLIC:
        return PUBLIC.index(target) < PUBLIC.index(part)
    return target in NEEDS.get(part, PARTS.keys())


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path):
    importer = name_of(path)
    assert [
        name for name in imports_of(path)
        if name.startswith(".")
        and not may_import(importer, name[1:])] == []


def test_no_modules_import_each_other_in_a_circle():
    below = {
        name_of(path): {
            name[1:] for name in imports_of(path, at_run_time=True)
            if name.startswith(".")}
        for path in MODULES}
    left = dict(below)
    while left:
        free = [name for name in left if not left[name] & left.keys()]
        assert free, left
        for name in free:
            del left[name]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_standard_library_is_needed(path):
    for name in imports_of(path, at_run_time=True):
        known = name.startswith(".") or name.split(".")[0] in STANDARD
        assert known or (name.split(".")[0], path.stem) in {
            ("opentelemetry", "otel"), ("pg", "creators"),
            ("prometheus_client", "prometheus"), ("pytest", "plugin"),
            ("rich", "terminal")}


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
@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_functions_are_short_and_classes_not_long(path):
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef):
            assert code_lines(node) <= 48, node.name  # the way back
        elif isinstance(node, ast.ClassDef):
            # one thing of 470 lines is better than two slices of it
            assert node.end_lineno - node.lineno <= 470, node.name


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_try_stands_in_a_try(path):
    tree = parse(path)
    # the way back knows so that a rollback has failed, without noting how far
    # it has come
    way_back = [
        part for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
        and (name_of(path), node.name) == ("_pooled.ways", "close")
        for part in ast.walk(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Try) and node not in way_back:
            inner = [sub for child in node.body for sub in ast.walk(child)]
            assert not any(isinstance(sub, ast.Try) for sub in inner)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
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
    assert re.search(r"`(tests/\w+/\w+\.py)` takes seconds", text)


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


def test_the_readme_says_in_a_few_lines_what_for_and_how():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    title, reasons, rest = text.split("\n\n", 2)
    assert title == "# DBUtils"
    assert reasons.count("\n") < 5
    assert rest.startswith("```python\n")
    lines = list(filter(None, rest.split("```")[1].splitlines()[1:]))
    assert len(lines) <= 15
    uses = [line for line in lines if "with pool." in line]
    assert all("pool.transaction()" in line for line in uses)


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


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_list_is_copied_by_a_slice(path):
    """The collector can run in it, and crashes Python before 3.12."""
    slices = [
        node.lineno for node in ast.walk(parse(path))
        if isinstance(node, ast.Subscript)
        and isinstance(node.ctx, ast.Load)
        and isinstance(node.slice, ast.Slice)
        and node.slice.lower is node.slice.upper is node.slice.step is None]
    assert slices == []
