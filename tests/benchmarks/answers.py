"""Ask each library on PostgreSQL what it does with what goes wrong.

Usage: python tests/benchmarks/answers.py [--reference FOLDER]

Each library works in a process of its own, with the options that it has by
default, and with one that lets it look at connections.  It answers yes or no.
The programs of PostgreSQL are needed.  FOLDER is where the reference release
is; without it, that is installed into a temporary directory.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from threading import Event, Thread

SECONDS = 0.2  # that a request is allowed to wait


class DBUtils:
    """This library, or the reference release, whichever is imported."""

    def __init__(self, parameters, **options):
        import psycopg2

        from dbutils.pooled_db import PooledDB
        pool = PooledDB(psycopg2, maxconnections=1, **options, **parameters)
        self.acquire = pool.connection

    def release(self, con):
        """Give a connection back."""
        con.close()


class SQLAlchemy(DBUtils):
    """The pool of an engine."""

    def __init__(self, parameters, **options):
        from sqlalchemy import create_engine
        engine = create_engine(
            "postgresql+psycopg2://{user}@{host}:{port}/{dbname}".format(
                **parameters), pool_size=1, max_overflow=0,
            pool_timeout=SECONDS, **options)
        self.acquire = engine.raw_connection


class Psycopg:
    """The pool of psycopg 3."""

    def __init__(self, parameters, looks=False):
        from psycopg_pool import ConnectionPool
        pool = ConnectionPool(
            kwargs=parameters, min_size=1, max_size=1, timeout=SECONDS,
            check=ConnectionPool.check_connection if looks else None,
            open=True)
        pool.wait()
        self.acquire, self.release = pool.getconn, pool.putconn


class Psycopg2:
    """The pool of psycopg2."""

    def __init__(self, parameters):
        from psycopg2.pool import ThreadedConnectionPool
        pool = ThreadedConnectionPool(1, 1, **parameters)
        self.acquire, self.release = pool.getconn, pool.putconn


LIBRARIES = {
    "dbutils": partial(DBUtils, maxwait=SECONDS),
    "reference": partial(DBUtils, blocking=True),
    "sqlalchemy": SQLAlchemy,
    "..., pre_ping": partial(SQLAlchemy, pool_pre_ping=True),
    "psycopg_pool": Psycopg,
    "..., check": partial(Psycopg, looks=True),
    "psycopg2": Psycopg2}


def ask(con, sql):
    """Return the value that a statement finds."""
    cursor = con.cursor()
    cursor.execute(sql)
    found = cursor.fetchone()[0]
    cursor.close()
    return found


def session_of(library):
    """Return the process of the server for the next connection."""
    con = library.acquire()
    number = ask(con, "select pg_backend_pid()")
    library.release(con)
    return number


def heals(library, parameters):
    """Return whether the next request works if the server ended a session."""
    import psycopg2
    ended = session_of(library)
    admin = psycopg2.connect(**parameters)
    ask(admin, f"select pg_terminate_backend({ended}, 10000)")
    admin.close()
    return session_of(library) != ended


def resets(library, _):
    """Return whether what one user has set is gone for the next one."""
    con = library.acquire()
    con.cursor().execute("set statement_timeout = 4321")
    con.commit()
    library.release(con)
    con = library.acquire()
    timeout = ask(con, "show statement_timeout")
    library.release(con)
    return timeout != "4321ms"


def bounds(library, _):
    """Return whether a request gets an error if it waits for too long."""
    errors = []

    def wait():
        try:
            library.acquire()
        except Exception as error:
            errors.append(error)

    con = library.acquire()
    waiting = Thread(target=wait, daemon=True)
    waiting.start()
    waiting.join(10)
    library.release(con)
    return bool(errors)


def queues(library, _):
    """Return whether a request that waits is not overtaken by a later one."""
    served, seen = [], Event()

    def visit(name):
        con = library.acquire()
        served.append(name)
        library.release(con)

    for _ in range(20):
        con = library.acquire()
        waiting = Thread(target=visit, args=("first",))
        waiting.start()
        seen.wait(SECONDS / 4)  # now it has come to the queue
        library.release(con)
        visit("second")
        waiting.join()
    return served == ["first", "second"] * 20


def reclaims(library, _):
    """Return whether a connection that was dropped can be used again."""
    con = library.acquire()
    ask(con, "select 1")
    del con
    gc.collect()
    library.release(library.acquire())
    return True


def forks(library, _):
    """Return whether a child of the process has connections of its own."""
    own = session_of(library)
    child = os.fork()
    if not child:
        os._exit(session_of(library) == own)
    return os.waitpid(child, 0)[1] == 0


QUESTIONS = {function.__name__: function for function in (
    heals, resets, bounds, queues, reclaims, forks)}


ANSWERS = {True: "yes", False: "no", None: "-"}


def answer(name, question):
    """Return the answer of a library in this process; an error is a no.

    One that is not installed has none.
    """
    parameters = json.loads(os.environ["POSTGRESQL"])[1]
    try:
        library = LIBRARIES[name](parameters)
    except ImportError:
        return None
    try:
        return QUESTIONS[question](library, parameters)
    except Exception as error:
        print(f"{name} {question}: {error!r}", file=sys.stderr)
        return False


def answer_of(name, question, folder, found):
    """Return the answer of a library in a process of its own."""
    return subprocess.run(
        [sys.executable, __file__, name, question], check=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        timeout=60, env=dict(
            os.environ, PYTHONPATH=os.fspath(folder), **found)).stdout


def main():
    """Print the answers of all libraries."""
    from compare import ROOT, databases, install_reference
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--reference")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, databases() as found:
        if given.reference is None:
            install_reference(folder)
        folders = {"reference": given.reference or folder}
        print(f"{'':<10}" + "".join(f"{name:>14}" for name in LIBRARIES))
        for question in QUESTIONS:
            answers = [
                answer_of(name, question, folders.get(name, ROOT), found)
                for name in LIBRARIES]
            print(f"{question:<10}" + "".join(
                f"{said:>14}" for said in answers), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in LIBRARIES:
        print(ANSWERS[answer(*sys.argv[1:])], end="", flush=True)
        os._exit(0)  # also if a thread still waits
    main()
