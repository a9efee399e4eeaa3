"""The marks at the ends of messages, and the page that lists them."""

import ast
import logging
import re
import sys
from collections import defaultdict

import mock_db
import pytest
from folders import DOCS
from sources import MODULES, PACKAGE, name_of, parse

from dbutils.pooled_db import PooledDB, TooManyConnectionsError

pytestmark = [
    pytest.mark.portable,
    pytest.mark.skipif(
        not DOCS.is_dir(), reason="there is no checkout around these tests"),
    pytest.mark.skipif(
        sys.version_info < (3, 8), reason="its parser tells texts otherwise")]

PAGES = ["errors.rst", "errors.de.rst"]

MARK = re.compile(r"\[DBU-(\d{2})\]")

# All marks that were ever given.  One that no message has any longer stays on
# the page, in the chapter of those that are retired, and is not given again.
GIVEN = {
    number for first, last in [
        (1, 29), (30, 39), (40, 49), (50, 53), (60, 62), (70, 72), (80, 88),
        (90, 93)]
    for number in range(first, last + 1)}

# They imitate drivers, whose messages have no marks.
DRIVERS = {"_testing.driver", "_testing.session"}

# The errors of drivers, and those that only pools themselves see.
PASSED_ON = {"again", "refusal"}

# Attributes in which the text of a marked message waits to be raised.
KEPT = {"deadlock", "taken_back"}

# Words of Python.  A hint that follows them is marked.
WORDS_OF_PYTHON = "has no attribute"


def last_name(node):
    return getattr(node, "id", getattr(node, "attr", None))


def functions():
    for path in MODULES:
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef):
                yield node


def texts_in(node):
    """Return all texts that stand in a piece of code."""
    return [
        part.value for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)]


def returned_by(function):
    """Return all that a function returns, but None."""
    values = [
        part.value for part in ast.walk(function)
        if isinstance(part, ast.Return) and part.value is not None]
    return [
        value for value in values
        if not (isinstance(value, ast.Constant) and value.value is None)]


class Marked:
    """Tells which expressions are messages with marks."""

    def __init__(self):
        self.constants, self.functions = {}, defaultdict(list)
        for path in MODULES:
            for node in parse(path).body:
                if isinstance(node, ast.Assign) and (
                        str(last_name(node.targets[0])).isupper()):
                    self.constants[last_name(node.targets[0])] = node.value
        for function in functions():
            if returned_by(function):
                self.functions[function.name].append(function)
        self.asked = set()

    def __call__(self, node, function=None):
        """Tell whether an expression in a function ends in a mark."""
        kind = type(node).__name__.lower()
        return getattr(self, f"_{kind}", lambda *_: False)(node, function)

    def _constant(self, node, _):
        # the rest of a message of several lines follows its first line
        return bool(re.search(
            MARK.pattern + r"(?=\n|$)", str(node.value).partition("\n")[0]))

    def _joinedstr(self, node, function):
        return any(self(part, function) for part in node.values)

    def _formattedvalue(self, node, function):
        return self(node.value, function)

    def _ifexp(self, node, function):
        return self(node.body, function) and self(node.orelse, function)

    def _boolop(self, node, function):
        return self(node.values[-1], function)

    def _binop(self, node, function):
        return self(node.left, function) or self(node.right, function)

    def _attribute(self, node, _):
        return node.attr in KEPT

    def _subscript(self, node, function):
        return self(node.value, function)

    def _name(self, node, function):
        """Look at a constant, or at what a variable of a function holds."""
        if node.id in self.constants:
            return self(self.constants[node.id], function)
        arguments = function.args
        if node.id in {
                one.arg for one in [*arguments.args, *arguments.kwonlyargs]}:
            return node.id == "text"  # those who give it are looked at
        return self._all((node.id, function), [
            (part.value, function) for part in ast.walk(function)
            if isinstance(part, ast.Assign)
            and last_name(part.targets[0]) == node.id])

    def _call(self, node, function):
        """Look at the arguments, and at what the function returns."""
        name = last_name(node.func)
        owner = getattr(node.func, "value", None)
        if name == "str" or any(self(arg, function) for arg in node.args):
            return True
        if name == "replace":
            return self(owner, function)
        return not is_saying(node.func) and self.makes(name)

    def makes(self, name):
        """Tell whether all functions of a name return marked messages."""
        return self._all(name, [
            (value, function) for function in self.functions.get(name, ())
            for value in returned_by(function)])

    def _all(self, name, values):
        """Tell whether all values of a name are marked, and there are some.

        A value that depends on the name itself is not.
        """
        if name in self.asked or not values:
            return False
        self.asked.add(name)
        are_marked = all(self(*value) for value in values)
        self.asked.discard(name)
        return are_marked


