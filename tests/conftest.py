"""What the tests have in common."""

import sys

import mock_db
import mock_pg
import pytest


@pytest.fixture
def dbapi():
    """A DB-API 2 driver on which nothing has happened."""
    mock_db.reset()
    return mock_db


@pytest.fixture
def server(dbapi):
    """The server of the driver."""
    return dbapi.server


@pytest.fixture
def pg(monkeypatch, dbapi):
    """Classic PyGreSQL, as far as the library can tell."""
    monkeypatch.setitem(sys.modules, "pg", mock_pg)
    return mock_pg
