"""Leases: each is held by a user, for one checkout of a connection."""

from __future__ import annotations

from .._base.atomic import first
from .._base.errors import closed_text, orphan_text
from .._base.finalizers import anywhere, note_lost
from .._base.fork import is_orphan
from .._base.hints import Any, Callable
from .slots import end, note_caller

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from typing import TypeVar

    AnyLease = TypeVar("AnyLease", bound="Lease")
else:
    AnyLease = Any

__all__ = [
    "Lease", "core_of", "hand_over", "hold", "is_released", "permit_of",
    "return_by", "take_note"]


class Lease:
    """Holds a connection, and gives it back when it is closed.

    It does so exactly once, however many threads close it.  If it is dropped
    instead, then its permit dies, with the same effect.
    """

    # It has no __init__(), without which making one takes half the time.
    __slots__ = ("__dict__", "__weakref__", "_checkout", "_permit")

    _permit: Any
    _checkout: Any

    # Inner names of DBUtils 3.x that programs and their tests read.

    @property
    def _con(self) -> Any:
        permit = self._held()
        return None if permit is None else permit.slot.con

    @property
    def _pool(self) -> Any:
        return first(self._checkout)

    if anywhere:
        def __del__(self) -> None:
            """Take the connection back at once, unless that was done.

            The permit does that where it dies with the lease.  Without the
            GIL it lives on for as long as the thread waits that has made it.
            """
            try:
                if self._checkout:
                    self._permit.take_back()
            except AttributeError:
                pass  # nothing was lent
            except Warning:  # which the program wants to be an error
                raise
            except BaseException as error:  # noqa: BLE001 - nobody is above
                if note_lost is not None:  # as when modules were emptied
                    note_lost("taking back what was dropped", error)

    def _held(self) -> Any:
        """Return the permit of the connection, None after the release."""
        permit = self._permit
        return permit if permit is not None and self._checkout else None

    def close(self) -> None:
        """Give the connection back to the pool; do not close it."""
        raise NotImplementedError

    def _closed_error(self, name: str) -> Exception:
        """Return the error for the use of a closed lease."""
        return AttributeError(self._closed_text(name))

    def _closed_text(self, name: str) -> str:
        """Return why the lease cannot be used.

        A fork ends the leases of the parent in the child.
        """
        permit = self._permit
        if permit is not None:
            text = getattr(permit.checkout, "text", None)
            if text is not None:  # it was taken back
                return str(text)
            if is_orphan(permit.slot.con):
                return orphan_text()
        return closed_text("connection", name)

    def __enter__(self: AnyLease) -> AnyLease:
        """Begin a context at whose end the connection is given back."""
        return self

    def __exit__(
            self, kind: object = None, error: object = None,
            traceback: object = None) -> None:
        """Give the connection back; this does not save any work."""
        self.close()


def core_of(pool: Any) -> Any:
    """Return the core of a pool."""
    return pool._core  # noqa: SLF001 - the one door from outside to inside


# These are no methods, which users of leases would see.

def hold(lease: AnyLease, permit: Any) -> AnyLease:
    """Give a permit to a new lease; return the lease."""
    lease._checkout = permit.checkout  # noqa: SLF001 - of this module
    lease._permit = permit  # noqa: SLF001 - of this module
    return lease


def permit_of(lease: Any) -> Any:
    """Return the permit of the connection, None after the release."""
    return lease._held()  # noqa: SLF001 - of this module


def hand_over(lease: Any) -> tuple[Any, Any]:
    """Take the checkout and the permit from a lease, and return them."""
    checkout, permit = lease._checkout, lease._permit  # noqa: SLF001 - of this module
    lease._checkout, lease._permit = [], None  # noqa: SLF001 - of this module
    return checkout, permit


def take_note(lease: Any) -> None:
    """Note again where the program has taken a connection, if it was noted."""
    permit = permit_of(lease)
    if permit is not None and permit.is_known:
        note_caller(permit)


def is_released(lease: Any) -> bool:
    """Return whether a lease has no connection."""
    return permit_of(lease) is None


def return_by(method: Callable[[Any], None], permit: Any, pool: Any) -> None:
    """Return a connection by a method that a subclass of a pool has.

    The pool finds the connection by itself, as one that is in use.
    """
    if permit.is_share:
        method(permit.slot.con)
        return
    checkout = permit.checkout = [pool]
    try:
        method(permit.slot.con)
    finally:
        end(checkout)
