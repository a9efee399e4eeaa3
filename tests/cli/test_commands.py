"""What can be done from the command line."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import drivers
import pytest
from folders import BENCHMARKS
from servers import free_port

import dbutils
from dbutils._cli import demo as _demo
from dbutils._cli import doctor, terminal
from dbutils._cli import facts as _server_facts
from dbutils._cli.advice import Case, Load, advise
from dbutils._cli.demo import demonstrate
from dbutils._cli.facts import Facts
from dbutils._cli.main import main
from dbutils._drivers import poolers
from dbutils.pool_manager import ConnectionConfig, PoolConfig

pytestmark = pytest.mark.portable

SECRET = "s3cr3t-w0rd"


@pytest.fixture
def file(tmp_path):
    """A database in a file."""
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(str(path))) as con:
        con.execute("create table t (x)")
    return path


@pytest.fixture
def _briefly(monkeypatch):
    """Put less load on what is examined."""
    monkeypatch.setattr(doctor, "_LOAD", 0.05)


# The demonstration.

class Clock:
    """A clock that goes on by a millisecond whenever it is looked at.

    It goes slowly until a connection was cut.
    """

    def __init__(self, cutters):
        self.cutters = cutters
        self.now = 1000.0

    def __call__(self):
        is_cut = any(cutter.number for cutter in self.cutters)
        self.now += 0.001 if is_cut or not self.cutters else 1e-6
        return self.now


@pytest.fixture
def _by_work(monkeypatch):
    """Let time go by with the work that is done, on a busy machine, too."""
    cutters = []

    class Cutter(_demo._Cutter):
        """Is known to the clock."""

        def __init__(self, *args):
            super().__init__(*args)
            cutters.append(self)

    monkeypatch.setattr(_demo, "_Cutter", Cutter)
    monkeypatch.setattr(_demo, "monotonic", Clock(cutters))


@pytest.mark.usefixtures("_by_work")
def test_nothing_is_noticed_of_connections_that_are_cut(capsys):
    assert demonstrate(seconds=2) == 0
    output = capsys.readouterr().out
    assert "32 threads use SQLite through a pool of 8" in output
    assert max(map(len, output.splitlines())) < 100
    rows = re.findall(r"^(\w[\w ]+?)  +([\d ]+)$", output, re.M)
    figures = {name: list(map(int, values.split())) for name, values in rows}
    assert min(figures["requests"]) > 10
    assert figures["errors seen by the program"] == [0, 0]
    assert figures["connections cut and replaced"][0] >= 1
    opened = figures["connections opened"]
    assert 1 <= opened[0] <= 8 + figures["connections cut and replaced"][0]
    assert opened[1] == figures["requests"][1]
    assert "waits for a connection" in figures
    assert re.search(r"^ \d\.\d s: \d+ requests with the pool, ", output, re.M)
    assert "times as many requests" in output


@pytest.mark.usefixtures("_by_work")
def test_errors_are_seen(capsys, monkeypatch):
    monkeypatch.setattr(
        "dbutils._cli.demo._Shop.work", lambda shop, con: 1 / 0)
    assert demonstrate(seconds=0.5) == 1
    errors = re.search(r"^errors seen.*?(\d+)", capsys.readouterr().out, re.M)
    assert int(errors[1]) > 0


@pytest.mark.usefixtures("_by_work")
def test_the_demonstration_uses_the_database_of_somebody(capsys, file):
    before = file.read_bytes()
    assert main(["--database", f"sqlite:///{file}"]) == 0
    output = capsys.readouterr().out
    assert "32 threads use sqlite3 through a pool of 8" in output
    assert "times as many requests" in output
    assert file.read_bytes() == before


def test_the_demonstration_says_that_a_database_cannot_be_used(capsys):
    uri = "mysql+a_driver_that_nobody_has://host/database"
    assert main(["--database", uri]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_running_text_is_broken_between_words(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    terminal.tell("What is longer than a line goes on in the next one.", "* ")
    assert capsys.readouterr().out == (
        "* What is longer than a line\n  goes on in the next one.\n")


def test_a_terminal_shows_a_table_that_changes(capsys, monkeypatch):
    monkeypatch.setattr(terminal, "_is_terminal", lambda: True)
    screen = terminal.Screen()
    for number in (7, 8):
        screen.show((("one", number), ("two", 2)), "not shown")
    assert capsys.readouterr().out == (
        "\x1b[2Kone  7\n\x1b[2Ktwo  2\n"
        "\x1b[2A\x1b[2Kone  8\n\x1b[2Ktwo  2\n")


def test_tables_are_drawn_by_rich_on_a_terminal(capsys, monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setattr(terminal, "_is_terminal", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    terminal.show_table("Title", [("one", 7)], ("what", "number"))
    terminal.show_table("Other", [("two", 8)])
    output = capsys.readouterr().out
    assert re.search(r"one +. +7", output)
    assert re.search(r"two . 8", output)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    terminal.show_table("Title", [("one", 7)], ("what", "number"))
    assert capsys.readouterr().out == (
        "\nTitle\n\nwhat  number\n----  ------\none        7\n")


def test_the_chart_of_the_doctor_fits_into_80_columns(capsys, monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setattr(terminal, "_is_terminal", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")
    doctor._show_chart(16, [
        Load(size, 1_000_000.0 / size, 0.01 * size, 0) for size in (1, 16)])
    output = capsys.readouterr().out
    assert output.count("#" * 16) == 2
    assert "\N{HORIZONTAL ELLIPSIS}" not in output
    assert max(map(len, output.splitlines())) <= 80


@pytest.mark.skipif(os.name == "nt", reason="there are other signals")
def test_ctrl_c_ends_the_demonstration():
    # it is ignored in programs in the background, and so in their children
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "dbutils"], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, universal_newlines=True)
    signal.signal(signal.SIGINT, before)
    with process:
        lines = iter(process.stdout.readline, "")
        assert next(lines).startswith("DBUtils ")
        assert any("requests with the pool" in line for line in lines)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == "\nThat was the end.\n"


# The drivers.

def test_it_is_told_what_is_known_about_installed_drivers(capsys):
    assert main(["drivers"]) == 0
    output = capsys.readouterr().out
    line, = re.findall("^sqlite3 .*$", output, re.M)
    assert re.split("  +", line) == [
        "sqlite3", "the driver", "flag", "in the process", "replaced"]
    assert "Statements are repeated only if no work is open" in output
    assert "nobody" not in output


def test_it_is_told_about_drivers_by_name_as_json(capsys):
    import stand_ins

    driver = stand_ins.Driver(
        stand_ins.Shape("a driver", "a_driver"), stand_ins.Server())
    sys.modules["a_driver"] = driver
    try:
        assert main(["drivers", "--json", "pinotdb", "a_driver", "json"]) == 0
    finally:
        del sys.modules["a_driver"]
    rows = json.loads(capsys.readouterr().out)
    assert [(row["driver"], row["open_work"]) for row in rows] == [
        ("pinotdb", "no transactions"), ("a_driver", "own account"),
        ("json", "unknown")]
    assert main(["drivers", "pinotdb", "json"]) == 0
    assert "nothing is committed or rolled back" in capsys.readouterr().out


def test_a_driver_that_is_not_there_is_an_error(capsys):
    assert main(["drivers", "no_such_driver"]) == 2
    assert "no_such_driver" in capsys.readouterr().err


def test_it_is_told_if_no_driver_is_known(capsys, monkeypatch):
    monkeypatch.setattr("dbutils._cli.known_drivers.drivers_by_name", dict)
    assert main(["drivers"]) == 0
    assert "No driver" in capsys.readouterr().out


# The doctor.

@pytest.mark.usefixtures("_briefly")
def test_a_database_is_examined(file, capsys, monkeypatch):
    assert main(["doctor", f"sqlite:///{file}", "--threads", "4"]) == 0
    output = capsys.readouterr()
    for text in ("kind", "sqlite3", "round trip", "Load by 4 threads", "####",
                 "journal mode 'delete'", "pragma journal_mode = wal"):
        assert text in output.out
    code = output.out.partition("processes:\n")[2]
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{file}")
    names = {}
    exec(code, names)
    assert isinstance(names["pool"].pool_config, PoolConfig)
    with names["pool"].connection() as con:
        con.cursor().execute("select * from t")
    names["pool"].shutdown()
    assert output.err.splitlines()[:2] == [
        "Connecting ...", "Measuring a pool of 1 with 4 threads ..."]


@pytest.mark.usefixtures("_briefly")
@pytest.mark.parametrize("names", ["DATABASE_URL", "DB_URL", "DB_TYPE"])
def test_the_uri_can_come_from_the_environment(
        file, capsys, monkeypatch, names):
    url = f"sqlite:///{file}"
    monkeypatch.setenv(names, "sqlite" if names == "DB_TYPE" else url)
    if names == "DB_TYPE":
        monkeypatch.setenv("DB_DATABASE", str(file))
    assert main(["doctor", "--threads", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["database"]["kind"] == "sqlite"


@pytest.mark.usefixtures("_briefly")
def test_recommended_code_uses_the_variables_that_are_set(
        file, capsys, monkeypatch):
    monkeypatch.setenv("DB_TYPE", "sqlite")
    monkeypatch.setenv("DB_DATABASE", str(file))
    assert main(["doctor", "--threads", "1"]) == 0
    heading, _, code = capsys.readouterr().out.partition("processes:\n")
    assert heading.endswith("with 1 connection of all ")
    names = {}
    exec(code, names)
    with names["pool"].connection() as con:
        con.cursor().execute("select * from t")
    names["pool"].shutdown()


@pytest.mark.usefixtures("_briefly")
def test_what_several_writers_mean_for_sqlite_is_told(file, capsys):
    assert main(["doctor", f"sqlite:///{file}", "--threads", "2"]) == 0
    output = capsys.readouterr().out
    assert "SQLite has one writer at a time" in output
    assert "database is locked" in output


@pytest.mark.usefixtures("_briefly")
def test_the_results_can_be_read_by_programs(file, capsys):
    status = main([
        "doctor", f"sqlite:///{file}", "--json", "--processes", "3",
        "--threads", "3"])
    data = json.loads(capsys.readouterr().out)
    assert status == 0
    assert [load["size"] for load in data["load"]] == [1, 2, 3]
    assert all(load["throughput"] > 0 for load in data["load"])
    assert data["database"]["journal"] == "delete"
    assert data["recommended"]["max_total"] in {1, 2, 3}
    assert data["connections_of_all_processes"] == (
        3 * data["recommended"]["max_total"])
    assert data["warnings"] == []


@pytest.mark.slow
@pytest.mark.usefixtures("_briefly")
@pytest.mark.parametrize(
    "driver", [drivers.BY_NAME["psycopg2"], drivers.BY_NAME["pymysql"]],
    ids=repr)
def test_servers_are_examined(driver, servers_running, capsys):
    driver.load()
    port = servers_running(driver.family)
    is_pg = driver.family == "postgresql"
    uri = f"postgresql://postgres@127.0.0.1:{port}/postgres" if is_pg else (
        f"mysql+pymysql://root@127.0.0.1:{port}/test")
    assert main(["doctor", uri, "--json", "--threads", "4"]) == 0
    data = json.loads(capsys.readouterr().out)
    facts = data["database"]
    assert facts["limit"] == (197 if is_pg else 200)
    assert facts["is_read_only"] is False
    assert facts["is_encrypted"] is False
    assert facts["is_behind_proxy"] is False
    assert facts["is_shared_by_transaction"] is False
    assert facts["isolation"].lower().replace("-", " ") == (
        "read committed" if is_pg else "repeatable read")
    assert facts["in_use"] < 50
    assert facts["processors"] >= 1
    assert data["recommended"]["max_total"] <= 2 * facts["processors"] + 1
    assert facts.get("idle_timeout") == (None if is_pg else 28800)
    assert ("idle_in_transaction" in "".join(data["hints"])) is is_pg
    assert ("REPEATABLE-READ" in "".join(data["hints"])) is not is_pg
    many = ["doctor", uri, "--json", "--threads", "4", "--processes", "400"]
    assert main(many) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["recommended"]["max_total"] == 1
    assert "400 processes with" in data["warnings"][0]


@pytest.mark.parametrize(("uri", "text"), [
    (f"me:{SECRET}@host/db", "begins with its kind"),
    (f"pg://me:{SECRET}@host:port/db", "URL cannot be read"),
    (f"db2://me:{SECRET}@host/db", "'db2' is no kind of database"),
    (f"sqlite://me:{SECRET}@h/x", "sqlite3 cannot honour 'password'"),
    ("sqlite:////no/such/folder/file",
     "database file. Check the name of the file; an absolute one has four"),
    (f"mysql+mxodbc://me:{SECRET}@h/x", "'mxodbc' is no driver for mysql"),
    (f"pg+psycopg2://me:{SECRET}@127.0.0.1:{free_port()}/x", "refused"),
    (f"mysql+pymysql://me:{SECRET}@127.0.0.1:{free_port()}/x", "refused")])
def test_what_cannot_be_examined_is_told_in_one_line(uri, text, capsys):
    assert main(["doctor", uri]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    line = output.err.splitlines()[-1]
    assert text in line
    assert SECRET not in output.err
    assert set(output.err.splitlines()[:-1]) <= {"Connecting ..."}


def test_a_missing_driver_is_told(capsys, monkeypatch):
    for name in ("pymysql", "MySQLdb", "mysql.connector", "mariadb"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["doctor", "mysql://host/db"]) == 2
    assert capsys.readouterr().err == (
        "No driver for mysql is installed; known are: pymysql, MySQLdb,"
        " mysql.connector, mariadb. Install one, like: pip install PyMySQL"
        " [DBU-07]\n")


def test_a_refused_password_is_not_shown(servers_running, capsys):
    driver = drivers.BY_NAME["pymysql"]
    driver.load()
    port = servers_running("mariadb")
    uri = f"mysql+pymysql://nobody:{SECRET}@127.0.0.1:{port}/test"
    assert main(["doctor", uri]) == 2
    error = capsys.readouterr().err
    assert "denied" in error
    assert SECRET not in error


# What the doctor says.

def case(**changes):
    """Return what could have been found out, with some changes."""
    loads = [Load(size, size * 100.0, 0.01, 0) for size in (1, 2, 4)]
    facts = {
        name: changes.pop(name) for name in Facts._fields if name in changes}
    config = changes.pop("config", None) or ConnectionConfig(
        "postgresql", "127.0.0.1")
    found = Case(
        config, "driver", 1, 4, Facts(transaction_timeout=5, **facts), 0.001,
        0.0001, 0.0001, loads)
    return found._replace(**changes)


def test_without_anything_special_there_is_nothing_to_say():
    advice = advise(case())
    assert advice == ({"max_total": 4, "max_wait_time": 10}, 4, [], [])


@pytest.mark.parametrize(("changes", "text"), [
    ({"is_read_only": True}, "takes no writes"),
    ({"is_shared_by_transaction": True}, "PgBouncer"),
    ({"is_in_memory": True}, "in memory has its own data"),
    ({"config": ConnectionConfig("postgresql", "db.example"),
      "is_encrypted": False}, "to db.example is not encrypted"),
    ({"loads": [Load(1, 10.0, 0.1, 3)]}, "3 statements have failed"),
    ({"limit": 4}, "of which 1 should be left to others; therefore only 3"),
    ({"limit": 10, "in_use": 4, "processes": 2},
     "room for 6, of which 2 should be left to others; therefore only 2 each"),
    ({"limit": 3, "processes": 5}, "less than one for each process")])
def test_what_will_hurt_is_a_warning(changes, text):
    warnings = advise(case(**changes)).warnings
    assert len(warnings) == 1
    assert text in warnings[0]


@pytest.mark.parametrize(("changes", "text"), [
    ({"idle_timeout": 60}, "idle for 60 seconds"),
    ({"isolation": "REPEATABLE-READ"}, "REPEATABLE-READ"),
    ({"isolation": "serializable"}, "SERIALIZABLE"),
    ({"is_behind_proxy": True}, "a proxy or a mapping"),
    ({"journal": "delete"}, "journal mode 'delete'"),
    ({"connect": 0.25}, "takes 250 ms")])
def test_what_is_good_to_know_is_a_hint(changes, text):
    advice = advise(case(**changes))
    assert advice.warnings == []
    assert len(advice.hints) == 1
    assert text in advice.hints[0]


@pytest.mark.parametrize(("rates", "size"), [
    ([100, 190, 300, 330, 345, 350, 352], 4),
    ([100, 180, 190, 200, 205, 210, 212], 2),
    ([100, 200, 390, 500, 520], 8),
    ([100, 200, 400, 800, 1600, 3200, 6400], 64),
    ([100, 105, 109, 104, 108, 110, 99], 1),
    ([100, 180, 150, 120, 90, 50, 20], 2),
    ([100], 1)])
def test_the_knee_of_the_curve_is_recommended(rates, size):
    loads = [
        Load(1 << power, float(rate), 0.1, 0)
        for power, rate in enumerate(rates)]
    assert advise(case(loads=loads)).options["max_total"] == size


@pytest.mark.parametrize(("processors", "processes", "size", "is_told"), [
    (2, 1, 5, True), (2, 2, 2, True), (1, 8, 1, True), (32, 1, 56, False),
    (None, 1, 56, False)])
def test_no_more_is_recommended_than_the_processors_suggest(
        processors, processes, size, is_told):
    """Once it was 56 of the 57 places of a server with 2 processors."""
    loads = [Load(1, 100.0, 0.1, 0), Load(56, 5e3, 0.1, 0)]
    advice = advise(case(
        loads=loads, processors=processors, processes=processes))
    assert advice.options["max_total"] == size
    assert ["processors of the server suggest" in hint
            for hint in advice.hints] == [True] * is_told
    assert [f"would be {56 * processes} for all" in hint
            for hint in advice.hints] == [processes > 1] * is_told
    assert advice.warnings == []


def test_a_part_of_the_servers_limit_is_left_to_others():
    loads = [Load(1, 100.0, 0.1, 0), Load(56, 5e3, 0.1, 0)]
    advice = advise(case(loads=loads, limit=57))
    assert advice.options["max_total"] == 57 - 12
    assert len(advice.warnings) == 1
    assert Facts(limit=100, in_use=90).free == 0
    assert Facts(limit=100, in_use=30).free == 50
    assert Facts().free is None


@pytest.mark.parametrize(("host", "is_behind_proxy", "is_here"), [
    (None, None, True), ("localhost", False, True), ("/run/pg", None, True),
    ("localhost", True, False), ("db.example", False, False)])
def test_the_processors_of_this_machine_are_those_of_a_local_server(
        host, is_behind_proxy, is_here):
    config = ConnectionConfig("postgresql", host)
    facts = Facts(is_behind_proxy=is_behind_proxy)
    assert doctor._is_here(config, facts) is is_here


# Where the password comes from.

@pytest.fixture
def examined(monkeypatch):
    """The settings with which databases are examined."""
    found = []

    def examine(config, processes, threads):
        found.append(config)
        if config.password != SECRET:
            raise RuntimeError("fe_sendauth: no password supplied")
        return case(config=config)
    monkeypatch.setattr(doctor, "_examine", examine)
    for name in ("PGPASSWORD", "MYSQL_PWD", "DB_PASSWORD", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return found


def hints_of(capsys):
    output = capsys.readouterr()
    assert SECRET not in output.out + output.err
    return " ".join(json.loads(output.out)["hints"])


@pytest.mark.parametrize(("uri", "name"), [
    ("postgresql://me@h/db", "PGPASSWORD"), ("mysql://me@h/db", "MYSQL_PWD"),
    ("postgresql://me@h/db", "DB_PASSWORD"),
    ("mysql://me@h/db", "DB_PASSWORD"), ("oracle://me@h/db", "DB_PASSWORD")])
def test_the_password_can_come_from_the_environment(
        uri, name, examined, monkeypatch, capsys):
    monkeypatch.setenv(name, SECRET)
    assert main(["doctor", uri, "--json"]) == 0
    assert examined[0].password == SECRET
    assert "command line" not in hints_of(capsys)


def test_the_whole_url_can_come_from_the_environment(
        examined, monkeypatch, capsys):
    monkeypatch.setenv("DATABASE_URL", f"postgresql://me:{SECRET}@h/db")
    assert main(["doctor", "--json"]) == 0
    assert examined[0].password == SECRET
    assert "command line" not in hints_of(capsys)


@pytest.mark.parametrize("uri", [
    f"pg://me:{SECRET}@h/db", f"pg://me@h/db?password={SECRET}"])
def test_a_password_on_the_command_line_is_not_a_good_idea(
        uri, examined, capsys):
    assert main(["doctor", uri, "--json"]) == 0
    assert "was on the command line" in hints_of(capsys)


@pytest.mark.parametrize("option", ["-W", "--password"])
def test_the_password_is_asked_for(option, examined, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "getpass", lambda: SECRET)
    assert main(["doctor", "pg://me@h/db", option, "--json"]) == 0
    assert [config.password for config in examined] == [SECRET]
    assert "command line" not in hints_of(capsys)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_missing_password_is_asked_for_on_a_terminal(
        is_terminal, examined, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "getpass", lambda: SECRET)
    monkeypatch.setattr("sys.stdin.isatty", lambda: is_terminal)
    status = main(["doctor", "pg://me@h/db", "--json"])
    assert status == (0 if is_terminal else 2)
    assert len(examined) == 1 + is_terminal


def test_options_follow_from_what_was_found():
    options = advise(case(idle_timeout=100, connect=0.2)).options
    assert options == {
        "max_total": 4, "max_wait_time": 10, "min_idle": 1,
        "max_idle_time": 80}
    loads = [Load(1, 50.0, 0.1, 0), Load(2, 95.0, 0.1, 0),
             Load(4, 100.0, 0.1, 0)]
    assert advise(case(loads=loads)).options["max_total"] == 2
    PoolConfig(**options)


def test_pools_that_are_tried_leave_room_for_others():
    assert doctor._sizes(16, Facts()) == [1, 2, 4, 8, 16]
    assert doctor._sizes(500, Facts()) == [1, 2, 4, 8, 16, 32, 64]
    assert doctor._sizes(16, Facts(limit=20, in_use=8)) == [1, 2, 4, 6]
    assert doctor._sizes(16, Facts(limit=1)) == [1]


class FakeCon:
    """A connection of which each transaction has another session."""

    def __init__(self, free):
        self.free = free
        self.session = None
        self.rows = None

    def cursor(self):
        return self

    def close(self):
        pass

    def execute(self, question):
        if "nonsense" in question:
            raise RuntimeError(question)
        if self.session is None:
            self.session = self.free.pop()
        self.rows = [(self.session,)]

    def fetchall(self):
        return self.rows

    def rollback(self):
        if self.session is not None:
            self.free.append(self.session)
            self.session = None


def test_a_proxy_that_changes_sessions_is_noticed():
    free = [1, 2, 3]
    cons = FakeCon(free), FakeCon(free)
    assert poolers.are_shared(cons, "select session")
    steady = FakeCon([1]), FakeCon([2])
    for con in steady:
        con.rollback = lambda: None
    assert not poolers.are_shared(steady, "select session")


def test_what_a_server_does_not_say_is_unknown():
    con = FakeCon([5])
    assert poolers.answer(con, "nonsense") is None
    assert poolers.answer(con, "select session") == 5
    assert _server_facts._flag(b"OFF") is False
    assert _server_facts._flag("TLS_AES_256") is True


# The other commands.

def test_the_benchmarks_are_run(monkeypatch, capsys):
    called = []
    monkeypatch.setattr(
        "dbutils._cli.main.subprocess.call",
        lambda command, env: called.append(command) or 0)
    benchmark = BENCHMARKS / "compare.py"
    monkeypatch.setattr("dbutils._cli.main._BENCHMARK", benchmark)
    assert main(["bench", "--quick", "--only", "import"]) == 0
    assert called == [[
        sys.executable, str(benchmark), "--quick", "--only", "import"]]
    monkeypatch.setattr("dbutils._cli.main._BENCHMARK", Path("no/where"))
    assert main(["bench"]) == 2
    assert "source distribution" in capsys.readouterr().err


def test_the_benchmarks_help_with_the_command_that_was_typed(
        monkeypatch, capfd):
    monkeypatch.setattr(
        "dbutils._cli.main._BENCHMARK", BENCHMARKS / "compare.py")
    assert main(["bench", "--rounds", "many"]) == 2
    assert "usage: python -m dbutils bench " in capfd.readouterr().err


@pytest.mark.parametrize("arguments", [
    ["doctor"], ["doctor", "x", "--threads", "0"], ["nonsense"],
    ["doctor", "x", "--threads", "many"], ["--nonsense"]])
def test_bad_arguments_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m dbutils" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-1", "many", "1.5"])
def test_a_number_that_is_none_is_refused_like_one_that_is_too_small(
        number, capsys):
    with pytest.raises(SystemExit):
        main(["doctor", f"--threads={number}"])
    error = capsys.readouterr().err
    assert "--threads: it must be at least 1 [DBU-90]" in error


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"DBUtils {dbutils.__version__}\n"


def test_help_is_given(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    assert "doctor" in capsys.readouterr().out
