"""Output of the commands: tables, bars, and lines that change.

On a terminal, tables are drawn by "rich" if that is installed.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from math import isfinite
from shutil import get_terminal_size
from textwrap import fill
from time import monotonic
from typing import Any, Sequence

__all__ = ["Screen", "bars", "complain", "say", "show_table", "tell"]

_BAR = 16  # the width of the longest bar: two of them fit into 80 columns
_WIDEST = 100  # how long a line of running text is at most
_PAUSE = 1.0  # in seconds, between two lines where there is no terminal


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def say(text: str = "") -> None:
    """Print a text."""
    print(text, flush=True)


def tell(text: str, mark: str = "") -> None:
    """Print running text, in lines that end between words.

    mark: precedes the text
    """
    say(fill(
        text, min(get_terminal_size().columns - 1, _WIDEST),
        initial_indent=mark, subsequent_indent=" " * len(mark),
        break_long_words=False, break_on_hyphens=False))


def complain(text: str) -> None:
    """Print a text that is no result, such as an error, to stderr."""
    print(text, file=sys.stderr, flush=True)


def _as_lines(headings: Sequence[str], rows: Sequence[Any]) -> list[str]:
    """Return a table as lines of text, with the first column left-aligned."""
    texts = [list(map(str, row)) for row in (headings, *rows) if row]
    widths = [max(map(len, column)) for column in zip(*texts)]
    lines = [
        "  ".join(
            text.rjust(width) if place else text.ljust(width)
            for place, (text, width) in enumerate(zip(row, widths)))
        for row in texts]
    if headings:
        lines.insert(1, "  ".join("-" * width for width in widths))
    return [line.rstrip() for line in lines]


def show_table(
        title: str, rows: Sequence[Any], headings: Sequence[str] = ()) -> None:
    """Print a table, with or without headings."""
    if _is_terminal():
        with suppress(ImportError):
            _show_richly(title, rows, headings)
            return
    say(f"\n{title}\n")
    say("\n".join(_as_lines(headings, rows)))


def _show_richly(
        title: str, rows: Sequence[Any], headings: Sequence[str]) -> None:
    from rich.console import Console  # noqa: PLC0415 - may not be installed
    from rich.table import Table  # noqa: PLC0415 - may not be installed

    table = Table(
        title=title, title_justify="left", show_header=bool(headings))
    for place, heading in enumerate(headings or [""] * len(rows[0])):
        # A column of bars has no heading.
        is_text = not place or (headings and not heading)
        table.add_column(heading, justify="left" if is_text else "right")
    for row in rows:
        table.add_row(*map(str, row))
    Console().print(table)


def bars(values: Sequence[float]) -> list[str]:
    """Return a bar for each value; the greatest has the full width."""
    greatest = max(filter(isfinite, values), default=0) or 1
    return [
        ("#" * round(_BAR * min(value / greatest, 1))).ljust(_BAR)
        for value in values]


class Screen:
    """A table that changes on a terminal, elsewhere a line now and then."""

    def __init__(self) -> None:
        self._height = 0
        self._next = 0.0

    def show(self, rows: Sequence[Any], line: str) -> None:
        """Show the table, or the line where there is no terminal.

        line: the contents of the table in short
        """
        if _is_terminal():
            lines = _as_lines((), rows)
            start = f"\x1b[{self._height}A" if self._height else ""
            text = "".join(f"\x1b[2K{line}\n" for line in lines)
            print(start + text, end="", flush=True)
            self._height = len(lines)
        elif monotonic() >= self._next:
            say(line)
            self._next = monotonic() + _PAUSE
