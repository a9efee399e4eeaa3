"""What a pool does with the connections of its places.

This is where the seams of the pool meet: the ledger says whose turn it is,
and the backend does what the database needs.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from time import monotonic
from typing import Any, Callable

from .._base.collecting import is_collecting
from .._base.errors import quietly
from .._base.opening import Attempt, Outcome
from .._base.threads import fill_vacancies, is_ending, vacancies
from .ledger import Ledger
from .maintenance import Maintenance
from .resetting import ResetWorkers
from .slots import Checkout, Permit, Slot, begin
from .throttle import ConnectThrottle
from .waiters import Waiter

__all__ = ["Backend", "Keeper", "Observer"]


class Backend:
    """What a pool does with its connections; pools choose a subclass."""

    @property
    def is_simple(self) -> bool:
        """Whether most of them are clean, or cleaned in one step."""
        return False

    # Whether the database is known to be in this process.
    is_embedded = False
    # How often a connection is used until it is replaced, if that is limited.
    maxusage: int | None = None

    def check(self, con: Any) -> None:
        """Look whether a connection is alive before it is handed out."""

    def check_share(self, con: Any, seconds: float) -> None:
        """Look whether a shared connection is alive, within so many seconds.

        A dead one stays with those who share it until they next use it.
        """

    def after_release(self, con: Any, throttle: ConnectThrottle) -> None:
        """Let a connection know what the pool knows about the server."""

    def is_alive(
            self, con: Any, seconds: float) -> bool:  # noqa: ARG002 - as above
        """Look whether a connection is alive, within so many seconds."""
        return True

    def ask(self, con: Any) -> bool:  # noqa: ARG002 - nothing to do here
        """Tell whether the server answers on a connection."""
        return True

    def ask_within(
            self, con: Any, seconds: float) -> bool:  # noqa: ARG002 - as above
        """Tell whether the server answers within so many seconds."""
        return self.ask(con)

    def limit_usage(self, con: Any) -> None:
        """Let a connection know that the limit of its usage was changed."""

    def seems_alive(self, con: Any) -> bool:  # noqa: ARG002 - unknown here
        """Tell whether nothing is known to be wrong, without a question."""
        return True

    def opens_at_once(self, con: Any) -> bool:  # noqa: ARG002 - unknown here
        """Tell whether opening connections takes no time."""
        return False

    def needs_reset(self, con: Any) -> bool:  # noqa: ARG002 - unknown here
        """Tell whether the server has to be asked to clean a connection."""
        return True

    def reset(self, con: Any) -> bool:  # noqa: ARG002 - nothing to do here
        """Clean a connection that has come back; tell whether it can stay."""
        return True

    def close(self, con: Any) -> None:
        """Close a connection for good."""
        con.close()

    def can_be_closed_in_use(
            self, con: Any) -> bool:  # noqa: ARG002 - unknown here
        """Return whether closing disturbs only those who share it."""
        return True

    def share(self, con: Any) -> Any:
        """Return a record of those who share a connection."""
        raise NotImplementedError

    def part(self, con: Any, checkout: Any) -> None:
        """Let one of those who share a connection go, but not the last."""

    def is_shareable(self, con: Any) -> bool:
        """Tell whether another thread may join those who share it."""
        raise NotImplementedError


class Observer:
    """Gets to know what happens that is not on the shortest way."""

    def opened(self, seconds: float, is_ahead: bool) -> None:
        """Note that a connection was opened, and how long that took.

        is_ahead: whether nobody had asked for it yet
        """

    def waited(self, seconds: float, was_served: bool) -> None:
        """Note that a request waited for so long, and how that ended."""


class _WayBack:
    """Takes connections back, for those who wait or to be idle."""

    def __init__(self, backend: Backend, ledger: Ledger) -> None:
        self.backend = backend
        self.maintenance: Maintenance | None = None
        self.throttle = ConnectThrottle()
        # Whether helpers connect for requests that have a deadline.
        self.has_helpers = False
        self.ledger = ledger
        # What cleans connections instead, if anything.
        self.reset_workers: ResetWorkers | None = None
        # Who gets to know what the pool had to do to serve a request.
        self.observers: tuple[Observer, ...] = ()

    def notify(self, event: str, *stats: Any) -> None:
        """Let the observers know, who may not disturb."""
        for observer in self.observers:
            with quietly("telling an observer of a pool"):
                getattr(observer, event)(*stats)

    def serve(self) -> None:
        """Serve whom it is possible to serve, in the order of service.

        Requests for shared and for dedicated connections want different
        things, and so do those with different tags: where one kind has to
        wait, the other may go on.
        """
        ledger = self.ledger
        if not (ledger.limits.maxshared or (
                ledger.admission is not None and ledger.admission.has_limits)):
            self._serve_dedicated()
            return
        again = bool(ledger.queue)
        while again:
            again = False
            blocked = set()
            for waiter in ledger.waiters.in_order():
                if not waiter.is_waiting:
                    continue  # another thread has served it
                kind = waiter.shareable, waiter.request and waiter.request.tag
                permit = None
                if kind not in blocked:
                    permit = ledger.take_for(
                        waiter.checkout, waiter.shareable, waiter.request)
                if permit is None:
                    blocked.add(kind)
                elif not self._grant(waiter, permit):
                    again = True

    def _grant(self, waiter: Waiter, permit: Permit) -> bool:
        """Give a place to who waits; tell whether it was wanted.

        That is noted before, since who gets the place can already be ready
        with it, and serve the next, before we come to that.
        """
        admission = self.ledger.admission
        if admission is not None:
            admission.served(waiter.request)
        is_wanted = waiter.grant(permit)
        if is_wanted:
            self.ledger.leave_queue(waiter)
        else:
            self.unused(permit)
            if admission is not None:
                admission.not_served(waiter.request)
        return is_wanted

    def _serve_dedicated(self) -> None:
        """Serve those who all want the same, until nothing is left."""
        ledger = self.ledger
        while ledger.queue and (ledger.idle or ledger.has_empty_place()):
            waiter = ledger.waiters.first()
            permit = None if waiter is None else ledger.take()
            if permit is None:
                return
            self._grant(waiter, permit)  # type: ignore[arg-type]

    def serve_or_tell(self) -> None:
        """Serve who waits, or only say so if others may be faster."""
        ledger = self.ledger
        if ledger.barging and ledger.may_be_taken():
            ledger.waiters.nudge()
        else:
            self.serve()

    def abort(self, permit: Permit) -> None:
        """Give up a place whose connection could not be made ready.

        This does nothing if a helper has the place, or had it meanwhile.
        """
        slot = permit.slot
        if self.throttle.attempts.leave(permit):
            return
        if permit.is_share:
            slot.part(permit)
            self.reclaim()
        elif slot in self.ledger.shared:
            self.last_out(slot)
        elif slot.permit in {permit, None}:
            self.destroy(permit)

    def unused(self, permit: Permit) -> None:
        """Put back what was granted to somebody who had gone."""
        slot, ledger = permit.slot, self.ledger
        if permit.is_share:
            self.abort(permit)
        elif slot.con is not None and slot.round != ledger.round:
            self.destroy(permit)
        else:
            ledger.put_back_unused(permit)

    def reclaim(self) -> None:
        """Take back what nobody holds any more, if this is the moment."""
        if vacancies:
            fill_vacancies()
        if self.reset_workers is not None:
            self.reset_workers.ensure()
        if self.ledger.lost and not (is_collecting() or is_ending()):
            for found in self.ledger.inherited():
                with quietly("taking a connection back"):
                    self._reclaim(found)

    def _reclaim(self, found: Permit | Slot) -> None:
        """Take a place over whose right has died, or look for its sharers."""
        slot = found if isinstance(found, Slot) else found.slot
        if slot.is_detached:
            slot.detach()  # if that was interrupted
        if isinstance(found, Slot) or slot.is_detached:
            self.last_out(slot)
        elif slot.shares():
            self.ledger.shared[slot] = found
        elif slot.con is None:
            self.ledger.put_back_unused(found)
            self.serve()
        else:
            self.clean(found)

    def last_out(self, slot: Slot) -> None:
        """Take a connection back that nobody shares any more."""
        if slot.is_detached:
            if not slot.shares():
                self.close(slot)
            return
        permit = self.ledger.sharing.last_out(slot)
        if permit is not None:
            self.clean(permit)

    def clean(self, permit: Permit) -> None:
        """Reset a connection that came back, or close it if it is surplus."""
        if self.reset_workers is None or not self.reset_workers.takes(
                self, permit):
            self.clean_here(permit)

    def clean_here(
            self, permit: Permit,
            is_expected: Callable[[], bool] | None = None) -> None:
        """Do so in this thread.

        is_expected: tells at the end whether that was not given up
        """
        slot = permit.slot
        permit.origin = self.ledger.idle
        can_stay = False
        try:
            can_stay = (
                self._may_stay(slot) and self.backend.reset(slot.con))
        finally:
            if is_expected is None or is_expected():
                if can_stay:
                    self.put_back(permit)
                else:
                    self.destroy(permit)

    def abandon(self, slot: Slot) -> None:
        """Go on without a connection that cannot be cleaned in time.

        It is closed when who tries that gives up.
        """
        self.ledger.abandon(slot)
        self.serve()

    def _may_stay(self, slot: Slot) -> bool:
        """Tell whether a connection is still wanted."""
        maintenance = self.maintenance
        if maintenance is not None:
            maintenance.used(slot)
            if maintenance.is_expired(slot):
                return False
        ledger = self.ledger
        return slot.round == ledger.round and ledger.has_room()

    def put_back(self, permit: Permit) -> None:
        """Let a connection be idle, or go to whoever is next.

        It is put where it has come from, so it is closed if the pool was
        emptied while somebody had it in hand.  A request that came in the
        meantime may have looked before it was there, and is served now.
        """
        ledger = self.ledger
        if ledger.limits.maxshared:
            ledger.sharing.stop(permit.slot)
        permit.checkout = None
        idle, permit.origin = permit.origin, None
        if idle is None:
            idle = ledger.idle
        idle.append(permit)
        self.after_release(idle)

    def after_release(self, idle: deque[Permit]) -> None:
        """Do what is left to do after a connection has become idle.

        idle: where it was put, from where in the meantime all may have been
            taken out, to be closed
        """
        ledger = self.ledger
        if ledger.queue:
            self.serve_or_tell()
        if idle:
            for surplus in ledger.too_many(idle):
                self.destroy(surplus)

    def destroy(self, permit: Permit) -> None:
        """Close a connection that is not needed any more."""
        try:
            if permit.slot.con is not None:
                self.close(permit.slot)
        finally:
            self.ledger.retire(permit)
            self.serve()

    def close(self, slot: Slot) -> None:
        """Close the connection of a place."""
        with quietly("closing a connection of a pool"):
            self.backend.close(slot.con)


class Keeper(_WayBack):
    """Opens, checks, cleans and closes the connections of a pool."""

    def ready(
            self, permit: Permit, connect: Callable[[], Any],
            checkout: Checkout, shareable: bool,
            deadline: float | None = None) -> Permit:
        """Open or check the connection of a place that was granted.

        deadline: until when to wait for a server that is not there
        """
        slot = permit.slot
        try:
            self._open_or_check(permit, connect, deadline)
            if shareable and not permit.is_share:
                slot.record = self.backend.share(slot.con)
        except BaseException:
            self.abort(permit)
            raise
        if shareable and not permit.is_share:
            # From here on the right belongs to those who share.  It must not
            # be given up: if this is interrupted, the share dies, and whoever
            # finds that takes the right back.
            permit = self._publish(permit, checkout)
        begin(checkout)
        if permit.is_share:
            slot.shares()
        else:
            if permit.entrance is not None:
                permit.entrance.begin(checkout)
                permit.entrance = None
            permit.checkout = checkout
        try:
            return permit
        finally:
            del permit  # which the traceback of a failed attempt could keep

    def _open_or_check(
            self, permit: Permit, connect: Callable[[], Any],
            deadline: float | None) -> None:
        slot, is_share = permit.slot, permit.is_share
        may_have_to_go = self.maintenance is not None or deadline is not None
        try:
            if may_have_to_go and slot.con is not None and not is_share and (
                    self._has_to_go(slot, deadline)):
                self.close(slot)
                slot.con = None
            if slot.con is None:
                self.open(permit, connect, deadline)
            elif deadline is None:
                self.backend.check(slot.con)
            elif is_share:
                self.backend.check_share(
                    slot.con, (deadline - monotonic()) / 2)
        finally:
            del permit  # which the traceback of an error could keep

    def _has_to_go(self, slot: Slot, deadline: float | None) -> bool:
        """Tell whether another connection is due.

        A request with a deadline gets no dead one; half of the time that is
        left is for asking, and half for connecting.
        """
        maintenance = self.maintenance
        if maintenance is not None and maintenance.is_due(slot):
            return True
        return deadline is not None and not self.backend.is_alive(
            slot.con, (deadline - monotonic()) / 2)

    def open(
            self, permit: Permit, connect: Callable[[], Any],
            deadline: float | None, is_ahead: bool = False) -> None:
        """Open the connection of an empty place."""
        slot = permit.slot
        slot.round = self.ledger.round
        start = monotonic()
        hands = [permit]
        if deadline is not None and self.has_helpers:
            connect = partial(self._in_time, hands, connect, deadline)
        try:
            con = self.throttle.connect(connect, deadline, self._has_idle)
        finally:
            hands.clear()  # likewise, and those of all who connect
            del permit
        self._begin_with(slot, con, monotonic() - start, is_ahead)

    def _has_idle(self) -> bool:
        return bool(self.ledger.idle)

    def _begin_with(
            self, slot: Slot, con: Any, seconds: float,
            is_ahead: bool) -> None:
        """Let a place have a connection that was just opened."""
        slot.con = con
        self.backend.after_release(con, self.throttle)
        if self.observers:
            self.notify("opened", seconds, is_ahead)
        if self.maintenance is not None:
            self.maintenance.opened(slot)

    def _in_time(
            self, hands: list[Permit], connect: Callable[[], Any],
            deadline: float) -> Any:
        """Return a connection that a helper opens before the deadline.

        hands: hold the right to its place

        An embedded database takes no time, and its connections may belong
        to the thread that has opened them, so it has no helpers.
        """
        attempt = Attempt(
            partial(self._connect_for_another, connect), hands[0],
            self._finish_late)
        self.throttle.attempts.add(attempt)
        con = None
        if self.has_helpers and attempt.begin(deadline - monotonic()):
            con = attempt.wait(deadline, self._has_idle)
        return connect() if con is None else con

    def _connect_for_another(self, connect: Callable[[], Any]) -> Any:
        """Return a connection that other threads can use, or None."""
        con = connect()
        if not self.backend.opens_at_once(con):
            return con
        self.has_helpers = False
        self.backend.close(con)
        return None

    def _finish_late(self, permit: Permit, outcome: Outcome) -> None:
        """Let a connection be idle for which nobody has waited."""
        slot = permit.slot
        entrance, permit.entrance = permit.entrance, None
        if entrance is not None:
            entrance.free()
        permit = slot.new_permit()  # that of the request is void
        can_stay = False
        try:
            can_stay = self._is_welcome(slot, outcome)
        finally:
            if can_stay:
                self.put_back(permit)
            else:
                self.destroy(permit)

    def _is_welcome(self, slot: Slot, outcome: Outcome) -> bool:
        """Return whether there is a connection now, and may stay."""
        con, error = outcome
        if con is None:
            if isinstance(error, Exception):
                self.throttle.note_failure(error)
            return False
        self.throttle.note_success()
        with quietly("beginning with a late connection"):
            self._begin_with(slot, con, 0, is_ahead=True)
            return self._may_stay(slot)
        return False

    def _publish(self, permit: Permit, checkout: Checkout) -> Permit:
        """Let others share a connection that was made ready for that."""
        share = self.ledger.sharing.publish(permit, checkout)
        self.serve()
        return share

    def open_ahead(
            self, connect: Callable[[], Any],
            permit: Permit | None = None) -> bool:
        """Open a connection that is idle then; tell if there was a place.

        right: the place, if it is a certain one
        """
        if permit is None and not self.ledger.is_closed:
            permit = self.ledger.take_empty()
        if permit is None:
            return False
        if permit.origin is None:
            permit.origin = self.ledger.idle
        try:
            self.open(permit, connect, None, is_ahead=True)
        except BaseException:
            self.abort(permit)
            raise
        self.put_back(permit)
        return True
