"""`tallystick verify`: check that the ledger is whole."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tallystick.cli.errors import CommandError
from tallystick.cli.options import configuration_option, json_option
from tallystick.cli.output import print_json
from tallystick.domain.verification.problems import Problem
from tallystick.ledger.verify import ShardReport, verify_shard
from tallystick.service.configuration import read_configuration
from tallystick.service.process import tune_garbage_collection

_EXIT_STATUS_WRONG = 1


@click.command(epilog="Example: tallystick verify --shard 1")
@configuration_option
@click.option(
    "--shard",
    "numbers",
    metavar="N",
    type=int,
    multiple=True,
    help="Only this shard; may be given several times. Default: all.",
)
@json_option
def verify(configuration_path: Path, numbers: tuple[int, ...], as_json: bool) -> None:
    """Recompute the whole ledger from its entries, while it goes on working.

    Sums, running balances, bounds, holds, reversals, gapless positions, requests and the hash chain. Names the
    first position that is wrong, and what is wrong with it. Exit status 1 when anything is.
    """
    tune_garbage_collection()
    started = time.monotonic()
    reports = []
    for number, dsn in _chosen(read_configuration(configuration_path).dsns, numbers).items():
        with _progress_bar(number) as on_progress:
            report = verify_shard(dsn, number, on_progress)
        reports.append(report)
        if not as_json:
            _print_report(report)
    seconds = time.monotonic() - started
    ok = all(report.ok for report in reports)
    if as_json:
        shards = [_shard_fields(report) for report in reports]
        print_json({"ok": ok, "shards": shards, "seconds": round(seconds, 3)})
    if not ok:
        click.get_current_context().exit(_EXIT_STATUS_WRONG)


def _chosen(dsns: dict[int, str], numbers: tuple[int, ...]) -> dict[int, str]:
    if unknown := sorted(set(numbers) - dsns.keys()):
        known = ", ".join(map(str, sorted(dsns)))
        raise CommandError(f"there is no shard {unknown[0]} in the configuration: choose from {known}")
    return {number: dsn for number, dsn in sorted(dsns.items()) if not numbers or number in numbers}


@contextmanager
def _progress_bar(shard: int) -> Iterator[Any]:
    """A bar on a terminal, where people look; nothing in a pipe."""
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


def _print_report(report: ShardReport) -> None:
    size = f"{report.positions:,} positions, {report.batches:,} batches, {report.accounts:,} accounts"
    if report.first_problem is None:
        click.echo(f"shard {report.shard}: all is right: {size}, head {report.head_hash.hex()}")
        return
    click.echo(f"shard {report.shard}: WRONG: {size}")
    click.echo(f"  first at {_place(report.first_problem)}: {report.first_problem.detail}")
    for kind, count in sorted(report.counts.items()):
        first = next((problem for problem in report.problems if problem.kind == kind), None)
        where = "" if first is None else f", first at {_place(first)}"
        click.echo(f"  {kind}: {count:,}{where}")


def _place(problem: Problem) -> str:
    return f"batch {problem.batch}" if problem.position is None else f"position {problem.position}"


def _shard_fields(report: ShardReport) -> dict[str, object]:
    first = report.first_problem
    return {
        "shard": report.shard,
        "ok": report.ok,
        "positions": report.positions,
        "batches": report.batches,
        "accounts": report.accounts,
        "head_hash": report.head_hash.hex(),
        "first_problem": None if first is None else _problem_fields(first),
        "problems": report.problem_count,
        "problems_by_kind": {str(kind): count for kind, count in sorted(report.counts.items())},
    }


def _problem_fields(problem: Problem) -> dict[str, object]:
    place = {"batch": problem.batch} if problem.position is None else {"position": problem.position}
    return {**place, "kind": str(problem.kind), "detail": problem.detail}
