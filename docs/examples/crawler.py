"""A crawler: 50 threads fetch pages, 10 connections store them.

The URLs that are still to be visited are in a table, so the crawler can be
stopped and started again, and it goes on if the server ends its sessions.  It
crawls a little web that it serves by itself.  DATABASE_URL names the database
of MySQL, MariaDB or PostgreSQL, like mysql://user:password@host:3306/name or
postgresql://user:password@host/name; otherwise it is a file.
"""

import os
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import OK, HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from time import monotonic
from urllib.parse import unquote, urljoin, urlsplit

from dbutils.pooled_db import CommitUnknownError, PooledDB

THREADS, CONNECTIONS, ATTEMPTS, PAGES = 50, 10, 4, 200
STATISTICS = {
    "pages": "select count(*) from pages",
    "links": "select count(*) from links",
    "failed": "select count(*) from queue where state = 'failed'",
    "repeated": (
        "select sum(attempts) - count(*) from queue where state = 'done'")}


def make_pool(url):
    """Make the pool for MySQL, MariaDB, PostgreSQL or a file of SQLite."""
    # fifty threads share ten connections; each of them has its turn in time
    limits = {"maxconnections": CONNECTIONS, "maxwait": 60}
    if url.startswith("postgresql:"):
        import psycopg2

        return PooledDB(psycopg2, **limits, dsn=url)
    if not url.startswith("mysql:"):
        return PooledDB(
            sqlite3, **limits, database=url, check_same_thread=False,
            timeout=60)
    import pymysql

    parts = urlsplit(url)
    return PooledDB(
        pymysql, **limits, setsession=[  # fewer locks, so fewer deadlocks
            "set session transaction isolation level read committed"],
        host=parts.hostname, port=parts.port or 3306, user=parts.username,
        password=unquote(parts.password or ""), database=parts.path[1:],
        charset="utf8mb4")


class Store:
    """What has been found, and what is still to be visited."""

    def __init__(self, pool):
        self.pool = pool
        with pool.connection() as db:
            self.driver = db.dbapi().__name__

    def run(self, function, *args):
        """Call a function in a transaction, until it surely was committed."""
        while True:
            try:
                return self.pool.run(lambda db: function(db, *args), 20)
            except CommitUnknownError:
                continue  # all that is done here can be done twice

    def execute(self, db, statement, *values):
        """Execute a statement as the database wants it; return the cursor."""
        if self.driver != "pymysql" and "insert ignore" in statement:
            statement = statement.replace("insert ignore", "insert")
            statement += " on conflict do nothing"
        if self.driver == "sqlite3":
            statement = statement.replace("%s", "?")
            statement = statement.replace(" for update skip locked", "")
        cursor = db.cursor()
        cursor.execute(statement, values)
        return cursor

    def set_up(self, db, start):
        """Create the tables; what a crawler did not finish is done again."""
        self.execute(
            db, "create table if not exists queue (url varchar(200)"
            " primary key, state varchar(10) not null default 'new',"
            " thread integer, attempts integer not null default 0)")
        self.execute(
            db, "create table if not exists pages"
            " (url varchar(200) primary key, title varchar(200))")
        self.execute(
            db, "create table if not exists links (source varchar(200),"
            " target varchar(200), primary key (source, target))")
        self.execute(
            db, "update queue set state = 'new' where state = 'taken'")
        self.execute(db, "insert ignore into queue (url) values (%s)", start)

    def take(self, db, thread):
        """Take a URL that nobody else has, or return None."""
        row = self.execute(  # if it is unknown whether it has one already
            db, "select url from queue where state = 'taken' and thread = %s",
            thread).fetchone()
        if row:
            return row[0]
        # MySQL passes over what others are just taking; elsewhere two can
        # find the same URL, and the update tells who of them has got it
        while True:
            row = self.execute(
                db, "select url from queue where state = 'new' limit 1"
                " for update skip locked").fetchone()
            if not row:
                return None
            taken = self.execute(
                db, "update queue set state = 'taken', thread = %s,"
                " attempts = attempts + 1 where url = %s and state = 'new'",
                thread, *row)
            if taken.rowcount:
                return row[0]

    def save(self, db, url, title, targets):
        """Store a page and its links, and put what is new into the queue."""
        self.execute(
            db, "insert ignore into pages values (%s, %s)", url, title)
        for target in sorted(targets):  # in the same order everywhere
            self.execute(
                db, "insert ignore into links values (%s, %s)", url, target)
            self.execute(
                db, "insert ignore into queue (url) values (%s)", target)
        self.execute(db, "update queue set state = 'done' where url = %s", url)

    def give_up(self, db, url):
        """Put a page that failed back into the queue, but not for ever."""
        self.execute(
            db, "update queue set state = case when attempts < %s then 'new'"
            " else 'failed' end where url = %s and state = 'taken'",
            ATTEMPTS, url)

    def count(self, db, statement):
        """Return the number that a statement finds."""
        return self.execute(db, statement).fetchone()[0]

    def is_done(self, db):
        """Return whether there is nothing to do, and will not be."""
        return not self.count(
            db, "select count(*) from queue where state in ('new', 'taken')")


