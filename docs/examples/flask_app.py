"""A web application with Flask, whose requests share the connections.

It is run like this, with as many processes and threads as wanted:
gunicorn --workers 2 --threads 8 --preload flask_app:app

The pool is made before the workers are forked: each of them has connections
of its own nevertheless.  It finds the database in DATABASE_URL, such as
postgresql://user@host/name, mysql://user@host/name, or a file of SQLite.
"""

import os

from flask import Flask, g, jsonify

from dbutils.pool_manager import ConnectionConfig, PoolConfig, get_pool_manager

app = Flask(__name__)

config = ConnectionConfig.from_url(
    os.environ.get("DATABASE_URL", "sqlite:///visits.db"))


# how drivers want the place of a parameter to be marked; most want "%s"
MARKS = {"qmark": "?", "numeric": ":1", "named": ":1"}


def database():
    """Return the connection of this request."""
    if "db" not in g:
        g.db = get_pool_manager().get_connection(
            config, PoolConfig(max_total=8, max_wait_time=5))
    return g.db


@app.teardown_appcontext
def give_back(error):
    """Give the connection back; what was not committed is rolled back."""
    db = g.pop("db", None)
    if db is not None:
        db.close()


with app.app_context():
    database().cursor().execute(
        "create table if not exists visits (page text)")
    database().commit()


@app.route("/visit/<page>", methods=["POST"])
def visit(page):
    """Count a visit."""
    db = database()
    mark = MARKS.get(db.dbapi().paramstyle, "%s")
    statement = "insert into visits values (%s)".replace("%s", mark)
    db.cursor().execute(statement, (page,))
    db.commit()
    return "", 204


@app.route("/visits")
def visits():
    """Tell how many there were."""
    with database().cursor() as cursor:
        cursor.execute("select page, count(*) from visits group by page")
        return jsonify(visits=dict(cursor.fetchall()), process=os.getpid())
