"""Rules that the tests themselves keep."""

import ast
from functools import lru_cache

import pytest
from folders import SUPPORT, TESTS
from sources import MODULES as SOURCES
from sources import parse

pytestmark = pytest.mark.portable

MODULES = sorted(TESTS.rglob("test_*.py"))
NAMES = [path.stem for path in MODULES]


@lru_cache(maxsize=None)
def imports_of(path):
    """Return the names of the modules that are imported anywhere."""
    names = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return names


def name_of(path):
    return path.stem


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=name_of)
def test_nothing_is_imported_from_test_modules(path):
    assert not {"conftest", *NAMES} & set(imports_of(path))


def test_the_names_of_test_modules_are_different():
    """They are imported as modules of the top level."""
    assert len(set(NAMES)) == len(NAMES) > 80


@pytest.mark.parametrize("path", sorted(SUPPORT.glob("*.py")), ids=name_of)
def test_what_tests_share_is_used(path):
    users = [
        user for user in TESTS.rglob("*.py")
        if user != path and path.stem in imports_of(user)]
    assert users


# what fails where something else happens than is expected
EXPECTING = {"raises", "warns", "deprecated_call", "fail", "wait_until"}


def calls_in(node):
    """Return the names of functions that are called, passed on or taken."""
    names = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Call):
            used = [part.func, *part.args]
            names.update(
                getattr(one, "attr", getattr(one, "id", "")) for one in used)
        elif isinstance(part, ast.FunctionDef):
            names.update(argument.arg for argument in part.args.args)
    return names


def is_asserting(node, helpers):
    """Return whether a function asserts something, or calls what does."""
    return bool(calls_in(node) & (EXPECTING | helpers)) or any(
        isinstance(part, ast.Assert) for part in ast.walk(node))


def functions_in(path):
    return [node for node in ast.walk(parse(path))
            if isinstance(node, ast.FunctionDef)]


# helpers with such names are taken for what asserts nothing
OF_OTHERS = {"execute", "commit", "rollback", "connect", "run"} | {
    node.name for path in SOURCES for node in functions_in(path)}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_each_test_asserts_something(path):
    own = functions_in(path)
    helpers = {
        node.name for node in own
        if is_asserting(node, set())} - OF_OTHERS
    helpers |= {
        node.name for node in own
        if is_asserting(node, helpers)} - OF_OTHERS
    assert [
        node.name for node in parse(path).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        and not is_asserting(node, helpers)] == []


def test_drivers_are_the_shared_ones_and_not_the_folder_of_tests():
    import drivers
    assert (TESTS / "drivers").is_dir()
    assert drivers.__file__ == str(SUPPORT / "drivers.py")
