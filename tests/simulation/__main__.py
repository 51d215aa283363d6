"""Runs many seeds, or one that was found, told step by step: `python -m tests.simulation --help`."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import click

from tests.simulation.simulation import simulate
from tests.simulation.violation import Violation

_SEEDS_AT_A_TIME = 500


def _simulate_some(seeds: range) -> tuple[int, list[str]]:
    """How many commands were decided in these runs, and what was found."""
    steps = 0
    found = []
    for seed in seeds:
        try:
            steps += simulate(seed)
        except Violation as violation:
            found.append(f"seed {seed}: {violation}")
    return steps, found


def _slices(first: int, count: int) -> Iterator[range]:
    for start in range(first, first + count, _SEEDS_AT_A_TIME):
        yield range(start, min(start + _SEEDS_AT_A_TIME, first + count))


def _replay(seed: int) -> None:
    try:
        simulate(seed, tell=click.echo)
    except Violation as violation:
        raise click.ClickException(f"seed {seed}: {violation}") from violation
    click.echo(f"seed {seed}: nothing found")


@click.command(help="Simulate many sagas over shards in memory, and look for books that are wrong.")
@click.option("--seeds", default=100_000, show_default=True, help="How many runs.")
@click.option("--first", default=0, show_default=True, help="The first seed.")
@click.option("--seed", type=int, help="Replay one run, and tell every step.")
@click.option("--processes", default=os.cpu_count() or 1, show_default=True, help="How many at once.")
def main(seeds: int, first: int, seed: int | None, processes: int) -> None:
    if seed is not None:
        _replay(seed)
        return
    began = time.monotonic()
    steps = 0
    found: list[str] = []
    with (
        ProcessPoolExecutor(processes) as pool,
        click.progressbar(length=seeds, label="seeds", show_pos=True) as progress,
    ):
        slices = list(_slices(first, seeds))
        for some, (decided, violations) in zip(slices, pool.map(_simulate_some, slices), strict=True):
            steps += decided
            found += violations
            progress.update(len(some))
    for violation in found:
        click.echo(violation, err=True)
    seconds = time.monotonic() - began
    click.echo(f"{seeds:,} seeds, {steps:,} commands decided in {seconds:,.0f} s: {len(found)} violations")
    if found:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
