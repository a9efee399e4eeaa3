"""Solid, persistent and pooled database connections for threaded programs.

All public names of the modules can also be imported from here.  They are
loaded at their first use, so importing the package costs nothing.
"""

__version__ = "4.0.0"

# The public names by their modules.  The classes of the simple pools have a
# prefix here, since they are called like those of the other pools.
_MODULES = {
    "steady_db": (
        "InvalidCursorError", "SteadyDBConnection", "SteadyDBCursor",
        "SteadyDBError", "connect"),
    "steady_pg": ("SteadyPgConnection", "SteadyPgError"),
    "persistent_db": ("PersistentDB", "PersistentDBError", "local"),
    "persistent_pg": ("PersistentPg",),
    "pooled_db": (
        "CommitUnknownError", "InvalidConnectionError", "LeaseHolder",
        "NestedBorrowingError", "NotSupportedError", "PoolClosedError",
        "PoolDeadlockError", "PoolStats", "PooledDB",
        "PooledDBError", "PooledDedicatedDBConnection",
        "PooledSharedDBConnection", "SharedDBConnection",
        "TooManyConnectionsError"),
    "pooled_pg": (
        "PooledPg", "PooledPgConnection", "PooledPgError",
        "RESET_ALWAYS_ROLLBACK", "RESET_COMPLETELY"),
    "drivers": (),  # its names are too general for the package
    "hosts": (),
    "dynamic_pooled_db": ("DynamicPooledDB", "DynamicSize", "Scaling"),
    "health_check_pooled_db": ("HealthCheck", "HealthCheckPooledDB"),
    "keyed_pool": (
        "AbstractConnectionPool", "KeyedConnection", "PoolError",
        "SimpleConnectionPool", "ThreadedConnectionPool"),
    "performance_optimized_pooled_db": (
        "Performance", "PerformanceOptimizedPooledDB"),
    "pool_manager": (
        "ConnectionConfig", "DBConnectionPoolManager", "DatabaseType",
        "ManagedPool", "PoolConfig", "PoolEvictedError", "PoolManagerError",
        "TooManyPoolsError", "UnknownPoolError", "WrongCredentialsError",
        "get_pool_manager"),
    "resource_allocation_pooled_db": (
        "Allocation", "ResourceAllocationPooledDB"),
    "simple_pooled_db": ("SimplePooledDB", "SimplePooledDBConnection"),
    "simple_pooled_pg": ("SimplePooledPg", "SimplePooledPgConnection"),
    "testing": (),  # only tests need it
    "top": (),
    "uri_pool": ("ConnectionPool",),
}

_MODULE_OF = {
    name: module for module, names in _MODULES.items() for name in names}

TYPE_CHECKING = False  # without importing typing; type checkers know the name
if TYPE_CHECKING:
    from . import simple_pooled_db, simple_pooled_pg
    from .dynamic_pooled_db import *
    from .health_check_pooled_db import *
    from .keyed_pool import *
    from .performance_optimized_pooled_db import *
    from .persistent_db import PersistentDB as PersistentDB
    from .persistent_db import PersistentDBError as PersistentDBError
    from .persistent_db import local as local
    from .persistent_pg import PersistentPg as PersistentPg
    from .pool_manager import *
    from .pooled_db import *
    from .pooled_pg import RESET_ALWAYS_ROLLBACK as RESET_ALWAYS_ROLLBACK
    from .pooled_pg import RESET_COMPLETELY as RESET_COMPLETELY
    from .pooled_pg import PooledPg as PooledPg
    from .pooled_pg import PooledPgConnection as PooledPgConnection
    from .pooled_pg import PooledPgError as PooledPgError
    from .resource_allocation_pooled_db import *
    from .steady_db import *
    from .steady_pg import SteadyPgConnection as SteadyPgConnection
    from .steady_pg import SteadyPgError as SteadyPgError
    from .uri_pool import ConnectionPool as ConnectionPool

    SimplePooledDB = simple_pooled_db.PooledDB
    SimplePooledDBConnection = simple_pooled_db.PooledDBConnection
    SimplePooledPg = simple_pooled_pg.PooledPg
    SimplePooledPgConnection = simple_pooled_pg.PooledPgConnection
else:
    __all__ = [  # noqa: PLE0604 - all are text
        "__version__", *sorted(_MODULE_OF)]

    def __getattr__(name):
        """Return a public name of one of the modules, or a module."""
        from importlib import import_module  # noqa: PLC0415 - only if needed

        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        if name not in _MODULE_OF:
            raise AttributeError(
                f"module {__name__!r} has no attribute {name!r}")
        module = import_module(f"{__name__}.{_MODULE_OF[name]}")
        is_simple = _MODULE_OF[name].startswith("simple_")
        value = getattr(module, name[6:] if is_simple else name)
        globals()[name] = value
        return value

    def __dir__():
        """Return the names of the package, loaded or not."""
        return sorted({*globals(), *__all__, *_MODULES})
