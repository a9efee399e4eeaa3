"""Where this library deliberately differs from the reference release.

Each difference is a function that tells whether it explains a step in which
the two libraries disagree.  What comes after such a step is not compared,
since from there on the two are in different states.
"""

from itertools import zip_longest

TAKING = {"take", "take_dedicated", "get"}
LEAVING = {"leave", "drop", "close"}
ATTEMPTS = 5


class Step:
    """A step in which the libraries disagree, and all before it."""

    def __init__(self, sequence, number, ours, theirs):
        self.family = sequence["family"]
        self.options = sequence["options"]
        self.before = sequence["steps"][:number - 1]
        self.operation = sequence["steps"][number - 1] if number else ["make"]
        self.ours = ours[number]
        self.theirs = theirs[number]
        self.earlier = theirs[:number]

    @property
    def verb(self):
        """The operation of this step."""
        if self.operation[0] in {"call", "use"}:
            return self.operation[2]
        return self.operation[0]

    def errors(self):
        """Return the names of the exceptions, ours and theirs."""
        return tuple(
            side["outcome"][1] if isinstance(side.get("outcome"), list)
            and side["outcome"][:1] == ["error"] else None
            for side in (self.ours, self.theirs))

    def error_text(self, side):
        """Return what an exception of the driver says, if it was one."""
        outcome = side.get("outcome")
        if isinstance(outcome, list) and outcome[:1] == ["error"]:
            return outcome[2:] and outcome[2]
        return None


def used_up_error_says_something(step):
    """A used up connection raises a driver error without any text.

    That hides what has really happened.  Here it says how often the
    connection was used, if no other can be opened, and otherwise the error
    of the statement is raised, and the new connection kept.
    """
    ours, theirs = step.errors()
    return (
        step.family.endswith("_db") and bool(step.options.get("maxusage"))
        and theirs is not None and step.error_text(step.theirs) == []
        and ours is not None and bool(step.error_text(step.ours)))


def moved_cursor_can_be_closed(step):
    """A cursor that was moved to a new connection could not be closed.

    Its driver cursor stays open until it is collected.  Here it is closed,
    and opened again if the cursor is used after that.
    """
    closed = any(earlier[0] == "use" and earlier[2] == "close"
                 for earlier in step.before)
    if not closed or step.operation[0] not in {"use", "guarded"}:
        return False
    entries = zip_longest(step.ours["log"], step.theirs["log"])
    differing = next(
        (here for here, there in entries if here != there), None)
    opened_again = differing is not None and differing[0] == "cursor"
    return opened_again or step.error_text(step.ours) == ["cursor is closed"]


def limit_is_kept_with_shared_connections(step):
    """More connections are opened than allowed if they may be shared."""
    if step.family != "pooled_db" or step.verb not in TAKING:
        return False
    limit = step.options.get("maxconnections")
    maxcached = step.options.get("maxcached") or 0
    if maxcached:
        maxcached = max(maxcached, step.options.get("mincached", 0))
    limit = limit and max(
        limit, step.options.get("maxshared") or 0, maxcached)
    in_use = step.theirs["pool"]["in use"]
    if step.errors()[1] and ["connect", None] in step.theirs["log"]:
        in_use += 1  # it has tried, but could not connect
    return bool(limit) and in_use > limit


def closing_the_pool_counts_shared_connections_once(step):
    """A shared connection that close() has closed is counted down again.

    When its last user leaves, it is also put into the idle cache although
    it is closed.  Here it is forgotten.
    """
    if step.family != "pooled_db" or step.verb not in LEAVING:
        return False
    closed_while_shared = any(
        operation == ["close_pool"] and seen["pool"]["shared"]
        for operation, seen in zip(step.before, step.earlier))
    theirs, ours = step.theirs["pool"]["idle"], step.ours["pool"]["idle"]
    return closed_while_shared and len(theirs) >= len(ours)


def classic_connection_is_looked_at_when_handed_out(step):
    """A lost classic connection is handed out as it is.

    So begin() fails on it.  Here its status, which is free, is looked at.
    """
    if step.family not in {"pooled_pg", "persistent_pg"}:
        return False
    healed = [entry[0] for entry in step.ours["log"]]
    return (step.verb in TAKING | {"reopen"}
            and healed[:1] in (["reset"], ["connect"])
            and step.theirs["log"] == [])


