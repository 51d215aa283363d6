"""Bugs are planted in what drives sagas, and the tests of crashes and races see each of them."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from tallystick.domain.commands import Command
from tallystick.domain.outcomes import RefusalCode, refuse
from tallystick.domain.rules import saga_steps as rules
from tallystick.domain.saga_commands import Credit
from tallystick.domain.sagas import (
    SAGA_STAGES,
    Stage,
    Step,
    StepResult,
    next_step,
)
from tallystick.ledger.crossing.saga import steps as driver
from tallystick.ledger.errors import FaultyCommandError
from tests.crash import test_saga_races as races
from tests.crash.crashes import crash, judge, points_of
from tests.crash.cutting_proxy import Moment
from tests.crash.lives import Place
from tests.crash.points import Fault
from tests.crash.saga_scenarios import SCENARIOS
from tests.crash.two_shards import TwoShards, assert_whole_together

RECOVERY_SECONDS_MAX = 5.0
TRANSFER, _, REFUSAL, CAPTURE, REVERSAL, _ = SCENARIOS
CAUGHT = (AssertionError, FaultyCommandError)

Plant = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture
def place(shards: TwoShards) -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="tallystick-planted-"))
    yield Place(shards, folder / "log")
    shutil.rmtree(folder)


def release_without_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gives a saga up releases at once, and writes no refusal on the other shard."""

    def hasty_step(stage: Stage, *, give_up: bool = False) -> Step | None:
        hasty = give_up and stage is Stage.RESERVED
        return Step.RELEASE if hasty else next_step(stage, give_up=give_up)

    class HastyJourney(driver._Journey):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._refusal = refuse(RefusalCode.TRANSFER_CANCELLED)

    monkeypatch.setattr(driver, "next_step", hasty_step)
    monkeypatch.setattr(driver, "_Journey", HastyJourney)
    monkeypatch.setitem(SAGA_STAGES, (Stage.RESERVED, Step.RELEASE, StepResult.POSTED), Stage.RELEASED)


def credit_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A credit that comes twice is posted twice."""
    command = driver._Journey.command

    def keyless(journey: Any, shard: int) -> Command:
        made = command(journey, shard)
        return msgspec.structs.replace(made, request=None) if isinstance(made, Credit) else made

    monkeypatch.setattr(driver._Journey, "command", keyless)


def ignore_the_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the payee's shard refused is finalized."""
    monkeypatch.setitem(SAGA_STAGES, (Stage.RESERVED, Step.CREDIT, StepResult.REFUSED), Stage.CREDITED)


def finalize_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A saga that has ended ends again."""

    monkeypatch.setattr(rules, "answer_of", lambda _, __: None)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("plant", [credit_without_a_key, ignore_the_refusal])
def test_crashes_see_it(place: Place, monkeypatch: pytest.MonkeyPatch, plant: Plant) -> None:
    """A process ends whenever its driver goes on, and another one recovers with the same bug."""
    scenario = REFUSAL if plant is ignore_the_refusal else TRANSFER
    points = [point for point in points_of(place, scenario) if point.who.startswith("sagas")]
    assert_whole_together(place.shards)
    plant(monkeypatch)
    crashes = crash(place, scenario, [(point, Fault.EXIT_RESUMED) for point in points])
    with pytest.raises(CAUGHT):
        judge(place, scenario, crashes, recovery_seconds_max=RECOVERY_SECONDS_MAX)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "plant", [release_without_a_refusal, credit_without_a_key, ignore_the_refusal, finalize_twice]
)
async def test_two_drivers_see_it(shards: TwoShards, monkeypatch: pytest.MonkeyPatch, plant: Plant) -> None:
    plant(monkeypatch)
    monkeypatch.setattr(races, "SAGAS", 30)
    with pytest.raises(CAUGHT), capture_logs():
        await two_drive_and_are_judged(shards)


async def two_drive_and_are_judged(shards: TwoShards) -> None:
    await races.test_two_drive_the_same_sagas_at_once(shards, give_up=True)
    assert_whole_together(shards)


@pytest.mark.timeout(300)
async def test_a_late_credit_sees_it(shards: TwoShards, monkeypatch: pytest.MonkeyPatch) -> None:
    release_without_a_refusal(monkeypatch)
    with pytest.raises(CAUGHT), capture_logs():
        await races.test_a_saga_is_given_up_while_its_credit_is_on_its_way(shards, Moment.BEGIN)
