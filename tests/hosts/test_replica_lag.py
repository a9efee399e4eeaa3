"""What a replica of MySQL or MariaDB tells of how far it is behind."""

import pytest

from dbutils._drivers.mysql import DRIVERS
from dbutils._drivers.standing import PRIMARY, STANDBY, Standing

pytestmark = pytest.mark.portable

OLD = "Seconds_Behind_Master", "Slave_IO_Running", "Slave_SQL_Running"
NEW = "Seconds_Behind_Source", "Replica_IO_Running", "Replica_SQL_Running"


class Error(Exception):
    """An error of the driver, with the number of the server."""


class Server:
    """A server that answers some questions, and its only connection."""

    def __init__(self, read_only, answers, makes_dictionaries=False):
        self.asked = []
        self._answers = {
            "show global variables": (
                ("name", "value"), [("read_only", read_only)]), **answers}
        self._makes_dictionaries = makes_dictionaries

    def cursor(self):
        return self

    def close(self):
        """End a cursor."""

    def execute(self, text):
        self.asked.append(text)
        answer = next((
            answer for start, answer in self._answers.items()
            if text.startswith(start)), Error(1064, "a syntax error"))
        if isinstance(answer, Exception):
            raise answer
        names, self._rows = answer
        self.description = [(name, None) for name in names]

    def fetchall(self):
        names = [column[0] for column in self.description]
        return [
            dict(zip(names, row)) if self._makes_dictionaries else row
            for row in self._rows]


def standing(server, driver="pymysql"):
    return DRIVERS[driver].standing(server)


@pytest.mark.parametrize("makes_dictionaries", [False, True])
@pytest.mark.parametrize("names", [OLD, NEW])
@pytest.mark.parametrize(("rows", "lag"), [
    ([(7, "Yes", "Yes")], 7), ([("0", "Yes", "Yes")], 0),
    ([(None, "Yes", "No")], None), ([], None),
    ([(0, "Connecting", "Yes")], None), ([(0, "No", "Yes")], None),
    ([(3, "Yes", "Yes"), (8, "Yes", "Yes")], 8),  # of two channels
    ([(3, "Yes", "Yes"), (None, "Yes", "No")], None)])
def test_the_lag_is_what_the_server_says(rows, lag, names, makes_dictionaries):
    server = Server(
        "ON", {"show replica status": (names, rows)}, makes_dictionaries)
    assert standing(server) == Standing(STANDBY, None, lag)


def test_an_old_server_is_asked_with_its_own_words():
    server = Server("ON", {"show slave status": (OLD, [(7, "Yes", "Yes")])})
    assert standing(server) == Standing(STANDBY, None, 7)
    assert server.asked[1:] == ["show replica status", "show slave status"]


def test_what_nobody_may_ask_is_not_known():
    server = Server("ON", {"show replica status": Error(1227, "denied")})
    assert standing(server) == Standing(STANDBY)
    assert server.asked[1:] == ["show replica status"]


def test_a_server_that_has_no_such_words_tells_no_lag():
    assert standing(Server("ON", {})) == Standing(STANDBY)


def test_a_lost_connection_is_no_unknown_lag():
    server = Server("ON", {"show replica status": Error(2013, "lost")})
    with pytest.raises(Error, match="lost"):
        standing(server)


def test_a_primary_is_not_asked_for_its_lag():
    server = Server("OFF", {})
    assert standing(server) == Standing(PRIMARY)
    assert len(server.asked) == 1
