"""One run: open accounts, let the measured load and the baselines take turns, and count the money."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Final, NamedTuple, Protocol

import msgspec

from tallystick.service.engine import Engine
from tallystick.service.ledger import Ledger
from tallystick_bench import measurement
from tallystick_bench.api_server import api_server
from tallystick_bench.books import open_books
from tallystick_bench.copy_baseline import BATCH_TRANSFERS, CopyBaseline
from tallystick_bench.engine_load import EngineLoad
from tallystick_bench.generator_messages import Order
from tallystick_bench.http_load import http_load
from tallystick_bench.listeners import Listeners
from tallystick_bench.machine import machine
from tallystick_bench.measurement import MeasuredTurn
from tallystick_bench.package_load import PackageLoad
from tallystick_bench.payments import Payments, Recipe
from tallystick_bench.progress import ProgressBar
from tallystick_bench.reads import ReadTimes, time_reads
from tallystick_bench.result import Money, Result, Round, Step
from tallystick_bench.rows_baseline import CONNECTIONS_TRIED, RowsBaseline
from tallystick_bench.settings import FUNDS_PER_ACCOUNT, TENANT, Baseline, Settings, Stint, Through
from tallystick_bench.target import LogState, Target
from tallystick_bench.tuning import tuned_like_the_server
from tallystick_bench.wrk_load import wrk_load

COPY_ENCODING_INCLUDED: Final = "copy_encoding_included"
ROWS_IN_A_FUNCTION: Final = "rows_in_a_function"
WITHOUT_STREAMS: Final = "without_streams"
_RUN_BYTES: Final = 8


class Load(Protocol):
    """A generator of transfers."""

    generator: str
    notes: list[str]

    async def run(self, stint: Stint, concurrency: int) -> MeasuredTurn:
        """Take one turn, and wait for the last answer."""
        ...


class _Traffic(NamedTuple):
    """The generator of transfers, and the listeners to streams."""

    load: Load
    listeners: Listeners | None = None


class _Turns(NamedTuple):
    """All turns of a run, in order."""

    measured: list[MeasuredTurn]
    baselines: dict[str, list[MeasuredTurn]]


async def measure(settings: Settings, target: Target, progress: ProgressBar) -> Result:
    """Carry out one run."""
    run = os.urandom(_RUN_BYTES).hex()
    # A server that is measured through HTTP opens the cache itself.
    own_load = settings.through in {Through.ENGINE, Through.PACKAGE}
    engine = Engine({target.shard: target.dsn}, cache=target.cache if own_load else None)
    await engine.start()
    try:
        *wallets, treasury = await open_books(
            engine.router.shards[0], TENANT, settings.accounts, run, progress
        )
        recipe = Recipe(settings.workload, wallets, settings.seed, run)
        opened = target.log_state()
        async with _traffic(settings, target, engine, recipe) as traffic:
            runner = _Runner(settings, target, traffic, recipe, progress)
            await runner.prepare()
            turns, growth = await runner.rounds(
                lambda: time_reads(
                    engine.router.shards[0], wallets, settings.seed, target.log_state().position
                )
            )
            ladder = await runner.ladder()
    finally:
        await engine.stop()
    money = _count_money(target, opened, wallets, treasury, runner.acknowledged)
    return _result(
        settings=settings,
        target=target,
        runner=runner,
        turns=turns,
        growth=growth,
        ladder=ladder,
        reads=runner.reads,
        money=money,
    )


@asynccontextmanager
async def _traffic(
    settings: Settings, target: Target, engine: Engine, recipe: Recipe
) -> AsyncIterator[_Traffic]:
    """The generator of this run's transfers, with what it needs."""
    if settings.through in {Through.ENGINE, Through.PACKAGE}:
        with tuned_like_the_server():
            if settings.through is Through.ENGINE:
                yield _Traffic(EngineLoad(engine.router.shards[0], Payments(recipe)))
            else:
                yield _Traffic(PackageLoad(Ledger(engine, TENANT), Payments(recipe)))
        return
    async with target.api_key(f"bench {recipe.run}") as api_key, api_server(target) as server:
        batch_size = settings.batch_size if settings.through is Through.HTTP_BATCH else 0
        order = Order(server.url, api_key, recipe, batch_size)
        listeners = None
        if settings.streams:
            listeners = Listeners(server, api_key, recipe.accounts, settings.streams, settings.seed)
        async with wrk_load(order) if settings.wrk else http_load(order) as load:
            yield _Traffic(load, listeners)


