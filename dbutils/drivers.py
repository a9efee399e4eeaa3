"""Descriptions of drivers that the library does not know.

Most drivers need nothing of this.  With an unknown driver, the library uses
the safe failover policy, and keeps account of open work.  A program that knows
more about its driver derives a class from Driver and registers it; then the
library finds dead connections earlier and raises fewer errors.  A package can
do so with an entry point of the group "dbutils.drivers", whose name is that of
the module.
"""

from __future__ import annotations

from . import __version__  # noqa: F401 - every public module has it
from ._drivers.driver import Driver
from ._drivers.registered import register

__all__ = ["Driver", "register"]
