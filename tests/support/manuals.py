"""The code that the manuals show."""

import re
from textwrap import dedent

import pytest
from folders import DOCS

MANUALS = ["main.rst", "main.de.rst"]

# a code block, with what it needs to be run, or the reason why it is not run
BLOCK = re.compile(
    r"(?:^\.\. (?:not run: (?P<reason>.+)|run with: (?P<needs>\w+))\n\n)?"
    r"^\.\. code:: python\n\n(?P<code>(?:   .*\n|\n)+)", re.MULTILINE)


def blocks(name, *needs):
    """Return the code blocks of a manual that are run with something."""
    if not DOCS.is_dir():
        return []
    text = (DOCS / name).read_text(encoding="utf-8")
    return [
        pytest.param(
            *([block["needs"]] if block["needs"] else []),
            dedent(block["code"]),
            id=f"{name}:{text.count(chr(10), 0, block.start('code')) + 1}")
        for block in BLOCK.finditer(text)
        if not block["reason"] and block["needs"] in (needs or {None})]


def both(*needs):
    """Return those of both manuals."""
    return [block for name in MANUALS for block in blocks(name, *needs)]
