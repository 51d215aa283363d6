"""The result of a run, in one object, which `--json` prints."""

import msgspec

from tallystick_bench.listeners import StreamResult
from tallystick_bench.measurement import Latency
from tallystick_bench.reads import ReadTimes


class Machine(msgspec.Struct, frozen=True):
    """The machine of the run."""

    cores: int
    processor: str
    python: str
    postgresql: str


class Round(msgspec.Struct, frozen=True):
    """One turn of the load and of each baseline, in transfers each second."""

    transfers_per_second: float
    baselines: dict[str, float]


class Step(msgspec.Struct, frozen=True):
    """One concurrency in a plot."""

    concurrency: int
    transfers_per_second: float
    latency_ms: Latency


class Money(msgspec.Struct, frozen=True):
    """Whether the books are complete after the load.

    `acknowledged` transfers were answered, `logged` ones are in the log. `logged` may be more if the generator of the
    load stops without waiting (wrk does), and is never fewer.
    """

    conserved: bool
    total_minor_units: int
    acknowledged: int
    logged: int


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One run. Throughputs are medians over the rounds, latencies percentiles over all of them."""

    workload: str
    through: str
    generator: str
    concurrency: int
    accounts: int
    seconds: float
    transfers: int
    transfers_per_second: float
    latency_ms: Latency
    bytes_per_transfer: float | None
    transfers_per_commit: float | None
    ratio_to: dict[str, float]
    baselines: dict[str, float]
    refused: int
    failed: int
    money: Money
    machine: Machine
    rounds: list[Round]
    ladder: list[Step]
    notes: list[str]
    reads_ms: list[ReadTimes] = []
    crossing: float | None = None
    streams: StreamResult | None = None