MARKED = Marked()

HINTING = {
    function.name for function in functions()
    if any(WORDS_OF_PYTHON in text for text in texts_in(function))}


def is_of_python(call):
    """Tell whether an error says what Python itself would, or only a name."""
    names = [
        last_name(part.func) for part in ast.walk(call)
        if isinstance(part, ast.Call)]
    texts = texts_in(call)
    if HINTING & {*names} or any(WORDS_OF_PYTHON in text for text in texts):
        return True
    return names[0] in {"AttributeError", "KeyError"} and not any(
        " " in text for text in texts) and not any(map(MARKED.makes, names))


SAYING = {
    "logger": {"warning", "error", "critical", "exception"},
    "warnings": {"warn", "warn_explicit"}, "pytest": {"fail"}}


def is_saying(node):
    """Tell whether a function logs or warns."""
    return isinstance(node, ast.Attribute) and (
        node.attr in SAYING.get(last_name(node.value), ()))


def messages_in(function):
    """Yield the calls in a function that make messages."""
    for node in ast.walk(function):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            if node.exc.args and not is_of_python(node.exc) and (
                    last_name(node.exc.func) not in PASSED_ON
                    | {"AssertionError"}):
                yield node.exc
        elif isinstance(node, ast.Call) and (
                is_saying(node.func) or any(map(is_saying, node.args)) or (
                last_name(node.func) in {"add_note", "explain"}
                and len(node.args) == 2
                and last_name(node.args[0]) == "error")):
            yield node


def all_messages():
    """Return all messages, with the functions in which they are made."""
    return [
        (f"{name_of(path)}:{call.lineno}", call, function)
        for path in MODULES if name_of(path) not in DRIVERS
        for function in ast.walk(parse(path))
        if isinstance(function, ast.FunctionDef)
        for call in messages_in(function)]


def test_each_message_ends_in_a_mark():
    found = all_messages()
    assert len({place for place, _, _ in found}) > 180
    assert [
        place for place, call, function in found
        if not MARKED(call, function)] == []


def test_warnings_of_pools_have_marks_and_what_is_logged_below_has_none():
    story, = (path for path in MODULES if name_of(path) == "_core.story")
    entries = [
        node for node in ast.walk(parse(story)) if isinstance(node, ast.Tuple)
        and node.elts and len(node.elts) != 4
        and last_name(node.elts[0]) in {"_DEBUG", "_INFO", "_WARNING"}]
    assert len(entries) > 15
    for entry in entries:
        is_warning = last_name(entry.elts[0]) == "_WARNING"
        is_marked = MARKED(entry.elts[-1]) or (
            "A request was refused" in entry.elts[1].value)  # see refusals
        assert is_marked is is_warning


@pytest.mark.parametrize(("code", "is_marked"), [
    ("raise ValueError('It is wrong. [DBU-02]')", True),
    ("raise ValueError('It is wrong.')", False),
    ("raise ValueError('It [DBU-02] is wrong.')", False),
    ("raise ValueError(f'It is {name}. [DBU-02]') from error", True),
    ("raise ValueError('a [DBU-02]' if name else 'b')", False),
    ("raise ValueError(closed_text('pool', name))", True),
    ("raise ValueError(name)", False),
    ("text = 'It is wrong.'\n raise ValueError(text)", False),
    ("logger.warning('It is %s.', name)", False),
    ("tell(partial(logger.error, 'It is %s. [DBU-02]', name))", True),
    ("warnings.warn(f'{name} is old.', ResourceWarning)", False),
    ("add_note(error, 'DBUtils: it is wrong.')", False)])
