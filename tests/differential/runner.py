"""Run sequences of operations on one of the two libraries.

This is a program: it is told where the library is that it uses ("-" for
the installed one) and which version that has to be, reads sequences as JSON
from its standard input, and prints what was observed after every step.
"""

import gc
import json
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import mock_db
import mock_pg

sys.modules["pg"] = mock_pg

# Closing a driver's cursor depends on when references are dropped.
UNRELIABLE = {"close cursor"}

# Operations after which nothing may be held.
DROPPING = {"forget_cursor", "drop"}


def outcome_of(error):
    """Describe an exception; only those of the driver with their text."""
    kind = type(error)
    if kind.__module__.startswith("mock"):
        return ["error", kind.__name__, [str(arg) for arg in error.args]]
    return ["error", kind.__name__]


def plain(value):
    """Return something that tells what a value is, and survives JSON."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return sorted([plain(key), plain(val)] for key, val in value.items())
    return type(value).__name__


class World:
    """The objects of a sequence: a subject, its connections, cursors."""

    def __init__(self, options):
        mock_db.reset()
        self.server = mock_db.server
        self.server.has_ping = options.pop("has_ping", False)
        self.server.has_begin = options.pop("has_begin", False)
        mock_db.threadsafety = options.pop("threadsafety", 2)
        if options.pop("vetoed", False):
            options["isfatal"] = lambda error: "timeout" not in str(error)
        if options.pop("function_ping", False):
            options["ping"] = lambda con: con.valid
        if isinstance(options.get("ping"), list):
            options["ping"] = tuple(options["ping"])
        if options.pop("programming_error", False):
            options["failures"] = mock_db.ProgrammingError
        self.options = options
        self.cons = []
        self.cursors = []
        self.seen = 0
        self.subject = self.make(options)

    def observe(self):
        """Return the state of what can be seen, and the new log entries."""
        log = [list(entry) for entry in self.server.log[self.seen:]
               if entry[0] not in UNRELIABLE]
        self.seen = len(self.server.log)
        return {"cons": [self.look(con) for con in self.cons],
                "pool": self.look_at_pool(), "log": plain(log)}

    def look(self, con):
        """Return the inner state of a steady connection or a lease."""
        steady = getattr(con, "_con", con) if self.has_leases else con
        if steady is None:
            return None
        driver_con = steady._con
        inner = getattr(driver_con, "db", driver_con)
        return [
            inner and inner.serial, steady._usage, steady._transaction,
            steady._closed, plain(inner and inner.session)]

    has_leases = False

    def look_at_pool(self):
        """Return the figures of the pool, or nothing if there is none."""

    # operations on connections

    def pick(self, index):
        """Return one of the connections."""
        if not self.cons:
            raise LookupError
        return self.cons[index % len(self.cons)]

    def inner(self, index):
        """Return the driver's connection of one of the connections."""
        con = self.pick(index)
        steady = con._con if self.has_leases else con
        driver_con = steady._con
        return getattr(driver_con, "db", driver_con)

    def do_cut(self, index):
        self.inner(index).cut()

    def do_down(self, is_down):
        self.server.is_down = is_down

    def do_fail(self, call, error, after, times):
        self.server.fail(call, getattr(mock_db, error), after, times)

    def do_call(self, index, name, *args):
        return plain(getattr(self.pick(index), name)(*args))

    def do_with(self, index, fails):
        with suppress(ZeroDivisionError), self.pick(index):
            if fails:
                raise ZeroDivisionError

    # operations on cursors

    def do_cursor(self, index, *args):
        self.cursors.append(self.pick(index).cursor(*args))

    def tool(self, index):
        """Return one of the cursors."""
        if not self.cursors:
            raise LookupError
        return self.cursors[index % len(self.cursors)]

    def do_use(self, index, name, *args):
        return plain(getattr(self.tool(index), name)(*args))

    def do_guarded(self, index, statement):
        with self.tool(index).no_failover() as cursor:
            cursor.execute(statement)

    def do_forget_cursor(self, index):
        self.tool(index)
        del self.cursors[index % len(self.cursors)]


class SteadyWorld(World):
    """One steady connection."""

    def make(self, options):
        from dbutils.steady_db import connect

        self.cons.append(connect(mock_db, **options))


class SteadyPgWorld(World):
    """One steady connection of classic PyGreSQL."""

    def make(self, options):
        from dbutils.steady_pg import SteadyPgConnection

        self.cons.append(SteadyPgConnection(**options))


