"""Figures of several workers: added up from their files, also those of workers that were killed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, Metric

from tallystick.background.figure_files import FiguresOfWorkers, claim_number, figures_folder
from tallystick.background.figures import Combined, forget_counter, forget_gauge, gauge
from tallystick.background.figures import counter as declare_counter

# A worker does what it is told, line by line.
WORKER = """
import sys
from pathlib import Path
from tallystick.background import figures
from tallystick.background.figures import Combined

things = figures.counter("things", "Things.", ["kind"])
seconds = figures.histogram("seconds", "Seconds.", ["kind"], (1, 2))
gauges = {mode: figures.gauge(mode.name.lower(), "A gauge.", ["kind"], mode) for mode in Combined}
# Made before the figures are kept in files, as by code that ran before the server forked.
early = things.labels("early")
figures.keep_in_files(Path(sys.argv[1]))

def put(mode, value):
    gauges[mode].labels("a").set(value)

def forget(mode):
    figures.forget_gauge(gauges[mode], "a")

for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


class Worker:
    """A process that counts in a folder."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.do("pass")

    def do(self, line: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def folder() -> Iterator[Path]:
    with figures_folder() as made:
        yield made


@pytest.fixture
def workers(folder: Path) -> Iterator[tuple[Worker, Worker]]:
    with ExitStack() as cleanup:
        made = []
        for _ in range(2):
            made.append(Worker(folder))
            cleanup.callback(made[-1].kill)
        yield made[0], made[1]


def shown(folder: Path) -> dict[str, float]:
    """What a scrape shows of the labels that a test counts with."""
    return {
        sample.name + sample.labels.get("le", ""): sample.value
        for metric in FiguresOfWorkers(folder).collect()
        for sample in metric.samples
        if sample.labels.get("kind") in ("a", "early")
    }


def test_counters_add_up_and_do_not_go_back(folder: Path, workers: tuple[Worker, Worker]) -> None:
    one, two = workers
    one.do("things.labels('a').inc(3)")
    two.do("things.labels('a').inc(4)")
    assert shown(folder)["things_total"] == 7
    one.kill()
    assert shown(folder)["things_total"] == 7
    files = set(folder.iterdir())
    third = Worker(folder)
    third.do("things.labels('a').inc(1)")
    assert shown(folder)["things_total"] == 8
    third.kill()
    assert set(folder.iterdir()) == files


def test_histograms_add_up(folder: Path, workers: tuple[Worker, Worker]) -> None:
    for worker, seconds in zip(workers, (0.5, 1.5), strict=True):
        worker.do(f"seconds.labels('a').observe({seconds})")
        worker.kill()
    assert shown(folder) == {
        "seconds_bucket1.0": 1, "seconds_bucket2.0": 2, "seconds_bucket+Inf": 2, "seconds_count": 2, "seconds_sum": 2
    }  # fmt: skip


def test_gauges_are_combined_as_declared(folder: Path, workers: tuple[Worker, Worker]) -> None:
    one, two = workers
    for mode in Combined:
        two.do(f"put({mode.value!r}, 5)")
        one.do(f"put({mode.value!r}, 3)")
    assert shown(folder) == {"sum": 8, "largest": 5, "smallest": 3, "newest": 3, "largest_ever": 5}
    two.kill()
    assert shown(folder) == {"sum": 3, "largest": 3, "smallest": 3, "newest": 3, "largest_ever": 5}
    # The next worker takes its number, and none of its gauges.
    third = Worker(folder)
    assert shown(folder) == {"sum": 3, "largest": 3, "smallest": 3, "newest": 3, "largest_ever": 5}
    third.do(f"put({Combined.SMALLEST.value!r}, 0)")
    assert shown(folder)["smallest"] == 0
    third.kill()


def test_a_gauge_that_is_forgotten_is_not_shown_until_it_is_set_again(
    folder: Path, workers: tuple[Worker, Worker]
) -> None:
    one, two = workers
    one.do(f"put({Combined.NEWEST.value!r}, 1)")
    one.do(f"forget({Combined.NEWEST.value!r})")
    assert shown(folder) == {}
    two.do(f"put({Combined.NEWEST.value!r}, 2)")
    assert shown(folder) == {"newest": 2}
    one.do(f"put({Combined.NEWEST.value!r}, 3)")
    assert shown(folder) == {"newest": 3}


def test_what_was_made_before_is_made_again_in_files(folder: Path, workers: tuple[Worker, Worker]) -> None:
    workers[0].do("things.labels('early').inc()")
    assert shown(folder) == {"things_total": 1}


def test_the_system_tells_of_each_worker_that_lives(folder: Path, workers: tuple[Worker, Worker]) -> None:
    def told() -> list[str]:
        return [
            sample.labels["process"]
            for metric in FiguresOfWorkers(folder).collect()
            for sample in metric.samples
            if sample.name == "process_resident_memory_bytes" and sample.value > 0
        ]

    assert sorted(told()) == ["0", "1"]
    workers[0].kill()
    assert told() == ["1"]


def test_figures_in_memory_are_forgotten() -> None:
    lag = gauge("test_lag", "A gauge.", ["kind"], Combined.NEWEST)
    things = declare_counter("test_things", "Things.", ["kind"])
    lag.labels("a").set(1)
    things.labels("a").inc()
    forget_gauge(lag, "a")
    forget_counter(things, "a")
    assert REGISTRY.get_sample_value("test_lag", {"kind": "a"}) is None
    assert REGISTRY.get_sample_value("test_things_total", {"kind": "a"}) is None


def test_a_scrape_while_a_worker_begins_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allocate = os.posix_fallocate
    scraped: list[list[Metric]] = []

    def scraped_before(file: int, offset: int, length: int) -> None:
        scraped.append(list(FiguresOfWorkers(tmp_path).collect()))
        allocate(file, offset, length)

    monkeypatch.setattr(os, "posix_fallocate", scraped_before)
    claim_number(tmp_path, ["livesum"])
    assert len(scraped) == len(list(tmp_path.glob("*.db"))) == 3
