"""Changes that options and features make in a pool."""

from __future__ import annotations

from .._base.hints import Any, Callable

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from .backend import AdmissionPolicy, Kinds
    from .maintenance import MaintenanceOptions
    from .resetting import ResetWorkers

__all__ = [
    "allow_helpers", "allow_yielding", "close_idle", "divide", "drain",
    "limit_usage", "observe", "set_admission_policy", "set_kinds",
    "set_paused", "set_reset_workers", "set_service", "start_maintenance",
    "unobserve", "watch_holders"]


def start_maintenance(
        core: Any, options: MaintenanceOptions | None,
        connect: Callable[[], Any]) -> None:
    """Begin the maintenance of a pool in the background, if there is any."""
    if options is not None and options.interval is not None:
        from .maintenance import Maintenance  # noqa: PLC0415 - an option

        core.maintenance = Maintenance(core, options, connect)
        if options.leakafter or options.idleafter:
            core.tracks = True
        core.choose_ways()


def allow_helpers(core: Any, are_allowed: bool) -> None:
    """Connect in helper threads for requests that have a deadline, or not."""
    core.has_helpers = are_allowed


def allow_yielding(core: Any) -> None:
    """Leave places to others if the pool is always full, and requests wait.

    The code for that is loaded now, as an interrupt of an import can block
    all.
    """
    if core.limits.maxconnections and core.timeout != 0 and not (
            core.backend.is_embedded):
        from . import yielding  # noqa: F401, PLC0415 - an option

        core.yields = True


def watch_holders(core: Any, nested: str, ondeadlock: str) -> None:
    """Set what follows if threads hold connections and want more of them.

    nested: "allow", "warn" or "refuse" requests of a thread that has one
    ondeadlock: "log" a certain deadlock, or "raise" an error, too
    """
    if nested != "allow":
        from .nesting import Nesting  # noqa: PLC0415 - an option

        core.nesting = Nesting(nested == "refuse")
    core.raises_deadlocks = ondeadlock == "raise"
    if core.nesting is not None or core.raises_deadlocks:
        core.tracks = True
        core.choose_ways()


def limit_usage(core: Any, maxusage: int | None) -> None:
    """Limit how often connections are used, including the present ones."""
    backend = core.backend
    backend.maxusage = maxusage
    for con in core.connections():
        backend.limit_usage(con)


def set_reset_workers(core: Any, reset_workers: ResetWorkers | None) -> None:
    """Reset connections elsewhere, or in the threads that return them."""
    core.reset_workers = reset_workers
    core.backend.reset_elsewhere(reset_workers is not None, core.connections())


def set_admission_policy(core: Any, policy: AdmissionPolicy) -> None:
    """Set what decides about requests, before the pool is used."""
    if core.policy is not None:
        raise ValueError(
            "There can be only one who decides in a pool. [DBU-13]")
    core.policy = policy
    core.choose_ways()


def set_kinds(core: Any, kinds: Kinds) -> None:
    """Tell connections apart from now on."""
    core.kinds = kinds
    core.choose_ways()


def divide(core: Any, lacks: Callable[[Exception], bool]) -> None:
    """Note that connections can lead to several servers from now on.

    lacks: tells whether no server fits for which there was an error
    """
    core.throttle.lacks = lacks


def set_service(core: Any, barging: float, is_ranked: bool) -> None:
    """Set how waiters are served, and serve them.

    barging: for how many seconds a waiter may be overtaken
    is_ranked: whether the admission policy ranks them
    """
    core.barging = barging
    core.rank = core.queue.rank = core.policy.rank if is_ranked else None
    core.choose_ways()
    core.serve()


def set_paused(core: Any, is_paused: bool) -> None:
    """Lend nothing, or again, at first to the requests that have waited."""
    core.is_paused = is_paused
    core.choose_ways()
    core.serve()


def drain(core: Any, seconds: float | None) -> None:
    """Close the present connections, one after the other if that has time."""
    if not seconds:
        core.drain()
        return
    from .draining import SlowDrain  # noqa: PLC0415 - rarely needed

    core.slow_drain = SlowDrain(core, seconds)
    core.slow_drain.begin()


def close_idle(core: Any) -> None:
    """Close the idle connections without a question to a server."""
    core.close_idle()


def observe(core: Any, observer: Any) -> None:
    """Tell an observer what happens from now on."""
    from .observing import observers_of  # noqa: PLC0415 - an option

    with core.changing.take():
        observers_of(core).add(observer)
    core.choose_ways()


def unobserve(core: Any, observer: Any) -> None:
    """Tell an observer nothing from now on."""
    if core.observers:
        with core.changing.take():
            core.observers.drop(observer)
        core.choose_ways()
