"""Use SQLAlchemy with the engine that the manual shows.

The arguments are the driver, the port, and the file with the code.
"""

import sys
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.dialects import plugins, postgresql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, declarative_base

from dbutils.pooled_db import PooledDB

driver, port, path = sys.argv[1:]
pool = PooledDB(
    import_module(driver), maxconnections=3, host="127.0.0.1", port=port,
    user="postgres", dbname="postgres")
# as the entry point of an installed package does
plugins.register("dbutils", "dbutils._pooled.sqlalchemy", "EnginePlugin")
names = {
    "create_engine": sa.create_engine, "NullPool": sa.pool.NullPool,
    "pool": pool}
code = Path(path).read_text(encoding="utf-8")
code = code.replace("+psycopg2:", f"+{driver}:")
exec(compile(code, path, "exec"), names)
engine = names["engine"]
Base = declarative_base()


class Book(Base):
    __tablename__ = "sqlalchemy_books"
    id = sa.Column(postgresql.UUID(as_uuid=True), primary_key=True)
    title = sa.Column(sa.String, unique=True)
    facts = sa.Column(postgresql.JSONB)
    read_at = sa.Column(sa.DateTime(timezone=True))


def use():
    """Do what programs do."""
    key = uuid4()
    now = datetime.now(timezone.utc)
    with Session(engine) as session:
        session.add(Book(
            id=key, title="Dune", facts={"pages": 412}, read_at=now))
        session.commit()
        book = session.query(Book).filter_by(id=key).one()
        assert (book.id, book.facts, book.read_at) == (
            key, {"pages": 412}, now)
        session.add(Book(id=uuid4(), title="Dune"))
        try:
            session.commit()
        except IntegrityError:
            session.rollback()
        with session.begin_nested():
            session.add(Book(id=uuid4(), title="Emma"))
        session.commit()
        assert session.query(Book).count() == 2
    assert "sqlalchemy_books" in sa.inspect(engine).get_table_names()


def level(**options):
    """Return the isolation level of a connection with these options."""
    with engine.connect().execution_options(**options) as con:
        return con.execute(sa.text("show transaction_isolation")).scalar()


def use_options():
    """Use connections in other ways, of which nothing is left."""
    with engine.connect().execution_options(
            isolation_level="AUTOCOMMIT") as con:
        con.execute(sa.text("delete from sqlalchemy_books"))
    with engine.connect().execution_options(stream_results=True) as con:
        rows = con.execute(sa.text("select * from generate_series(1, 500)"))
        assert sum(1 for _ in rows) == 500
    assert level(isolation_level="SERIALIZABLE") == "serializable"
    assert level() == "read committed"


Base.metadata.create_all(engine)
try:
    for _ in range(2):  # the second time on the connection that came back
        use()
        use_options()
finally:
    Base.metadata.drop_all(engine)
assert pool._connections == 0
assert len(pool._idle_cache) == 1
pool.shutdown()
sys.stdout.write("all is well\n")
