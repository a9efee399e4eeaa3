"""The state of a pool in numbers, and what errors say about it."""

from __future__ import annotations

from .._base.atomic import Count, snapshot
from .._base.hints import Any, Iterable, NamedTuple, Sequence, deque
from .ceiling import number_of
from .limits import Filling
from .refusals import LATE, PAUSED
from .slots import CLEARED, DEAD, EXPIRED, IDLE, SURPLUS

__all__ = [
    "PoolStats", "Timings", "describe", "state_of", "too_many_text"]

# How many of the last values are kept.
_KEPT = 2000
# How many holders an error names, and how long a wait is no wait.
_MANY = 5
_MOMENT = 0.001


class PoolStats(NamedTuple):
    """The state of a pool at one moment.

    maxconnections, mincached, maxcached, maxshared, maxwaiting: the limits
        of the pool; None means that there is none
    in_use: how many connections are in use, or are being opened or reset
    idle: how many connections are idle
    shared: how many of those in use can be shared
    waiting: how many requests wait for a connection
    opened, closed: how many connections the pool has opened and closed
    reconnects: how often a connection that was lost or used up got a new
        session from the driver while it was in use
    refused: how many requests got no connection, because all were in use or
        the time was over
    name: the name of the pool
    timeouts: how many of those refused had waited until the time was over
    waited: how many requests have waited for a connection of others; those
        to which one was handed over within a moment, of about 0.05 seconds,
        are only counted where requests are not all alike
    wait_seconds, wait_max: for how long they have waited, together and at most
    connect_seconds, connect_max: how long opening connections has taken,
        together and at most
    closed_cleared: how many connections were closed because the program
        wanted that, by close(), drain() or shutdown()
    closed_dead: because they were dead, or could not be cleaned
    closed_expired, closed_idle: because of maxlifetime and of maxidletime
    closed_surplus: because there were too many, also on the server
    oldest: for how many seconds the oldest lease has lasted; None if there is
        none, or if that is unknown
    borrowed: how many leases there were
    returned: how many of them have ended, in whatever way
    leaked: how many leases were dropped instead of closed, or lasted for
        longer than "leakafter", each counted once
    pings: how often the server was asked whether a connection is alive
    errors: how often connecting has failed; errors of statements are not
        counted
    use_seconds, use_max: for how long leases have lasted that have ended,
        together and at most, as far as the pool has timed them
    timed: how many of them it has; all if "track" is True, otherwise those
        since half of the connections were in use or a request had to wait
    ceiling: how many connections the pool may have for now, since the server
        has too many of them; None if it has not

    The numbers of events begin with the pool, or in a forked child with the
    fork.
    """

    maxconnections: int | None
    mincached: int
    maxcached: int | None
    maxshared: int
    maxwaiting: int | None
    in_use: int
    idle: int
    shared: int
    waiting: int
    opened: int
    closed: int
    reconnects: int
    refused: int
    name: str = ""
    timeouts: int = 0
    waited: int = 0
    wait_seconds: float = 0.0
    wait_max: float = 0.0
    connect_seconds: float = 0.0
    connect_max: float = 0.0
    closed_cleared: int = 0
    closed_dead: int = 0
    closed_expired: int = 0
    closed_idle: int = 0
    closed_surplus: int = 0
    oldest: float | None = None
    borrowed: int = 0
    returned: int = 0
    leaked: int = 0
    pings: int = 0
    errors: int = 0
    use_seconds: float = 0.0
    use_max: float = 0.0
    timed: int = 0
    ceiling: int | None = None


PoolStats.__module__ = "dbutils.pooled_db"  # where programs find it


class _UseTotals(NamedTuple):
    """How often the connections of a pool were used, and for how long."""

    borrowed: int
    returned: int
    seconds: float
    longest: float
    timed: int
    pings: int


def _totals_of(core: Any) -> _UseTotals:
    """Return the numbers of all uses."""
    uses, shared, sharing = (
        core.slots.uses(), core.shared_uses.read(), core.sharing)
    moved = sharing.moved.read()  # first, so that "borrowed" is not too low
    # A use is counted when its checkout has begun, and they are read in the
    # same order, so that "returned" is never too high; nor does it sink.
    ended = sharing.ended.read() - sharing.moved.read()
    borrowed, pings = core.slots.counts()
    held = sum(1 for slot in core.slots.all() if slot.is_in_use)
    returned = core.returned = max(core.returned, borrowed - held + ended)
    borrowed += sharing.lent.read() - moved
    return _UseTotals(
        borrowed, min(returned, borrowed),  # others may have read it later
        sum(use.seconds for use in uses) + shared.total,
        max([shared.greatest, *(use.longest for use in uses)]),
        sum(use.timed for use in uses) + shared.number,
        pings)


def state_of(core: Any, name: str, oldest: float | None) -> PoolStats:
    """Return the state of a pool as it is."""
    maxconnections, maxcached, maxshared, maxwaiting, mincached = (
        core.limits[:5])
    opened, waits = core.opened.read(), core.waits.read()
    uses = _totals_of(core)
    closed = {reason: number.read() for reason, number in core.closed.items()}
    return PoolStats(
        maxconnections, mincached, maxcached, maxshared, maxwaiting,
        core.in_use, len(core.idle), len(core.sharing.permits()),
        len(core.queue), opened.number, sum(closed.values()),
        core.throttle.reconnects.read(), core.refused.read(), name,
        core.timeouts.read(), waits.number, waits.total, waits.greatest,
        opened.total, opened.greatest, closed[CLEARED], closed[DEAD],
        closed[EXPIRED], closed[IDLE], closed[SURPLUS], oldest,
        uses.borrowed, uses.returned, core.leaked.read(),
        uses.pings + core.throttle.pings.read(), core.throttle.errors.read(),
        uses.seconds, uses.longest, uses.timed, number_of(core.ceiling))


