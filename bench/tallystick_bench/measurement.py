"""What one slice of a load or a baseline came to."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil
from statistics import median

import msgspec

PERCENTILES = (50, 95, 99)


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds from asking to having the answer, as the caller sees it."""

    p50: float
    p95: float
    p99: float


@dataclass(slots=True)
class Slice:
    """One turn: how many transfers were acknowledged or balances read, in how long, and how long each request took.

    Latencies are in seconds, in any order.
    """

    done: int
    seconds: float
    latencies_seconds: "array[float]" = field(default_factory=lambda: array("d"))
    refused: int = 0
    failed: int = 0

    @property
    def per_second(self) -> float:
        """The throughput of this turn."""
        return self.done / self.seconds if self.seconds else 0.0


class Tally:
    """Counts one turn while it goes on. One object for all callers: it is written to by one thread only."""

    def __init__(self) -> None:
        self.latencies_seconds: array[float] = array("d")
        self.refused = 0
        self.failed = 0

    def slice(self, done: int, seconds: float) -> Slice:
        """What was counted, as a slice."""
        return Slice(done, seconds, self.latencies_seconds, self.refused, self.failed)


def median_throughput(slices: Iterable[Slice]) -> float:
    """What was done each second, in the turn in the middle."""
    return median(one.per_second for one in slices)


def latency(slices: Iterable[Slice]) -> Latency:
    """The percentiles over all turns together."""
    return latency_of(found for one in slices for found in one.latencies_seconds)


def latency_of(latencies_seconds: Iterable[float]) -> Latency:
    """The percentiles of latencies in any order."""
    ordered = sorted(latencies_seconds)
    return Latency(*(round(1000 * percentile(ordered, percent), 3) for percent in PERCENTILES))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that is not below `percent` of them (nearest rank); 0 of nothing."""
    if not ordered:
        return 0.0
    return ordered[max(0, ceil(percent / 100 * len(ordered)) - 1)]
