"""The benchmarks work; what they measure is not a matter of tests."""

import inspect
import json
import os
import subprocess
import sys

import pytest
from drivers import BY_NAME, ready
from folders import BENCHMARKS

from dbutils._drivers.driver import is_socket
from dbutils._drivers.registry import driver_of
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


def test_a_library_that_is_not_installed_is_left_out():
    code = (
        "import sys, worker; sys.modules['psycopg_pool'] = None;"
        " sys.argv[1:] = ['psycopg_pool', '0.001']; worker.main()")
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=str(BENCHMARKS), check=True,
        input=b"import, ms\n", stdout=subprocess.PIPE).stdout
    assert json.loads(answer) is None


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


@pytest.mark.slow
def test_what_several_threads_do_is_measured():
    text = subprocess.run(
        [sys.executable, "parallel.py", "--rounds", "1",
         "--seconds", "0.001"],
        cwd=str(BENCHMARKS), check=True,
        stdout=subprocess.PIPE).stdout.decode()
    head, *rows = text.splitlines()
    assert head.split() == ["threads", "1", "2", "4"]
    assert len(rows) > 5
    assert all(len(row[26:].split()) == 5 for row in rows)


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


def test_instructions_are_shown_for_each_release(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import instructions
    text = instructions.table({
        "dbutils": {"cycle": 9_292, "block": 11_892},
        "reference": {"cycle": 22_711}})
    head, *rows = map(str.split, text.splitlines())
    assert head == ["instructions", "dbutils", "reference"]
    assert rows == [["cycle", "9,292", "22,711"], ["block", "11,892", "-"]]


def test_the_table_has_a_row_for_each_piece_of_work(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import table
    rows = list(table.rows(
        {"reference": {"cycle": 20}, "dbutils": {"cycle": 5, "block": 6}},
        {"1,000 waiting, ms a s": {"dbutils": [1, 2, 6]},
         "8 threads, per second": {
             "reference": [1, 2, 2], "dbutils": [8, 8, 10],
             "by hand": [4, 4, 4]}}))
    assert rows == [
        ("cycle", 20, 5, 4), ("block", None, 6, None),
        ("1,000 waiting, ms a s", None, 2, None),
        ("8 threads, per second", 2, 8, 5), ("  with by hand", 4, 8, 2)]
    assert set(table.TIMES) <= set(table.SCENARIOS)


@pytest.mark.parametrize("name", ["Psycopg2", "PyMySql"])
def test_what_is_shaped_like_a_driver_is_taken_for_it(monkeypatch, name):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import shaped
    module = shaped.driver(getattr(shaped, f"{name}Connection"))
    with PooledDB(module, maxconnections=1) as pool:
        con = pool.connection()
        cursor = con.cursor()
        cursor.execute("select 1")
        assert cursor.fetchone() == (1,)
        driver_con = con.dbapi_connection
        driver = driver_of(driver_con)
        assert driver.module == name.lower()
        assert driver.in_transaction(driver_con) is not True
        assert driver.is_closed(driver_con) is False
        assert is_socket(driver.descriptor(driver_con))
        con.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "question", ["heals", "resets", "bounds", "reclaims", "forks"])
def test_the_answers_in_the_readme_are_those_of_this_library(
        question, servers_running):
    driver = ready(BY_NAME["psycopg2"], servers_running)
    answer = subprocess.run(
        [sys.executable, "answers.py", "dbutils", question],
        cwd=str(BENCHMARKS), check=True, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "POSTGRESQL": json.dumps(
            [driver.name, driver.parameters()])}).stdout
    assert answer == "yes"