def lost_classic_connection_raises_the_error_of_the_driver(step):
    """An AttributeError hides what has really happened.

    It comes when a classic connection could not be reopened.  Here one more
    try is made, and if that is in vain, the error of the driver is raised.
    """
    ours, theirs = step.errors()
    return (step.family.endswith("_pg") and theirs == "AttributeError"
            and ours != "AttributeError")


def closed_classic_connection_is_open_again_after_a_reset(step):
    """A closed classic connection that was reset is still taken as closed.

    So it cannot be closed then.  Here it can.
    """
    return (
        step.family.endswith("_pg") and step.ours["log"] == step.theirs["log"]
        and any(
            here and there and here[3:4] == [False] and there[3:4] == [True]
            and [*here[:3], *here[4:]] == [*there[:3], *there[4:]]
            for here, there in zip(step.ours["cons"], step.theirs["cons"])))


def surplus_classic_connection_is_just_closed(step):
    """A classic connection is cleaned before it is closed as surplus."""
    if step.family != "pooled_pg" or step.verb not in LEAVING:
        return False
    ours = [entry[0] for entry in step.ours["log"]]
    theirs = [entry[0] for entry in step.theirs["log"]]
    return (bool(step.options.get("maxcached"))
            and len(ours) < len(theirs) and set(ours) <= {"close"})


def cursor_ends_with_the_visit(step):
    """A cursor goes on to work on a connection that was given back.

    Somebody else may have it meanwhile.  Here the cursor refuses.
    """
    gave_back = any(
        operation[0] in LEAVING or operation[1:3] == ["close"]
        or "close" in operation for operation in step.before)
    return (step.family == "pooled_db" and gave_back
            and step.errors()[0] == "InvalidCursorError"
            and step.operation[0] in {"use", "guarded"})


def cursor_keeps_the_visit_alive(step):
    """A lease that is dropped while a cursor is open is given back.

    Here it stays in use until the cursor is closed or dropped as well.
    """
    return (
        step.family == "pooled_db" and step.verb == "drop"
        and any(operation[0] == "cursor" for operation in step.before)
        and (step.ours["pool"]["in use"] > step.theirs["pool"]["in use"]
             or bool(step.ours["pool"]["shared"])))


def transactions_of_those_who_share_are_apart(step):
    """Borrowers of a shared connection take part in each other's transactions.

    Here he goes on with another connection, if there is one, and a
    transaction whose owner leaves is rolled back although others stay.
    """
    return (
        step.family == "pooled_db"
        and any(seen.get("pool", {}).get("shared") for seen in step.earlier)
        and any("begin" in operation for operation in step.before)
        and step.operation[0] in LEAVING | {
            "call", "cursor", "use", "guarded", "with"})


def attempts_to_connect_are_spaced(step):
    """Each request connects anew, however often that has just failed.

    Here, after some failures, requests get the last error for a moment.
    """
    attempt = ["connect", None]
    attempts = sum(seen["log"].count(attempt) for seen in step.earlier)
    others = [entry for entry in step.theirs["log"] if entry != attempt]
    return (step.family.startswith("pooled") and attempts >= ATTEMPTS
            and others != step.theirs["log"] and others == step.ours["log"])


def larger_size_counts(step):
    """A pool with more connections at the start than it allows is refused.

    With blocking=True it is waited for without end.  Here the limit is raised.
    """
    limit = step.options.get("maxconnections") or 0
    return (step.family.startswith("pooled") and step.verb == "make"
            and 0 < limit < (step.options.get("mincached") or 0)
            and step.errors()[1] == "TooManyConnectionsError")


ALL = [
    larger_size_counts,
    used_up_error_says_something,
    moved_cursor_can_be_closed,
    limit_is_kept_with_shared_connections,
    closing_the_pool_counts_shared_connections_once,
    classic_connection_is_looked_at_when_handed_out,
    lost_classic_connection_raises_the_error_of_the_driver,
    closed_classic_connection_is_open_again_after_a_reset,
    surplus_classic_connection_is_just_closed,
    cursor_ends_with_the_visit,
    cursor_keeps_the_visit_alive,
    transactions_of_those_who_share_are_apart,
    attempts_to_connect_are_spaced,
]


def explanation_of(sequence, ours, theirs):
    """Return the number of the step that differs first, and the reason."""
    number = next(
        (number for number, (here, there) in enumerate(zip(ours, theirs))
         if here != there), None)
    if number is None:
        return None, None
    step = Step(sequence, number, ours, theirs)
    reason = next((difference for difference in ALL if difference(step)), None)
    return number, reason and reason.__name__
