"""How threads are started, and what becomes of those that are stopped."""

import _socket
import _thread
import ast
import ctypes
import gc
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from weakref import ref

import pytest
from folders import SUPPORT
from patience import PATIENCE, wait_until

import dbutils
from dbutils import PerformanceOptimizedPooledDB
from dbutils._base import housekeeper as _housekeeper
from dbutils._base import threads as _threads
from dbutils._base.crew import Crew, Task
from dbutils._base.threads import Attendant, start_thread
from dbutils._base.together import run_together
from dbutils._steady import deadlines
from dbutils.pooled_db import PooledDB

PACKAGE = Path(dbutils.__file__).parent


class Stop(BaseException):
    """What is thrown into threads."""


def stop(thread):
    """Throw an exception into a thread."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), ctypes.py_object(Stop))


def our_threads():
    """Return the threads that the library has started."""
    found = []
    for thread, frame in list(sys._current_frames().items()):
        first = frame
        if first is None:  # without the GIL, while the thread ends
            continue
        while first.f_back is not None:
            first = first.f_back
        if first.f_code.co_filename == _threads.__file__:
            found.append(thread)
    return found


# Before its very first step there is no handler, in which case Python says so,
# sometimes only during the next test.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
    if sys.version_info < (3, 8) else
    "ignore::pytest.PytestUnraisableExceptionWarning")


# One place.

# These are programs of their own, or for tests, which wait for their threads.
COMMANDS = {"demo.py", "doctor.py", "proxy.py"}


def starts_a_thread(node):
    """Tell whether a part of a module can start a thread."""
    name = getattr(node, "id", getattr(node, "attr", None))
    return isinstance(node, (ast.Name, ast.Attribute)) and name in {
        "Thread", "Timer", "ThreadPoolExecutor", "start_new_thread",
        "start_joinable_thread"}


def test_only_one_module_starts_threads():
    found = {
        path.name for path in PACKAGE.rglob("*.py")
        if any(map(starts_a_thread, ast.walk(ast.parse(path.read_text()))))}
    assert found - COMMANDS == {"threads.py"}


# Starting.

@pytest.fixture
def refusing(monkeypatch):
    """The system, which starts no threads until it is told to."""
    class System:
        refuses = True

        def __init__(self):
            self.starts = []  # the names of the threads

        def start(self, run, arguments):
            self.starts.append(arguments[1])
            if self.refuses:
                raise RuntimeError("can't start new thread")
            return start(run, arguments)

    start = _thread.start_new_thread
    system = System()
    monkeypatch.setattr(_thread, "start_new_thread", system.start)
    return system


def test_a_thread_is_started_or_not(refusing):
    done = threading.Event()
    assert not start_thread(done.set, "test")
    refusing.refuses = False
    assert start_thread(done.set, "test")
    assert done.wait(PATIENCE)


def test_nothing_is_started_while_the_interpreter_ends(monkeypatch):
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)
    assert not start_thread(lambda: None, "test")


# The first exit handler is the last to be called.
ENDING = """
import _thread, atexit, sys, warnings
warnings.simplefilter("ignore")  # of forks
atexit.register(lambda: (print(len(sys._current_frames())), last()))
from dbutils._base import threads as _threads
from dbutils._base.crew import Crew, Task
from dbutils.pooled_db import PooledDB
sys.path.insert(0, sys.argv[1])
import mock_db as dbapi

def last():
    assert not _threads.start_thread(print, "test")
    assert pool.connection().cursor().execute("select 1") is None
    print("it works")

pool = PooledDB(dbapi, mincached=2, keepalive=0.001, maxlifetime=9)
pool.connection().close()

class Job(Task):
    def run(self):
        begun.release()
        finish()

