"""A driver whose server can refuse connections and lose them."""

from threading import Lock
from types import ModuleType


class RefusedError(Exception):
    """The error that the driver raises."""


class Connection:
    def __init__(self, driver=None):
        self.driver = driver

    def cursor(self):
        if self.driver is not None and self.driver.is_away:
            raise RefusedError("connection lost")
        return self

    def execute(self, statement):
        pass

    rollback = commit = close = lambda self: None


class Driver(ModuleType):
    """A driver whose server can be away."""

    threadsafety = 2
    OperationalError = InterfaceError = InternalError = RefusedError

    def __init__(self):
        super().__init__("outage_driver")
        self.is_away = False
        self.attempts = 0
        self.lock = Lock()

    def connect(self):
        with self.lock:
            self.attempts += 1
        if self.is_away:
            raise RefusedError("connection refused")
        return Connection(self)
