"""The result of one turn of a load or a baseline."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil
from statistics import median

import msgspec

PERCENTILES = (50, 95, 99)


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds from the request to its answer, at the caller."""

    p50: float
    p95: float
    p99: float


@dataclass(slots=True)
class MeasuredTurn:
    """One turn: how many transfers were acknowledged or balances read, its duration, and the latency of each request.

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
    """Counts one turn while it goes on. All callers share one object, and one thread writes to it."""

    def __init__(self) -> None:
        self.latencies_seconds: array[float] = array("d")
        self.refused = 0
        self.failed = 0

    def turn(self, done: int, seconds: float) -> MeasuredTurn:
        """The counts, as the result of a turn."""
        return MeasuredTurn(done, seconds, self.latencies_seconds, self.refused, self.failed)


def median_throughput(turns: Iterable[MeasuredTurn]) -> float:
    """The median throughput of the turns."""
    return median(turn.per_second for turn in turns)


def latency(turns: Iterable[MeasuredTurn]) -> Latency:
    """The percentiles of all turns together."""
    return latency_of(found for turn in turns for found in turn.latencies_seconds)


def latency_of(latencies_seconds: Iterable[float]) -> Latency:
    """The percentiles of latencies in any order."""
    ordered = sorted(latencies_seconds)
    return Latency(*(round(1000 * percentile(ordered, percent), 3) for percent in PERCENTILES))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that is not below `percent` of them (nearest rank); 0 of nothing."""
    if not ordered:
        return 0.0
    return ordered[max(0, ceil(percent / 100 * len(ordered)) - 1)]
