"""Changes that options and features make in a pool."""

from __future__ import annotations

from .._base.hints import Any, Callable
from .backend import AdmissionPolicy, Observer
from .maintenance import Maintenance, MaintenanceOptions
from .resetting import ResetWorkers

__all__ = [
    "allow_helpers", "close_idle", "hurry_maintenance", "limit_usage",
    "observe", "set_admission_policy", "set_order", "set_reset_workers",
    "set_service", "start_maintenance"]


def start_maintenance(
        core: Any, options: MaintenanceOptions,
        connect: Callable[[], Any]) -> None:
    """Begin the maintenance of a pool in the background, if there is any."""
    if options.interval is not None:
        core.keeper.maintenance = Maintenance(core, options, connect)
        core.update_fast_way()


def hurry_maintenance(core: Any) -> None:
    """Begin the next round of maintenance at once."""
    core.keeper.maintenance.hurry()


def allow_helpers(core: Any, are_allowed: bool) -> None:
    """Connect in helper threads for requests that have a deadline, or not."""
    core.opener.has_helpers = are_allowed


def limit_usage(core: Any, maxusage: int | None) -> None:
    """Limit how often connections are used, including the present ones."""
    backend = core.keeper.backend
    backend.maxusage = maxusage
    for con in core.ledger.connections():
        backend.limit_usage(con)


def set_order(
        core: Any, own: bool | None = None,
        latest: bool | None = None) -> None:
    """Set the order in which idle connections are handed out."""
    core.ledger.set_order(own, latest)


def set_reset_workers(core: Any, reset_workers: ResetWorkers | None) -> None:
    """Reset connections elsewhere, or in the threads that return them."""
    core.keeper.reset_workers = reset_workers
    core.ledger.is_reset_elsewhere = reset_workers is not None
    core.ledger.measure_idle_limit()


def set_admission_policy(core: Any, policy: AdmissionPolicy) -> None:
    """Set what decides about requests, before the pool is used."""
    if core.ledger.policy is not None:
        raise ValueError("There can be only one who decides in a pool.")
    core.ledger.policy = policy
    core.update_fast_way()


def set_service(core: Any, barging: float, is_ranked: bool) -> None:
    """Set how waiters are served, and serve them.

    barging: for how many seconds a waiter may be overtaken
    is_ranked: whether the admission policy ranks them
    """
    ledger = core.ledger
    ledger.barging = barging
    ledger.waiters.rank = ledger.policy.rank if is_ranked else None
    core.update_fast_way()
    core.keeper.serve()


def close_idle(core: Any) -> None:
    """Close the idle connections without a question to a server."""
    for permit in core.ledger.all_idle():
        core.keeper.destroy(permit)


def observe(core: Any, observer: Observer) -> None:
    """Tell an observer what is done for requests from now on."""
    core.keeper.observers += (observer,)
