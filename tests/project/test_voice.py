"""The voice of the library: how its docstrings, comments and README read."""

import ast
import re
import tokenize
from pathlib import Path

import pytest
from manuals import PAGES

import dbutils

pytestmark = pytest.mark.slow

PACKAGE = Path(dbutils.__file__).resolve().parent
README = PACKAGE.parent / "README.md"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.stat().st_size)

# beginnings of sentences and docstrings that hide the subject
NO_SUBJECT = re.compile(r"(?:who|whoever|what|let|lets)\b", re.IGNORECASE)

# beginnings of functions' docstrings that are no verbs, or no commands
NO_VERB = re.compile(
    r"""(?:a|all|also|an|another|any|as|at|by|each|every|for|from|here|how
    |if|in|it|its|no|nobody|none|not|nothing|of|on|one|only|our|same|since
    |so|some|that|the|there|these|they|this|those|to|we|when|where|whether
    |which|while|whose|why|with|you|are|can|does|has|have|is|may|must|will
    |closes|gets|makes|opens|raises|returns|sets|takes|yields
    |(?:ask|decide|find\ out|know|say|see|tell)\ (?:if|whether))\b""",
    re.IGNORECASE | re.VERBOSE)

# turns of phrase that are only read with effort
AVOIDED = re.compile(
    r"""\b(?:(?:so|that)\ many|more\ ado|likewise|as\ it\ should|shall
    |(?:\w+n't|never|no|nobody|none|not|nothing|nowhere)\b.*\bany\ ?more)\b""",
    re.IGNORECASE | re.VERBOSE)

NOQA = re.compile(r"noqa(?:: *[A-Z0-9]+(?:, *[A-Z0-9]+)*)?(?: - )?")
TYPE_IGNORE = re.compile(r"type: ignore(?:\[[\w, -]+\])?")
NO_REASON = re.compile(r"$|likewise|(?:as|see) above", re.IGNORECASE)

# where a sentence ends: at its mark, at an empty line, and before what is
# said about a parameter
END = re.compile(
    r"""(?<=[.!?])["')]*\s+|\n\s*\n|^\ *\w+(?:,\ \w+)*:\s""",
    re.MULTILINE | re.VERBOSE)


def sentences_in(text):
    """Return the sentences of a text, each in one line."""
    return [" ".join(part.split()) for part in END.split(text) if part.strip()]


def complaints_about(text):
    """Return the sentences of a text that are against the voice."""
    return [
        sentence for sentence in sentences_in(text)
        if NO_SUBJECT.match(sentence) or AVOIDED.search(sentence)]


def is_property(node):
    """Return whether a function is read like an attribute, which is a noun."""
    return any("property" in ast.dump(item) for item in node.decorator_list)


def complaints_about_docstring(node):
    """Return the complaints about the docstring of a definition."""
    text = ast.get_docstring(node) or ""
    found = complaints_about(text)
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (
            NO_VERB.match(text) and not is_property(node)):
        found.append(text.partition("\n")[0])
    return found


def complaints_about_docstrings(source):
    """Return the complaints about all docstrings of a module."""
    return [
        f"{node.name if hasattr(node, 'name') else 'the module'}: {text}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (
            ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        for text in complaints_about_docstring(node)]


def comments_in(source):
    """Yield each comment with its line; adjacent whole lines are one."""
    text, begin, last = "", 0, (0, 0)
    for token in tokenize.generate_tokens(
            iter(source.splitlines(keepends=True)).__next__):
        if token.type != tokenize.COMMENT:
            continue
        line, column = token.start
        if last != (line - 1, column) or token.line[:column].strip():
            if text:
                yield begin, text
            text, begin = "", line
        text += token.string.lstrip("#:").strip() + "\n"
        last = line, column
    if text:
        yield begin, text


def complaints_about_comments(source):
    """Return the complaints about all comments of a module."""
    found = []
    for line, comment in comments_in(source):
        text = TYPE_IGNORE.sub("", comment).replace("#", " ").strip()
        noqa = NOQA.match(text)
        if noqa:
            text = text[noqa.end():]
            if NO_REASON.match(text):
                found.append(f"{line}: a reason is missing: {comment.strip()}")
                continue
        found += [f"{line}: {wrong}" for wrong in complaints_about(text)]
    return found


