"""What type checkers and interactive help show of the library."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dbutils

USES = Path(__file__).with_name("typical_uses.py")
PARENT = Path(dbutils.__file__).resolve().parents[1]


def expected():
    """Return what the comments say, by the numbers of the lines."""
    lines = USES.read_text(encoding="utf-8").splitlines()
    return {
        number: line.split("  # ")[1]
        for number, line in enumerate(lines, 1) if "  # " in line}


def run(checker, folder, *options):
    """Return what a type checker prints about the program."""
    pytest.importorskip(checker)
    (folder / USES.name).write_bytes(USES.read_bytes())
    is_found = PARENT.name in {"site-packages", "dist-packages"}
    (folder / "pyrightconfig.json").write_text(json.dumps(
        {"extraPaths": [] if is_found else [str(PARENT)]}), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", checker, *options, USES.name],
        check=False,  # it finds the mistakes
        stdout=subprocess.PIPE, text=True, timeout=170, cwd=str(folder), env={
            **os.environ, "MYPYPATH": "" if is_found else str(PARENT),
            # it would look for a newer version of itself
            "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}).stdout


def told(text):
    """Return a type without its modules, or that there is a mistake."""
    types = re.findall(r'(?:Revealed type| is) (?:is )?"(.*)"$', text)
    return re.sub(r"(?:\w+\.)+(\w+)", r"\1", types[0]) if types else "mistake"


@pytest.mark.slow
def test_mypy_knows_the_types_and_finds_the_mistakes(tmp_path):
    said = run(
        "mypy", tmp_path, "--strict", "--follow-imports=silent",
        "--config-file=", "--cache-dir=cache")
    found = re.findall(r"\.py:(\d+): (?:note|error): (.*)$", said, re.M)
    assert {
        int(line): told(re.sub(r"  \[[\w-]+\]$", "", text))
        for line, text in found} == expected()


@pytest.mark.slow
def test_pyright_knows_the_types_and_finds_the_mistakes(tmp_path):
    said = json.loads(run(
        "pyright", tmp_path, "--outputjson", "--pythonpath", sys.executable))
    assert {
        one["range"]["start"]["line"] + 1: told(one["message"])
        if one["severity"] == "information" else "mistake"
        for one in said["generalDiagnostics"]} == expected()
