"""One key is one request's, whichever shards the payers live on: on two real databases."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import psycopg
import pytest
from tests.crash.two_shards import (
    AWAY,
    HOME,
    TENANT,
    TwoShards,
    account_name,
    assert_whole_together,
    fund,
    key_at_home_on,
    open_accounts,
    serving,
    shard_in,
    two_shards,
)

from tallystick import Ledger, RateLimitedError, RefusalCode, Refused, TransferRequest, views
from tallystick.domain import limits
from tallystick.domain.decide import NOTHING_DECIDED
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.service.rate_limits import RateLimits
from tallystick.service.refusal_budgets import RefusalBudgets
from tallystick.store.cache.rate_counters import RateCounters
from tallystick.store.queries import query

FUNDS = 1_000
SHARDS = (HOME, AWAY)


class World(NamedTuple):
    """A payer and a payee on each shard, who pays inside of it."""

    ledger: Ledger
    shards: TwoShards
    payers: dict[int, str]
    payees: dict[int, str]

    async def pay(self, shard: int, key: str, amount: int = 10) -> views.Transaction | Refused:
        return await self.ledger.transfer(
            self.payers[shard], self.payees[shard], amount, "USD", idempotency_key=key
        )

    async def paid(self) -> int:
        """What all payees got."""
        found = await self.ledger.balances(list(self.payees.values()), strong=True)
        return sum(balance.balance for balance in found.balances)

    def key_at_home_on(self, shard: int, name: str) -> str:
        """A key whose home is a shard."""
        return key_at_home_on(self.ledger, shard, name)


@pytest.fixture
async def world(postgres: EmbeddedPostgres) -> AsyncIterator[World]:
    with two_shards(postgres) as shards:
        async with serving(shards.dsns) as ledger:
            payers, payees = {}, {}
            for number in SHARDS:
                payer, payee = await open_accounts(ledger, number, 2)
                await fund(ledger, number, [payer], FUNDS)
                payers[number], payees[number] = account_name(payer), account_name(payee)
            yield World(ledger, shards, payers, payees)
        assert_whole_together(shards)


@pytest.mark.parametrize("home", SHARDS)
@pytest.mark.parametrize("first", SHARDS)
async def test_a_key_that_was_used_for_one_payer_is_refused_to_another(
    world: World, home: int, first: int
) -> None:
    key = world.key_at_home_on(home, "order")
    posted = await world.pay(first, key)
    assert isinstance(posted, views.Transaction)
    second = HOME + AWAY - first

    reused = await world.pay(second, key)

    assert isinstance(reused, Refused)
    assert (reused.code, reused.param) == (RefusalCode.IDEMPOTENCY_KEY_REUSED, "source")
    assert await world.pay(first, key) == posted
    assert await world.paid() == 10


@pytest.mark.parametrize("home", SHARDS)
async def test_of_many_at_once_with_one_key_one_is_posted(
    world: World, home: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow this machine is: a home that does not answer in time is passed over.
    monkeypatch.setattr(limits, "KEY_CLAIM_SECONDS_MAX", 30.0)
    key = world.key_at_home_on(home, "race")

    answers = await asyncio.gather(*(world.pay(SHARDS[number % 2], key) for number in range(60)))

    posted = {answer.id for answer in answers if isinstance(answer, views.Transaction)}
    assert len(posted) == 1
    refused = {answer.code for answer in answers if isinstance(answer, Refused)}
    assert refused == {RefusalCode.IDEMPOTENCY_KEY_REUSED}
    assert await world.paid() == 10


async def test_what_was_claimed_and_not_sent_can_still_be_sent(world: World) -> None:
    """A server may die between the two."""
    key = world.key_at_home_on(AWAY, "claimed")
    command = world.ledger._transfer_command(
        TransferRequest(world.payers[HOME], world.payees[HOME], 10, "USD", key), ""
    )
    claims = world.ledger._engine._key_claims
    assert await claims.claim(shard_in(world.ledger, HOME), [command]) == {}

    reused = await world.pay(AWAY, key)
    posted = await world.pay(HOME, key)

    assert isinstance(reused, Refused)
    assert isinstance(posted, views.Transaction)


async def test_a_refusal_is_the_answer_for_ever(world: World) -> None:
    key = world.key_at_home_on(AWAY, "too much")
    refused = await world.pay(HOME, key, FUNDS + 1)

    assert isinstance(refused, Refused)
    assert refused.code is RefusalCode.INSUFFICIENT_FUNDS
    again = await world.pay(HOME, key, FUNDS + 1)
    assert isinstance(again, Refused)
    assert again.replayed
    elsewhere = await world.pay(AWAY, key, FUNDS + 1)
    assert isinstance(elsewhere, Refused)
    assert elsewhere.code is RefusalCode.IDEMPOTENCY_KEY_REUSED


async def test_other_calls_than_transfers_claim_their_keys_too(world: World) -> None:
    key = world.key_at_home_on(AWAY, "hold")
    hold = await world.ledger.hold(world.payers[HOME], world.payees[HOME], 10, "USD", idempotency_key=key)
    assert isinstance(hold, views.Hold)

    reused = await world.pay(AWAY, key)

    assert isinstance(reused, Refused)
    assert (reused.code, reused.param) == (RefusalCode.IDEMPOTENCY_KEY_REUSED, "path")


async def test_in_a_list_only_the_one_whose_key_was_used_is_refused(world: World) -> None:
    used = world.key_at_home_on(HOME, "used")
    await world.pay(HOME, used)
    keys = [world.key_at_home_on(home, f"list {home}") for home in SHARDS]

    answers = await world.ledger.transfers(
        [
            TransferRequest(world.payers[AWAY], world.payees[AWAY], 10, "USD", key)
            for key in (keys[0], used, keys[1])
        ]
    )

    assert [isinstance(answer, views.Transaction) for answer in answers] == [True, False, True]
    assert isinstance(answers[1], Refused)
    assert answers[1].code is RefusalCode.IDEMPOTENCY_KEY_REUSED


async def test_a_group_of_which_a_key_was_used_is_refused_whole(world: World) -> None:
    used = world.key_at_home_on(HOME, "used")
    await world.pay(HOME, used)
    free = world.key_at_home_on(HOME, "free")
    group = [TransferRequest(world.payers[AWAY], world.payees[AWAY], 10, "USD", key) for key in (free, used)]

    for _ in range(2):
        answers = await world.ledger.transfers(group, atomic=True)

        assert [answer.code for answer in answers if isinstance(answer, Refused)] == [
            RefusalCode.ATOMIC_BATCH_REFUSED,
            RefusalCode.IDEMPOTENCY_KEY_REUSED,
        ]
    assert await world.paid() == 10


async def test_no_payer_waits_long_for_a_home_that_hangs(world: World) -> None:
    keys = [f"while it hangs {number}" for number in range(40)]
    loop = asyncio.get_running_loop()
    async with await psycopg.AsyncConnection.connect(world.shards.away.owner_dsn) as connection:
        # The lock of the shard: whatever is to be written there waits.
        await connection.execute(query("begin_batch").partition(";")[2].encode())
        started = loop.time()
        answers = [await world.pay(HOME, key) for key in keys]
        seconds = loop.time() - started
        assert all(isinstance(answer, views.Transaction) for answer in answers)
        # One of them waited; had each, this would be forty times as long.
        assert seconds < len(keys) / 4 * limits.KEY_CLAIM_SECONDS_MAX

    # What was to be claimed meanwhile is claimed now, and keys are claimed again.
    await asyncio.gather(*world.ledger._engine._key_claims._late[AWAY])
    key = world.key_at_home_on(AWAY, "after it hung")
    await world.pay(HOME, key)
    assert isinstance(await world.pay(AWAY, key), Refused)


async def test_a_request_is_answered_once_also_while_its_home_is_away(world: World) -> None:
    key = world.key_at_home_on(AWAY, "alone")
    await shard_in(world.ledger, AWAY).batcher.stop()

    first, second = await world.pay(HOME, key), await world.pay(HOME, key)

    assert isinstance(first, views.Transaction)
    assert first == second
    assert await world.paid() == 10


async def test_what_was_answered_while_its_home_was_away_has_the_same_answer_later(world: World) -> None:
    """Another request may claim the key in between. It is refused, and does not take the answer away."""
    key = world.key_at_home_on(AWAY, "alone")
    await shard_in(world.ledger, AWAY).batcher.stop()
    posted = await world.pay(HOME, key)
    async with serving(world.shards.dsns) as ledger:
        later = world._replace(ledger=ledger)

        other = await later.pay(HOME, key, 11)

        assert isinstance(other, Refused)
        assert (other.code, other.param) == (RefusalCode.IDEMPOTENCY_KEY_REUSED, "amount")
        assert await later.pay(HOME, key) == posted
    assert await world.paid() == 10


async def test_no_key_is_claimed_for_a_refusal_that_is_not_kept(world: World) -> None:
    """A claim is kept for ever, too: a flood of refusals would write it on the other shard."""
    posted = {home: await world.pay(HOME, world.key_at_home_on(home, "posted")) for home in SHARDS}
    budgets = world.ledger._engine.refusal_budgets
    budgets.committed(NOTHING_DECIDED._replace(refused_tenants=[TENANT] * 1_000_000))

    for home in SHARDS:
        key = world.key_at_home_on(home, "too many")
        claims_before = world.shards.requests()
        # What was answered before has the same answer still.
        assert await world.pay(HOME, world.key_at_home_on(home, "posted")) == posted[home]
        with pytest.raises(RateLimitedError) as told:
            await world.pay(HOME, key, FUNDS + 1)
        assert ("This one was not tried." in str(told.value)) is (home != HOME)
        many = [
            TransferRequest(
                world.payers[HOME], world.payees[HOME], FUNDS + 1, "USD", world.key_at_home_on(home, name)
            )
            for name in ("one", "two")
        ]
        for atomic in (False, True):
            answers = await world.ledger.transfers(many, atomic=atomic)
            assert {answer.code for answer in answers if isinstance(answer, Refused)} <= {
                RefusalCode.RATE_LIMITED,
                RefusalCode.ATOMIC_BATCH_REFUSED,
            }
        assert world.shards.requests() == claims_before
        # The key is free for another payer on another shard, when there is room again.
        world.ledger._engine.refusal_budgets = RefusalBudgets(RateLimits(RateCounters(None)))
        assert isinstance(await world.pay(AWAY, key), views.Transaction)
        world.ledger._engine.refusal_budgets = budgets
