"""What crosses shards is crashed at every point at which the ledger waits, in every way; then the books are right.

The points are those that a run passes: nobody keeps a list of them. Each crash is one life of a process, with
accounts of its own; then one process recovers what all of them left.

`make crash-points` (TALLYSTICK_CRASH_POINTS=all) does it with all faults at all points of all scenarios. Otherwise
one point in two of a plain transfer is hit by one fault, and of every other scenario one point in twenty: which ones,
and by which fault, is drawn anew in each run. TALLYSTICK_SEED repeats a run's choices. `make test-whole` has all
points of a plain transfer, and one in four.
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
from tests.crash.lives import Place
from tests.crash.points import EXCEPTIONS, FAULTS_OF_MESSAGES, FAULTS_OF_TASKS, Fault, Point
from tests.crash.saga_scenarios import SCENARIOS, Scenario
from tests.crash.split_scenarios import SPLIT_SCENARIOS
from tests.crash.two_shards import three_shards, two_shards
from tests.whole import SEED, WHOLE

ALL_SCENARIOS: Final = (*SCENARIOS, *SPLIT_SCENARIOS)
ALL: Final = os.environ.get("TALLYSTICK_CRASH_POINTS") == "all"
ONE_POINT_IN: Final = 4 if WHOLE else 20
ONE_POINT_IN_OF_TRANSFERS: Final = 1 if WHOLE else 2


@pytest.fixture
def log() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tallystick-points-"))
    yield folder / "log"
    shutil.rmtree(folder)


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("scenario", ALL_SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_crash_point(postgres: EmbeddedPostgres, scenario: Scenario, log: Path) -> None:
    started = time.monotonic()
    several = three_shards if scenario in SPLIT_SCENARIOS else two_shards
    with several(postgres) as shards:
        place = Place(shards, log)
        points = points_of(place, scenario)
        plan = planned(scenario, points)
        crashes = crash(place, scenario, plan)
        tell(scenario, points, crashes, time.monotonic() - started)
        missed = [one for one in crashes if not one.life.hit]
        assert not missed, f"never reached: {', '.join(map(str, missed))}"
        assert {one.point for one in crashes} == {point for point, _ in plan}
        judge(place, scenario, crashes)


def planned(scenario: Scenario, points: list[Point]) -> list[tuple[Point, Fault]]:
    """What happens where: everything everywhere, or one fault after the other at some of the points."""
    if ALL:
        return [(point, fault) for point in points for fault in faults_at(point)]
    number = ALL_SCENARIOS.index(scenario)
    step = ONE_POINT_IN_OF_TRANSFERS if number == 0 else ONE_POINT_IN
    first = (SEED + number) % step
    return [
        (point, faults_at(point)[(SEED + turn) % len(faults_at(point))])
        for turn, point in enumerate(points[first::step])
    ]


def faults_at(point: Point) -> tuple[Fault, ...]:
    return FAULTS_OF_MESSAGES if point.who.startswith("messages") else (*FAULTS_OF_TASKS, *EXCEPTIONS)


def tell(scenario: Scenario, points: list[Point], crashes: list[Crash], seconds: float) -> None:
    """Say how many points there are, where, and that each was hit."""
    hit = {one.point for one in crashes if one.life.hit}
    faults = Counter(one.fault.name for one in crashes if one.life.hit)
    answers = Counter(one.life.answer or "nothing" for one in crashes)
    lines = [
        f"{scenario.name}: {len(points)} points, {len(hit)} hit; {len(crashes)} crashes in {seconds:.0f} s",
        f"  TALLYSTICK_SEED={SEED}; faults {dict(faults)}; told {dict(answers)}",
        *(f"  {who}: {count}" for who, count in Counter(point.who for point in points).items()),
    ]
    if ALL:
        lines += [f"    {point}" for point in points]
    sys.stdout.write("\n".join(lines) + "\n")
