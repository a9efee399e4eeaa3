"""The slots of a pool, and the permits to use them.

A place is taken if and only if its permit is alive.  Exactly one holder refers
to a permit: the queue of idle ones, a function at work, a waiter, or a lease.
Moving it is one step written in C.  A slot is the weak reference to its
permit: when the holder of the permit is gone, because a lease was dropped or
an interrupt has unwound a function at the worst moment, the slot falls into
the list of lost ones, and the next caller issues another permit for it.
Nothing has to be undone, and nothing needs a lock.
"""

from __future__ import annotations

import threading
from itertools import chain, count
from time import monotonic
from types import CodeType

from .._base.atomic import Link, first, remove
from .._base.callers import caller, name_of, where
from .._base.errors import release_frames
from .._base.finalizers import note_lost
from .._base.hints import (
    Any,
    AnyRef,
    Deque,
    Iterable,
    List,
    NamedTuple,
    Tuple,
)
from .._base.opening import HANGS_AFTER
from .uses import Uses

__all__ = [
    "CLEARED", "DEAD", "EXPIRED", "IDLE", "REASONS", "SURPLUS", "Checkout",
    "Holder", "Permit", "Slot", "Slots", "end", "end_in_silence", "holder_of",
    "note_caller", "note_tag", "turned"]

# Why a connection is closed: the program wanted that, the server has ended it
# or it could not be cleaned, its lifetime was over, it was idle for too long,
# there were too many.
CLEARED, DEAD, EXPIRED = "cleared", "dead", "expired"
IDLE, SURPLUS = "idle", "surplus"
REASONS = (CLEARED, DEAD, EXPIRED, IDLE, SURPLUS)

_NEVER = float("inf")


class Holder(NamedTuple):
    """The thread that has a connection, and since when."""

    since: float
    code: CodeType
    instruction: int
    thread: int
    tag: Any = None

    def __str__(self) -> str:
        """Return who has the connection, how long, and where it was taken."""
        return (
            f"{self.name}, for {self.seconds:.3g} seconds,"
            f" taken at {self.place}")

    @property
    def name(self) -> str:
        """The name of the thread."""
        return name_of(self.thread) or "a thread that has ended"

    @property
    def place(self) -> str:
        """The line of the program that has taken the connection."""
        return where(self.code, self.instruction)

    @property
    def seconds(self) -> float:
        """How long the checkout has lasted."""
        return monotonic() - self.since


# One use of a connection, from its handing out to its return: a list that
# contains the pool.  Popping that ends the checkout, which is one step, so
# that it happens once.
Checkout = List[Any]

# The fields of a holder without the tag, and the checkout for which they were
# noted; None instead of it means the next one.  The tag follows, if any.
Taken = Tuple[Any, ...]


def note_caller(permit: Permit, depth: int = 1) -> None:
    """Note that the program takes a connection now.

    depth: how many calls lie between the program and this one, at least
    """
    frame = caller(depth + 1)
    checkout = permit.checkout
    if checkout is not None:
        permit.taken = (
            monotonic(), frame.f_code, frame.f_lasti,
            threading.get_ident(), checkout, *_tags(permit))


def note_tag(permit: Permit, request: Any) -> None:
    """Note the tag of the request that a permit has served, if it has one."""
    taken = permit.taken
    if request is not None and request.tag is not None and taken is not None:
        permit.taken = (*taken[:5], request.tag)


def _tags(permit: Permit) -> tuple[Any, ...]:
    """Return the tag that was noted for the present checkout, if any."""
    return (permit.noted() or ())[5:]


def end(checkout: Checkout | None) -> bool:
    """End a checkout, if it has begun; return whether this call did it."""
    is_first = True
    try:
        checkout.pop()  # type: ignore[union-attr]
    except (IndexError, AttributeError):
        is_first = False
    return is_first


def end_in_silence(checkout: Checkout | None) -> bool:
    """Do the same without telling observers of it."""
    is_first = True
    try:
        list.pop(checkout)  # type: ignore[arg-type]
    except (IndexError, TypeError):
        is_first = False
    return is_first


