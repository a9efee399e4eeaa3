"""The benchmarks work; what they measure is not a matter of tests."""

import inspect
import json
import subprocess
import sys

import pytest
from folders import BENCHMARKS

from dbutils.pooled_db import PooledDB


@pytest.mark.slow
def test_every_scenario_can_be_measured():
    scenarios = subprocess.run(
        [sys.executable, "-c",
         "import scenarios; print(*scenarios.SCENARIOS, sep='\\n')"],
        cwd=str(BENCHMARKS), check=True, stdout=subprocess.PIPE).stdout
    answers = subprocess.run(
        [sys.executable, "worker.py", "dbutils", "0.001"], cwd=str(BENCHMARKS),
        input=scenarios, check=True, stdout=subprocess.PIPE).stdout
    figures = [json.loads(line) for line in answers.splitlines()]
    names = scenarios.decode().splitlines()
    assert len(figures) == len(names)
    missing = {name for name, figure in zip(names, figures) if figure is None}
    assert missing == {  # what needs a server
        "on psycopg2, times raw", "with a new cursor, times",
        "PostgreSQL, per second", "MariaDB, per second"}
    assert all(figure for figure in figures if figure is not None)


@pytest.mark.slow
def test_the_richer_pools_can_be_measured():
    text = subprocess.run(
        [sys.executable, "richer.py", "--rounds", "1"], cwd=str(BENCHMARKS),
        check=True, stdout=subprocess.PIPE).stdout.decode()
    lines = text.splitlines()
    assert len(lines) == 9
    assert lines[-1].endswith("of a cycle")


@pytest.mark.slow
def test_each_option_of_a_pool_is_measured():
    text = subprocess.run(
        [sys.executable, "options.py", "--rounds", "1", "--cycles", "5"],
        cwd=str(BENCHMARKS), check=True,
        stdout=subprocess.PIPE).stdout.decode()
    head, *rows = text.splitlines()
    assert head.split() == ["idle", "cycle", "with", "ns", "ratio", "from",
                            "to"]
    measured = {row[:24].strip(): row[24:].split() for row in rows}
    assert all(len(figures) == 4 for figures in measured.values())
    names = {name.partition("=")[0] for name in measured}
    parameters = inspect.signature(PooledDB).parameters.values()
    assert {"no options"} | {
        parameter.name for parameter in parameters
        if parameter.kind not in {
            parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
        } - {"creator", "failures", "features"} <= names


@pytest.mark.slow
def test_statements_that_were_never_seen_are_measured():
    text = subprocess.run(
        [sys.executable, "texts.py", "--rounds", "1", "--texts", "5"],
        cwd=str(BENCHMARKS), check=True,
        stdout=subprocess.PIPE).stdout.decode()
    head, *rows = text.splitlines()
    assert head.split() == ["what", "differs", "known", "new", "adds"]
    assert len(rows) > 5
    assert all(len(row[24:].split()) == 2 for row in rows)


def test_figures_are_compared_round_by_round(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import compare
    figures = {
        "acquire + release": {
            "dbutils": [1, 2, 4], "by hand": [2, 2, 16], "psycopg2": [None]},
        "8 threads, per second": {"dbutils": [20], "by hand": [10]}}
    table = compare.summary(figures)
    assert table["acquire + release"] == {
        "dbutils": {"median": 2, "ratio": 1},
        "by hand": {"median": 2, "ratio": 2}}
    assert table["8 threads, per second"]["by hand"]["ratio"] == 2
    text = compare.shown(table)
    assert "by hand" in text
    assert "2.00 (2.00)" in text
    assert "psycopg2" not in text
