"""What the manual shows works, in both languages."""

import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from dbutils import SimplePooledDB

DOCS = Path(__file__).resolve().parent.parent / "docs"
MANUALS = ["main.rst", "main.de.rst"]

pytestmark = [
    pytest.mark.portable, pytest.mark.skipif(
        not DOCS.is_dir(), reason="there is no checkout around these tests")]

# a code block, with the reason why it is not run, if there is one
BLOCK = re.compile(
    r"(?:^\.\. not run: (?P<reason>.+)\n\n)?"
    r"^\.\. code:: python\n\n(?P<code>(?:   .*\n|\n)+)", re.MULTILINE)


def blocks(name):
    """Return the code blocks of a manual that are to be run."""
    if not DOCS.is_dir():
        return []
    text = (DOCS / name).read_text(encoding="utf-8")
    return [
        pytest.param(
            dedent(block["code"]),
            id=f"{name}:{text.count(chr(10), 0, block.start('code')) + 1}")
        for block in BLOCK.finditer(text) if not block["reason"]]


@pytest.mark.parametrize("code", [*blocks("main.rst"), *blocks("main.de.rst")])
def test_the_code_in_the_manual_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code, "manual", "exec"), names)
    if "pool" in names:
        close_pool(names["pool"])
    elif "db" in names:
        names["db"]._close()


def close_pool(pool):
    if isinstance(pool, SimplePooledDB):
        for _ in range(3):
            pool.connection()._con.close()
    else:
        pool.close()


def shape(name):
    """Return what both languages must have in common, in order."""
    text = (DOCS / name).read_text(encoding="utf-8")
    underlines = re.findall(r"^([+=-])\1{4,}$", text, re.MULTILINE)
    terms = re.findall(r"^``(\w+).*\n   \S", text, re.MULTILINE)
    signatures = re.findall(r"^ *``\w+\([^`]*``$", text, re.MULTILINE)
    return underlines, terms, signatures, len(BLOCK.findall(text))


def test_both_languages_say_the_same_things():
    english, german = map(shape, MANUALS)
    assert english == german
    assert len(english[0]) > 30
    assert len(english[1]) > 30
    assert len(english[2]) > 5


def test_pictures_are_those_that_are_drawn():
    done = subprocess.run(
        [sys.executable, str(DOCS / "pictures.py"), "--check"], check=False,
        stdout=subprocess.PIPE)
    assert done.stdout.decode() == ""
    assert done.returncode == 0
    drawn = {path.name for path in DOCS.glob("*.png")}
    for name in MANUALS:
        text = (DOCS / name).read_text(encoding="utf-8")
        assert set(re.findall(r"^\.\. image:: (.+)$", text, re.M)) == drawn


def test_most_code_of_the_manual_is_run():
    for name in MANUALS:
        text = (DOCS / name).read_text(encoding="utf-8")
        found = list(BLOCK.finditer(text))
        assert len(found) == text.count(".. code:: python")
        assert sum(1 for block in found if block["reason"]) <= len(found) / 2
