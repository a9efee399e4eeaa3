"""Threads that hold a connection of a pool and ask for another one."""

from __future__ import annotations

import threading
from time import monotonic

from .._base.callers import caller, where
from .._base.errors import logger
from .._base.hints import Any
from .refusals import NestedRequest
from .slots import Holder

__all__ = ["Nesting"]


class Nesting:
    """Warns of nested requests, or refuses them."""

    def __init__(self, is_refused: bool) -> None:
        self._is_refused = is_refused
        # Since when the present thread has used the pool: what was taken
        # earlier was taken by another one that had the same number.
        self._here = threading.local()
        # Both places of those of which it has warned.
        self._known: dict[tuple[str, str], object] = {}

    def check(self, core: Any) -> None:
        """Warn of the request of a thread that holds one, or refuse it."""
        held = self._held(core)
        if held is None:
            return
        if self._is_refused:
            raise NestedRequest(
                "This thread has a connection of this pool already, taken at"
                f" {held.place}. Give that one back before asking for another"
                " one, or use it for both. [DBU-34]")
        frame, token = caller(), object()
        place = where(frame.f_code, frame.f_lasti)
        places = held.place, place
        if self._known.setdefault(places, token) is token:
            logger.warning(
                "%s asks at %s for a connection, and holds another one of the"
                " same pool, taken at %s. [DBU-34]",
                held.name, place, held.place,
                extra=core.story.facts("nested", seconds=held.seconds))

    def _held(self, core: Any) -> Holder | None:
        """Return the oldest checkout of this thread, None if it has none."""
        here, thread = self._here, threading.get_ident()
        try:
            since = here.since
        except AttributeError:
            here.since = monotonic()
            return None
        return next(
            (holder for holder in core.holders()
             if holder.thread == thread and holder.since >= since), None)