class Permit:
    """The right to use a slot, for as long as something refers to it."""

    __slots__ = (
        "__dict__", "__weakref__", "checkout", "group", "slot", "taken",
        "uses")

    is_share = False

    slot: Any

    # The tokens that are given back with it; no field, since few have some.
    admission: Any = None

    def __init__(self) -> None:
        # Empty after a checkout, None when the connection is idle.
        self.checkout: Checkout | None = None
        # The fields of its holder, if the pool keeps track of them.
        self.taken: Taken | None = None
        # Those who share the connection, if it was ever shared.
        self.group: Any = None
        # The times of its place, if any were noted since it was issued.
        self.uses: Uses | None = None

    @property
    def is_known(self) -> bool:
        """Whether the pool knows who has the connection."""
        return self.noted() is not None

    def noted(self) -> Taken | None:
        """Return what was noted of the present holder, if anything was."""
        checkout, taken = self.checkout, self.taken
        # a fast way out notes it before the checkout begins, or leaves what
        # was noted for an earlier one
        is_known = checkout and taken is not None and (
            taken[4] is None or taken[4] is checkout)
        return taken if is_known else None

    def __del__(self) -> None:
        """Take the connection back at once, if it is in use.

        If that fails, the next caller does it.  That needs the permit to be
        really dead, also if an interrupt hits this function.
        """
        try:
            for pool in getattr(self, "checkout", None) or ():
                if pool is not None:
                    pool._take_back_dropped(self)  # noqa: SLF001 - of pools
        except Warning:  # which the program wants to be an error
            self = None  # type: ignore[assignment]  # noqa: PLW0642 - must die
            raise
        except BaseException as error:  # noqa: BLE001 - nobody is above
            self = None  # type: ignore[assignment]  # noqa: PLW0642 - must die
            if note_lost is not None:  # as when modules were emptied
                release_frames(error)
                note_lost("taking back what was dropped", error)

    # Does the same before the permit is dead.
    take_back = __del__


def holder_of(permit: Permit | None) -> Holder | None:
    """Return the holder of a connection, None if it is unknown."""
    taken = None if permit is None else permit.noted()
    return None if taken is None else Holder(*taken[:4], *taken[5:])


class OldestFirst(Deque[Permit]):
    """The usual order: the connection that was idle for longest is next."""

    __slots__ = ()


class Slot(AnyRef, Link):
    """A place in a pool: the weak reference to the permit for it.

    Its successor is the slot that has taken its place.
    """

    __slots__ = (
        "con", "expires", "heirs", "inside", "is_counted", "lent", "number",
        "pings", "round", "used_at")

    # The connection, None if the slot is empty; what the fast ways of the
    # backend use of it; and in which round of the pool it was opened.
    con: Any
    inside: Any
    round: int
    # Whether the pool has opened the connection itself.
    is_counted: bool
    # When the connection has to go, and when it was last in use.
    expires: float
    used_at: float
    # The place in the table of the pool, how often it was lent, and how often
    # the driver was asked in the fast way out.
    number: int
    lent: int
    pings: int
    # As those of a Link, made when first needed.
    heirs: Any

    def __repr__(self) -> str:
        return f"<slot {self.number} with {self.con!r}>"

    @property
    def is_in_use(self) -> bool:
        """Whether a checkout of it is going on."""
        permit = self()
        return permit is not None and bool(permit.checkout)

    @property
    def permit(self) -> Any:
        """The permit of the slot, or of the one that has taken its place."""
        return _last(self)()


def turned(number: int) -> int:
    """Return the round of a connection that asks its server, or turn it back.

    See the module "yielding".
    """
    return -2 - number


def _last(slot: Slot) -> Any:
    while slot.successor is not None:
        slot = slot.successor
    return slot


def _counts_of(slot: Slot) -> tuple[int, int]:
    return slot.lent, slot.pings


