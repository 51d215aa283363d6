"""`tallystick bench`."""

import asyncio
import importlib
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Literal, TypeVar

import click
import msgspec
import psycopg
import uvloop

from tallystick.domain import limits
from tallystick.embedded.errors import EmbeddedServerError
from tallystick.ledger.crossing.ways import WAYS
from tallystick.ledger.errors import FaultyCommandError, NotTakenError
from tallystick.service.configuration import ConfigurationError
from tallystick.service.logging import configure_logging
from tallystick.store.errors import StoreError
from tallystick_bench.cross_run import measure_crossing
from tallystick_bench.errors import BenchError
from tallystick_bench.neighbours_run import NeighboursResult, measure_neighbours
from tallystick_bench.progress import ProgressBar
from tallystick_bench.reads_result import ReadsResult
from tallystick_bench.reads_run import measure_reads
from tallystick_bench.report import neighbours_report, reads_report, report
from tallystick_bench.result import Result
from tallystick_bench.run import measure
from tallystick_bench.settings import (
    ACCOUNTS_MAX,
    ACCOUNTS_MIN,
    CONCURRENCY_DEFAULT,
    PAYMENTS_BESIDE_READS,
    Baseline,
    Settings,
    Through,
    Workload,
)
from tallystick_bench.target import cached, existing_target, temporary_target, temporary_targets

CONCURRENCY_MAX: Final = limits.QUEUE_COMMANDS_PER_TENANT_MAX
SECONDS_MAX: Final = 24 * 3600
TRANSFERS_MAX: Final = 1_000_000_000
RATE_MAX: Final = 100_000
CROSS_SHARDS: Final = 2

Where = TypeVar("Where")
AnyResult = TypeVar("AnyResult", Result, ReadsResult, NeighboursResult)

_EXPECTED: Final = (
    EmbeddedServerError,
    ConfigurationError,
    StoreError,
    NotTakenError,
    FaultyCommandError,
    psycopg.Error,
    OSError,
)


_EXAMPLES: Final = """\b
Examples:
  tallystick bench --baseline copy --baseline rows
  tallystick bench --workload hot --seconds 30 --json
  tallystick bench --through http --wrk
  tallystick bench --through http-batch --batch-size 500
  tallystick bench --transfers 5000000
  tallystick bench --workload cross --crossing 0.1
  tallystick bench --workload reads --through http --wrk
  tallystick bench --through http --streams 1000 --wrk
  tallystick bench --workload neighbours --seconds 60
  tallystick bench --baseline copy --plot throughput.svg
"""