def too_many_text(
        filling: Filling, waited: float, holders: Sequence[Any],
        unknown: int = 0, refusal: str | None = None,
        ages: Sequence[float] = (),
        story: tuple[str, str] = ("", "")) -> str:
    """Return why a request got no connection, and what to change.

    Programs that log only its first line see the cause.

    unknown: how many more holders there are, which nobody has noted
    refusal: the reason if it is neither of the usual ones
    ages: for how many seconds connections have been being opened
    story: the cause and how to end it, and how many were refused, if known
    """
    cause, number = (text and f" {text}" for text in story)
    maxconnections = filling.maxconnections
    limit = "unlimited" if maxconnections is None else maxconnections
    state = (
        f"(maxconnections: {limit}, maxshared: {filling.maxshared},"
        f" in use: {filling.in_use}, idle: {filling.idle},"
        f" waiting: {filling.waiting})")
    opening = _opening(ages)
    if refusal == LATE:
        return (
            f"{refusal} in {waited:.3g} seconds {state}.{opening} Look"
            f" whether the server answers, or wait longer (maxwait).{number}"
            " [DBU-31]")
    if refusal == PAUSED:
        return (
            f"{refusal} {state}. Call resume(), or wait longer (maxwait)."
            " [DBU-32]")
    if maxconnections is not None and filling.in_use >= maxconnections:
        reason = f"All connections of the pool are in use {state}."
        advice = "Raise maxconnections, close connections earlier,"
    elif refusal is not None:
        reason, advice = f"{refusal} {state}.", "Change that,"
    elif not filling.maxshared:  # one has come back since then
        reason = f"All connections of the pool were in use {state}."
        advice = "Raise maxconnections, close connections earlier,"
    else:
        reason = f"All shared connections are in a transaction {state}."
        advice = (
            "Raise maxshared, end transactions earlier,"
            " ask for a dedicated connection,")
    if cause:
        advice = "Change that,"
    return (
        f"{reason}{cause}{opening} {_advice(filling, waited, advice)}{number}"
        " [DBU-30]" + _named(holders, unknown))


def _named(holders: Sequence[Any], unknown: int) -> str:
    named = "".join(f"\n- {holder}" for holder in holders[:_MANY])
    text = f"\nThe oldest of those in use:{named}" if named else ""
    if unknown:
        were = "connection was" if unknown == 1 else "connections were"
        text += (
            f"\n{unknown} {were} taken before the pool noted by whom;"
            " track=True notes it from the start.")
    return text


def _advice(filling: Filling, waited: float, advice: str) -> str:
    if filling.maxwaiting is not None and (
            filling.waiting >= filling.maxwaiting):
        return f"{advice} or raise maxwaiting ({filling.maxwaiting})."
    if waited < _MOMENT:
        return f"{advice} or wait for one with blocking=True or maxwait."
    return (
        f"None has become free in {waited:.3g} seconds."
        f" {advice} or wait longer (maxwait).")


def _opening(ages: Sequence[float]) -> str:
    """Return for how long connections have been being opened, if any are."""
    if not ages:
        return ""
    number = (
        "A connection is" if len(ages) == 1
        else f"{len(ages)} connections are")
    since = "" if len(ages) == 1 else ", the first one"
    return f" {number} still being opened{since} for {ages[0]:.3g} seconds."


class Timings:
    """How often something happened, and how long it took lately."""

    def __init__(self) -> None:
        self._count = Count()
        self._values: deque[float] = deque(maxlen=_KEPT)

    def add(self, seconds: float) -> None:
        """Note that it has happened."""
        self._values.append(seconds)
        self._count.step()

    @property
    def number(self) -> int:
        """How often it has happened."""
        return self._count.read()

    @property
    def values(self) -> Sequence[float]:
        """How long it took, the last times."""
        return snapshot(self._values)

    @property
    def mean(self) -> float:
        """How long it took on average, the last times."""
        values = self.values
        return sum(values) / len(values) if values else 0.0


def describe(
        number: int, groups: Iterable[tuple[int, Sequence[float]]],
) -> dict[str, float]:
    """Return the statistics of how long something takes.

    groups: values, each with the number of events for which they stand
    """
    weighted = sorted(
        (value, events / len(values))
        for events, values in groups for value in values)
    total = sum(weight for _, weight in weighted)
    mean = sum(value * weight for value, weight in weighted)
    report: dict[str, float] = {
        "count": number, "mean": mean / total if total else 0.0}
    for name, part in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        report[name] = _quantile(weighted, part * total)
    report["max"] = weighted[-1][0] if weighted else 0.0
    return report


def _quantile(weighted: list[tuple[float, float]], limit: float) -> float:
    """Return the value up to which the weights reach a limit."""
    reached = 0.0
    for value, weight in weighted:
        reached += weight
        if reached >= limit:
            return value
    return weighted[-1][0] if weighted else 0.0
