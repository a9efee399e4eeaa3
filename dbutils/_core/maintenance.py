"""The work of a pool in the background, and the lifetimes of connections."""

from __future__ import annotations

from collections import deque
from functools import partial
from os import urandom
from time import monotonic

from .._base.atomic import snapshot
from .._base.checks import check_seconds
from .._base.errors import quietly
from .._base.hints import Any, Callable, NamedTuple
from .._base.threads import fill_vacancies, vacancies
from .features import Feature
from .leaks import LeaseWatch
from .slots import DEAD, EXPIRED, IDLE, Slot

__all__ = [
    "Maintenance", "MaintenanceOptions", "check_maintenance", "refill"]

_JITTER = 0.1
_NEVER = float("inf")
# In seconds, the shortest and the longest time between two rounds.
_SHORTEST = 0.02
_LONGEST = 10.0
_REFILL = 1.0


class MaintenanceOptions(NamedTuple):
    """How long connections live, in seconds, and whether some stay ready."""

    maxlifetime: float | None = None
    maxidletime: float | None = None
    keepalive: float | None = None
    leakafter: float | None = None
    idleafter: float | None = None
    refill: bool = False
    reclaim: bool = False

    @property
    def interval(self) -> float | None:
        """The time between two rounds; None if there is nothing to do."""
        times = [time / 4 for time in self[:5] if time]
        if self.refill:
            times.append(_REFILL)
        return min(max(min(times), _SHORTEST), _LONGEST) if times else None


def check_maintenance(*given: Any) -> MaintenanceOptions:
    """Check the options in their order; 0 means the same as None."""
    *times, refill, reclaim = given
    seconds = map(check_seconds, MaintenanceOptions._fields, times)
    options = MaintenanceOptions._make(
        [*(value or None for value in seconds), bool(refill), bool(reclaim)])
    if options.reclaim and not options.leakafter:
        raise ValueError(
            "'reclaim' needs 'leakafter', the seconds after which a"
            " connection is taken back. [DBU-11]")
    return options


class Maintenance(Feature):
    """Makes rounds through a pool in the background."""

    def __init__(
            self, core: Any, options: MaintenanceOptions,
            connect: Callable[[], Any]) -> None:
        super().__init__()
        self.options = options
        self.clock = monotonic
        # After how many seconds an idle connection is closed.
        self.maxidletime = float(options.maxidletime or _NEVER)
        self._leases = LeaseWatch(
            options.leakafter, options.idleafter, options.reclaim)
        self._join(core, connect)

    def hurry(self) -> None:
        """Begin the next round at once."""
        self._chore.begin(0)

    def _pause(self) -> float | None:
        return self.options.interval

    def _work(self, core: Any) -> None:
        """Make one round."""
        core.reclaim()
        self._for_idle(core, self.is_expired, partial(_end, core, EXPIRED))
        self._for_idle(core, self.is_due, partial(_end, core, IDLE))
        if self.options.keepalive:
            self._for_idle(core, self._is_silent, partial(self._ask, core))
        if self.options.refill:
            refill(core, self._connect())
        if self.options.leakafter or self.options.idleafter:
            self._leases.look(core)

    def _for_idle(
            self, core: Any, is_wanted: Callable[[Any], bool],
            act: Callable[[Any], None]) -> None:
        """Take the idle connections out that are wanted, and act on each."""
        for permit in snapshot(core.idle):
            if is_wanted(permit.slot) and core.take_out(permit):
                act(permit)

    def _ask(self, core: Any, permit: Any) -> None:
        """Ask the server on a connection, and close that if it is dead."""
        emptied = core.emptied
        can_stay = False
        try:
            with quietly("asking an idle connection"):
                can_stay = core.backend.ask(permit.slot.con)
        finally:
            if can_stay:
                core.put_back(permit, emptied)
            else:
                core.throttle.lost(permit.slot.number)
                core.discard(permit, DEAD)

    def has_reported(self, checkout: Any) -> bool:
        """Return whether a checkout was reported, and counted so."""
        return self._leases.has_reported(checkout)

    @property
    def needs_times(self) -> bool:
        """Whether something is to be done before and after each use."""
        return any(self.options[:3])

    def way_out(self, idle: deque[Any]) -> Callable[[], Any]:
        """Return a function that takes an idle permit whose time is not over.

        It raises an IndexError if there is none, or if its time is over.  Then
        the permit stays where it is, and requests go the long way.
        """
        def take() -> Any:
            permit = popleft()
            try:
                slot, now = permit.slot, self.clock()
                if now < slot.expires and (
                        now - slot.used_at < self.maxidletime):
                    return permit
                core = self._link()
                if core is not None:
                    core.put_back_unused(permit)
                    core.serve()
                raise IndexError
            except BaseException:
                permit = None  # not to be kept by the traceback
                raise

        popleft = idle.popleft
        return take

    def way_back(self, idle: deque[Any]) -> Callable[[Any], None]:
        """Return a function that makes a permit idle, and notes when.

        A connection whose lifetime is over is closed instead.
        """
        def put(permit: Any) -> None:
            slot = permit.slot
            now = slot.used_at = self.clock()
            if vacancies:
                fill_vacancies()
            if now < slot.expires:
                append(permit)
                return
            core = self._link()
            if core is not None:
                core.discard(permit, EXPIRED)

        append = idle.append
        return put

    def opened(self, slot: Any) -> None:
        """Note when a connection was opened, and when it has to go."""
        maxlifetime = self.options.maxlifetime
        if maxlifetime:
            slot.expires = self.clock() + maxlifetime * (
                1 - _JITTER * urandom(1)[0] / 256)
        slot.used_at = self.clock()

    def used(self, slot: Any) -> None:
        """Note that a connection has come back."""
        slot.used_at = self.clock()

    def is_expired(self, slot: Any) -> bool:
        """Return whether the lifetime of a connection is over."""
        return bool(self.clock() >= slot.expires)

    def is_due(self, slot: Any) -> bool:
        """Return whether an idle connection has to go."""
        return self.is_expired(slot) or bool(
            self.clock() - slot.used_at >= self.maxidletime)

    def _is_silent(self, slot: Slot) -> bool:
        """Return whether a connection has not been used for long."""
        return self.clock() - slot.used_at >= (self.options.keepalive or 0)


def _end(core: Any, reason: str, permit: Any) -> None:
    """Close an idle connection."""
    core.discard(permit, reason)


def refill(core: Any, connect: Callable[[], Any]) -> None:
    """Open connections until mincached are idle, as far as possible."""
    while len(core.idle) < core.limits.mincached:
        if not core.open_ahead(connect):
            return
