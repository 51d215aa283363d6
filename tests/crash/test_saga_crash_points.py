"""What crosses shards is crashed at every point at which the ledger waits, in every way; then the books are right.

The points are those that a run passes: nobody keeps a list of them. Each crash is one life of a process, with
accounts of its own; then one process recovers what all of them left. Every point of every scenario is hit by one
fault at least, and those of a plain transfer by all; TALLYSTICK_CRASH_POINTS=all (`make crash-points`) makes it all
faults at all points of all scenarios.
"""

import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tallystick.embedded.postgres import EmbeddedPostgres
from tests.crash.crashes import Crash, crash, judge, points_of
from tests.crash.databases import temporary_server
from tests.crash.lives import Place
from tests.crash.points import EXCEPTIONS, FAULTS_OF_MESSAGES, FAULTS_OF_TASKS, Fault, Point
from tests.crash.saga_scenarios import SCENARIOS, Scenario
from tests.crash.split_scenarios import SPLIT_SCENARIOS
from tests.crash.two_shards import three_shards, two_shards

ALL_SCENARIOS: Final = (*SCENARIOS, *SPLIT_SCENARIOS)
ALL: Final = os.environ.get("TALLYSTICK_CRASH_POINTS") == "all"


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    # A process that logs in a hundred times need not prove its password at length each time.
    with temporary_server(settings={"scram_iterations": "1"}) as server:
        yield server


@pytest.fixture
def log() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tallystick-points-"))
    yield folder / "log"
    shutil.rmtree(folder)


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("scenario", ALL_SCENARIOS, ids=[scenario.name for scenario in ALL_SCENARIOS])
def test_every_crash_point(server: EmbeddedPostgres, scenario: Scenario, log: Path) -> None:
    started = time.monotonic()
    several = three_shards if scenario in SPLIT_SCENARIOS else two_shards
    with several(server) as shards:
        place = Place(shards, log)
        points = points_of(place, scenario)
        plan = [
            (point, fault) for turn, point in enumerate(points) for fault in faults_at(scenario, point, turn)
        ]
        crashes = crash(place, scenario, plan)
        tell(scenario, points, crashes, time.monotonic() - started)
        missed = [one for one in crashes if not one.life.hit]
        assert not missed, f"never reached: {', '.join(map(str, missed))}"
        assert {one.point for one in crashes} == set(points)
        judge(place, scenario, crashes)


def faults_at(scenario: Scenario, point: Point, turn: int) -> tuple[Fault, ...]:
    """What happens at a point: everything, or one thing after the other from point to point."""
    if point.who.startswith("messages"):
        faults = FAULTS_OF_MESSAGES
    elif ALL:
        faults = (*FAULTS_OF_TASKS, *EXCEPTIONS)
    else:
        faults = (*FAULTS_OF_TASKS, EXCEPTIONS[turn % len(EXCEPTIONS)])
    number = ALL_SCENARIOS.index(scenario)
    return faults if ALL or number == 0 else (faults[(turn // 2 + number) % len(faults)],)


def tell(scenario: Scenario, points: list[Point], crashes: list[Crash], seconds: float) -> None:
    """Say how many points there are, where, and that each was hit."""
    hit = {one.point for one in crashes if one.life.hit}
    faults = Counter(one.fault.name for one in crashes if one.life.hit)
    answers = Counter(one.life.answer or "nothing" for one in crashes)
    lines = [
        f"{scenario.name}: {len(points)} points, {len(hit)} hit; {len(crashes)} crashes in {seconds:.0f} s",
        f"  faults {dict(faults)}; told {dict(answers)}",
        *(f"  {who}: {count}" for who, count in Counter(point.who for point in points).items()),
    ]
    if ALL:
        lines += [f"    {point}" for point in points]
    sys.stdout.write("\n".join(lines) + "\n")
