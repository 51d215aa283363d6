"""Draws throughput and latency against concurrency."""

from pathlib import Path
from typing import Final

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tallystick_bench.errors import BenchError
from tallystick_bench.result import Result

_INCHES: Final = (10.0, 4.2)
_DOTS_PER_INCH: Final = 150


def draw(result: Result, path: Path) -> None:
    """Draw the ladder of a result into a PNG or SVG file."""
    concurrencies = [step.concurrency for step in result.ladder]
    figure = Figure(figsize=_INCHES, layout="constrained")
    throughput, latency = figure.subplots(1, 2)
    throughput.plot(
        concurrencies, [step.transfers_per_second for step in result.ladder], "o-", color="#1f6f5c"
    )
    for name, per_second in result.baselines.items():
        if name in {"copy", "rows"}:
            throughput.axhline(per_second, linestyle="--", linewidth=1, color="#8a8a8a")
            throughput.annotate(
                f"{name} baseline", (concurrencies[0], per_second), va="bottom", color="#5a5a5a"
            )
    throughput.set_ylabel("transfers per second")
    throughput.set_ylim(bottom=0)
    latency.plot(
        concurrencies, [step.latency_ms.p50 for step in result.ladder], "o-", color="#1f6f5c", label="p50"
    )
    latency.plot(
        concurrencies, [step.latency_ms.p99 for step in result.ladder], "s-", color="#b5532a", label="p99"
    )
    latency.set_ylabel("latency, ms")
    latency.set_yscale("log")
    latency.yaxis.set_major_formatter(FuncFormatter(_plain))
    latency.legend(frameon=False)
    for axes in (throughput, latency):
        axes.set_xscale("log")
        axes.set_xticks(concurrencies, [f"{concurrency:,}" for concurrency in concurrencies])
        axes.minorticks_off()
        axes.set_xlabel("transfers asked for at once")
        axes.grid(visible=True, alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    throughput.yaxis.set_major_formatter(FuncFormatter(_plain))
    machine = result.machine
    figure.suptitle(
        f"{result.through}, {result.workload}, {result.accounts:,} accounts; durable commits, "
        f"{machine.cores} cores, PostgreSQL {machine.postgresql.split()[0]}",
        fontsize=11,
    )
    try:
        figure.savefig(path, dpi=_DOTS_PER_INCH)
    except OSError as error:
        raise BenchError(f"{path} cannot be written ({error.strerror}): name another file") from None


def _plain(value: float, _position: int | None) -> str:
    return f"{value:,.10g}"
