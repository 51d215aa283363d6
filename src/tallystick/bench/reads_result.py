"""What a run of the workload `reads` found: what `--json` prints, and the same for people."""

import msgspec

from tallystick.bench.measurement import Latency
from tallystick.bench.result import Machine, Money


class ReadCall(msgspec.Struct, frozen=True, kw_only=True):
    """One way of reading balances. The throughput is the median over the rounds; a latency is of a request."""

    call: str
    source: str
    balances_per_request: int
    concurrency: int
    balances_per_second: float
    latency_ms: Latency
    failed: int
    rounds: list[float]
    ratio_to_database: float | None


class ReadsResult(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `payments` were made meanwhile, and the money was counted afterwards from what was read."""

    workload: str
    through: str
    generator: str
    accounts: int
    payments_per_second: int
    payments_failed: int
    calls: list[ReadCall]
    money: Money
    machine: Machine
    notes: list[str]


def reads_report(result: ReadsResult) -> str:
    """Write a result as lines of text."""
    what = f"balances through {result.through}, {result.accounts:,} accounts"
    lines = [f"{what}, {result.payments_per_second:,} payments/s meanwhile"]
    for call in result.calls:
        wait = call.latency_ms
        beside = (
            "" if call.ratio_to_database is None else f"   {call.ratio_to_database:.1f} times the database"
        )
        lines.append(
            f"{call.balances_per_request:>5,} a request, {call.concurrency:>3,} at once, {call.source:<9}"
            f"{call.balances_per_second:>9,.0f}/s   p50 {wait.p50:.1f} ms   p99 {wait.p99:.1f} ms{beside}"
        )
        if call.failed:
            lines.append(f"NOT READ    {call.failed:,} requests failed")
    if result.payments_failed:
        lines.append(f"NOT POSTED  {result.payments_failed:,} payments failed")
    money = result.money
    lines.append(
        f"money       {'conserved' if money.conserved else 'NOT CONSERVED'}: {money.acknowledged:,} acknowledged, "
        f"{money.logged:,} in the log"
    )
    machine = result.machine
    lines.append(
        f"machine     {machine.cores} cores ({machine.processor}), Python {machine.python}, "
        f"PostgreSQL {machine.postgresql}"
    )
    return "\n".join([*lines, *(f"note        {note}" for note in result.notes)])
