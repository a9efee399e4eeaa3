"""Counting and measuring by many threads at once, without a lock."""

from __future__ import annotations

from collections import deque
from itertools import count, cycle
from typing import Iterable, Sequence

from .._base.mutex import Mutex

__all__ = ["Count", "Cycle", "Timings", "describe"]

# How many of the last values are kept.
_KEPT = 2000


class Count:
    """A number that is raised by step(), which is written in C."""

    def __init__(self) -> None:
        numbers = count()
        self.step = numbers.__next__
        self._reads = 0
        self._mutex = Mutex()

    def read(self) -> int:
        """Return how often there was a step."""
        with self._mutex.take():  # since to read it is a step, too
            self._reads += 1
            return self.step() - self._reads + 1


class Cycle:
    """Counts steps, and returns 0 at the first one and each so-many-th then.

    The step is written in C, and makes no new number.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self.step = cycle(range(length)).__next__
        # How often there was a 0, which who gets it has to note, and how
        # often the number was read, which is a step, too.
        self._rounds = Count()
        self._reads = 0
        self._mutex = Mutex()

    def note_round(self) -> None:
        """Note that the step was 0."""
        self._rounds.step()

    def read(self) -> int:
        """Return how often there was a step."""
        with self._mutex.take():
            place = self.step()
            if not place:
                self.note_round()
            number = (self._rounds.read() - 1) * self._length + place
            self._reads += 1
            return number - self._reads + 1


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
        return self._values.copy()

    @property
    def mean(self) -> float:
        """How long it took on average, the last times."""
        values = self.values
        return sum(values) / len(values) if values else 0.0


def describe(
        number: int, groups: Iterable[tuple[int, Sequence[float]]],
) -> dict[str, float]:
    """Return the figures that describe how long something takes.

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
    """Return the value up to which there is so much weight."""
    reached = 0.0
    for value, weight in weighted:
        reached += weight
        if reached >= limit:
            return value
    return weighted[-1][0] if weighted else 0.0
