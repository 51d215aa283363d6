"""Results for people."""

from tallystick_bench.neighbours_run import NeighboursResult
from tallystick_bench.reads_result import ReadsResult
from tallystick_bench.result import Result


def report(result: Result) -> str:
    """Write a result as lines of text."""
    wait = result.latency_ms
    what = (
        f"{result.through}, {result.workload}, {result.concurrency:,} at once, {result.accounts:,} accounts"
    )
    lines = [
        f"{result.transfers_per_second:,.0f} transfers/s   ({what})",
        f"latency     p50 {wait.p50:.1f} ms   p95 {wait.p95:.1f} ms   p99 {wait.p99:.1f} ms",
    ]
    if result.bytes_per_transfer is not None:
        lines.append(
            f"on disk     {result.bytes_per_transfer:.0f} bytes for each transfer, indexes included, WAL not"
        )
    if result.transfers_per_commit is not None:
        lines.append(f"commits     one for {result.transfers_per_commit:,.0f} transfers")
    lines += [
        f"{name + ':':<24}{per_second:>9,.0f}/s   this is {result.ratio_to[name]:.2f} of it"
        for name, per_second in result.baselines.items()
        if name in result.ratio_to
    ]
    lines += [
        f"{step.concurrency:>6,} at once  {step.transfers_per_second:>9,.0f}/s"
        f"   p50 {step.latency_ms.p50:.1f} ms   p99 {step.latency_ms.p99:.1f} ms"
        for step in result.ladder
    ]
    lines += [
        f"reads       balance {read.balance:.2f} ms   page of history {read.history_page:.2f} ms"
        f"   (log at {read.position:,})"
        for read in result.reads_ms
    ]
    if (streams := result.streams) is not None:
        wait = streams.pay_to_stream_ms
        lines.append(
            f"streams     {streams.streams:,} open, {streams.events_per_second:,.0f} events/s; from payment to "
            f"stream p50 {wait.p50:.1f} ms   p99 {wait.p99:.1f} ms"
        )
        lines.append(
            f"memory      {streams.server_memory_mb:.0f} MB with the streams, "
            f"{streams.server_memory_mb_without:.0f} MB without"
        )
    if len(result.rounds) > 1:
        first, last = result.rounds[0].transfers_per_second, result.rounds[-1].transfers_per_second
        lines.append(f"rounds      first {first:,.0f}/s, last {last:,.0f}/s, of {len(result.rounds)}")
    if result.refused or result.failed:
        lines.append(f"NOT POSTED  {result.refused:,} refused, {result.failed:,} failed")
    return "\n".join([*lines, *_ending(result)])


def reads_report(result: ReadsResult) -> str:
    """Write a result as lines of text."""
    what = f"balances through {result.through}, {result.accounts:,} accounts"
    paid = f"{result.payments_per_second:,.0f} payments/s meanwhile"
    lines = [f"{what}, {paid} ({result.payments_per_second_wanted:,} were wanted)"]
    for call in result.calls:
        wait = call.latency_ms
        beside = (
            "" if call.ratio_to_database is None else f"   {call.ratio_to_database:.1f} times the database"
        )
        lines.append(
            f"{call.balances_per_request:>5,} a request, {call.concurrency:>3,} at once, {call.source:<9}"
            f"{call.balances_per_second:>9,.0f}/s   p50 {wait.p50:.1f} ms   p99 {wait.p99:.1f} ms{beside}"
        )
        if call.not_read:
            lines.append(f"NOT READ    {call.not_read:,} balances")
    if result.payments_failed:
        lines.append(f"NOT POSTED  {result.payments_failed:,} payments failed")
    return "\n".join([*lines, *_ending(result)])


def neighbours_report(result: NeighboursResult) -> str:
    """Write a result as lines of text."""
    lines = [f"a quiet tenant's p99, alone and beside another tenant's flood, {result.accounts:,} accounts"]
    for flood in result.floods:
        paid, read = flood.beside.payment_ms, flood.beside.balance_ms
        lines.append(
            f"{flood.flood:<9}"
            f"   payment {flood.alone.payment_ms.p99:>6.1f} to {paid.p99:>7.1f} ms ({flood.payment_ratio:.1f})"
            f"   balance {flood.alone.balance_ms.p99:>6.1f} to {read.p99:>7.1f} ms ({flood.balance_ratio:.1f})"
            f"   {'bearable' if flood.bearable else 'NOT BEARABLE'}"
        )
        if flood.alone.failed or flood.beside.failed:
            lines.append(f"FAILED      {flood.alone.failed:,} alone, {flood.beside.failed:,} beside it")
    return "\n".join([*lines, *_ending(result)])


def _ending(result: Result | ReadsResult | NeighboursResult) -> list[str]:
    """Whether the money is whole, the machine, and the notes."""
    money, machine = result.money, result.machine
    conserved = "conserved" if money.conserved else "NOT CONSERVED"
    computer = f"{machine.cores} cores ({machine.processor}), Python {machine.python}"
    return [
        f"money       {conserved}: {money.acknowledged:,} acknowledged, {money.logged:,} in the log",
        f"machine     {computer}, PostgreSQL {machine.postgresql}",
        *(f"note        {note}" for note in result.notes),
    ]
