"""Checks of the sizes and times that programs pass."""

from __future__ import annotations

from types import ModuleType

from .hints import Any

__all__ = [
    "check_seconds", "check_size", "check_text", "shown", "whole",
    "whole_number"]


def shown(value: Any) -> str:
    """Return how an error names a value.

    A string is not shown, since it could contain a password.
    """
    if value is None or isinstance(value, (int, float, ModuleType)):
        return repr(value)
    return f"an object of the type {type(value).__name__!r}"


def check_text(name: str, value: Any) -> str | None:
    """Return a text unchanged, or raise an error.  None is allowed."""
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"{name!r} must be a text, not {shown(value)}. [DBU-01]")


def check_size(name: str, value: Any) -> int | None:
    """Return a size unchanged, or raise an error.  None means no limit."""
    if value is None or (isinstance(value, int) and value >= 0):
        return value
    if isinstance(value, int):
        raise ValueError(
            f"{name!r} must not be negative, but is {value}. [DBU-02]")
    raise TypeError(
        f"{name!r} must be an integer, not {shown(value)}. [DBU-01]")


def whole_number(name: str, value: Any) -> int:
    """Return a number, or a string of digits, as an integer."""
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"{name!r} must be an integer, not {shown(value)}."
            " [DBU-01]") from None


def check_seconds(name: str, value: Any, least: float = 0) -> float | None:
    """Return a time in seconds unchanged, or raise an error."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(
            f"{name!r} must be a number, not {shown(value)}. [DBU-01]")
    if not value >= least:  # NaN compares as false
        raise ValueError(
            f"{name!r} must be at least {least} seconds, but is {value}."
            " [DBU-02]")
    return value


def whole(seconds: float) -> int:
    """Return a time in whole seconds, and at least one."""
    return max(int(-(-seconds // 1)), 1)
