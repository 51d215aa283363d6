"""Places that tenants take turns at."""

import asyncio

import pytest

from tallystick import OverloadedError
from tallystick.domain import limits
from tallystick.ledger.turns import Turns

LOUD, QUIET = 1, 2


class Work:
    """What was done at the places, in order, and how much at once."""

    def __init__(self, places: int) -> None:
        self.turns = Turns(places, "a test")
        self.began: list[int] = []
        self.at_once = 0
        self.most_at_once = 0

    async def do(self, tenant: int) -> None:
        async with self.turns.turn(tenant):
            self.began.append(tenant)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            await asyncio.sleep(0.001)
            self.at_once -= 1


async def test_a_tenant_with_much_to_do_lets_another_in_between() -> None:
    work = Work(2)
    loud = [asyncio.create_task(work.do(LOUD)) for _ in range(40)]
    await asyncio.sleep(0)
    await work.do(QUIET)
    # The two that were at work, and a turn of the other's.
    assert work.began.index(QUIET) <= 4
    await asyncio.gather(*loud)
    assert (len(work.began), work.most_at_once) == (41, 2)


async def test_who_goes_away_takes_no_place_along() -> None:
    work = Work(1)
    for _ in range(20):
        tasks = [asyncio.create_task(work.do(LOUD)) for _ in range(10)]
        await asyncio.sleep(0.002)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    work.at_once = 0
    async with asyncio.timeout(1):
        await work.do(QUIET)


async def test_too_many_of_a_tenant_are_refused_at_once_and_another_is_not() -> None:
    work = Work(1)
    async with work.turns.turn(LOUD):
        loud = [asyncio.create_task(work.do(LOUD)) for _ in range(limits.TURNS_WAITING_PER_TENANT_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await work.do(LOUD)
        quiet = asyncio.create_task(work.do(QUIET))
        await asyncio.sleep(0)
    await asyncio.gather(quiet, *loud)


async def test_who_waits_too_long_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "READ_WAIT_SECONDS_MAX", 0.01)
    work = Work(1)
    async with work.turns.turn(LOUD):
        with pytest.raises(OverloadedError):
            await work.do(QUIET)
    await work.do(QUIET)