def name_of(path):
    """Return the name of a module within the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


@pytest.fixture(params=MODULES, ids=name_of)
def source(request):
    return request.param.read_text(encoding="utf-8")


def test_docstrings_have_subjects_and_verbs(source):
    assert complaints_about_docstrings(source) == []


def test_comments_have_subjects_and_noqa_has_reasons(source):
    assert complaints_about_comments(source) == []


@pytest.mark.skipif(
    not README.exists(), reason="there is no checkout around the package")
def test_the_readme_has_subjects():
    text = README.read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```|[*|]", "", text, flags=re.DOTALL)
    assert len(sentences_in(prose)) > 20
    assert complaints_about(prose) == []


# what is no prose in the source of a page: headings, tables, directives and
# literal blocks, and the targets of links
NO_PROSE = re.compile(
    r"""^.+\n([=+-])\1{3,}$|^=+\ [\ =]+\n(?:.*\n)*?=+\ [\ =]+$(?=\n\n|\Z)
    |^\ *\.\.\ .*\n(?:\n|\ +.*\n)*|::\n\n(?:\ +.*\n|\n)+
    |\s<[^>]+>(?=`_)|[`*_]""",
    re.MULTILINE | re.VERBOSE)


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.skipif(
    not README.exists(), reason="there is no checkout around the package")
def test_the_pages_of_the_manual_have_subjects(name):
    text = (README.parent / "docs" / name).read_text(encoding="utf-8")
    prose = re.sub(r"^(\d+\.|\*) ", "\n", NO_PROSE.sub("", text), flags=re.M)
    assert len(sentences_in(prose)) > 5
    questions = [part for part in sentences_in(prose) if part.endswith("?")]
    assert [
        part for part in complaints_about(prose) if part not in questions
    ] == []


# The rules themselves.


@pytest.mark.parametrize("text", [
    "Who can wait for the server does not get a dead one.",
    "It is known. Whoever asks does not have to tell the sizes.",
    "Return it.\n\nwhat: an object\nvisit: what is false when that is over",
    "Close idle connections but so many.",
    "Wait for that many\nseconds.",
    "It can be executed without more ado.",
    "Close the cursor when nobody holds it any more.",
    "The pool doesn't\nhold it anymore.",
    "It goes on, as it should.",
    "It is likewise closed.",
    "A thread shall wait."])
def test_a_sentence_against_the_voice_is_found(text):
    assert len(complaints_about(text)) == 1
    assert len(complaints_about_docstrings(f"'''{text}'''")) == 1
    comment = "\n".join(f"# {line}" for line in text.split("\n"))
    assert len(complaints_about_comments(f"x = 1\n{comment}\n")) == 1


@pytest.mark.parametrize("text", [
    "Enqueue a waiter; newcomers queue behind it.",
    "Record the grant first: the thread may finish before we return.",
    "Return what the driver has returned.",
    "Wait for `number` seconds.",
    "Open no more connections. Any more would be refused."])
def test_a_sentence_in_the_voice_is_not_found(text):
    assert complaints_about(text) == []


@pytest.mark.parametrize(("text", "is_found"), [
    ("Return the names.", False),
    ("Theorize about the names.", False),
    ("Return whether it is open.", False),
    ("Tell a waiter whether it is open.", False),
    ("The names of the connections.", True),
    ("Whether it is open.", True),
    ("Tell whether it is open.", True),
    ("Returns the names.", True)])
def test_functions_begin_with_verbs_and_properties_need_not(text, is_found):
    function = f"def function():\n    '''{text}'''\n"
    assert bool(complaints_about_docstrings(function)) == is_found
    for kind in "property", "functools.cached_property":
        assert not complaints_about_docstrings(f"@{kind}\n{function}")
    assert bool(complaints_about_docstrings(f"async {function}")) == is_found
    assert not complaints_about_docstrings(f"class Name:\n    '''{text}'''")


@pytest.mark.parametrize(("comment", "is_found"), [
    ("noqa: SLF001 - of this module", False),
    ("noqa: BLE001, S110 - nobody is above", False),
    ("type: ignore[misc]  # noqa: A001 - as Python calls it", False),
    ("noqa: SLF001 - likewise", True),
    ("noqa: SLF001 - see above", True),
    ("noqa: SLF001 - what the pool knows", True),
    ("noqa: SLF001", True),
    ("noqa", True)])
def test_a_noqa_needs_a_reason(comment, is_found):
    found = complaints_about_comments(f"x = 1  # {comment}\n# It is one.\n")
    assert len(found) == is_found
