"""Objects that are held weakly drop out in silence, whatever others do."""

import gc
import re
import sys
from weakref import getweakrefs

import pytest
from folders import ROOT

from dbutils._base.atomic import loaded
from dbutils._base.followers import Followers
from dbutils._base.fork import entrust, register_for_fork
from dbutils._base.links import Links
from dbutils._hosts.host import Host
from dbutils._manager.registry import Request, UsageStats
from dbutils._pooled.metering import Meters
from dbutils.pooled_db import PooledDB


class Thing:
    """Something that can be observed, and registered everywhere."""

    def observe(self, observer):
        pass

    unobserve = observe


@pytest.fixture
def printed(monkeypatch, capsys):
    """What Python prints of exceptions that nobody can catch."""
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append, raising=False)
    return lambda: [*seen, *capsys.readouterr().err.splitlines()]


def test_they_stay_in_the_order_in_which_they_came():
    links = Links()
    things = [Thing() for _ in range(9)]
    for number, thing in enumerate(things):
        assert links.add(thing, number) == number
    assert links.add(things[4], "another") == 4
    assert links.things() == things
    assert [link.value for link in links.all()] == list(range(9))
    del things[3:6], thing
    gc.collect()
    assert links.things() == things
    assert len(links) == 6
    assert links.get(things[0]) == links.drop(things[0]) == 0
    assert links.get(things[0]) is links.drop(things[0]) is None
    assert links.things() == things[1:]
    things.clear()
    gc.collect()
    assert not links


def _by_forks(thing):
    register_for_fork(thing, is_connection=True)
    return lambda: entrust(thing)


def _by_followers(thing):
    followers = Followers()
    followers.join(thing)
    return lambda: followers.leave(thing)


def _by_meters(thing):
    meters = Meters(lambda link: link)
    meters.add(thing)
    return lambda: meters.drop(thing)


def _by_links(thing):
    links = Links()
    links.add(thing)
    return lambda: links.drop(thing)


@pytest.mark.parametrize(
    "register", [_by_forks, _by_followers, _by_meters, _by_links])
def test_one_that_was_dropped_dies_in_silence_while_others_have_its_link(
        register, printed):
    """Another thread that reads the links has them for a moment."""
    thing = Thing()
    drop = register(thing)
    held = getweakrefs(thing)
    drop()
    del drop, thing
    gc.collect()
    assert [link() for link in held] == [None] * len(held)
    assert held
    assert printed() == []


def test_a_seat_is_free_at_once_though_another_thread_still_has_it(printed):
    host = Host("one", Thing, {}, None, 1)
    seat = host.take_seat()
    assert host.take_seat() is None
    host.give_up(seat)
    assert not host.is_full
    other = host.take_seat()
    assert other is not None
    del seat
    gc.collect()
    assert host.number == 1
    assert printed() == []


def test_a_request_is_pending_for_as_long_as_it_lives():
    usage = UsageStats()
    requests = [Request(), Request()]
    for request in requests:
        usage.expect(request)
    assert usage.pending == 2
    del requests, request
    gc.collect()
    assert usage.pending == 0


def test_a_pool_that_dies_while_others_read_of_it_prints_nothing(
        dbapi, printed):
    pool = PooledDB(dbapi, 2)
    lease = pool.connection()
    held = [*getweakrefs(pool), *getweakrefs(lease._con._own_session)]
    del lease
    pool.close()
    del pool
    gc.collect()
    assert held
    assert printed() == []


def test_the_modules_of_python_are_not_locked():
    """A child forked at that moment would wait for ever without the GIL."""
    wrong = re.compile(r"sys\.modules\.(?:get|pop|setdefault)\(")
    sources = sorted((ROOT / "dbutils").rglob("*.py"))
    assert len(sources) > 100
    assert [
        path.name for path in sources
        if wrong.search(path.read_text(encoding="utf-8"))] == []
    assert loaded("sys") is sys
    assert loaded("sys.nothing") is loaded("") is None


def test_no_callback_can_fail():
    """Set.discard() and pop() with a default never do."""
    wrong = re.compile(
        r"\bref\([^()]*,\s*[\w.]+\.(?:pop|remove|__delitem__)\)|WeakSet\(|"
        r"WeakKeyDictionary\(")
    sources = sorted((ROOT / "dbutils").rglob("*.py"))
    assert len(sources) > 100
    assert [
        (path.name, found.group()) for path in sources
        for found in wrong.finditer(path.read_text(encoding="utf-8"))
    ] == [("attributes.py", "WeakSet(")]  # of classes, which do not die
