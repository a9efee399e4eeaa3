"""Who has the connections of a pool, as programs can ask."""

import gc
import linecache
import sys
import threading
from threading import Event, Thread

from forking import in_child, needs_fork
from kinds import for_every_kind
from patience import PATIENCE

from dbutils import LeaseHolder

pytestmark = for_every_kind


def line_of(text):
    """Return the number of the only line of this file with a text."""
    number, = (
        number for number, line in enumerate(linecache.getlines(__file__), 1)
        if text in line and "line_of" not in line)
    return number


def test_a_pool_tells_who_has_its_connections_the_longest_first(kind):
    pool = kind.make(maxconnections=3, track=True)
    assert pool.holders() == []
    first = pool.connection()  # the first place
    second = pool.connection()  # the second place
    one, two = pool.holders()
    assert one.line == line_of("# the first place")
    assert two.line == line_of("# the second place")
    for holder in (one, two):
        assert holder.thread == threading.current_thread().name
        assert holder.ident == threading.get_ident()
        assert holder.file == __file__
        assert holder.function == sys._getframe().f_code.co_name
        assert holder.tag is None
    assert one.seconds >= two.seconds >= 0
    first.close()
    assert [holder.line for holder in pool.holders()] == [two.line]
    second.close()
    assert pool.holders() == []


def test_a_thread_that_reads_its_own_stack_keeps_no_connection(kind):
    pool = kind.make(maxconnections=2, track=True)

    def look():
        lease = pool.connection()  # noqa: F841 - which is dropped
        holder, = pool.holders()
        return holder.stack()

    gc.disable()  # the collector would find it
    try:
        assert "in look" in look()
        assert pool.holders() == []
    finally:
        gc.enable()


def test_the_present_stack_of_a_holder_can_be_read(kind):
    pool = kind.make(maxconnections=2, track=True)
    held, done = Event(), Event()

    def work_for_long():
        held.set()
        done.wait(PATIENCE)

    def hold():
        lease = pool.connection()
        work_for_long()
        return lease

    thread = Thread(target=hold, name="the worker", daemon=True)
    thread.start()
    held.wait(PATIENCE)
    holder, = pool.holders()
    stack = holder.stack()
    done.set()
    thread.join(PATIENCE)
    assert holder.thread == "the worker"
    assert holder.function == "hold"
    assert "in work_for_long" in stack
    assert "in hold" in stack
    assert holder.stack() == ""


def test_a_thread_that_has_ended_has_no_name(kind):
    pool = kind.make(maxconnections=2, track=True)
    leases = []
    thread = Thread(target=lambda: leases.append(pool.connection()))
    thread.start()
    ident = thread.ident
    thread.join(PATIENCE)
    holder, = pool.holders()
    assert holder.thread is None
    assert holder.ident == ident
    assert holder.stack() == ""
    assert leases.pop()


def test_of_connections_of_which_nothing_was_noted_nothing_is_told(kind):
    pool = kind.make(mincached=3, maxconnections=9, track=False)
    leases = [pool.connection() for _ in range(3)]
    holders = pool.holders()
    assert len(holders) == 3
    unknown = holders[-1]  # a pool that measures notes the first one
    assert unknown == LeaseHolder()
    assert set(unknown) == {None}
    assert unknown.stack() == ""
    assert leases


def test_the_holders_are_told_without_a_question_to_the_server(kind, server):
    pool = kind.make(mincached=1, maxconnections=2, track=True)
    lease = pool.connection()
    server.log.clear()
    holder, = pool.holders()
    assert holder.stack()
    assert not server.log
    lease.close()
    pool.connection().close()
    server.is_down = True
    assert pool.holders() == []


@needs_fork
def test_a_forked_child_holds_nothing(kind):
    pool = kind.make(maxconnections=2, track=True)
    lease = pool.connection()
    assert in_child(lambda: len(pool.holders())) == 0
    assert len(pool.holders()) == 1
    assert lease
