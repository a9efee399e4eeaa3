"""Random sequences of operations and failures, as plain data."""

import random

STATEMENTS = ["select one", "set a", "timeout", "nonsense", "get sizes"]
CALLS = ["connect", "cursor", "execute", "commit", "rollback", "ping",
         "close", "callproc", "executemany"]
PG_CALLS = ["connect", "query", "close", "reset", "reopen", "get_tables"]
ERRORS = ["OperationalError", "InternalError", "InterfaceError",
          "ProgrammingError"]


# Sequences that show differences which are rare.
EXAMPLES = [{
    "seed": 0, "family": "pooled_db",
    "options": {"maxshared": 1, "threadsafety": 2, "maxconnections": 2},
    "steps": [["take"], ["take"], ["cursor", 1], ["call", 0, "begin"],
              ["use", 0, "execute", "set a"]],
}, {
    "seed": 0, "family": "pooled_db", "options": {"threadsafety": 2},
    "steps": [["down", True], *[["take"]] * 8],
}]


def sequence(seed):
    """Return a sequence; the same seed gives the same sequence."""
    rng = random.Random(seed)
    family = rng.choice(list(FAMILIES))
    options, operation = FAMILIES[family]
    return {
        "seed": seed, "family": family, "options": options(rng),
        "steps": [operation(rng) for _ in range(rng.randint(3, 25))]}


def some(rng, **choices):
    """Choose options; what is None is left out."""
    chosen = {name: rng.choice(values) for name, values in choices.items()}
    return {name: value for name, value in chosen.items()
            if value is not None}


def session_options(rng):
    return some(
        rng, maxusage=[None, None, 0, 1, 3, 10],
        setsession=[None, None, ["set x", "set y"], []])


def db_options(rng):
    options = session_options(rng)
    options.update(some(
        rng, has_ping=[False, True], has_begin=[False, False, True],
        vetoed=[None, None, None, True],
        programming_error=[None, None, None, True],
        ping=[None, None, 0, 1, 2, 4, 7, "select ping", [4, "select ping"],
              [7, "select ping"], [2, None]],
        user=[None, "me"]))
    if rng.random() < 0.1:
        options.pop("ping", None)
        options["function_ping"] = True
    return options


def steady_options(rng):
    return dict(db_options(rng), **some(rng, closeable=[None, True, False]))


def pg_options(rng):
    return dict(session_options(rng), **some(
        rng, has_begin=[False, True], user=[None, "me"]))


def steady_pg_options(rng):
    return dict(pg_options(rng), **some(rng, closeable=[None, True, False]))


def pool_options(rng):
    return dict(db_options(rng), **some(
        rng, mincached=[None, 0, 1, 2], maxcached=[None, 0, 1, 3],
        maxshared=[None, None, 0, 1, 2], maxconnections=[None, 0, 1, 2, 4],
        reset=[None, True, False], threadsafety=[2, 2, 1, 3]))


def pooled_pg_options(rng):
    return dict(pg_options(rng), **some(
        rng, mincached=[None, 0, 1, 2], maxcached=[None, 0, 1, 3],
        maxconnections=[None, 0, 1, 2, 4], reset=[None, 0, 1, 2]))


def simple_options(rng):
    return {"maxconnections": rng.randint(1, 3),
            "threadsafety": rng.choice([1, 2, 3])}


def simple_pg_options(rng):
    return {"maxconnections": rng.randint(1, 3)}


def failure(rng, calls):
    return ["fail", rng.choice(calls), rng.choice(ERRORS),
            rng.randint(0, 2), rng.randint(1, 4)]


def trouble(rng, calls=CALLS):
    index = rng.randrange(4)
    return rng.choice([
        ["cut", index], ["cut", index], failure(rng, calls),
        failure(rng, calls), ["down", rng.random() < 0.4]])


def transaction_step(rng):
    return ["call", rng.randrange(4), rng.choice(
        ["begin", "begin", "commit", "rollback", "cancel"])]


