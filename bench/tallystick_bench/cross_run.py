"""A run of the workload `cross`: two shards on two servers, and the same load inside the shards beside it."""

import os
from collections.abc import Sequence
from typing import Final

from tallystick.domain.identifiers import Prefix, parse_identifier
from tallystick.service.engine import Engine
from tallystick_bench import measurement
from tallystick_bench.books import open_books
from tallystick_bench.cross_load import CrossLoad
from tallystick_bench.machine import machine
from tallystick_bench.progress import ProgressBar
from tallystick_bench.result import Money, Result, Round
from tallystick_bench.settings import FUNDS_PER_ACCOUNT, TENANT, Settings
from tallystick_bench.target import LogState, Target
from tallystick_bench.tuning import tuned_like_the_server

INSIDE: Final = "inside"
_RUN_BYTES: Final = 8


async def measure_crossing(settings: Settings, targets: Sequence[Target], progress: ProgressBar) -> Result:
    """Carry out one run. The load takes turns with the same load inside the shards."""
    run = os.urandom(_RUN_BYTES).hex()
    dsns = {target.shard: target.dsn for target in targets}
    engine = Engine(dsns, cross_shard=settings.cross_shard)
    await engine.start()
    try:
        wallets, treasuries = [], []
        for shard in engine.router.shards:
            *opened, treasury = await open_books(
                shard, TENANT, settings.accounts // len(targets), run, progress
            )
            wallets.append([parse_identifier(Prefix.ACCOUNT, account) for account in opened])
            treasuries.append(treasury)
        load = CrossLoad(engine, wallets, settings.seed, run)
        before = [target.log_state() for target in targets]
        with tuned_like_the_server():
            rounds = await _rounds(settings, load, targets, progress)
    finally:
        await engine.stop()
    money = _count_money(targets, before, wallets, rounds.acknowledged)
    throughput = measurement.median_throughput(rounds.crossing)
    inside = measurement.median_throughput(rounds.inside) if rounds.inside else 0.0
    return Result(
        workload=settings.workload,
        through=settings.through,
        generator=load.generator,
        concurrency=settings.concurrency,
        accounts=settings.accounts,
        seconds=round(sum(turn.seconds for turn in rounds.crossing), 3),
        transfers=sum(turn.done for turn in rounds.crossing),
        transfers_per_second=round(throughput, 1),
        latency_ms=measurement.latency(rounds.crossing),
        bytes_per_transfer=round(rounds.size_bytes / made, 1) if (made := rounds.made) else None,
        transfers_per_commit=None,
        ratio_to={INSIDE: round(throughput / inside, 3)} if inside else {},
        baselines={INSIDE: round(inside, 1)} if inside else {},
        refused=sum(turn.refused for turn in rounds.crossing),
        failed=sum(turn.failed for turn in rounds.crossing),
        money=money,
        machine=machine(targets[0]),
        rounds=[
            Round(
                round(turn.per_second, 1),
                {INSIDE: round(rounds.inside[index].per_second, 1)} if rounds.inside else {},
            )
            for index, turn in enumerate(rounds.crossing)
        ],
        ladder=[],
        notes=[
            f"crossing by {settings.cross_shard}",
            f"{INSIDE}: the same load, with no payment to the other shard",
            *load.notes,
        ],
        crossing=settings.crossing,
    )


class _Rounds:
    """All turns of a run, in order, and what the turns with crossing transfers added to the logs."""

    def __init__(self) -> None:
        self.crossing: list[measurement.MeasuredTurn] = []
        self.inside: list[measurement.MeasuredTurn] = []
        self.acknowledged = 0
        self.size_bytes = 0
        self.made = 0


async def _rounds(
    settings: Settings, load: CrossLoad, targets: Sequence[Target], progress: ProgressBar
) -> _Rounds:
    phase = progress.phase(f"measuring {settings.crossing:.0%} crossing", 2 * settings.rounds + 1)
    found = _Rounds()
    warm = await load.run(settings.warm_up, settings.concurrency, settings.crossing)
    found.acknowledged += warm.done
    phase.advance()
    for _ in range(settings.rounds):
        before = [target.log_state() for target in targets]
        turn = await load.run(settings.stint, settings.concurrency, settings.crossing, settings.rate)
        after = [target.log_state() for target in targets]
        found.size_bytes += sum(b.size_bytes - a.size_bytes for a, b in zip(before, after, strict=True))
        found.made += turn.done
        found.crossing.append(turn)
        phase.advance()
        if settings.rate is None:
            found.inside.append(await load.run(settings.stint, settings.concurrency, 0.0))
        phase.advance()
    found.acknowledged += sum(turn.done for turn in (*found.crossing, *found.inside))
    return found


def _count_money(
    targets: Sequence[Target],
    before: Sequence[LogState],
    wallets: Sequence[Sequence[int]],
    acknowledged: int,
) -> Money:
    """Whether both shards together have the same money as before, nothing is held, and clearing accounts mirror."""
    held_by_wallets = sum(
        int(target.fetch("balances", (list(mine),))[1]) for target, mine in zip(targets, wallets, strict=True)
    )
    clearing = sum(int(target.fetch("clearing")[0]) for target in targets)
    held = sum(int(target.fetch("held")[0]) for target in targets)
    logged = sum(
        int(target.fetch("logged_transfers", (state.position,))[0])
        for target, state in zip(targets, before, strict=True)
    )
    expected = sum(len(mine) for mine in wallets) * FUNDS_PER_ACCOUNT
    conserved = held_by_wallets == expected and not clearing and not held and logged >= acknowledged
    return Money(conserved, held_by_wallets, acknowledged, logged)
