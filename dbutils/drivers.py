"""What the library knows about drivers, and how to tell it more.

Most drivers need nothing of this.  One that is not known is followed by the
safe rules, with an account of open work.  A program that knows more about its
driver derives a class from Driver and registers it, and then dead connections
are found earlier, and fewer errors are raised.  A package can do so with an
entry point of the group "dbutils.drivers", whose name is that of the module.
"""

from __future__ import annotations

from . import __version__  # noqa: F401 - every public module has it
from ._drivers.more import Driver, register

__all__ = ["Driver", "register"]
