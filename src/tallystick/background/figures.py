"""Figures that a process counts or measures, for Prometheus.

A process keeps them in memory. The workers of a server keep them in files, so that one scrape has the figures of all
workers, and a killed worker takes none with it: see `figure_files`.
"""

import math
import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

from prometheus_client import Counter, Gauge, Histogram, values

from tallystick.background.figure_files import claim_number

# The library reads this variable when it opens a file, and when it removes a figure.
_FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"

_declared: Final[list[Counter | Gauge | Histogram]] = []


class Combined(StrEnum):
    """How a gauge of several workers becomes one figure. The values are the library's words."""

    SUM = "livesum"
    LARGEST = "livemax"
    SMALLEST = "livemin"
    NEWEST = "livemostrecent"
    """What was set last. Such a gauge is shown after it was set."""
    LARGEST_EVER = "max"
    """Also of workers that have ended. All others leave those out."""


def counter(name: str, what: str, labels: Sequence[str]) -> Counter:
    """Declare a counter. Its name ends in `_total` where it is shown."""
    declared = Counter(name, what, labels)
    _declared.append(declared)
    return declared


def gauge(name: str, what: str, labels: Sequence[str], combined: Combined) -> Gauge:
    """Declare a gauge."""
    declared = Gauge(name, what, labels, multiprocess_mode=combined.value)
    _declared.append(declared)
    return declared


def histogram(name: str, what: str, labels: Sequence[str], buckets: Sequence[float]) -> Histogram:
    """Declare a histogram. `buckets`: their upper bounds."""
    declared = Histogram(name, what, labels, buckets=buckets)
    _declared.append(declared)
    return declared


_STARTS: Final = counter(
    "tallystick_process_starts", "Workers of this server that started, by their number.", ["process"]
)


def keep_in_files(folder: Path) -> None:
    """Keep the figures of this process in a folder from now on, as a worker of a server.

    Call it before anything is counted: what was counted before is lost.
    """
    os.environ.pop(_FOLDER_VARIABLE, None)
    for declared in _declared:
        declared.clear()
    number = claim_number(folder, [mode.value for mode in Combined])
    os.environ[_FOLDER_VARIABLE] = str(folder)
    # By number and not by process, so that a worker goes on with the counters of the one that it replaces.
    values.ValueClass = values.MultiProcessValue(  # type: ignore[no-untyped-call]  # of the library
        process_identifier=lambda: number
    )
    _STARTS.labels(str(number)).inc()


def forget_gauge(declared: Gauge, *labels: str) -> None:
    """Show a gauge with these labels no more, until it is set again."""
    if _FOLDER_VARIABLE in os.environ:
        # A file keeps every figure, so the gauge gets a value that is not shown.
        declared.labels(*labels).set(math.nan)
    else:
        declared.remove(*labels)


def forget_counter(declared: Counter, *labels: str) -> None:
    """Show a counter with these labels no more, until `begin_counter`."""
    if _FOLDER_VARIABLE in os.environ:
        # A file keeps every figure, so the counter gets a value that is not shown.
        declared.labels(*labels)._value.set(math.nan)  # noqa: SLF001 - a counter has no other way
    else:
        declared.remove(*labels)


def begin_counter(declared: Counter, *labels: str) -> None:
    """Count from zero again, if the counter was forgotten before."""
    child = declared.labels(*labels)
    if math.isnan(child._value.get()):  # noqa: SLF001
        child.reset()
