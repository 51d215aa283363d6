"""`python -m tests.chaos.published FOLDER...`: what runs have shown, as tables for docs/reliability.md."""

import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.chaos.report import Pause, by_fault

VERDICT: Final = "verdict.json"


class Published(msgspec.Struct):
    """The verdict of a run, as its folder has it."""

    violations: dict[str, list[str]]
    unnoticed: list[str]
    lacking: list[str]
    unverified: str
    numbers: dict[str, Any]
    pauses: list[Pause]


def read_verdict(folder: Path) -> Published:
    """The verdict on the run of a folder."""
    return msgspec.json.decode((folder / VERDICT).read_bytes(), type=Published)


def table_of_runs(runs: Sequence[tuple[str, Published]]) -> str:
    """A line for each run: what was asked, paid and struck, and what was wrong."""
    lines = [
        "| run | requests | payments and changes of holds | faults | violations | `verify` |",
        "|---|---|---|---|---|---|",
    ]
    for name, run in runs:
        numbers = run.numbers
        payments, between = sum(numbers["payments"].values()), numbers["payments between shards"]
        lines.append(
            f"| {name} | {numbers['requests']:,} | {payments:,}, of them {between:,} between shards "
            f"| {sum(numbers['faults'].values())} | {len(run.violations)} | {run.unverified or 'right'} |"
        )
    return "\n".join(lines)


def table_of_pauses(runs: Iterable[Published]) -> str:
    """A line for each kind of fault: how often it happened, and the longest time without a payment around it."""
    everything = list(runs)
    counts = Counter[str]()
    for run in everything:
        counts.update(run.numbers["faults"])
    seconds = by_fault(pause for run in everything for pause in run.pauses)
    lines = [
        "| fault | number | on that shard: p50 | p99 | maximum | elsewhere: p50 | p99 | maximum |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind, count in sorted(counts.items()):
        there = seconds.get(f"{kind}, that shard", [])
        elsewhere = seconds.get(f"{kind}, the other shard", seconds.get(kind, []))
        lines.append(f"| {kind} | {count} | {_spread(there)} | {_spread(elsewhere)} |")
    return "\n".join(lines)


def _spread(seconds: list[float]) -> str:
    """The middle, the 99th of a hundred, and the maximum; of a few values the last two are the same."""
    if not seconds:
        return "- | - | -"
    ordered = sorted(seconds)
    last = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"{statistics.median(ordered):.1f} | {last:.1f} | {ordered[-1]:.1f}"


def main() -> None:
    """Print the tables of the folders that are named."""
    found = [(Path(name).name, read_verdict(Path(name))) for name in sys.argv[1:]]
    sys.stdout.write(f"{table_of_runs(found)}\n\n{table_of_pauses(run for _, run in found)}\n")


if __name__ == "__main__":
    main()