class Crawler:
    """Threads that take URLs, fetch pages and save them."""

    def __init__(self, store):
        self.store = store
        self.stop = Event()

    def work(self, thread):
        """Visit pages until all are done; return how many were fetched."""
        run, store, fetched = self.store.run, self.store, 0
        while not self.stop.is_set():
            url = run(store.take, thread)
            if url is None:
                if run(store.is_done):
                    break
                self.stop.wait(0.05)  # others may find more
                continue
            try:  # nobody holds a connection while the page is fetched
                title, targets = fetch(url)
            except (OSError, HTTPException):
                run(store.give_up, url)
                continue
            fetched += 1
            run(store.save, url, title, targets)
        return fetched

    def crawl(self):
        """Let all threads work; return how many pages each has fetched."""
        with ThreadPoolExecutor(THREADS) as executor:
            futures = [
                executor.submit(self.work, n) for n in range(THREADS)]
            try:
                return [future.result() for future in futures]
            finally:
                self.stop.set()  # if one has failed, or with Ctrl-C


def fetch(url):
    """Return the title of a page, and the URLs to which it has links."""
    parts = urlsplit(url)
    with closing(HTTPConnection(parts.netloc, timeout=30)) as connection:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        text = response.read().decode()
    if response.status != OK:
        raise HTTPException(f"{url}: {response.status}")
    title = re.search("<title>(.*)</title>", text).group(1)
    return title, {
        urljoin(url, link) for link in re.findall('href="([^"]+)"', text)}


class LittleWeb(BaseHTTPRequestHandler):
    """Pages with links; each seventh fails once, and one is missing."""

    asked, lock = set(), Lock()

    def do_GET(self):
        number = int(self.path[1:])
        with self.lock:
            is_first = number not in self.asked
            self.asked.add(number)
        if number == PAGES or (number % 7 == 0 and is_first):
            self.send_error(404 if number == PAGES else 503)
            return
        links = "".join(
            f'<a href="/{link}">{link}</a>' for link in
            (number * 2 + 1, number * 2 + 2, number // 2) if link <= PAGES)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"<title>Page {number}</title>{links}".encode())

    def log_message(self, *args):
        """Be silent."""


class Server(ThreadingHTTPServer):
    """A server at which many may call at once."""

    request_queue_size = 100


def main():
    """Crawl the little web, and tell what was found."""
    pool = make_pool(os.environ.get("DATABASE_URL", "crawler.db"))
    with Server(("127.0.0.1", 0), LittleWeb) as server, pool:
        Thread(target=server.serve_forever).start()
        try:
            store = Store(pool)
            store.run(
                store.set_up, f"http://127.0.0.1:{server.server_port}/0")
            start = monotonic()
            fetched = Crawler(store).crawl()
            seconds = monotonic() - start
        finally:
            server.shutdown()
        with pool.connection() as db:
            for name, statement in STATISTICS.items():
                print(f"{store.count(db, statement)} {name}")
    print(f"{sum(fetched) / seconds:.0f} pages a second")


if __name__ == "__main__":
    main()
