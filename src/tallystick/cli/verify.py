"""`tallystick verify`: check the whole ledger."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tallystick.cli.errors import CommandError
from tallystick.cli.options import configuration_option, json_option
from tallystick.cli.output import print_json
from tallystick.cli.verify_reports import (
    crossings_fields,
    lost_fields,
    print_crossings,
    print_lost,
    print_shard,
    shard_fields,
    why_lost,
)
from tallystick.service.configuration import read_configuration
from tallystick.service.process import tune_garbage_collection
from tallystick.store.errors import SchemaError, ShardUnavailableError
from tallystick.verify.crossings import CrossingsReport, verify_crossings
from tallystick.verify.log import ShardReport, verify_shard

_EXIT_STATUS_WRONG = 1


@click.command(epilog="Example: tallystick verify --shard 1")
@configuration_option
@click.option(
    "--shard",
    "numbers",
    metavar="N",
    type=int,
    multiple=True,
    help="Only this shard, and transfers between the named shards; may be given several times. Default: all.",
)
@json_option
def verify(configuration_path: Path, numbers: tuple[int, ...], as_json: bool) -> None:
    """Recompute the whole ledger from its entries, while servers run.

    Sums, running balances, bounds, holds, sagas, reversals, gapless positions, requests and the hash chain of each
    shard; then the transfers between shards. Prints the first wrong position, and what is wrong there. Exit status 1
    if anything is wrong, or if a shard could not be verified.
    """
    tune_garbage_collection()
    started = time.monotonic()
    configured = read_configuration(configuration_path).dsns
    chosen = _chosen(configured, numbers)
    reports, lost = _verify_shards(chosen, as_json=as_json)
    crossings = verify_crossings({report.shard: chosen[report.shard] for report in reports})
    lost |= {number: why_lost(number, error) for number, error in crossings.lost.items()}
    unexcused = _not_compared(crossings, configured.keys() - chosen.keys())
    ok = crossings.ok and not lost and not unexcused and all(report.ok for report in reports)
    if as_json:
        print_json(
            {
                "ok": ok,
                "shards": [*map(shard_fields, reports), *(lost_fields(*shard) for shard in lost.items())],
                "across": crossings_fields(crossings),
                "seconds": round(time.monotonic() - started, 3),
            }
        )
    else:
        print_crossings(crossings)
    if not ok:
        click.get_current_context().exit(_EXIT_STATUS_WRONG)


def _verify_shards(dsns: Mapping[int, str], *, as_json: bool) -> tuple[list[ShardReport], dict[int, str]]:
    """Verify each shard on its own, and print each result at once.

    Also returns why other shards could not be verified.
    """
    reports, lost = [], {}
    for number, dsn in dsns.items():
        try:
            with _progress_bar(number) as on_progress:
                report = verify_shard(dsn, number, on_progress)
        except (ShardUnavailableError, SchemaError) as error:
            lost[number] = why_lost(number, error)
            print_lost(lost[number])
            continue
        reports.append(report)
        if not as_json:
            print_shard(report)
    return reports, lost


def _chosen(dsns: Mapping[int, str], numbers: tuple[int, ...]) -> dict[int, str]:
    if unknown := sorted(set(numbers) - dsns.keys()):
        known = ", ".join(map(str, sorted(dsns)))
        raise CommandError(f"there is no shard {unknown[0]} in the configuration: choose from {known}")
    return {number: dsn for number, dsn in sorted(dsns.items()) if not numbers or number in numbers}


def _not_compared(crossings: CrossingsReport, left_out: set[int]) -> bool:
    """Whether sagas of the chosen shards could not be compared."""
    return any(left_out.isdisjoint(shards) for shards in crossings.not_compared)


@contextmanager
def _progress_bar(shard: int) -> Iterator[Any]:
    """A progress bar on a terminal; nothing in a pipe."""
    console = Console(stderr=True)
    columns = (
        TextColumn("shard {task.fields[shard]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("verify", total=None, shard=shard)

        def on_progress(position: int, head_position: int) -> None:
            progress.update(task, completed=position, total=head_position)

        yield on_progress
