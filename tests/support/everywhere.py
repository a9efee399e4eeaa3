"""Do something at every single step that the library makes."""

import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread, get_ident

import dbutils

MANY = 100_000
HERE = str(Path(dbutils.__file__).parent)


class Interrupt(BaseException):
    """As if Ctrl-C had been pressed."""


def interrupt():
    """Raise an exception that nobody expects."""
    raise Interrupt


class Everywhere:
    """Do something at a certain step of a function.

    Every instruction that the interpreter executes in the library counts as
    a step, from the first one on.
    """

    def __init__(self, happening):
        self.happening = happening
        self.steps = 0
        self.at = 0

    def run(self, function, at):
        """Run a function; tell whether it came to that step.

        It has a thread of its own, since an exception that comes at the end
        of a handler can make Python believe for ever that the thread is still
        in that handler, whose variables then live on.
        """
        self.steps, self.at = 0, at
        errors = []
        thread = Thread(target=self._run, args=(function, errors))
        thread.start()
        thread.join()
        if errors:
            raise errors.pop()
        return self.steps >= at

    def _run(self, function, errors):
        trace = monitored if hasattr(sys, "monitoring") else traced
        try:
            with suppress(Interrupt), trace(self._step):
                function()
        except Exception as error:
            errors.append(error)

    def _step(self):
        self.steps += 1
        if self.steps == self.at:
            self.happening()


@contextmanager
def traced(step):
    """Make a call before each instruction of the library."""
    def register_for_fork(frame, event, arg):
        if event == "opcode":
            step()
        return register_for_fork

    def enter(frame, event, arg):
        if not frame.f_code.co_filename.startswith(HERE):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return register_for_fork

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def monitored(step):
    """Do so with later interpreters."""
    monitoring = sys.monitoring
    tool, event = monitoring.OPTIMIZER_ID, monitoring.events.INSTRUCTION
    here = get_ident()

    def register_for_fork(code, offset):
        if not code.co_filename.startswith(HERE):
            return monitoring.DISABLE
        if get_ident() == here:
            step()
        return None

    monitoring.use_tool_id(tool, "everywhere")
    monitoring.register_callback(tool, event, register_for_fork)
    monitoring.set_events(tool, event)
    try:
        yield
    finally:
        monitoring.set_events(tool, monitoring.events.NO_EVENTS)
        monitoring.register_callback(tool, event, None)
        monitoring.free_tool_id(tool)


# it happens at each second step
STRIDE = 2
# all but the newest Python with the GIL go through it eight times as fast,
# each by other steps
NEWEST = (3, 13)
HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
PACE = 1 if sys.version_info[:2] == NEWEST and HAS_GIL else 8


def sweep(prepare, happening=interrupt, stride=STRIDE):
    """Do something at each step of work that is prepared anew each time.

    prepare: returns a function to be run, and one to be called afterwards
    """
    everywhere = Everywhere(happening)
    stride *= PACE
    for at in range(1 + sys.version_info[1] % stride, MANY, stride):
        work, check = prepare()
        reached = everywhere.run(work, at)
        del work
        check()
        del check
        if not reached:
            return at
    raise AssertionError("There is no end of it.")
