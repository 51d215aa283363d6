"""Transactions with payees on two other shards, among others: driven twice at once, given up, with a shard away."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import pytest

from tallystick import Ledger
from tallystick.domain import limits
from tallystick.domain.accounts import AccountStatus
from tallystick.domain.sagas import SagaState, SagaStatus
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.verify.crossings import verify_crossings
from tests.crash.saga_scenarios import AMOUNT, START, Subject
from tests.crash.split_scenarios import pay, prepare, reserve_split
from tests.crash.two_shards import (
    FURTHER,
    HOME,
    Funds,
    ThreeShards,
    assert_whole_together,
    serving,
    set_status,
    shard_in,
    three_shards,
)
from tests.waiting import wait_for

SAGAS: Final = 60
LONG_SECONDS: Final = 60.0
NOTHING: Final = Funds(0, 0)


@pytest.fixture
def shards(postgres: EmbeddedPostgres) -> Iterator[ThreeShards]:
    """Whole in the end."""
    with three_shards(postgres) as shards:
        yield shards
        assert_whole_together(shards)


@pytest.fixture(autouse=True)
def recovery_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECOVERY_AGE_SECONDS", 0.2)
    monkeypatch.setattr(limits, "RECOVERY_INTERVAL_SECONDS", 0.1)


@asynccontextmanager
async def alone(dsns: dict[int, str]) -> AsyncIterator[Ledger]:
    """A ledger that drives only what the test drives."""
    async with serving(dsns, workers=False) as ledger:
        yield ledger


async def drive(ledger: Ledger, sagas: Sequence[SagaState], *, give_up: bool = False) -> list[SagaState]:
    driver = ledger._engine.crossings.driver(shard_in(ledger, HOME))
    states = await driver.drive(sagas, LONG_SECONDS, give_up=give_up)
    return [states[saga.saga] for saga in sagas]


def moved(funds: dict[int, Funds], subject: Subject) -> bool:
    """Whether all payees were paid; if not, none was. Nothing is held any more."""
    payer, *payees = (funds.get(one, NOTHING) for one in (subject.payer, subject.payee, *subject.others))
    if payer.balance == START:
        assert (payer.held, payees) == (0, [NOTHING, NOTHING])
        return False
    assert (payer, payees) == (Funds(START - 2 * AMOUNT, 0), [Funds(AMOUNT, 0), Funds(AMOUNT, 0)])
    return True


@pytest.mark.parametrize("give_up", [False, True], ids=["drives it too", "gives it up"])
async def test_two_drive_the_same_sagas_at_once(shards: ThreeShards, give_up: bool) -> None:
    async with alone(shards.dsns) as one, alone(shards.dsns) as other:
        subjects = await prepare(one, SAGAS)
        closed = [subject.others[0] for subject in subjects[::3]]
        sagas = [(await reserve_split(one, subject))[0] for subject in subjects]
        await set_status(one, FURTHER, closed, AccountStatus.CLOSED)
        ends, other_ends = await asyncio.gather(
            drive(one, sagas), drive(other, list(reversed(sagas)), give_up=give_up)
        )
    assert [end.status for end in ends] == [end.status for end in other_ends[::-1]]
    assert [end.refusal for end in ends] == [end.refusal for end in other_ends[::-1]]
    funds = shards.funds()
    for number, (subject, end) in enumerate(zip(subjects, ends, strict=True)):
        assert moved(funds, subject) == (end.status is SagaStatus.SETTLED)
        assert end.status is SagaStatus.RELEASED or number % 3


async def test_recoveries_end_what_nobody_drives(shards: ThreeShards) -> None:
    async with alone(shards.dsns) as ledger:
        subjects = await prepare(ledger, SAGAS)
        for subject in subjects:
            await reserve_split(ledger, subject)
    async with serving(shards.dsns), serving(shards.dsns):
        await asyncio.to_thread(wait_for, lambda: shards.open_sagas() == 0, "no saga is open")
    funds = shards.funds()
    assert all(moved(funds, subject) for subject in subjects)


async def test_what_one_shard_cannot_answer_waits_and_is_given_up_without_it(shards: ThreeShards) -> None:
    """Giving up is recorded while a shard is away; it goes on when that is there again."""
    async with alone(shards.dsns) as ledger:
        first, second = await prepare(ledger, 2)
        kept = (await reserve_split(ledger, first))[0]
        unwanted = (await reserve_split(ledger, second))[0]
    without = {number: dsn for number, dsn in shards.dsns.items() if number != FURTHER}
    async with alone(without) as ledger:
        assert [end.status for end in await drive(ledger, [kept])] == [SagaStatus.RESERVED]
        (end,) = await drive(ledger, [unwanted], give_up=True)
        assert end.status is SagaStatus.GIVEN_UP
    funds = shards.funds()
    assert funds[first.payee] == Funds(AMOUNT, AMOUNT)
    assert funds.get(first.others[0], NOTHING) == NOTHING
    assert (funds[first.payer].held, funds[second.payer].held) == (2 * AMOUNT, 2 * AMOUNT)
    async with alone(shards.dsns) as ledger:
        assert await pay(ledger, second) == "refused"
        assert await pay(ledger, first) == "posted"
    funds = shards.funds()
    assert (moved(funds, first), moved(funds, second)) == (True, False)


async def test_verifying_while_it_moves_raises_no_alarm(shards: ThreeShards) -> None:
    async with alone(shards.dsns) as ledger:
        subjects = await prepare(ledger, SAGAS)
        closed = [subject.others[0] for subject in subjects[::4]]
        await set_status(ledger, FURTHER, closed, AccountStatus.CLOSED)
        gate = asyncio.Semaphore(4)

        async def paid(subject: Subject) -> None:
            async with gate:
                await pay(ledger, subject)

        paying = asyncio.gather(*map(paid, subjects))
        rounds = 0
        while not paying.done() or not rounds:
            report = await asyncio.to_thread(verify_crossings, shards.dsns)
            assert report.ok, report.problems[:3]
            assert not any(pair.unexplained for pair in report.pairs)
            rounds += 1
        await paying