@click.command(epilog=_EXAMPLES)
@click.option(
    "--workload",
    type=click.Choice([one.value for one in Workload]),
    default=Workload.UNIFORM.value,
    show_default=True,
    help="Payments between random accounts; all to one merchant; the n-th account in proportion to 1/n; or between "
    "two shards on two servers, see --crossing. Or reads: balances, from the cache and from the database in turns. "
    "Or neighbours: how long one tenant waits while another floods the server.",
)
@click.option(
    "--through",
    type=click.Choice([one.value for one in Through]),
    default=Through.ENGINE.value,
    show_default=True,
    help="The ledger itself, in this process; the Python package, one call for each transfer; HTTP, one transfer "
    "a request; HTTP, many in a request.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.5, SECONDS_MAX),
    default=10.0,
    show_default=True,
    help="Measured time of the load, and of each baseline.",
)
@click.option(
    "--transfers",
    type=click.IntRange(1, TRANSFERS_MAX),
    help="Make this many transfers instead of going on for a time.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, CONCURRENCY_MAX),
    help="Callers or connections at once.  [default: engine and package 4000, http 64, http-batch 8]",
)
@click.option(
    "--accounts",
    type=click.IntRange(ACCOUNTS_MIN, ACCOUNTS_MAX),
    default=100_000,
    show_default=True,
    help="Accounts to open and to pay between.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1, limits.TRANSFERS_PER_BATCH_REQUEST_MAX),
    default=500,
    show_default=True,
    help="Transfers in one request of http-batch.",
)
@click.option(
    "--baseline",
    "baselines",
    type=click.Choice([one.value for one in Baseline]),
    multiple=True,
    help="Compare with raw COPY of the same rows, or with a row-locking transaction for each transfer. Repeatable.",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Draw throughput and latency against concurrency: a .png or .svg file.",
)
@click.option(
    "--crossing",
    type=click.FloatRange(0.0, 1.0),
    default=1.0,
    show_default=True,
    help="With --workload cross: the share of transfers that go to the other shard. The same load with none "
    "crossing takes turns with it.",
)
@click.option(
    "--rate",
    type=click.IntRange(1, RATE_MAX),
    help="With --workload cross: this many transfers each second, instead of as many as possible. With --workload "
    f"reads: this many payments each second meanwhile.  [default: {PAYMENTS_BESIDE_READS} beside reads]",
)
@click.option(
    "--cross-shard",
    type=click.Choice(list(WAYS)),
    default="saga",
    show_default=True,
    help="With --workload cross: the way in which transfers cross.",
)
@click.option(
    "--cache",
    type=click.Choice(["on", "off"]),
    help="Whether balances are cached, in a Valkey of its own.  [default: off; both in turns with --workload reads]",
)
@click.option(
    "--streams",
    type=click.IntRange(0, limits.STREAMS_PER_TENANT_DEFAULT),
    default=0,
    show_default=True,
    help="With --through http and http-batch: the number of clients that listen to the balance of a random account. "
    "The same load without listeners takes turns with it.",
)
@click.option("--wrk", is_flag=True, help="Make the HTTP load with the program wrk, which must be installed.")
@click.option("--dsn", help="Measure this database of a shard (migrated) instead of a temporary server.")
@click.option(
    "--config",
    "configuration_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Measure the first shard of this configuration file instead of a temporary server.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the random payments.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench(
    *,
    workload: str,
    through: str,
    seconds: float,
    transfers: int | None,
    concurrency: int | None,
    accounts: int,
    batch_size: int,
    baselines: tuple[str, ...],
    plot: Path | None,
    crossing: float,
    rate: int | None,
    cross_shard: str,
    cache: Literal["on", "off"] | None,
    streams: int,
    wrk: bool,
    dsn: str | None,
    configuration_path: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Measure how fast this machine moves money.

    Unless a database is named, a temporary PostgreSQL server with durable commits is started in the folder for
    temporary files (choose its disk with TMPDIR) and removed at the end. The load and the baselines take turns
    on one server, so that the ratios hold on a noisy machine too. At the end the money is counted.
    """
    configure_logging(default_level="warning", for_people=True)
    way = Through(through)
    kind = Workload(workload)
    reads = kind is Workload.READS
    _refuse_combinations(
        {
            "--dsn and --config name the same thing: use one of them": dsn is not None
            and configuration_path is not None,
            "--wrk makes an HTTP load: add --through http or --through http-batch": wrk
            and way is Through.ENGINE,
            "wrk goes on for a time: use --seconds instead of --transfers": wrk and transfers is not None,
            "--plot draws .png and .svg files": plot is not None
            and plot.suffix.lower() not in {".png", ".svg"},
            "--streams needs a server: add --through http or --through http-batch": streams > 0
            and way not in {Through.HTTP, Through.HTTP_BATCH},
            "--rate needs --workload cross or reads": rate is not None
            and kind not in {Workload.CROSS, Workload.READS},
            "--workload reads measures a server: add --through http": reads and way is not Through.HTTP,
            "--workload reads goes on for a time, and compares the cache with the database: leave --transfers, "
            "--baseline, --plot and --streams out": reads and any((transfers, baselines, plot, streams)),
            "--workload neighbours measures a server of its own, for a time: leave --transfers, --baseline, --plot, "
            "--streams, --wrk, --rate and --concurrency out": kind is Workload.NEIGHBOURS
            and any((transfers, baselines, plot, streams, wrk, rate, concurrency)),
            "--workload cross measures the engine, for a time, on two servers of its own: leave --through, "
            "--transfers, --baseline, --plot, --cache, --dsn and --config out": kind is Workload.CROSS
            and (
                way is not Through.ENGINE or any((transfers, baselines, plot, dsn, configuration_path, cache))
            ),
        }
    )
    settings = Settings(
        workload=kind,
        through=way,
        concurrency=concurrency or CONCURRENCY_DEFAULT[way],
        accounts=accounts,
        seconds=seconds,
        transfers=transfers,
        batch_size=batch_size,
        baselines=tuple(dict.fromkeys(Baseline(one) for one in baselines)),
        seed=seed,
        wrk=wrk,
        ladder=plot is not None,
        crossing=crossing,
        rate=rate,
        cross_shard=cross_shard,
        streams=streams,
        cache=cache,
    )
    if dsn is not None or configuration_path is not None:
        target = existing_target(dsn, configuration_path)
    else:
        target = temporary_target()
    if cache == "on" or (reads and cache is None):
        target = cached(target)
    # A temporary server must not outlive this process, whichever signal ends it.
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if reads:
            found = _measure(settings, target, measure_reads)
            _print(found, reads_report, as_json=as_json)
            return
        if kind is Workload.NEIGHBOURS:
            _print(_measure(settings, target, measure_neighbours), neighbours_report, as_json=as_json)
            return
        if settings.workload is Workload.CROSS:
            result = _measure(settings, temporary_targets(CROSS_SHARDS), measure_crossing)
        else:
            result = _measure(settings, target, measure)
        if plot is not None:
            # Slow to import, and seldom wanted.
            importlib.import_module("tallystick_bench.plot").draw(result, plot)
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise click.Abort from None
    except _EXPECTED as error:
        raise BenchError(_one_line(error)) from error
    finally:
        signal.signal(signal.SIGTERM, previous)
    _print(result, report, as_json=as_json)


def _print(result: AnyResult, in_words: Callable[[AnyResult], str], *, as_json: bool) -> None:
    click.echo(msgspec.json.encode(result).decode() if as_json else in_words(result))
    if not result.money.conserved:
        raise BenchError("MONEY WAS NOT CONSERVED: see `money` in the output, run `tallystick verify`")


def _refuse_combinations(wrong: Mapping[str, bool]) -> None:
    """Refuse options that do not go together, with the first reason."""
    for message, is_so in wrong.items():
        if is_so:
            raise click.UsageError(message)


def _measure(
    settings: Settings,
    target: AbstractContextManager[Where],
    load: Callable[[Settings, Where, ProgressBar], Awaitable[AnyResult]],
) -> AnyResult:
    with ProgressBar() as progress:
        phase = progress.phase("starting", 1)
        with target as found, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            phase.advance()
            return runner.run(_until_terminated(load(settings, found, progress)))


async def _until_terminated(result: Awaitable[AnyResult]) -> AnyResult:
    """Cancel what runs at SIGTERM. asyncio does so at Ctrl-C, which background processes of scripts ignore.

    An exception out of a signal handler would reach any task, and be reported as never retrieved.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    before = signal.getsignal(signal.SIGTERM)
    if task is not None:
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await result
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, before)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