class PersistentWorld(World):
    """Persistent connections of two threads that act one after the other."""

    def make(self, options):
        from dbutils.persistent_db import PersistentDB

        return PersistentDB(mock_db, **options)

    def do_get(self, other_thread):
        if not other_thread:
            self.keep(self.subject.connection())
            return
        errors = []
        thread = Thread(target=self.get_there, args=(errors,))
        thread.start()
        thread.join()
        for error in errors:
            raise error

    def get_there(self, errors):
        try:
            self.keep(self.subject.connection())
        except Exception as error:
            errors.append(error)

    def keep(self, con):
        """Keep a connection, unless it is known."""
        if not any(known is con for known in self.cons):
            self.cons.append(con)


class PersistentPgWorld(PersistentWorld):
    """The same with classic PyGreSQL."""

    def make(self, options):
        from dbutils.persistent_pg import PersistentPg

        return PersistentPg(**options)


class PooledWorld(World):
    """A pool and its leases."""

    has_leases = True

    def make(self, options):
        from dbutils.pooled_db import PooledDB

        return PooledDB(mock_db, **options)

    def look_at_pool(self):
        pool = self.subject
        shared = getattr(pool, "_shared_cache", None)
        return {
            "idle": [con._con.serial for con in pool._idle_cache],
            "shared": shared and sorted(
                [entry.con._con.serial, entry.shared] for entry in shared),
            "in use": pool._connections}

    def do_take(self, *args):
        self.cons.append(self.subject.connection(*args))

    def do_take_dedicated(self):
        self.cons.append(self.subject.dedicated_connection())

    def do_drop(self, index):
        self.pick(index)
        del self.cons[index % len(self.cons)]

    def do_leave(self, index):
        with self.pick(index):
            pass

    def do_close_pool(self):
        self.subject.close()


class PooledPgWorld(PooledWorld):
    """The same with classic PyGreSQL."""

    def make(self, options):
        from dbutils.pooled_pg import PooledPg

        return PooledPg(**options)

    def look_at_pool(self):
        pool = self.subject
        return {"idle": pool._cache.qsize(),
                "room": pool._connections and pool._connections._value}


class SimpleWorld(World):
    """A simple pool, from which only what is there is taken."""

    has_leases = True

    def make(self, options):
        from dbutils.simple_pooled_db import PooledDB

        self.is_shared = mock_db.threadsafety > 1
        self.free = options["maxconnections"]
        return PooledDB(mock_db, **options)

    def look(self, con):
        return con._con and getattr(con._con, "db", con._con).serial

    def do_take(self):
        if self.is_shared or sum(
                con._con is not None for con in self.cons) < self.free:
            self.cons.append(self.subject.connection())

    do_drop = PooledWorld.do_drop

    def do_add(self):
        self.subject.addConnection(mock_db.connect())
        self.free += 1


class SimplePgWorld(SimpleWorld):
    """The same with classic PyGreSQL."""

    def make(self, options):
        from dbutils.simple_pooled_pg import PooledPg

        self.is_shared = False
        self.free = options["maxconnections"]
        return PooledPg(**options)


WORLDS = {
    "steady_db": SteadyWorld, "steady_pg": SteadyPgWorld,
    "persistent_db": PersistentWorld, "persistent_pg": PersistentPgWorld,
    "pooled_db": PooledWorld, "pooled_pg": PooledPgWorld,
    "simple_db": SimpleWorld, "simple_pg": SimplePgWorld}


def attempt(function, *args):
    """Return what a function returns or raises."""
    try:
        return function(*args)
    except LookupError:
        return "nothing to act upon"
    except Exception as error:
        return outcome_of(error)


def run(sequence, is_ours):
    """Return what is observed at each step of a sequence."""
    options = dict(sequence["options"])
    is_simple = sequence["family"].startswith("simple")
    if is_ours and not is_simple and sequence["seed"] % 2:
        options["failover"] = "always"  # which is what it comes to anyway
    made = attempt(WORLDS[sequence["family"]], options)
    if not isinstance(made, World):
        return [{"outcome": made, "log": plain(mock_db.server.log)}]
    seen = [made.observe()]
    for name, *args in sequence["steps"]:
        outcome = attempt(getattr(made, "do_" + name), *args)
        if name in DROPPING:
            gc.collect()  # errors may have left cycles behind
        seen.append(dict(made.observe(), outcome=outcome))
    return seen


def main(place, version):
    """Run all sequences of the standard input."""
    if place != "-":
        sys.path.insert(0, place)
    import dbutils

    if dbutils.__version__ != version:
        sys.exit(f"this is dbutils {dbutils.__version__}, not {version}")
    gc.disable()
    results = []
    for number, sequence in enumerate(json.load(sys.stdin)):
        results.append(run(sequence, is_ours=place == "-"))
        gc.collect()  # so that the next one begins without leftovers
        if not number % 50:
            gc.freeze()  # nobody needs to look at the results again
    sys.stdout.write(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