class _Growth(msgspec.Struct):
    """What the measured turns added to the log."""

    size_bytes: int = 0
    transfers: int = 0
    batches: int = 0

    def add(self, before: LogState, after: LogState) -> None:
        """Add one turn."""
        self.size_bytes += after.size_bytes - before.size_bytes
        self.transfers += after.position - before.position
        self.batches += after.batch - before.batch


class _Runner:
    """Carries out the turns of a run."""

    def __init__(
        self,
        settings: Settings,
        target: Target,
        traffic: _Traffic,
        recipe: Recipe,
        progress: ProgressBar,
    ) -> None:
        self._settings = settings
        self._target = target
        self.load = traffic.load
        self.listeners = traffic.listeners
        self._recipe = recipe
        self._progress = progress
        self._copy: CopyBaseline | None = None
        self.rows: dict[str, RowsBaseline] = {}
        self.acknowledged = 0
        self.reads: list[ReadTimes] = []

    @property
    def copying(self) -> bool:
        """Whether the baseline `copy` is measured."""
        return self._copy is not None

    async def prepare(self) -> None:
        """Warm up, and make what the baselines need."""
        phase = self._progress.phase("preparing", 1 + 2 * len(self._settings.baselines))
        await self._turn(self._settings.warm_up, self._settings.concurrency)
        phase.advance()
        if Baseline.COPY in self._settings.baselines:
            self._target.run("copy_tables")
            phase.advance()
            self._copy = CopyBaseline(self._target, Payments(self._recipe))
            await self._copy.run(self._settings.warm_up)
            phase.advance()
        if Baseline.ROWS in self._settings.baselines:
            RowsBaseline.prepare(self._target, self._settings.accounts)
            phase.advance()
            for name, in_a_function in ((Baseline.ROWS.value, False), (ROWS_IN_A_FUNCTION, True)):
                self.rows[name] = RowsBaseline(
                    self._target,
                    self._settings.workload,
                    self._settings.accounts,
                    in_a_function=in_a_function,
                )
                await self.rows[name].choose_connections()
            phase.advance()

    async def rounds(self, read: Callable[[], Awaitable[ReadTimes]]) -> tuple[_Turns, _Growth]:
        """Let the measured load and each baseline take turns. Time reads after the first turn and after the last."""
        settings = self._settings
        phase = self._progress.phase(
            f"measuring {settings.through}, {settings.workload}",
            settings.rounds * (1 + bool(self.listeners) + len(settings.baselines)),
        )
        turns, growth = _Turns([], {}), _Growth()
        for _ in range(settings.rounds):
            before = self._target.log_state()
            async with self._listened_to():
                measured = await self._turn(settings.stint, settings.concurrency)
            growth.add(before, self._target.log_state())
            turns.measured.append(measured)
            if len(turns.measured) in {1, settings.rounds}:
                self.reads.append(await read())
            phase.advance()
            if self.listeners is not None:
                unheard = await self._turn(settings.stint, settings.concurrency)
                turns.baselines.setdefault(WITHOUT_STREAMS, []).append(unheard)
                phase.advance()
            alike = Stint(seconds=measured.seconds)
            if self._copy is not None:
                copied, encoded_and_copied = await self._copy.run(alike)
                turns.baselines.setdefault(Baseline.COPY, []).append(copied)
                turns.baselines.setdefault(COPY_ENCODING_INCLUDED, []).append(encoded_and_copied)
                phase.advance()
            for name, rows in self.rows.items():
                turns.baselines.setdefault(name, []).append(await rows.run(alike))
            if self.rows:
                phase.advance()
        return turns, growth

    def _listened_to(self) -> AbstractAsyncContextManager[None]:
        return nullcontext() if self.listeners is None else self.listeners.listening()

    async def ladder(self) -> list[Step]:
        """For a plot: one turn at each concurrency."""
        if not self._settings.ladder:
            return []
        concurrencies = self._settings.concurrencies
        phase = self._progress.phase("measuring each concurrency", len(concurrencies))
        steps = []
        for concurrency in concurrencies:
            await self._turn(self._settings.warm_up, concurrency)
            found = await self._turn(self._settings.step, concurrency)
            steps.append(Step(concurrency, round(found.per_second, 1), measurement.latency([found])))
            phase.advance()
        return steps

    async def _turn(self, stint: Stint, concurrency: int) -> MeasuredTurn:
        found = await self.load.run(stint, concurrency)
        self.acknowledged += found.done
        return found


