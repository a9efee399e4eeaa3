"""Cursors whose statements fail, as if they had been interrupted."""


class FailingCursor:
    """The cursor of a driver whose statements do not come to an end."""

    def __init__(self, error, prepare=lambda: None):
        self.error = error
        self.prepare = prepare

    def execute(self, *args):
        self.prepare()
        raise self.error

    def close(self):
        pass


def failing_cursor(db, *terms):
    """Return a cursor whose statements do not come to an end."""
    cursor = db.cursor()
    cursor._cursor.close()
    cursor._cursor = FailingCursor(*terms)
    return cursor
