"""Checks of what programs pass as sizes and times."""

from __future__ import annotations

from types import ModuleType
from typing import Any

__all__ = ["check_seconds", "check_size", "shown", "whole_number"]


def shown(value: Any) -> str:
    """Return how an error names a value; a text could contain a password."""
    if value is None or isinstance(value, (int, float, ModuleType)):
        return repr(value)
    return f"an object of the type {type(value).__name__!r}"


def check_size(name: str, value: Any) -> int | None:
    """Return a size, of which None and 0 often mean that there is none."""
    if value is None or (isinstance(value, int) and value >= 0):
        return value
    if isinstance(value, int):
        raise ValueError(f"{name!r} must not be negative, but is {value}.")
    raise TypeError(f"{name!r} must be an integer, not {shown(value)}.")


def whole_number(name: str, value: Any) -> int:
    """Return the number that a value, which may be a text, stands for."""
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"{name!r} must be an integer, not {shown(value)}.") from None


def check_seconds(name: str, value: Any, least: float = 0) -> float | None:
    """Return a time in seconds, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name!r} must be a number, not {shown(value)}.")
    if not value >= least:  # not a number is not greater either
        raise ValueError(
            f"{name!r} must be at least {least} seconds, but is {value}.")
    return value
