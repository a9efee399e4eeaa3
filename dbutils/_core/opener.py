"""Connections that are made ready for a request."""

from __future__ import annotations

from functools import partial
from time import monotonic

from .._base.errors import quietly
from .._base.hints import Any, Callable
from .._base.opening import Attempt, Outcome
from .keeper import Keeper
from .slots import Checkout, Permit, Slot, begin

__all__ = ["Opener"]


class Opener:
    """Opens connections, and checks them before they are handed out."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._backend = keeper.backend
        self._ledger = keeper.ledger
        self._throttle = keeper.throttle
        # Whether helpers connect for requests that have a deadline.
        self.has_helpers = False

    def ready(
            self, permit: Permit, connect: Callable[[], Any],
            checkout: Checkout, shareable: bool,
            deadline: float | None = None) -> Permit:
        """Open or check the connection of a slot that was granted.

        deadline: until when to wait for a server that is not there
        """
        slot = permit.slot
        try:
            self._open_or_check(permit, connect, deadline)
            if shareable and not permit.is_share:
                slot.record = self._backend.share(slot.con)
        except BaseException:
            self._keeper.abort(permit)
            raise
        if shareable and not permit.is_share:
            # From here on the permit belongs to those who share.  It must not
            # be given up: if this is interrupted, the share dies, and the
            # thread that finds its link takes the permit back.
            permit = self._publish(permit, checkout)
        begin(checkout)
        if permit.is_share:
            slot.shares()
        else:
            if permit.admission is not None:
                permit.admission.begin(checkout)
                permit.admission = None
            permit.checkout = checkout
        try:
            return permit
        finally:
            del permit  # which the traceback of a failed attempt could keep

    def _publish(self, permit: Permit, checkout: Checkout) -> Permit:
        """Offer others to share a connection; return the first share."""
        share = self._ledger.sharing.publish(permit, checkout)
        self._keeper.serve()
        return share

    def _open_or_check(
            self, permit: Permit, connect: Callable[[], Any],
            deadline: float | None) -> None:
        slot, is_share = permit.slot, permit.is_share
        may_have_to_go = deadline is not None or (
            self._keeper.maintenance is not None)
        try:
            if may_have_to_go and slot.con is not None and not is_share and (
                    self._has_to_go(slot, deadline)):
                self._keeper.close(slot)
                slot.con = None
            if slot.con is None:
                self._open(permit, connect, deadline)
            elif deadline is None:
                self._backend.check(slot.con)
            elif is_share:
                self._backend.check_share(
                    slot.con, (deadline - monotonic()) / 2)
        finally:
            del permit  # which the traceback of an error could keep

    def _has_to_go(self, slot: Slot, deadline: float | None) -> bool:
        """Return whether a connection has to be replaced.

        A request with a deadline never receives a dead connection; half of
        the time that is left is for asking, and half for connecting.
        """
        maintenance = self._keeper.maintenance
        if maintenance is not None and maintenance.is_due(slot):
            return True
        return deadline is not None and not self._backend.is_alive(
            slot.con, (deadline - monotonic()) / 2)

    def open_ahead(
            self, connect: Callable[[], Any],
            permit: Permit | None = None) -> bool:
        """Open a connection, which is idle then; return if there was a slot.

        permit: that of the slot, if it is a certain one
        """
        ledger = self._ledger
        if permit is None and not ledger.is_closed:
            permit = ledger.slots.take_empty()
        if permit is None:
            return False
        if permit.origin is None:
            permit.origin = ledger.idle
        try:
            self._open(permit, connect, None, is_ahead=True)
        except BaseException:
            self._keeper.abort(permit)
            raise
        self._keeper.put_back(permit)
        return True

    def _open(
            self, permit: Permit, connect: Callable[[], Any],
            deadline: float | None, is_ahead: bool = False) -> None:
        """Open the connection of an empty slot."""
        slot = permit.slot
        slot.round = self._ledger.round
        start = monotonic()
        permits = [permit]
        if deadline is not None and self.has_helpers:
            connect = partial(self._in_time, permits, connect, deadline)
        try:
            con = self._throttle.connect(connect, deadline, self._has_idle)
        finally:
            # which the tracebacks of errors could keep, here and in all
            # functions that connect
            permits.clear()
            del permit
        self._begin_with(slot, con, monotonic() - start, is_ahead)

    def _has_idle(self) -> bool:
        return bool(self._ledger.idle)

    def _begin_with(
            self, slot: Slot, con: Any, seconds: float,
            is_ahead: bool) -> None:
        """Fill a slot with a connection that was just opened."""
        slot.con = con
        slot.is_open = True
        keeper = self._keeper
        keeper.opened.step()
        self._backend.after_open(con, self._throttle)
        if keeper.observers:
            keeper.notify("opened", seconds, is_ahead)
        if keeper.maintenance is not None:
            keeper.maintenance.opened(slot)

    # Helpers.

    def _in_time(
            self, permits: list[Permit], connect: Callable[[], Any],
            deadline: float) -> Any:
        """Return a connection that a helper opens before the deadline.

        permits: the only one is that of its slot

        Opening an embedded database takes no time, and its connections may
        belong to the thread that has opened them, so it has no helpers.
        """
        attempt = Attempt(
            partial(self._connect_for_another, connect), permits[0],
            self._finish_late)
        self._throttle.attempts.add(attempt)
        con = None
        if self.has_helpers and attempt.begin(deadline - monotonic()):
            con = attempt.wait(deadline, self._has_idle)
        return connect() if con is None else con

    def _connect_for_another(self, connect: Callable[[], Any]) -> Any:
        """Return a connection that other threads can use, or None."""
        con = connect()
        if not self._backend.opens_at_once(con):
            return con
        self.has_helpers = False
        self._backend.close(con)
        return None

    def _finish_late(self, permit: Permit, outcome: Outcome) -> None:
        """Make a connection idle whose request has left in the meantime."""
        slot = permit.slot
        admission, permit.admission = permit.admission, None
        if admission is not None:
            admission.free()
        permit = slot.new_permit()  # that of the request is void
        can_stay = False
        try:
            can_stay = self._is_welcome(slot, outcome)
        finally:
            if can_stay:
                self._keeper.put_back(permit)
            else:
                self._keeper.destroy(permit)

    def _is_welcome(self, slot: Slot, outcome: Outcome) -> bool:
        """Return whether there is a connection now, and may stay."""
        con, error = outcome
        if con is None:
            if isinstance(error, Exception):
                self._throttle.note_failure(error)
            return False
        self._throttle.note_success()
        with quietly("beginning with a late connection"):
            self._begin_with(slot, con, 0, is_ahead=True)
            return self._keeper.may_stay(slot)
        return False
