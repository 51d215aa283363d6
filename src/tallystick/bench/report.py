"""A result for people."""

from tallystick.bench.result import Result


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
    if (heard := result.streams) is not None:
        wait = heard.pay_to_stream_ms
        lines.append(
            f"streams     {heard.streams:,} open, {heard.events_per_second:,.0f} events/s; from payment to stream "
            f"p50 {wait.p50:.1f} ms   p99 {wait.p99:.1f} ms"
        )
        lines.append(
            f"memory      {heard.server_memory_mb:.0f} MB with the streams, "
            f"{heard.server_memory_mb_without:.0f} MB without"
        )
    if len(result.rounds) > 1:
        first, last = result.rounds[0].transfers_per_second, result.rounds[-1].transfers_per_second
        lines.append(f"rounds      first {first:,.0f}/s, last {last:,.0f}/s, of {len(result.rounds)}")
    if result.refused or result.failed:
        lines.append(f"NOT POSTED  {result.refused:,} refused, {result.failed:,} failed")
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
