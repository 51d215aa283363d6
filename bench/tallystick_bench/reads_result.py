"""The result of a run of the workload `reads`, which `--json` prints."""

import msgspec

from tallystick_bench.measurement import Latency
from tallystick_bench.result import Machine, Money


class ReadCall(msgspec.Struct, frozen=True, kw_only=True):
    """One way of reading balances. The throughput is the median of the rounds; a latency is that of a request.

    `not_read`: the balances whose requests were refused or failed.
    """

    call: str
    source: str
    balances_per_request: int
    concurrency: int
    balances_per_second: float
    latency_ms: Latency
    not_read: int
    rounds: list[float]
    ratio_to_database: float | None


class ReadsResult(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `payments` were made meanwhile. The money was counted afterwards, from the balances that were read."""

    workload: str
    through: str
    generator: str
    accounts: int
    payments_per_second: float
    payments_per_second_wanted: int
    payments_failed: int
    calls: list[ReadCall]
    money: Money
    machine: Machine
    notes: list[str]
