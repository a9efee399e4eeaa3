"""Functions that are called in a forked child, also in one of uWSGI.

Python calls them after each fork of its own.  uWSGI forks without telling
Python, unless it has the option py-call-uwsgi-fork-hooks.  Its processes call
one function, the attribute post_fork_hook of the module uwsgi, which exists
only there.  Programs set it as well, and the module uwsgidecorators does.
"""

from __future__ import annotations

import os
import sys

from .atomic import loaded
from .hints import Any, Callable

__all__ = ["call_in_child"]

_HOOK = "post_fork_hook"

_functions: list[Callable[[], object]] = []
# The process in which they were called, or for which that is not needed.
_told: list[int] = [os.getpid()]


def _note() -> None:
    """Record that Python calls the functions in this process."""
    _told[0] = os.getpid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note)


def call_in_child(function: Callable[[], object]) -> None:
    """Arrange for a function to be called in every forked child."""
    _functions.append(function)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


def _call_all() -> None:
    """Call the functions, unless Python has called them in this process."""
    if _told[0] != os.getpid():
        _note()
        for function in _functions:
            function()


class _Hook:
    """The function that uWSGI calls, with that of the program."""

    def __init__(self, function: Any) -> None:
        """Join the functions.

        function: that of the program, or None
        """
        self._function = function

    def __call__(self) -> Any:
        """Call ours first: that of the program may use a pool."""
        _call_all()
        if self._function is not None:
            return self._function()
        return None


class _Uwsgi(type(sys)):  # type: ignore[misc]
    """The module of uWSGI, in which our function stays when it is set."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Join the function of the program with ours."""
        super().__setattr__(name, _Hook(value) if name == _HOOK else value)


def _follow_uwsgi() -> None:
    """Arrange for the processes of uWSGI to call the functions."""
    uwsgi: Any = loaded("uwsgi")
    if isinstance(uwsgi, type(sys)):
        uwsgi.__class__ = _Uwsgi
        setattr(uwsgi, _HOOK, getattr(uwsgi, _HOOK, None))


_follow_uwsgi()