def cursor_step(rng):
    index = rng.randrange(4)
    statement = rng.choice(STATEMENTS)
    return rng.choice([
        ["cursor", rng.randrange(4)], ["cursor", rng.randrange(4)],
        ["cursor", rng.randrange(4), rng.choice(["x", "error"])],
        ["use", index, "execute", statement],
        ["use", index, "execute", statement],
        ["use", index, "execute", "select one"],
        ["use", index, "execute", "set b"],
        ["use", index, "executemany", "set", [1, 2]],
        ["use", index, "callproc", rng.choice(["proc", "error"])],
        ["use", index, "fetchone"],
        ["use", index, "setinputsizes", [1]],
        ["use", index, "setoutputsize", 2, rng.choice([None, 1])],
        ["use", index, "close"], ["guarded", index, statement],
        ["forget_cursor", index]])


def steady_step(rng):
    kind = rng.random()
    if kind < 0.55:
        return cursor_step(rng)
    if kind < 0.75:
        return transaction_step(rng)
    if kind < 0.9:
        return trouble(rng)
    return rng.choice([
        ["call", 0, "close"], ["call", 0, "ping"], ["with", 0, False],
        ["with", 0, True], ["call", 0, "_ping_check", rng.choice([1, 2, 7])],
        ["call", 0, "_ping_check", 1, False], ["call", 0, "threadsafety"],
        ["call", 0, "_reset", rng.random() < 0.5]])


def persistent_step(rng):
    if rng.random() < 0.25:
        return ["get", rng.random() < 0.4]
    return steady_step(rng)


def pool_step(rng):
    kind = rng.random()
    index = rng.randrange(4)
    if kind < 0.35:
        return rng.choice([
            ["take"], ["take", True], ["take", False], ["take_dedicated"]])
    if kind < 0.55:
        return rng.choice([
            ["call", index, "close"], ["drop", index], ["leave", index]])
    if kind < 0.58:
        return ["close_pool"]
    return rng.choice([
        cursor_step, cursor_step, transaction_step, trouble])(rng)


def pg_query_step(rng):
    index = rng.randrange(4)
    return rng.choice([
        ["call", index, "query", rng.choice(STATEMENTS)],
        ["call", index, "query", "select one"],
        ["call", index, "query", "set b"], ["call", index, "get_tables"],
        ["call", index, "begin"], ["call", index, "end"],
        ["call", index, "commit"], ["call", index, "rollback"]])


def steady_pg_step(rng):
    kind = rng.random()
    if kind < 0.7:
        return pg_query_step(rng)
    if kind < 0.9:
        return trouble(rng, PG_CALLS)
    return rng.choice([
        ["call", 0, "close"], ["call", 0, "reset"], ["call", 0, "reopen"],
        ["with", 0, False], ["with", 0, True]])


def persistent_pg_step(rng):
    if rng.random() < 0.25:
        return ["get", rng.random() < 0.4]
    return steady_pg_step(rng)


def pooled_pg_step(rng):
    kind = rng.random()
    index = rng.randrange(4)
    if kind < 0.3:
        return ["take"]
    if kind < 0.5:
        return rng.choice([
            ["call", index, "close"], ["drop", index], ["leave", index],
            ["call", index, "reopen"]])
    if kind < 0.53:
        return ["close_pool"]
    if kind < 0.65:
        return trouble(rng, PG_CALLS)
    return pg_query_step(rng)


def simple_step(rng):
    index = rng.randrange(4)
    return rng.choice([
        ["take"], ["take"], ["call", index, "close"], ["drop", index],
        ["call", index, "cursor"], ["call", index, "commit"], ["cut", index]])


FAMILIES = {
    "steady_db": (steady_options, steady_step),
    "steady_pg": (steady_pg_options, steady_pg_step),
    "persistent_db": (steady_options, persistent_step),
    "persistent_pg": (steady_pg_options, persistent_pg_step),
    "pooled_db": (pool_options, pool_step),
    "pooled_pg": (pooled_pg_options, pooled_pg_step),
    "simple_db": (simple_options, simple_step),
    "simple_pg": (simple_pg_options, simple_step),
}
