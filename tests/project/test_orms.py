"""Django and SQLAlchemy work with the connections that a pool lends."""

import os
import subprocess
import sys

import drivers
import pytest
from drivers import ready
from folders import DOCS, ROOT, TESTS
from manuals import blocks

from dbutils.pooled_db import PooledDB

FOLDER = TESTS / "orms"

without_docs = pytest.mark.skipif(
    not DOCS.is_dir(), reason="there is no checkout around these tests")


@pytest.fixture(params=["psycopg2", "psycopg"])
def driver(request, servers_running):
    """A driver that both know."""
    return ready(drivers.BY_NAME[request.param], servers_running)


def of_the_manual(name):
    """Return the code that the manual shows."""
    (_, code), = (
        block.values for block in blocks("reference/frameworks.rst", name))
    return code


@pytest.mark.slow
@without_docs
@pytest.mark.parametrize("name", ["django", "sqlalchemy"])
def test_programs_run_on_a_pool(name, driver, tmp_path):
    drivers.load(name)
    package = tmp_path / "lending"
    package.mkdir()
    code = package / "base.py"
    code.write_text(
        of_the_manual(name), encoding="utf-8")
    path = os.pathsep.join(filter(None, [
        str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, FOLDER / f"{name}_program.py", driver.name,
         str(driver.port), tmp_path if name == "django" else code],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": path})
    assert (done.stdout, done.returncode) == ("all is well\n", 0), done.stderr


def told_by(caught):
    """Return the text of an error, as its traceback shows it."""
    notes = getattr(caught.value, "__notes__", ())
    shown = notes if sys.version_info >= (3, 11) else ()
    return "\n".join([str(caught.value), *shown])


ADVICE = "pass its dbapi_connection to functions that want one"


def test_what_only_takes_real_connections_says_so(driver):
    module = driver.load()
    if driver.name == "psycopg2":
        from psycopg2.extensions import quote_ident
        from psycopg2.extras import register_uuid

        def take(con):
            return register_uuid(None, con) and quote_ident("a b", con)
    else:
        from psycopg.types import TypeInfo

        def take(con):
            return TypeInfo.fetch(con, "uuid")

    def use_wrongly():
        with pool.connection() as lease:
            assert take(lease.dbapi_connection)
            take(lease)

    pool = PooledDB(module, maxconnections=1, **driver.parameters())
    for _ in range(2):  # the second time with the connection that came back
        with pytest.raises(TypeError, match=r"must be|expected") as caught:
            use_wrongly()
        assert told_by(caught).count(ADVICE) == 1


def test_other_errors_of_types_are_not_explained(driver):
    pool = PooledDB(driver.load(), maxconnections=1, **driver.parameters())
    with pytest.raises(TypeError) as caught, pool.connection():
        len(5)
    assert "DBUtils" not in told_by(caught)


class Sqlite:
    """What the tests ask of a driver, with a file."""

    name = "sqlite3"
    who_am_i = None

    def __init__(self, path):
        self.path = path

    def load(self):
        return drivers.load("sqlite3")

    def parameters(self):
        return {"database": str(self.path), "check_same_thread": False}


URLS = {
    "psycopg2": "postgresql+psycopg2://", "psycopg": "postgresql+psycopg://",
    "pg8000.dbapi": "postgresql+pg8000://", "pymysql": "mysql+pymysql://",
    "mysql.connector": "mysql+mysqlconnector://", "sqlite3": "sqlite://"}


@pytest.fixture
def alchemy():
    """SQLAlchemy, as if the package with its plugin were installed."""
    alchemy = drivers.load("sqlalchemy")
    from sqlalchemy.dialects import plugins
    plugins.register("dbutils", "dbutils._pooled.sqlalchemy", "EnginePlugin")
    yield alchemy
    plugins.deregister("dbutils")


@pytest.fixture(params=URLS)
def known(request, servers_running, tmp_path):
    """A driver that SQLAlchemy knows."""
    if request.param == "sqlite3":
        return Sqlite(tmp_path / "books.db")
    return ready(drivers.BY_NAME[request.param], servers_running)


@pytest.fixture
def lender(known):
    """A pool of connections of it."""
    with PooledDB(
            known.load(), maxconnections=3, **known.parameters()) as pool:
        yield pool


def use_engine(alchemy, engine):
    """Do with an engine what programs do."""
    from sqlalchemy.orm import declarative_base
    base = declarative_base()

    class Book(base):
        __tablename__ = "engine_books"
        id = alchemy.Column(
            alchemy.Integer, primary_key=True, autoincrement=False)
        title = alchemy.Column(alchemy.String(40), unique=True)

    base.metadata.create_all(engine)
    books = Book.__table__
    try:
        with engine.begin() as con:
            con.execute(books.insert(), [{"id": 1, "title": "Dune"}])
        with engine.connect() as con:
            con.execute(books.delete())
            con.rollback()
            con.execute(books.delete())  # which nobody commits
        use_sessions(alchemy, engine, Book)
        with pytest.raises(alchemy.exc.DBAPIError):
            fail(alchemy, engine, books)
        with engine.connect() as con:
            assert con.execute(
                alchemy.select(books.c.title).order_by(books.c.id),
            ).scalars().all() == ["Dune", "Emma"]
    finally:
        base.metadata.drop_all(engine)


def use_sessions(alchemy, engine, book):
    """Add a book with the object-relational mapper, in a second attempt."""
    from sqlalchemy.orm import Session
    with Session(engine) as session:
        assert session.get(book, 1).title == "Dune"
        session.add(book(id=2, title="Dune"))
        with pytest.raises(alchemy.exc.DatabaseError):
            session.commit()
        session.rollback()
        session.add(book(id=2, title="Emma"))
        session.commit()


def fail(alchemy, engine, books):
    """Leave a transaction with an error."""
    with engine.begin() as con:
        con.execute(books.delete())
        con.execute(alchemy.text("select nonsense from nowhere"))


@pytest.mark.slow
@pytest.mark.parametrize("own_pool", ["NullPool", "QueuePool"])
def test_an_engine_works_on_a_pool(alchemy, known, lender, own_pool):
    """Whether it has a pool of its own or not, and after a loss."""
    options = {"pool_pre_ping": True} if own_pool == "QueuePool" else {}
    engine = alchemy.create_engine(
        URLS[known.name], creator=lender.connection, plugins=["dbutils"],
        poolclass=getattr(alchemy.pool, own_pool), **options)
    use_engine(alchemy, engine)
    kept = int(own_pool == "QueuePool")
    assert lender._connections == kept
    if known.who_am_i is not None:
        who = alchemy.text(known.who_am_i)
        with engine.connect() as con:
            first = con.execute(who).scalar()
        known.kill(first)
        with engine.begin() as con:
            assert con.execute(who).scalar() != first
        assert lender._connections == kept
    engine.dispose()
    assert lender._connections == 0
    assert len(lender._idle_cache) == 1


@pytest.mark.slow
def test_an_engine_without_the_plugin_works_or_says_what_to_pass(
        alchemy, known, lender):
    engine = alchemy.create_engine(
        URLS[known.name], creator=lender.connection,
        poolclass=alchemy.pool.NullPool)
    if known.name in {"psycopg2", "psycopg"}:
        for _ in range(2):
            with pytest.raises(TypeError) as caught:
                engine.connect()
            assert told_by(caught).count("plugins=['dbutils']") == 1
    else:
        use_engine(alchemy, engine)
    assert lender._connections == 0


@pytest.mark.slow
def test_an_engine_shows_the_connection_of_the_driver(
        alchemy, known, lender):
    engine = alchemy.create_engine(
        URLS[known.name], creator=lender.connection, plugins=["dbutils"])
    with lender.connection() as lease:
        kind = type(lease.dbapi_connection)
    with engine.connect() as con:
        assert type(con.connection.driver_connection) is kind
    engine.dispose()


@pytest.mark.slow
def test_special_types_are_known_on_each_connection(alchemy, driver):
    from uuid import UUID, uuid4

    from sqlalchemy.dialects.postgresql import HSTORE, JSONB
    driver.run("create extension if not exists hstore")
    pool = PooledDB(driver.load(), maxconnections=2, **driver.parameters())
    engine = alchemy.create_engine(
        URLS[driver.name], creator=pool.connection, plugins=["dbutils"],
        poolclass=alchemy.pool.NullPool)
    values = uuid4(), {"a": "1", "b": None}, {"c": [2, 3]}
    types = alchemy.Uuid, HSTORE, JSONB
    query = alchemy.select(*(
        alchemy.cast(alchemy.bindparam(None, value, kind), kind)
        for value, kind in zip(values, types)))
    for _ in range(2):
        with engine.connect() as first, engine.connect() as second:
            for con in first, second:
                assert tuple(con.execute(query).one()) == values
                assert isinstance(con.execute(query).scalar(), UUID)
    pool.shutdown()
