"""Drivers that programs and other packages describe to the library."""

from __future__ import annotations

from .._base.errors import facts, logger, quietly
from .._base.hints import Any
from .driver import Driver, DriverFacts
from .registry import add_driver, drivers_by_name

__all__ = ["Registered", "load_entry_points", "register"]


class Registered(DriverFacts):
    """A driver with the answers of a program.

    The names that only the library asks are not those of the program's class,
    which can have other attributes of such names.
    """

    def __init__(self, answers: Driver) -> None:
        self.answers = answers
        for name in vars(Driver):
            if not name.startswith("_"):
                setattr(self, name, getattr(answers, name))


def register(module: str, driver: type[Driver] | Driver) -> None:
    """Use a driver of the program's own from now on.

    module: the name of the module, or of a package around it, in which the
        class of the driver's connections is defined
    driver: a class derived from Driver, or an object of such a class

    This holds for connections that are opened from now on, also if the
    library knows a driver of this name already.
    """
    if module == "builtins":  # the module of the base of all classes
        raise ValueError(
            "The classes of all drivers have a base there. [DBU-22]")
    answers = driver() if isinstance(driver, type) else driver
    if not isinstance(answers, Driver):
        raise TypeError(
            f"{driver!r} is not derived from dbutils.drivers.Driver. [DBU-22]")
    add_driver(module, Registered(answers))


def _entry_points() -> list[Any]:
    try:
        from importlib import metadata  # noqa: PLC0415 - not in Python 3.7
    except ImportError:
        return []
    found: Any = metadata.entry_points()
    if hasattr(found, "select"):
        return list(found.select(group="dbutils.drivers"))
    return list(found.get("dbutils.drivers", ()))


def load_entry_points() -> None:
    """Register the drivers that other packages describe.

    A driver that the library knows, or that a program has registered, stays
    as it is.
    """
    if _is_loaded:
        return
    _is_loaded.append(True)
    with quietly("looking for drivers in other packages"):
        for point in _entry_points():
            if point.name not in drivers_by_name():
                _load(point)


_is_loaded: list[bool] = []


def _load(point: Any) -> None:
    try:
        register(point.name, point.load())
    except Exception as error:  # noqa: BLE001 - other drivers are not affected
        logger.warning(
            "The driver %s of another package cannot be loaded: %s [DBU-23]",
            point.name, type(error).__name__, extra=facts("driver"))