def test_a_message_without_a_mark_is_noticed(code, is_marked):
    function = ast.parse(f"def check(name):\n {code}").body[0]
    call, = messages_in(function)
    assert MARKED(call, function) is is_marked


# The page.


def pieces():
    """Return the texts with marks that stand in the code, by their marks."""
    found = defaultdict(list)
    for path in PACKAGE.rglob("*.py"):
        for text in texts_in(parse(path)):
            for number in MARK.findall(text):
                found[int(number)].append(text)
    return found


def read(name):
    return (DOCS / name).read_text(encoding="utf-8")


def chapters(name):
    """Return the sections of a page by the numbers of their marks."""
    parts = re.split(r"^\.\. _([\w-]+):\n", read(name), flags=re.MULTILINE)
    labels = zip(parts[1::2], parts[2::2])
    return {
        int(label[4:]): text for label, text in labels
        if re.fullmatch(r"dbu-\d\d", label)}


def retired(name):
    """Return the marks that no message has any longer."""
    return {
        int(number) for number in MARK.findall(
            read(name).partition(".. _retired:\n")[2])}


@pytest.mark.parametrize("name", PAGES)
def test_the_marks_of_the_code_and_of_the_page_are_the_same(name):
    """No mark is lost, and none is given a second time."""
    used = set(pieces())
    assert set(chapters(name)) == used
    assert used & retired(name) == set()
    assert used | retired(name) == GIVEN


@pytest.mark.parametrize("name", PAGES)
def test_a_mark_has_one_section_with_an_example_and_advice(name):
    labels = re.findall(r"^\.\. _dbu-(\d\d):$", read(name), re.MULTILINE)
    assert labels == sorted(set(labels))
    titles = set()
    for number, text in chapters(name).items():
        title, example, rest = re.fullmatch(
            r"\n(DBU-\d\d: .+)\n-+\n\n\.\. code:: text\n\n((?:   .+\n)+)\n"
            r"((?:.|\n)+)", text).groups()
        assert title.startswith(f"DBU-{number:02}: ")
        titles.add(title[8:])
        assert MARK.findall(example) == [f"{number:02}"]
        assert len(re.split(r"\n\n+", rest.strip())) >= 2
    assert len(titles) == len(labels)


@pytest.mark.parametrize("name", PAGES)
def test_the_examples_are_messages_of_the_code(name):
    texts = pieces()
    for number, text in chapters(name).items():
        example = " ".join(
            line.strip() for line in text.partition(".. code:: text")[2]
            .partition("\n\n")[2].partition("\n\n")[0].splitlines())
        ends = [
            re.split(r"%\(?\w|\)?s", text.partition("]")[0])[-1].strip()
            for text in texts[number]]
        assert any(end in example for end in ends), (number, ends)


def test_a_mark_stands_at_the_end_of_the_first_line():
    """Programs that log only that line have it."""
    with PooledDB(mock_db, maxconnections=1, track=True) as pool:
        held = pool.connection()
        with pytest.raises(TooManyConnectionsError) as raised:
            pool.connection()
        held.close()
    first, *others = str(raised.value).splitlines()
    assert first.endswith(" [DBU-30]")
    assert "test_message_marks.py" in others[-1]


@pytest.mark.parametrize("is_paused", [False, True])
def test_a_mark_stands_at_the_end_of_the_first_line_in_the_log(
        is_paused, caplog):
    with PooledDB(mock_db, maxconnections=1, poolname="shop") as pool, (
            caplog.at_level(logging.WARNING)):
        held = pool.connection()
        pool._core.story.tell(
            "leaked", reason="A connection was not given back.",
            lines=lambda: "\nIts stack:\n100 %")
        if is_paused:
            pool.pause()
        with pytest.raises(TooManyConnectionsError) as raised:
            pool.connection()
        held.close()
    leak, refused = (record.getMessage() for record in caplog.records)
    assert leak == (
        "shop: A connection was not given back. [DBU-36]\nIts stack:\n100 %")
    assert refused.startswith("shop: A request was refused after")
    mark = "[DBU-32]" if is_paused else "[DBU-30]"
    assert refused.endswith(f" {mark}")
    assert str(raised.value).splitlines()[0].endswith(f" {mark}")
