"""Rules of the house: which classes there are, and who reaches for what."""

import ast
import re
from collections import defaultdict

import pytest
from sources import MODULES, PACKAGE, name_of, parse

import dbutils

pytestmark = [
    pytest.mark.slow, pytest.mark.skipif(
        not PACKAGE.is_dir(),
        reason="there is no checkout around these tests")]


def is_private(path):
    return path.parent != PACKAGE


def classes():
    """Yield all classes, with their modules."""
    for path in MODULES:
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.ClassDef):
                yield path, node


def last_name(node):
    return getattr(node, "id", getattr(node, "attr", None))


# Base classes.

# What one part asks for and another one provides, or type checkers read.
INTERFACES = {
    "AdmissionPolicy", "Backend", "CursorNames", "Driver", "Kinds",
    "SimpleNames"}


def test_a_private_base_class_has_two_subclasses_or_objects_of_its_own():
    """Otherwise it is a slice of its only subclass."""
    subclasses, made = defaultdict(set), set()
    for _, node in classes():
        for base in node.bases:
            subclasses[last_name(base)].add(node.name)
    for path in MODULES:
        made.update(
            last_name(node.func) for node in ast.walk(parse(path))
            if isinstance(node, ast.Call))
    assert [
        f"{name_of(path)}.{node.name}" for path, node in classes()
        if (is_private(path) or node.name.startswith("_"))
        and len(subclasses[node.name]) == 1
        and node.name not in made | INTERFACES] == []


@pytest.mark.parametrize("name", sorted(dbutils.__all__))
def test_a_public_class_is_that_of_a_public_module(name):
    """Pickles, tracebacks and documentation name no inner module."""
    thing = getattr(dbutils, name)
    if isinstance(thing, type) and thing.__module__.startswith("dbutils"):
        assert re.fullmatch(r"dbutils\.[a-z]\w*", thing.__module__)


def test_private_folders_export_nothing():
    folders = [path for path in PACKAGE.iterdir() if (
        path.is_dir() and path.name != "__pycache__")]
    assert len(folders) == 9
    for folder in folders:
        assert (folder / "__init__.py").read_text(encoding="utf-8") == ""


# The core.

CORE = PACKAGE / "_core"

# What belongs to databases only.
FOREIGN = re.compile(r"(?i)\b(cursor|execute|rollback|commit|sql)\b")


@pytest.mark.parametrize("path", sorted(CORE.glob("*.py")), ids=name_of)
def test_the_core_knows_no_database(path):
    text = path.read_text(encoding="utf-8")
    assert [
        f"{number}: {line.strip()}"
        for number, line in enumerate(text.splitlines(), 1)
        if FOREIGN.search(line.replace("_", " "))] == []


# Functions that are the fast way out or back, and touch the core's queues, as
# those of _pooled/ways.py do.
FAST_WAYS = {
    ("pooled_db", "connection"), ("pooled_pg", "connection"),
    ("_pooled.simple", "connection"), ("_pooled.simple", "close")}


def is_core(node):
    """Return whether an expression is the core of a pool."""
    if isinstance(node, ast.Call):
        return last_name(node.func) == "core_of"
    return last_name(node) in {"core", "_core"}


def names_within(node):
    """Return the attributes that lead from a core to an expression."""
    names = []
    while isinstance(node, ast.Attribute) and not is_core(node):
        names.append(node.attr)
        node = node.value
    return tuple(reversed(names)) if is_core(node) else ()


def reached(path):
    """Yield what is reached for in a core: the function, and the names."""
    functions = [
        node for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef)]
    for function in functions:
        for node in ast.walk(function):
            names = names_within(node)
            if names:
                yield function.name, names


def test_a_core_is_used_by_its_verbs():
    from dbutils._core.pool import VERBS
    outside = [
        path for path in MODULES
        if path.parent != CORE and name_of(path) != "_pooled.ways"]
    assert len(outside) > 40
    assert [
        (name_of(path), function, names) for path in outside
        for function, names in reached(path)
        if (names[0] not in VERBS or len(names) > 2)
        and (name_of(path), function) not in FAST_WAYS] == []
