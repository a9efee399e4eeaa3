"""Rules that the tests themselves keep."""

import ast

import pytest
from folders import SUPPORT, TESTS
from sources import parse

MODULES = sorted(TESTS.rglob("test_*.py"))
NAMES = [path.stem for path in MODULES]


def imports_of(path):
    """Yield the names of the modules that are imported anywhere."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


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


def test_drivers_are_the_shared_ones_and_not_the_folder_of_tests():
    import drivers
    assert (TESTS / "drivers").is_dir()
    assert drivers.__file__ == str(SUPPORT / "drivers.py")
