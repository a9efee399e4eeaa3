"""A small shop with Flask: a login, pages of a list, orders, errors, health.

It is run like this, with as many processes and threads as wanted:
SECRET_KEY=... gunicorn --workers 2 --threads 8 --preload flask_shop:app

The pool is made, and the tables too, before the workers are forked: each of
them has connections of its own nevertheless.  DATABASE_URL names the database
of PostgreSQL, like postgresql://user@host/name; otherwise it is a file.
"""

import os
import secrets
import sqlite3

from flask import (
    Flask,
    abort,
    flash,
    g,
    jsonify,
    redirect,
    render_template_string,
    request,
    session,
)
from werkzeug.exceptions import HTTPException
from werkzeug.security import check_password_hash, generate_password_hash

from dbutils.pooled_db import PooledDB, TooManyConnectionsError

PAGE_SIZE = 10

app = Flask(__name__)
app.config.update(
    SECRET_KEY=os.environ.get("SECRET_KEY") or secrets.token_hex(),
    SESSION_COOKIE_SAMESITE="Lax")  # other sites cannot send our forms


def make_pool(url):
    """Make the pool for PostgreSQL, or for a file of SQLite."""
    # a request waits for at most five seconds, then it is told to come again
    limits = {"maxconnections": 4, "maxcached": 4, "maxwait": 5}
    if url.startswith("postgresql:"):
        import psycopg2

        return PooledDB(
            psycopg2, **limits, setsession=["set statement_timeout = '5s'"],
            dsn=url, connect_timeout=3)
    return PooledDB(
        sqlite3, **limits, database=url, check_same_thread=False, timeout=5)


pool = make_pool(os.environ.get("DATABASE_URL", "shop.db"))


def query(db, statement, *values):
    """Execute a statement with the marks of the driver; return the cursor."""
    if db.dbapi().paramstyle == "qmark":
        statement = statement.replace("%s", "?")
    cursor = db.cursor()
    cursor.execute(statement, values)
    return cursor


def set_up(db):
    """Create the tables, and something to sell."""
    query(db, "create table if not exists members"
              " (name varchar(40) primary key, password varchar(255))")
    query(db, "create table if not exists items (id integer primary key,"
              " title varchar(80) not null, stock integer not null)")
    query(db, "create table if not exists orders (member varchar(40) not null,"
              " item integer not null, amount integer not null)")
    if not query(db, "select count(*) from items").fetchone()[0]:
        for number in range(1, 36):
            query(db, "insert into items values (%s, %s, %s)",
                  number, f"book {number}", 20)


pool.run(set_up)


def database():
    """Return the connection of this request, which is borrowed when needed."""
    if "db" not in g:
        g.db = pool.connection()
    return g.db


@app.teardown_appcontext
def give_back(error):
    """Give the connection back; what was not committed is rolled back."""
    db = g.pop("db", None)
    if db is not None:
        db.close()


class NotEnoughError(Exception):
    """There is less in stock than was ordered."""


def order(db, member, item, amount):
    """Take something from the stock, in one transaction."""
    taken = query(
        db, "update items set stock = stock - %s where id = %s"
        " and stock >= %s", amount, item, amount)
    if not taken.rowcount:
        raise NotEnoughError  # which rolls back
    query(db, "insert into orders values (%s, %s, %s)", member, item, amount)


PAGE = """<!doctype html><title>{{ title }}</title><h1>{{ title }}</h1>
{% for message in get_flashed_messages() %}<p>{{ message }}</p>{% endfor %}"""

LOGIN = PAGE + """<form method="post"><input name="name">
<input name="password" type="password"><button>Enter</button></form>"""

ITEMS = PAGE + """<ul>{% for id, title, stock in items %}
<li>{{ title }}: {{ stock }} <form method="post" action="/order">
<input name="item" type="hidden" value="{{ id }}"><input name="amount"
value="1"><button>Order</button></form></li>{% endfor %}</ul>
{% if page > 1 %}<a href="/?page={{ page - 1 }}">back</a>{% endif %}
{% if more %}<a href="/?page={{ page + 1 }}">next</a>{% endif %}"""


def member_name():
    """Return the member that has logged in, or end the request."""
    if "member" not in session:
        abort(redirect("/login"))
    return session["member"]


@app.route("/login", methods=["GET", "POST"])
def login():
    """Let a member in; a new name becomes a member."""
    if request.method == "GET":
        return render_template_string(LOGIN, title="Login")
    name, password = request.form["name"], request.form["password"]
    find = "select password from members where name = %s"
    found = query(database(), find, name).fetchone()
    give_back(None)  # since hashing takes long, and needs no connection
    if not found:
        hashed = generate_password_hash(password)
        with pool.transaction() as db:
            query(db, "insert into members values (%s, %s)", name, hashed)
    elif not check_password_hash(found[0], password):
        flash("This is not the password.")
        return redirect("/login")
    session["member"] = name
    return redirect("/")


@app.route("/")
def items():
    """Show a page of the list."""
    member = member_name()
    page = max(request.args.get("page", 1, type=int), 1)
    # one more than is shown, to see whether there is more
    statement = "select * from items order by id limit %s offset %s"
    found = query(
        database(), statement, PAGE_SIZE + 1, (page - 1) * PAGE_SIZE,
    ).fetchall()
    return render_template_string(
        ITEMS, title=f"Books for {member}", items=found[:PAGE_SIZE],
        page=page, more=len(found) > PAGE_SIZE)


@app.route("/order", methods=["POST"])
def place_order():
    """Order something; a deadlock or a lost connection is tried again."""
    member = member_name()
    item = request.form.get("item", type=int)
    amount = request.form.get("amount", type=int)
    if not item or not amount or amount < 0:
        abort(400)
    try:
        pool.run(lambda db: order(db, member, item, amount))
        flash("Thank you.")
    except NotEnoughError:
        flash("There is not enough of it.")
    return redirect("/")


@app.route("/health")
def health():
    """Tell a load balancer whether this worker reaches its database."""
    with pool.connection(maxwait=1) as db:  # an error is answered below
        query(db, "select 1").fetchone()
    return jsonify(status="healthy", process=os.getpid())


@app.errorhandler(TooManyConnectionsError)
def busy(error):
    """Ask to come again when all connections are in use."""
    app.logger.warning("%s", error)  # says who has them, and since when
    return "We are busy.", 503, {"Retry-After": "2"}


@app.errorhandler(Exception)
def failed(error):
    """Show an error page; the log has the rest."""
    if isinstance(error, HTTPException):
        return error
    app.logger.exception("%s failed", request.path)
    return render_template_string(PAGE, title="Something went wrong"), 500
