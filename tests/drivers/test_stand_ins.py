"""Nothing is lost, torn or doubled, whatever the driver tells.

Each shape of a driver meets each fault, with a program that rolls back after
an error, with one that goes on, and in autocommit mode.  Then what the
program was told is compared with what is stored.
"""

from collections import Counter
from contextlib import suppress
from itertools import product

import pytest
import stand_ins
from stand_ins import SHAPES, Driver, Server

from dbutils.pooled_db import PooledDB


def before(server, session, sql):
    """Not called: the session is killed before the statement is sent."""


# names, the kind of request, which one of them, and what happens
FAULTS = {
    "before a statement": ("insert", 4, before),
    "during a statement": ("insert", 4, stand_ins.killed),
    "after a statement": ("insert", 4, stand_ins.killed_after),
    "first of a transaction": ("insert", 3, stand_ins.killed_after),
    "in a read between": ("select", 2, stand_ins.killed),
    "in commit": ("commit", 2, stand_ins.killed),
    "after commit": ("commit", 2, stand_ins.killed_after),
    "in rollback": ("rollback", 1, stand_ins.killed),
    "cut answer": ("insert", 4, stand_ins.cut),
    "refused reconnect": ("insert", 4, stand_ins.refused),
    "time-out": ("insert", 4, stand_ins.late),
    "deadlock": ("insert", 4, stand_ins.deadlock),
    "closed by the program": ("insert", 4, before),
    "read-only": ("insert", 4, stand_ins.read_only),
    "silent": ("insert", 4, stand_ins.silent),
}

OK, ERROR, UNKNOWN = "ok", "error", "unknown"


class Program:
    """Writes pairs of rows in transactions, with a read between."""

    def __init__(self, shape, fault, style):
        self.shape = shape
        self.fault = fault
        self.style = style
        self.server = Server()
        self.driver = Driver(shape, self.server)
        self.errors = self.driver.Error
        self.told = {}

    def run(self):
        """Write three pairs, and look what is stored."""
        pool = PooledDB(self.driver, maxconnections=1)
        kind, number, action = FAULTS[self.fault]
        if action is not before:
            self.server.fault = kind, number, action
        try:
            for pair in range(1, 4):
                self._transact(pool, pair)
        finally:
            pool.close()
            self.server.shut_down()
        return self._verdicts()

    def _transact(self, pool, pair):
        try:
            db = pool.connection()
        except self.errors:  # no connection could be opened again
            return
        if self.style == "autocommit":
            for con in self.driver.inner:
                con._session_of_test.autocommit = True
        try:
            self._write(db, pair)
        finally:
            with suppress(self.errors):
                db.close()

    def _write(self, db, pair):
        rows = [f"{pair} a", f"{pair} b"]
        for row in rows:
            if pair == 2 and row == rows[1]:
                self._interfere(db)
            self.told[row] = self._insert(db, row)
            if self.told[row] == ERROR and self.style == "tidy":
                stand_ins.roll_back(db, self.errors)
                self.told.update(dict.fromkeys(rows, ERROR))
                return
            if row == rows[0]:
                self._read(db, row)
        self._end(db, rows)

    def _end(self, db, rows):
        if self.fault == "in rollback" and rows[0] == "2 a":
            stand_ins.roll_back(db, self.errors)
            self.told.update(dict.fromkeys(rows, ERROR))
            return
        try:
            db.commit()
        except self.errors:
            for row in rows:
                if self.told[row] == OK:
                    self.told[row] = UNKNOWN

    def _interfere(self, db):
        if self.fault == "before a statement":
            for session in self.server.sessions:
                if session.is_alive:
                    session.kill()
        elif self.fault == "closed by the program":
            self.driver.inner[-1].close()

    def _insert(self, db, row):
        try:
            db.cursor().execute(f"insert {row}")
        except self.errors:
            return ERROR
        return OK

    def _read(self, db, row):
        try:
            db.cursor().execute("select count")
        except self.errors:  # this tells that the row before it is lost
            self.told[row] = ERROR

    def _verdicts(self):
        """Return what is wrong: lost, doubled, or torn."""
        stored, told = self.server.stored, self.told
        alone = self.style == "autocommit" or not self.shape.transactional
        verdicts = Counter()
        for row, word in told.items():
            verdicts["doubled"] += stored[row] > 1
            verdicts["lost"] += word == OK and not stored[row]
            if not alone and word == ERROR:
                verdicts["unwanted"] += bool(stored[row])
        if not alone:
            for pair in range(1, 4):
                unknown = [stored[row] for row, word in told.items()
                           if row[0] == str(pair) and word == UNKNOWN]
                verdicts["torn"] += len(set(unknown)) > 1
        return +verdicts


def can_be(shape, fault, style):
    """Tell whether a combination makes sense."""
    if style == "autocommit":
        return bool(shape.autocommit)
    # who goes on after a deadlock loses rows with the driver alone, too
    return style != "stubborn" or fault != "deadlock"


COMBINATIONS = [
    combination for combination in product(
        SHAPES, FAULTS, ("tidy", "stubborn", "autocommit"))
    if can_be(*combination)]


@pytest.mark.parametrize(
    ("shape", "fault", "style"), COMBINATIONS, ids=str)
def test_what_was_told_is_what_is_stored(shape, fault, style):
    assert Program(shape, fault, style).run() == {}


def table():
    """Print how often what goes wrong, for each shape and fault."""
    sums = Counter()
    for shape, fault, style in COMBINATIONS:
        try:
            verdicts = Program(shape, fault, style).run()
        except Exception as error:  # it counts as wrong
            verdicts = Counter({type(error).__name__: 1})
        for word, number in verdicts.items():
            sums[shape.name, fault] += number
            sums[word] += number
    for shape in SHAPES:
        cells = " ".join(str(sums[shape.name, fault]) for fault in FAULTS)
        print(f"{shape.name:22}", cells)  # noqa: T201
    print({word: number for word, number in sums.items()  # noqa: T201
           if isinstance(word, str)})


if __name__ == "__main__":
    table()
