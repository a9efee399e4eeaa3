"""Solid, persistent and pooled database connections for threaded programs.

All public names of the modules can be imported from here as well.  They are
loaded when they are first used, so importing the package costs nothing.
"""

__version__ = "4.0.0"

# Where the public names live.  The simple pools have a prefix here, since
# their classes are called like those of the other pools.
_HOMES = {
    "steady_db": (
        "InvalidCursorError", "SteadyDBConnection", "SteadyDBCursor",
        "SteadyDBError", "connect"),
    "steady_pg": ("SteadyPgConnection", "SteadyPgError"),
    "persistent_db": ("PersistentDB", "PersistentDBError", "local"),
    "persistent_pg": ("PersistentPg",),
    "pooled_db": (
        "CommitUnknownError", "InvalidConnectionError",
        "NotSupportedError", "PoolClosedError", "PoolStats", "PooledDB",
        "PooledDBError", "PooledDedicatedDBConnection",
        "PooledSharedDBConnection", "SharedDBConnection",
        "TooManyConnectionsError"),
    "pooled_pg": (
        "PooledPg", "PooledPgConnection", "PooledPgError",
        "RESET_ALWAYS_ROLLBACK", "RESET_COMPLETELY"),
    "drivers": (),  # its names would say too little here
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
    "uri_pool": ("ConnectionPool",),
}

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME_OF)]  # noqa: PLE0604 - all are text


def __getattr__(name):  # type: ignore[no-untyped-def]
    """Return a public name of one of the modules, or a module."""
    from importlib import import_module  # noqa: PLC0415 - only when needed

    if name in _HOMES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(f"{__name__}.{_HOME_OF[name]}")
    is_simple = _HOME_OF[name].startswith("simple_")
    value = getattr(home, name[6:] if is_simple else name)
    globals()[name] = value
    return value


def __dir__():  # type: ignore[no-untyped-def]
    """Return the names of the package, loaded or not."""
    return sorted({*globals(), *__all__, *_HOMES})