def _count_money(
    target: Target, opened: LogState, wallets: list[str], treasury: str, acknowledged: int
) -> Money:
    """Whether the total is unchanged, and every acknowledged transfer is in the log."""
    _, held = target.balances(wallets)
    _, owed = target.balances([treasury])
    (logged,) = target.fetch("logged_transfers", (opened.position,))
    (unbalanced,) = target.fetch("unbalanced_entries", (opened.position,))
    expected = len(wallets) * FUNDS_PER_ACCOUNT
    conserved = held == expected and owed == -expected and not unbalanced and logged >= acknowledged
    return Money(conserved, held, acknowledged, logged)


def _result(
    *,
    settings: Settings,
    target: Target,
    runner: _Runner,
    turns: _Turns,
    growth: _Growth,
    ladder: list[Step],
    reads: list[ReadTimes],
    money: Money,
) -> Result:
    throughput = measurement.median_throughput(turns.measured)
    baselines = {name: measurement.median_throughput(measured) for name, measured in turns.baselines.items()}
    return Result(
        workload=settings.workload,
        through=settings.through,
        generator=runner.load.generator,
        concurrency=settings.concurrency,
        accounts=settings.accounts,
        seconds=round(sum(turn.seconds for turn in turns.measured), 3),
        transfers=sum(turn.done for turn in turns.measured),
        transfers_per_second=round(throughput, 1),
        latency_ms=measurement.latency(turns.measured),
        bytes_per_transfer=round(growth.size_bytes / growth.transfers, 1) if growth.transfers else None,
        transfers_per_commit=round(growth.transfers / growth.batches, 1) if growth.batches else None,
        ratio_to={name: round(throughput / found, 3) for name, found in baselines.items() if found},
        baselines={name: round(found, 1) for name, found in baselines.items()},
        refused=sum(turn.refused for turn in turns.measured),
        failed=sum(turn.failed for turn in turns.measured),
        money=money,
        machine=machine(target),
        rounds=[
            Round(
                round(turn.per_second, 1),
                {name: round(measured[index].per_second, 1) for name, measured in turns.baselines.items()},
            )
            for index, turn in enumerate(turns.measured)
        ],
        ladder=ladder,
        reads_ms=reads,
        streams=None if runner.listeners is None else runner.listeners.result(),
        notes=[*runner.load.notes, *_baseline_notes(runner)],
    )


def _baseline_notes(runner: _Runner) -> list[str]:
    notes = []
    if runner.copying:
        notes.append(
            f"copy: rows encoded before the clock starts, {BATCH_TRANSFERS:,} transfers to a commit, one connection"
        )
    tried = ", ".join(map(str, CONNECTIONS_TRIED))
    notes += [
        f"{name}: pgbench over {rows.connections} connections, the fastest of {tried}"
        for name, rows in runner.rows.items()
    ]
    return notes
