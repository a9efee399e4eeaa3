"""A web application with Flask, whose requests share the connections.

It is run like this, with as many processes and threads as wanted:
gunicorn --workers 2 --threads 8 --preload flask_app:app

The pool is made before the workers are forked: each of them has connections
of its own nevertheless.  It finds the database in DATABASE_URL.
"""

import os

from flask import Flask, g, jsonify

from dbutils.pool_manager import ConnectionConfig, PoolConfig, get_pool_manager

app = Flask(__name__)

config = ConnectionConfig.from_url(
    os.environ.get("DATABASE_URL", "sqlite:///visits.db"))


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
    database().cursor().execute("insert into visits values (?)", (page,))
    database().commit()
    return "", 204


@app.route("/visits")
def visits():
    """Tell how many there were."""
    with database().cursor() as cursor:
        cursor.execute("select page, count(*) from visits group by page")
        return jsonify(visits=dict(cursor.fetchall()), process=os.getpid())
