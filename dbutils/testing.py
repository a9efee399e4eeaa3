"""Tools for tests of programs that use the library.

ScriptedDriver is a database driver whose connections fail as planned, Proxy a
network that falls silent or is cut, and Clock a clock that can be put forward.
With them a test shows how a program behaves when its database fails it.

With pytest, the fixture `dbutils_pool_guard` lets a test fail that has taken
connections from pools and has not given them back; the message names the
places where they were taken.
"""

from __future__ import annotations

from . import __version__  # noqa: F401 - every public module has it
from ._testing.clock import Clock
from ._testing.driver import ScriptedDriver
from ._testing.proxy import Proxy

__all__ = ["Clock", "Proxy", "ScriptedDriver"]
