"""The drivers that are known, by connection or by name.

Each family is one module, which has its drivers in DRIVERS, in the order of
preference.  It is loaded when a connection comes that is of none of the
families before it.
"""

from __future__ import annotations

from .._base.hints import Any, Iterator
from .driver import NO_DRIVER, TELLING, DriverFacts, ask

__all__ = [
    "add_driver", "driver_in", "driver_named", "driver_of", "drivers_by_name",
    "find_driver"]

_FAMILIES = (
    "embedded", "postgresql", "mysql", "sqlserver", "oracle", "others")
# The families of the kinds of databases that a ConnectionConfig can have.
_KINDS = {"sqlite": "embedded"}
# Other names by which drivers are known, mostly those of their packages.
_ALIASES = {
    "psycopg2-binary": "psycopg2", "psycopg3": "psycopg",
    "pg8000": "pg8000.dbapi", "pygresql": "pgdb", "mysqlclient": "mysqldb",
    "sqlite3.dbapi2": "sqlite3",
    "mysql-connector": "mysql.connector",
    "mysql-connector-python": "mysql.connector",
    "mysqlconnector": "mysql.connector"}

# The known drivers by the names of the modules, or of packages around them,
# in which the class of a connection is defined; and the loaded families.
_drivers: dict[str, DriverFacts] = {}
_loaded: set[str] = set()
# The module for other drivers, as soon as it is loaded.
_unknown: list[Any] = []


def driver_of(con: Any, dbapi: Any = None) -> DriverFacts:
    """Return the driver of a connection.

    dbapi: the module that it comes from, as far as that is known

    The class of the connection can be derived from the one of the driver, and
    the connection can be wrapped.
    """
    driver = find_driver(con)
    if driver is None:
        if not _unknown:
            from importlib import import_module  # noqa: PLC0415 - rarely needed

            _unknown.append(import_module(".unknown", __package__))
        driver = _unknown[0].driver_behind(con, dbapi)
    return driver or (
        TELLING if isinstance(ask(con, "in_transaction"), bool)
        else NO_DRIVER)


def find_driver(con: Any) -> DriverFacts | None:
    """Return the known driver whose class of connections is a base here."""
    return _first_of([
        str(getattr(base, "__module__", ""))
        for kind in (type(con), getattr(con, "__class__", object))
        for base in _bases(kind)])


def _bases(kind: Any) -> Any:
    try:
        return kind.__mro__
    except Exception:  # noqa: BLE001 - it has none
        return ()


def driver_in(module: Any) -> DriverFacts:
    """Return the driver of a DB-API 2 module, which may also be None."""
    return _first_of([str(getattr(module, "__name__", ""))]) or NO_DRIVER


def _first_of(modules: list[str]) -> DriverFacts | None:
    """Return the driver for the first known of some modules, or None."""
    for _ in _families():
        for module in modules:
            driver = _driver_around(module)
            if driver is not None:
                return driver
    return None


def _families() -> Iterator[None]:
    """Load one family after the other; yield before and after each."""
    yield
    for family in _FAMILIES:
        if family not in _loaded:
            _load(family)
            yield


def _load(family: str) -> dict[str, DriverFacts]:
    """Load a family, and return its drivers."""
    from importlib import import_module  # noqa: PLC0415 - rarely needed

    found: dict[str, DriverFacts] = import_module(
        f".{family}", __package__).DRIVERS
    for name, driver in found.items():
        _drivers.setdefault(name, driver)  # or a program knows it better
    _loaded.add(family)  # last: another thread may look for it already
    return found


def _driver_around(module: str) -> DriverFacts | None:
    """Return the driver for a module, or for a package around it."""
    while module:
        if module in _drivers:
            return _drivers[module]
        module = module.rpartition(".")[0]
    return None


def add_driver(module: str, driver: DriverFacts) -> None:
    """Know a driver by the name of its module from now on."""
    _drivers[module] = driver


def drivers_by_name() -> dict[str, DriverFacts]:
    """Return all known drivers by the names of their modules."""
    for _ in _families():
        pass
    return dict(_drivers)


def driver_named(kind: str, name: str | None) -> tuple[DriverFacts, Any]:
    """Return the driver for a kind of database, and its module.

    name: the driver; if there is none, the first one that is installed
    """
    all_drivers = [
        driver for driver in dict.fromkeys(_load(
            _KINDS.get(kind, kind)).values()) if driver.module]
    known = ", ".join(driver.module for driver in all_drivers)
    wanted = None if name is None else _ALIASES.get(name.lower(), name.lower())
    drivers = [
        driver for driver in all_drivers
        if wanted in {None, driver.module.lower()}]
    if not drivers:
        raise ValueError(
            f"{name!r} is no driver for {kind} that is known; known are:"
            f" {known}. [DBU-08]")
    from importlib import import_module  # noqa: PLC0415 - rarely needed

    problem: ImportError | None = None
    for driver in drivers:
        try:
            return driver, import_module(driver.module)
        except ImportError as error:
            problem = problem or error
    raise ImportError(
        f"{name} is not installed. [DBU-07]" if name is not None else
        f"No driver for {kind} is installed; known are: {known}. [DBU-07]",
    ) from problem