class Slots:
    """The slots of a pool by number.

    A slot without a connection exists only while a function is opening one.
    """

    def __init__(
            self, limit: int | None, connecting: int | None = None) -> None:
        """Begin without slots.

        connecting: how many connections may be opened at the same time
        """
        self.limit = limit
        self.connecting = connecting
        # Slots whose permits have died.
        self.lost: list[Slot] = []
        # The callback of all slots is one object.
        self._lose = self.lost.append
        self._slots: dict[int, Slot] = {}
        # The times of each place that has some, also of one that is empty now.
        self._uses: list[Uses] = []
        # The counts of places when they became empty.
        self._counts: dict[int, tuple[int, int]] = {}
        # The heirs of slots, while they are being made, by id().
        self._heirs: dict[int, list[Slot]] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def all(self) -> list[Slot]:
        """Return all slots."""
        return [_last(slot) for slot in list(self._slots.values())]

    def uses(self) -> list[Uses]:
        """Return the times of all places."""
        return list(self._uses)

    def counts(self) -> tuple[int, int]:
        """Return how often connections were lent, and asked before that."""
        slots, counts = self._slots.copy(), self._counts.copy()
        counts.update({
            number: _counts_of(_last(slot)) for number, slot in slots.items()})
        lent, pings = zip(*counts.values()) if counts else ((), ())
        return sum(lent), sum(pings)

    def uses_of(self, permit: Permit) -> Uses:
        """Return the times of the place of a permit.

        Threads that do this at the same time can make more than are needed.
        """
        number: int = permit.slot.number
        while len(self._uses) <= number:
            self._uses.append(Uses())
        uses = permit.uses = self._uses[number]
        return uses

    def is_oversized(self) -> bool:
        """Return whether there are more slots than the limit allows."""
        return self.limit is not None and len(self._slots) > self.limit

    def has_surplus(self) -> bool:
        """Return whether there are more connections than that.

        One that is being opened may fail; if not, it is closed in its turn.
        """
        limit = self.limit
        return limit is not None and len(self._slots) > limit and limit < sum(
            slot.con is not None for slot in list(self._slots.values()))

    def has_place(self) -> bool:
        """Return whether there may be another slot, now or in its turn."""
        return self.limit is None or len(self._slots) < self.limit

    def has_room(self) -> bool:
        """Return whether there may be another slot now."""
        return self.has_place() and (
            self.connecting is None or len(self._opening()) < self.connecting)

    def may_open(self, slot: Slot) -> bool:
        """Return whether it is the turn of an empty slot."""
        return self.connecting is None or any(
            other is slot for other in self._opening()[:self.connecting])

    def _opening(self) -> list[Slot]:
        """Return the slots whose connections are being opened, in order.

        Those that hang keep nobody from trying, nor do those whose threads do
        something else.
        """
        late = monotonic() - HANGS_AFTER
        return [
            slot for slot in list(self._slots.values())
            if slot.con is None and slot.used_at >= late]

    def _issue(self, number: int) -> Permit:
        """Return the permit of a new slot."""
        permit = Permit()
        # The callback is written in C, so that nothing else runs and nothing
        # can go wrong when a permit dies, wherever that happens.
        slot = permit.slot = Slot(permit, self._lose)
        slot.number, slot.heirs = number, None
        slot.lent, slot.pings = self._counts.get(number, (0, 0))
        slot.con = slot.inside = None
        slot.is_counted = False
        slot.expires, slot.used_at, slot.round = _NEVER, 0.0, 0
        return permit

    def take(self, is_surplus: bool = False) -> Permit | None:
        """Return the permit of a new slot, None if there are too many.

        is_surplus: whether the limit does not count
        """
        if not (is_surplus or self.has_room()):
            return None
        for number in self._numbers(None if is_surplus else self.limit):
            if number not in self._slots:
                permit = self._issue(number)
                permit.slot.used_at = monotonic()
                if self._slots.setdefault(number, permit.slot) is permit.slot:
                    # others may have had the place in between
                    slot = permit.slot
                    slot.lent, slot.pings = self._counts.get(number, (0, 0))
                    break
        else:
            return None
        if not is_surplus and (
                self.is_oversized() or not self.may_open(permit.slot)):
            self.give_up(permit.slot)  # the limit has been lowered
            return None
        return permit

    def _numbers(self, limit: int | None) -> Iterable[int]:
        """Return the numbers that a new slot can have, likely ones first."""
        number = len(self._slots)
        if limit is None:
            return count(number)
        return chain(range(number, limit), range(min(number, limit)))

    def has(self, slot: Slot) -> bool:
        """Return whether a slot is in the table, and the last of its place."""
        # it has no number if making it was interrupted
        entry = self._slots.get(getattr(slot, "number", None))  # type: ignore[arg-type]
        return entry is not None and _last(entry) is slot

    def give_up(self, slot: Slot) -> None:
        """Remove a slot; only the holder of its permit may do that."""
        if self.has(slot):
            # before others get the place
            self._counts[slot.number] = _counts_of(slot)
            self._slots.pop(slot.number, None)

    def reissue(self, slot: Slot) -> Permit | None:
        """Return another permit, which makes the old one void.

        Return None if another thread has done so, or if the slot is not in
        the table.
        """
        if not self.has(slot):
            return None
        permit = self._issue(slot.number)
        new = permit.slot
        new.con, new.inside = slot.con, slot.inside
        new.is_counted = slot.is_counted
        new.expires = slot.expires
        new.lent, new.pings = slot.lent, slot.pings
        new.round, new.used_at = slot.round, slot.used_at
        heirs = self._heirs_of(slot)
        heirs.append(new)
        if heirs[0] is not new:
            return None
        self._slots[slot.number] = new  # only makes the way shorter
        return permit

    def _heirs_of(self, slot: Slot) -> list[Slot]:
        """Return the heirs of a slot, which most slots never need.

        All threads get the same list.  Others can get a second one only after
        the first was dropped here, and then the slot has that.
        """
        heirs = self._heirs.setdefault(id(slot), [])
        if slot.heirs is None:
            slot.heirs = heirs
        self._heirs.pop(id(slot), None)
        return slot.heirs  # type: ignore[no-any-return]

    def reissue_lost(self) -> Permit | None:
        """Return another permit for a lost slot, None if there is none.

        The slot stays in the list of lost ones until it has another permit,
        in case that this is interrupted.
        """
        while self.lost:
            slot = first(self.lost)
            permit = None if slot is None else self.reissue(slot)
            remove(self.lost, slot)
            if permit is not None:
                return permit
        return None


def free_tokens(permit: Permit) -> None:
    """Give back the tokens that a permit holds, if there are any."""
    admission, permit.admission = permit.admission, None
    if admission is not None:
        admission.free()