begun = _thread.allocate_lock()
begun.acquire()
crew = Crew()
"""


def ended(program):
    done = subprocess.run(
        [sys.executable, "-c", ENDING + program, str(SUPPORT)],
        capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout, done.stderr


WORKING = "crew.do(Job())\nbegun.acquire()\n"
FORKING = (
    "import os\nchild = os.fork()\nfinish = int\n" + WORKING
    + "if child: sys.exit(os.waitpid(child, 0)[1])")


@pytest.mark.parametrize("program", [
    "finish = int\n" + WORKING,
    # which is at work in the moment of the end
    "import time\nfinish = lambda: time.sleep(0.05)\n" + WORKING,
    *([FORKING] if hasattr(os, "fork") else [])])
def test_there_are_no_threads_when_the_interpreter_ends(program):
    """It could crash when one of them wakes up, from Python 3.9 on."""
    status, printed, errors = ended(program)
    times = 2 if program == FORKING else 1
    assert (status, errors) == (0, "")
    assert printed.splitlines() == ["1", "it works"] * times


def test_a_thread_that_hangs_does_not_keep_a_program_from_ending():
    program = (
        "lock = _thread.allocate_lock()\nlock.acquire()\n"
        "finish = lock.acquire\n" + WORKING)
    assert ended(program) == (0, "2\nit works\n", "")


def test_an_error_ends_a_thread_in_silence(capfd):
    done = threading.Event()

    def fail():
        try:
            raise Stop
        finally:
            done.set()

    assert start_thread(fail, "test")
    assert done.wait(PATIENCE)
    assert capfd.readouterr() == ("", "")


def test_debuggers_see_what_is_done_there():
    seen, done = [], threading.Event()
    before = sys.gettrace()
    threading.settrace(lambda frame, *_: seen.append(frame.f_code))
    try:
        start_thread(done.set, "test")
        assert done.wait(PATIENCE)
    finally:
        threading.settrace(before)
    assert bool(seen) == hasattr(threading, "gettrace")


def test_a_thread_sets_no_trace_function_if_there_is_none(monkeypatch):
    """Without the GIL, setting one would stop all other threads."""
    monkeypatch.setattr(threading, "_trace_hook", None)
    seen = []
    monkeypatch.setattr(sys, "settrace", seen.append)
    done = threading.Event()
    start_thread(done.set, "test")
    assert done.wait(PATIENCE)
    assert not seen


# A thread that is there while it is needed.

class Chores:
    """Work for an attendant."""

    def __init__(self):
        self.is_needed = True
        self.rounds = []
        self.attendant = Attendant(
            "test", self.work, lambda: self.is_needed, rest=0.001)

    def work(self):
        self.rounds.append(threading.get_ident())
        return 0.001 if self.is_needed else None

    def go_on(self):
        """Wait until more was done."""
        number = len(self.rounds)
        wait_until(lambda: len(self.rounds) > number)


@pytest.fixture
def chores():
    chores = Chores()
    yield chores
    chores.is_needed = False
    wait_until(lambda: chores.attendant.link is None)
    _threads.vacancies.pop(chores.attendant, None)


def test_a_thread_is_noted_when_it_runs(chores, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(_threads, "monotonic", lambda: now[0])
    starts = []
    with monkeypatch.context() as context:
        # as if an exception had hit it before its first step
        context.setattr(
            _thread, "start_new_thread", lambda *args: starts.append(args))
        for _ in range(100):
            chores.attendant.fill()
            assert chores.attendant.link is None
        assert len(starts) == 1  # it may still come
        now[0] += 0.06
        for _ in range(100):
            chores.attendant.fill()
        assert len(starts) == 2
    assert chores.attendant in _threads.vacancies
    now[0] += 0.06
    _threads.fill_vacancies()
    chores.go_on()
    assert chores.attendant.link is not None
    assert chores.attendant not in _threads.vacancies


def test_a_refusal_is_not_the_end(chores, refusing, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(_threads, "monotonic", lambda: now[0])
    chores.attendant.fill()
    refusing.refuses = False
    now[0] += 0.06
    chores.attendant.fill()
    chores.go_on()


def test_there_is_one_thread(chores):
    threads = [
        threading.Thread(target=chores.attendant._run) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: sum(map(threading.Thread.is_alive, threads)) <= 1)
    number = len(chores.rounds)
    for _ in range(3):
        chores.go_on()
    assert len(set(chores.rounds[number:])) == 1
    chores.is_needed = False
    for thread in threads:
        thread.join(PATIENCE)


def test_it_ends_when_it_is_not_needed_and_comes_back(chores):
    for _ in range(3):
        chores.is_needed = True
        chores.attendant.fill()
        chores.go_on()
        chores.is_needed = False
        chores.attendant.wake()
        wait_until(lambda: chores.attendant.link is None)


def test_it_stays_where_it_could_not_be_started_again(chores, monkeypatch):
    with monkeypatch.context() as context:
        # as from Python 3.12 on, when the main thread has ended
        context.setattr(_threads, "can_start", lambda: False)
        chores.attendant.fill()
        chores.go_on()
        link = chores.attendant.link
        chores.is_needed = False
        chores.go_on()
        chores.go_on()
        assert chores.attendant.link is link
    wait_until(lambda: chores.attendant.link is None)


def test_an_exception_does_not_end_its_work(chores):
    chores.attendant.fill()
    for _ in range(50):
        chores.go_on()
        for thread in our_threads():
            stop(thread)
    chores.go_on()


def test_a_thread_that_was_stopped_is_replaced(chores):
    chores.attendant.fill()
    chores.go_on()
    link = chores.attendant.link
    chores.attendant._left(link)  # as its weak reference says then
    wait_until(lambda: chores.attendant.link not in {None, link})
    chores.go_on()


def test_a_thread_that_ends_by_an_exception_is_replaced(chores, monkeypatch):
    stops = [Stop]

    def stop_once():
        if stops:
            raise stops.pop()

    # what it does outside of all handlers
    monkeypatch.setattr(_threads, "is_ending", stop_once)
    thread = threading.Thread(target=run_quietly, args=(chores,))
    thread.start()
    thread.join(PATIENCE)
    chores.go_on()
    assert not stops


def run_quietly(chores):
    with suppress(Stop):
        chores.attendant._run()


# Time limits.

@pytest.fixture
def sockets():
    pair = socket.socketpair()
    yield pair
    for sock in pair:
        sock.close()


def test_time_limits_hold_after_a_refusal(sockets, refusing, monkeypatch):
    monkeypatch.setattr(deadlines, "watchdog", deadlines._Watchdog())
    here, _ = sockets
    deadlines.start_deadline("first", here.fileno(), PATIENCE)
    deadlines.end_deadline("first")
    assert refusing.starts
    refusing.refuses = False
    here.settimeout(PATIENCE)

    def is_ended():
        deadlines.start_deadline("second", here.fileno(), 0)
        here.setblocking(False)
        try:
            return here.recv(1) == b""
        except BlockingIOError:
            return False

    wait_until(is_ended)


def test_time_limits_hold_after_exceptions():
    for number in range(50):
        here, there = socket.socketpair()
        with here, there:
            deadlines.start_deadline(number, here.fileno(), 0.001)
            for thread in our_threads():
                stop(thread)
            here.settimeout(PATIENCE)
            assert here.recv(1) == b""
            deadlines.end_deadline(number)


class InterruptedSocket(_socket.socket):
    """It is interrupted once, when it is about to be shut down."""

    is_interrupted = False

    def shutdown(self, how):
        if not InterruptedSocket.is_interrupted:
            InterruptedSocket.is_interrupted = True
            raise Stop
        super().shutdown(how)


def test_an_exception_before_the_end_of_a_call_loses_no_time_limit(
        sockets, monkeypatch):
    monkeypatch.setattr(InterruptedSocket, "is_interrupted", False)
    monkeypatch.setattr(_socket, "socket", InterruptedSocket)
    watchdog = deadlines._Watchdog()
    here, _ = sockets
    watchdog.calls["call"] = 0.0, here.fileno()
    with pytest.raises(Stop):
        watchdog._look()
    watchdog._look()
    here.setblocking(False)
    assert here.recv(1) == b""


@pytest.fixture
def copies(monkeypatch):
    """All copies of descriptors that are made."""
    made = []
    duplicate = os.dup
    monkeypatch.setattr(
        os, "dup",
        lambda number: made.append(duplicate(number)) or made[-1])
    return made


def test_a_call_on_what_is_no_socket_is_given_up(copies):
    watchdog = deadlines._Watchdog()
    ends = os.pipe()
    watchdog.calls["call"] = 0.0, ends[0]
    assert watchdog._look() > 0
    assert watchdog._look() > 0
    for end in ends:
        os.close(end)
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(*copies)  # there is one, which was closed


def test_a_limit_that_is_used_again_holds_again(sockets):
    watchdog = deadlines._Watchdog()
    here, _ = sockets
    limit = deadlines.Limit("session", 0)
    limit[:] = 0.0, os.open(os.devnull, os.O_RDONLY)
    watchdog.calls["session"] = limit
    watchdog._look()  # in vain
    os.close(limit[1])
    limit[:] = 0.1, here.fileno()
    watchdog._look()
    here.setblocking(False)
    assert here.recv(1) == b""


class Session:
    """As far as the watchdog can see."""

    call = None


def test_what_a_session_waits_for_is_watched(sockets):
    watchdog, session = deadlines._Watchdog(), Session()
    here, _ = sockets
    here.setblocking(False)
    watchdog.watch(session)
    session.call = 0.0, here.fileno()
    session.call = None  # it was over in time
    watchdog._look()
    with pytest.raises(BlockingIOError):
        here.recv(1)
    assert not watchdog._is_busy()
    session.call = 0.0, here.fileno()
    assert watchdog._is_busy()
    watchdog._look()
    assert here.recv(1) == b""


def test_the_time_of_a_call_without_a_deadline_begins_when_it_is_seen(
        sockets, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(deadlines, "monotonic", lambda: now[0])
    watchdog, session = deadlines._Watchdog(), Session()
    here, _ = sockets
    here.setblocking(False)
    watchdog.watch(session)
    for _ in range(3):  # each is another one, and in time
        session.call = None, here.fileno()
        watchdog._look()
        now[0] += deadlines.LIMIT - 0.1
        watchdog._look()
    with pytest.raises(BlockingIOError):
        here.recv(1)
    now[0] += 0.2
    watchdog._look()
    assert here.recv(1) == b""
    session.call = None
    watchdog._look()
    assert not watchdog._limits


def test_the_watchdog_tells_whether_it_looks(sockets):
    watchdog, session = deadlines._Watchdog(), Session()
    here, _ = sockets
    assert not watchdog.is_awake
    watchdog.watch(session)
    session.call = None, here.fileno()
    watchdog._look()
    assert watchdog.is_awake
    session.call = None
    while watchdog._look() is not None:
        assert watchdog.is_awake
    assert not watchdog.is_awake


def test_a_session_that_is_watched_dies_as_others_do():
    watchdog, session = deadlines._Watchdog(), Session()
    watchdog.watch(session)
    link = ref(session)
    del session
    gc.collect()
    assert link() is None
    assert not watchdog._sessions


def test_no_call_hangs_while_the_interpreter_ends(sockets, monkeypatch):
    here, _ = sockets
    monkeypatch.setattr(deadlines.ends, "is_over", True)
    monkeypatch.setattr(deadlines, "is_ending", lambda: True)
    deadlines.start_deadline("call", here.fileno(), PATIENCE)
    here.settimeout(PATIENCE)
    assert here.recv(1) == b""  # its socket was shut down before


# The work for pools.

class Pool:
    """As far as the housekeeper can see."""

    def __init__(self):
        self.due_at = 0
        self.ticks = 0

    def tick(self):
        self.ticks += 1

    def go_on(self):
        """Wait until more was done."""
        number = self.ticks
        wait_until(lambda: self.ticks > number)


def test_work_in_the_background_goes_on_after_exceptions():
    pools = [Pool() for _ in range(5)]
    for pool in pools:
        _housekeeper.housekeeper.enlist(pool)
    for _ in range(50):
        for thread in our_threads():
            stop(thread)
        for pool in pools:
            pool.go_on()
    for pool in pools:
        _housekeeper.housekeeper.dismiss(pool)


def test_work_in_the_background_begins_after_a_refusal(
        dbapi, refusing, monkeypatch):
    keeper = _housekeeper.Housekeeper()
    monkeypatch.setattr("dbutils._base.housekeeper.housekeeper", keeper)
    pool = PooledDB(dbapi, 2, maxidletime=0.05)
    assert not keeper.is_running
    refusing.refuses = False
    # requests are enough for it to be tried again
    wait_until(lambda: pool.connection().close() or keeper.is_running)
    wait_until(lambda: len(pool._idle_cache) == 0)


@pytest.mark.skipif(
    sys.version_info[:2] == (3, 12) and sys.gettrace() is not None,
    reason="CPython 3.12 can crash when threads are stopped that are traced")
def test_no_place_is_lost_with_a_thread_that_cleans(dbapi):
    pool = PerformanceOptimizedPooledDB(
        dbapi, 2, maxconnections=2, maxwait=PATIENCE)
    pool.optimize_concurrency()
    for _ in range(300):
        with pool.connection() as db:
            db.begin()
        for thread in our_threads():
            stop(thread)
    dbs = [pool.connection(shareable=False) for _ in range(2)]
    while dbs:
        dbs.pop().close()
    wait_until(lambda: pool._connections == 0)
    stats = pool.stats()
    assert stats.in_use + stats.idle == 2


# Several things at the same time.

def test_functions_are_called_together_without_threads(refusing):
    assert run_together([lambda: 1, lambda: 2, lambda: 3]) == [1, 2, 3]
    # a thread for the work of other tests can be wanted in this moment, too
    assert refusing.starts.count("DBUtils helper") == 1


def test_threads_that_do_not_come_are_not_waited_for(monkeypatch):
    monkeypatch.setattr(_thread, "start_new_thread", lambda *args: None)
    assert run_together([lambda: 1, lambda: 2, lambda: 3]) == [1, 2, 3]


def test_threads_that_come_late_do_not_hold_a_pool(dbapi, monkeypatch):
    late = []
    monkeypatch.setattr(
        _thread, "start_new_thread", lambda *args: late.append(args))
    pool = PooledDB(dbapi, mincached=3)
    assert late
    link = ref(pool)
    del pool
    assert link() is None
    for run, args in late:
        run(*args)


def test_what_a_stopped_thread_did_is_done_again():
    here = threading.get_ident()
    helping = threading.Event()

    def work():
        if threading.get_ident() != here:
            helping.set()
            raise Stop
        assert helping.wait(PATIENCE)
        return 1

    assert run_together([work] * 3) == [1] * 3


def test_pools_begin_without_threads(dbapi, server, refusing):
    pool = PooledDB(dbapi, 3, keepalive=1, refill=True)
    assert len(pool._idle_cache) == 3
    with pool.connection() as db:
        db.begin()


# A crew.

class Job(Task):
    """Something to be done."""

    def __init__(self, hangs=None, seconds=None):
        self.hangs = hangs
        self.seconds = seconds
        self.is_done = threading.Event()
        self.given_up = threading.Event()

    def run(self):
        if self.hangs is not None:
            self.hangs.wait(PATIENCE)
        self.is_done.set()

    def give_up(self):
        super().give_up()
        self.given_up.set()


def test_threads_that_hang_are_replaced():
    keeper = _housekeeper.Housekeeper()
    go_on = threading.Event()
    hanging = [Job(go_on) for _ in range(20)]
    for job in hanging:
        assert keeper.do(job)
    jobs = [Job() for _ in range(20)]
    for job in jobs:
        assert keeper.do(job)
    assert all(job.is_done.wait(PATIENCE) for job in jobs)
    go_on.set()
    assert all(job.is_done.wait(PATIENCE) for job in hanging)
    # the additional ones end
    wait_until(lambda: not keeper._crew._links)
    wait_until(lambda: not keeper.is_running)


def test_there_are_only_a_few_threads(monkeypatch):
    """On a busy machine, one could seem to be stuck, or to begin late."""
    monkeypatch.setattr("dbutils._base.crew.monotonic", lambda: 1.0)
    crew = Crew()
    jobs = [Job() for _ in range(200)]
    most = 0
    for job in jobs:
        assert crew.do(job)
        most = max(most, len(crew._links))
    wait_until(lambda: crew.ensure() and all(
        job.is_done.is_set() for job in jobs))
    assert most <= 4


def test_what_is_too_much_waits():
    crew = Crew(most=2)
    go_on = threading.Event()
    hanging = [Job(go_on) for _ in range(2)]
    for job in hanging:
        assert crew.do(job)
    wait_until(lambda: crew.ensure() and len(crew._links) == 2)
    more = Job()
    assert crew.do(more)
    go_on.set()
    assert all(job.is_done.wait(PATIENCE) for job in (*hanging, more))


def test_a_task_has_an_end():
    keeper = _housekeeper.Housekeeper()
    go_on = threading.Event()
    job = Job(go_on, 0.01)
    assert keeper.do(job)
    assert job.given_up.wait(PATIENCE)
    go_on.set()
    assert job.is_done.wait(PATIENCE)


def test_a_crew_without_threads_refuses(refusing):
    crew = Crew()
    job = Job()
    assert not crew.do(job)
    assert not crew._tasks


# Other interpreters.

SCRIPT = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import sys
program = '''
import sys
sys.path[:] = {path!r}
import hashlib, sqlite3, threading
if {rounds}:
    from dbutils.pooled_db import PooledDB
    pool = PooledDB(
        sqlite3, mincached=2, keepalive=0.01, refill=True, maxconnections=2,
        blocking=True, check_same_thread=False, database=":memory:")
    for _ in range({rounds}):
        db = pool.connection()
        db.begin()
        cursor = db.cursor()
        cursor.execute("select 1")
        assert cursor.fetchone() == (1,)
        db = cursor = None
    db = pool.connection()
print("it works", flush=True)
'''.format(path=sys.path, rounds=int(sys.argv[1]))
interpreter = interpreters.create(*sys.argv[2:])
failure = interpreters.run_string(interpreter, program)
interpreters.destroy(interpreter)
print(failure, flush=True)
"""


def run_elsewhere(rounds, kind):
    """Use a pool in another interpreter; return how that ended."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(rounds), *kind],
        capture_output=True, text=True, timeout=PATIENCE * 3, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(
    sys.version_info < (3, 8), reason="there are no other interpreters")
@pytest.mark.parametrize("rounds", [1, 5000])
@pytest.mark.parametrize("kind", [[]] + (
    [["legacy"]] if sys.version_info >= (3, 13) else []))
def test_a_pool_works_in_another_interpreter_which_ends(kind, rounds):
    if run_elsewhere(0, kind)[0]:
        pytest.skip("this Python crashes in others, even without a pool")
    assert run_elsewhere(rounds, kind) == (0, "it works\nNone\n", "")
