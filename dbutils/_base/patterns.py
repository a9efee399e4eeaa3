"""Regular expressions that are compiled when they are first used.

Compiling takes longer than importing a module, and most programs need few of
the expressions.
"""

from __future__ import annotations

import re

from .hints import Any

__all__ = ["LazyPattern"]


class LazyPattern:
    """A regular expression with the methods of a compiled one."""

    def __init__(self, pattern: Any, flags: int = 0) -> None:
        self._arguments = pattern, flags

    def __getattr__(self, name: str) -> Any:
        """Compile the pattern; keep the method, which is found next time."""
        method = getattr(re.compile(*self._arguments), name)
        setattr(self, name, method)
        return method
