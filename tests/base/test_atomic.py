"""Steps that nothing can divide, with the GIL and without it.

Several threads do the same step at the same time, or read while others write.
Each test fails on a Python on which its step can be divided.
"""

from collections import Counter, deque
from threading import Event, Lock
from weakref import ref

import pytest
from patience import in_threads, join, wait_until

from dbutils._base.atomic import (
    Count,
    Sum,
    alive,
    first,
    pop,
    remove,
    snapshot,
)

pytestmark = pytest.mark.usefixtures("_restless")

THREADS = 2
ROUNDS = 100
CHECKS = 100


class Thing:
    """Something that can have attributes and weak references."""


def while_changing(change, check):
    """Check something again and again while two threads change it."""
    changes, over = Count(), Event()

    def work():
        while not over.is_set():
            change()
            changes.step()

    threads = in_threads(work, 2)
    try:
        wait_until(changes.read)
        for _ in range(CHECKS):
            check()
    finally:
        over.set()
        join(threads)


def fixed(number):
    """Return objects that stay in a collection while others come and go."""
    return [Thing() for _ in range(number)]


@pytest.mark.parametrize("number", [0, 1, 1000])
def test_a_snapshot_of_a_queue_misses_nothing_that_stays(number):
    stay = fixed(number)
    queue = deque(stay)

    def change():
        queue.append(None)
        queue.pop()

    def check():
        items = snapshot(queue)
        assert items[:number] == stay
        assert set(items[number:]) <= {None}

    while_changing(change, check)


def test_a_snapshot_shows_one_moment():
    """While items move to the other end, none is missing or there twice."""
    stay = fixed(100)
    queue = deque(stay)

    def check():
        items = snapshot(queue)
        at = stay.index(items[0])
        assert items == stay[at:] + stay[:at]

    while_changing(lambda: queue.rotate(1), check)


def test_a_snapshot_is_a_list_of_its_own():
    links = [ref(thing) for thing in (Thing, Count)]
    for queue in deque(), deque([1.5]), deque(links), deque([0, 1], 2):
        items = snapshot(queue)
        assert (type(items), items) == (list, list(queue))
        items.append(None)
        assert len(queue) == len(items) - 1


def test_only_what_lives_is_alive():
    stay = fixed(2)
    links = [ref(stay[0]), ref(Thing()), ref(stay[1])]
    assert alive(links) == stay
    assert alive([]) == []


def winners(make, step):
    """Let all threads try the same step, on one thing after the other.

    Return how many have succeeded with each.
    """
    things = [make() for _ in range(ROUNDS)]
    won, numbers, reached = deque(), Count(), [0] * THREADS

    def work():
        me = numbers.step()
        for at, thing in enumerate(things):
            reached[me] = at
            while min(reached) < at:
                pass  # it takes less time than to be woken
            try:
                if step(thing):
                    won.append(at)
            except (AttributeError, IndexError, KeyError, RuntimeError):
                pass  # another thread was faster
        reached[me] = ROUNDS

    join(in_threads(work, THREADS))
    counter = Counter(won)
    return [counter[at] for at in range(ROUNDS)]


def claim(make_step):
    """Return a step that succeeds if the caller's own object stays."""
    def step(thing):
        mine = object()
        return make_step(thing, mine) is mine
    return step


def delete_last(items):
    del items[-1]
    return True


def delete_attribute(thing):
    del thing.item
    return True


def with_item():
    thing = Thing()
    thing.item = 1
    return thing


class Link(ref):
    """A weak reference with attributes."""

    __slots__ = ("__dict__",)


def locked():
    lock = Lock()
    lock.acquire()
    return lock


@pytest.mark.parametrize(("make", "step"), [
    pytest.param(lambda: deque([1]), pop, id="pop"),
    pytest.param(lambda: deque([1]), lambda queue: pop(queue, last=True),
                 id="pop the last"),
    pytest.param(lambda: deque([7, 1, 8]), lambda queue: remove(queue, 1),
                 id="remove"),
    pytest.param(lambda: [1], list.pop, id="list.pop"),
    pytest.param(lambda: [1], delete_last, id="del list[-1]"),
    pytest.param(lambda: {0: 1}, lambda items: items.pop(0), id="dict.pop"),
    pytest.param(lambda: {0: 1}, dict.popitem, id="dict.popitem"),
    pytest.param(dict, claim(lambda items, me: items.setdefault(0, me)),
                 id="dict.setdefault"),
    pytest.param(Thing, claim(
        lambda thing, me: thing.__dict__.setdefault("item", me)),
        id="__dict__.setdefault"),
    pytest.param(lambda: Link(Thing), claim(
        lambda link, me: link.__dict__.setdefault("item", me)),
        id="__dict__.setdefault of a reference"),
    pytest.param(with_item, delete_attribute, id="del attribute"),
    pytest.param(locked, lambda lock: lock.release() is None,
                 id="Lock.release"),
])
def test_exactly_one_thread_succeeds(make, step):
    assert winners(make, step) == [1] * ROUNDS


def test_no_number_is_counted_twice():
    number, seen = Count(), deque()
    join(in_threads(
        lambda: seen.extend([number.step() for _ in range(2000)]), THREADS))
    assert sorted(seen) == list(range(THREADS * 2000))
    assert number.read() == THREADS * 2000


@pytest.mark.parametrize("read", [
    dict.copy, list, lambda items: list(items.values()),
    lambda items: list(items.items())],
    ids=["copy", "keys", "values", "items"])
def test_a_dict_can_be_copied_while_it_changes(read):
    stay = dict.fromkeys(range(100), 1)

    def change():
        key = object()
        stay[key] = 1
        del stay[key]

    def check():
        assert len(read(stay)) >= 100

    while_changing(change, check)


def test_each_death_is_noticed_once():
    """Also with two references, while another thread looks at them."""
    links, deaths = deque(), deque()

    def work():
        for _ in range(ROUNDS):
            thing = Thing()
            links.append(ref(thing, deaths.append))
            link = first(links)
            del thing
            assert link() is None or type(link()) in (Thing, type(None))

    join(in_threads(work, THREADS))
    assert len(deaths) == len(links) == THREADS * ROUNDS
    assert {id(link) for link in deaths} == {id(link) for link in links}


def test_a_sum_keeps_what_another_thread_adds_meanwhile():
    values = Sum()
    read = values.read

    def read_and_wait():
        values.read = read
        last = read()
        values.add(3.0)  # as another thread
        return last

    values.add(1.0)
    values.read = read_and_wait
    values.add(2.0)
    total = values.read()
    assert (total.number, total.total, total.greatest) == (3, 6.0, 3.0)
