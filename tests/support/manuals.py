"""The code that the manuals show."""

import re
from textwrap import dedent

import pytest
from folders import DOCS

# the pages in English; the code in German is the same
PAGES = ["index.rst", "start.rst", "errors.rst", "contributing.rst", *sorted(
    path.relative_to(DOCS).as_posix()
    for folder in ("howto", "reference", "explanation", "contributing")
    for path in DOCS.glob(f"{folder}/*.rst")
    if not path.name.endswith(".de.rst"))]
CHINESE = "zh/start.rst"

# a code block, with what it needs to be run, or the reason why it is not run
# or only compiled; it can go on with the code before it, or be on one side
BLOCK = re.compile(
    r"(?:^\.\. (?:not run: (?P<reason>.+)|compiled: (?P<obstacle>.+)"
    r"|run with: (?P<needs>[\w.]+)(?P<after>, after the code above)?"
    r"|(?P<goes_on>continues the code above))"
    r"\n\n)?^\.\. code:: python\n(?:   :class: (?P<side>\w+)\n)?\n"
    r"(?P<code>(?:   .*\n|\n)+)", re.MULTILINE)


def all_blocks(name):
    """Return all code blocks of a page, with their places."""
    if not DOCS.is_dir():
        return []
    text = (DOCS / name).read_text(encoding="utf-8")
    return [
        (block, f"{name}:{text.count(chr(10), 0, block.start('code')) + 1}")
        for block in BLOCK.finditer(text)]


def blocks(name, *needs):
    """Return the code blocks of a manual that are run with something."""
    found, before = [], ""
    for block, place in all_blocks(name):
        code = dedent(block["code"])
        if block["goes_on"] or block["after"]:
            code = before + code
        before = code
        is_of_others = block["side"] == "before" and not block["needs"]
        if block["reason"] or block["obstacle"] or is_of_others:
            continue
        if block["needs"] in (needs or {None}):
            found.append(pytest.param(
                *([block["needs"]] if block["needs"] else []), code,
                id=place))
    return found


def every(*needs):
    """Return those of all pages."""
    return [
        block for name in [*PAGES, CHINESE]
        for block in blocks(name, *needs)]


def german(name):
    """Return the name of a page in German."""
    return name.replace(".rst", ".de.rst")


def texts(folders=""):
    """Return the texts of the pages in folders, in English and in German."""
    return [
        "\n".join(
            (DOCS / translate(name)).read_text(encoding="utf-8")
            for name in PAGES if name.startswith(folders))
        for translate in (str, german)] if DOCS.is_dir() else []
