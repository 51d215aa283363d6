"""Crashes at chosen points, and the judgement of what they left: by the books, and by what callers were told."""

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

from tallystick import views
from tallystick.ledger.errors import FaultyCommandError
from tests.crash.lives import Life, Place, live, recover
from tests.crash.points import Fault, Point
from tests.crash.saga_scenarios import REFUSED, Pair, Scenario, Subject
from tests.crash.two_shards import Funds, TwoShards, assert_whole_together, serving

NOTHING: Final = Funds(0, 0)
RECOVERY_SECONDS_MAX: Final = 60.0


class Crash(NamedTuple):
    """One fault at one point, and what came of it."""

    point: Point
    fault: Fault
    subject: Subject
    life: Life

    def __str__(self) -> str:
        return f"{self.fault.value} ({self.point}), answered {self.life.answer}"


async def prepare(shards: TwoShards, scenario: Scenario, count: int) -> list[Subject]:
    """Accounts for so many requests, and what must have happened between them before."""
    # Without workers: nobody drives what was only reserved.
    async with serving(shards.dsns, workers=False) as ledger:
        return await scenario.prepare(ledger, count)


def points_of(place: Place, scenario: Scenario) -> list[Point]:
    """The points that a process passes when nothing happens to it, which are the same in each run."""
    # The first one that crosses opens the clearing accounts; from then on all are alike.
    first, second, third = asyncio.run(prepare(place.shards, scenario, 3))
    assert live(place, scenario, first).answer in scenario.ends
    points = live(place, scenario, second).points
    assert sorted(set(points) ^ set(live(place, scenario, third).points)) == [], "no two runs are alike"
    return points


def crash(place: Place, scenario: Scenario, plan: Sequence[tuple[Point, Fault]]) -> list[Crash]:
    """Each fault at its point, in a process of its own, with accounts of its own."""
    subjects = asyncio.run(prepare(place.shards, scenario, len(plan)))
    return [
        Crash(point, fault, subject, live(place, scenario, subject, point, fault))
        for (point, fault), subject in zip(plan, subjects, strict=True)
    ]


def judge(
    place: Place,
    scenario: Scenario,
    crashes: list[Crash],
    *,
    recovery_seconds_max: float = RECOVERY_SECONDS_MAX,
) -> None:
    """Another process recovers what all of them left; then everything is right, and stays so when asked again."""
    recover(place, recovery_seconds_max)
    assert_whole_together(place.shards)
    _judge_books(place.shards, scenario, crashes)
    answers = asyncio.run(_ask_again(place.shards, scenario, crashes))
    _judge_answers(place.shards, scenario, crashes, answers)
    assert_whole_together(place.shards)


def _judge_books(shards: TwoShards, scenario: Scenario, crashes: list[Crash]) -> None:
    """Each was done once or not at all, and as its caller was told if the caller was told."""
    funds = shards.funds()
    for crash in crashes:
        found = _pair(funds, crash.subject)
        assert found in {scenario.done, scenario.undone}, f"{crash}: {found}"
        if crash.life.answer == views.POSTED:
            assert found == scenario.done, crash
        elif crash.life.answer in {REFUSED, FaultyCommandError.__name__}:
            assert found == scenario.undone, crash


async def _ask_again(shards: TwoShards, scenario: Scenario, crashes: list[Crash]) -> list[str]:
    async with serving(shards.dsns) as ledger:
        return await asyncio.gather(*(scenario.ask(ledger, crash.subject) for crash in crashes))


def _judge_answers(shards: TwoShards, scenario: Scenario, crashes: list[Crash], answers: list[str]) -> None:
    """The same key is answered as the books are, as the caller was told, and moves nothing twice."""
    funds = shards.funds()
    for crash, answer in zip(crashes, answers, strict=True):
        assert answer in scenario.ends, f"{crash}: then {answer}"
        expected = scenario.done if answer == views.POSTED else scenario.undone
        assert _pair(funds, crash.subject) == expected, crash
        if crash.life.answer in {views.POSTED, REFUSED}:
            assert answer == crash.life.answer, crash


def _pair(funds: dict[int, Funds], subject: Subject) -> Pair:
    payer, payee, *others = (
        funds.get(one, NOTHING) for one in (subject.payer, subject.payee, *subject.others)
    )
    return Pair(payer, payee, tuple(others))
