"""One payer and payees on several other shards: one transaction, on real databases."""

from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import pytest
from tests.crash.databases import temporary_shards
from tests.crash.two_shards import account_name, fund, open_accounts, serving, set_status, shard_in

from tallystick import Ledger, RefusalCode, Refused, views
from tallystick.domain import limits
from tallystick.domain.accounts import AccountStatus
from tallystick.domain.identifiers import (
    Prefix,
    format_identifier,
    local_of,
    make_identifier,
    parse_identifier,
)
from tallystick.domain.sagas import SagaState
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.ledger.crossing.saga.split import SplitJourney
from tallystick.service.open_sagas import OpenSagas
from tallystick.verify.crossings import verify_crossings
from tallystick.verify.log import verify_shard

SHARDS = (1, 2, 3, 4)
FUNDS = 10_000


class World(NamedTuple):
    """A payer on shard 1, and a payee on each of the others."""

    ledger: Ledger
    payer: int
    payees: tuple[int, ...]
    dsns: dict[int, str]

    @property
    def entries(self) -> list[tuple[str, int]]:
        """What the payer pays to each payee: 100, 200, 300."""
        paid = [(account_name(payee), 100 * place) for place, payee in enumerate(self.payees, 1)]
        return [(account_name(self.payer), -sum(amount for _, amount in paid)), *paid]

    async def funds(self) -> list[tuple[int, int]]:
        """Balance and held of the payer and the payees."""
        found = [await self.ledger.account(account_name(one)) for one in (self.payer, *self.payees)]
        return [(one.balance, one.held) for one in found]


@pytest.fixture(scope="module")
def dsns(postgres: EmbeddedPostgres) -> Iterator[dict[int, str]]:
    with temporary_shards(postgres, SHARDS) as databases:
        yield {number: database.server_dsn for number, database in databases.items()}


@pytest.fixture
async def world(dsns: dict[int, str]) -> AsyncIterator[World]:
    async with serving(dsns, workers=False) as ledger:
        # Nothing is to be pending, however slow this machine is.
        ledger._engine.saga_wait_seconds = limits.SAGA_WAIT_SECONDS_MAX
        (payer,) = await open_accounts(ledger, 1, 1)
        payees = [(await open_accounts(ledger, number, 1))[0] for number in SHARDS[1:]]
        await fund(ledger, 1, [payer], FUNDS)
        yield World(ledger, payer, tuple(payees), dsns)
        for number, dsn in dsns.items():
            report = verify_shard(dsn, number)
            assert report.ok, report.problems
        crossings = verify_crossings(dsns)
        assert crossings.ok, crossings.problems


PAID = [(FUNDS - 600, 0), (100, 0), (200, 0), (300, 0)]
UNPAID = [(FUNDS, 0), (0, 0), (0, 0), (0, 0)]


async def test_all_payees_are_paid_once_however_often_it_is_asked_for(world: World) -> None:
    key = f"{world.payer} a"
    first = await world.ledger.post(world.entries, idempotency_key=key, description="shared")
    assert isinstance(first, views.Transaction)
    assert (first.state, first.kind, first.description) == ("posted", "transaction", "shared")
    assert [(entry.account, entry.amount) for entry in first.entries] == world.entries
    assert await world.ledger.post(world.entries, idempotency_key=key, description="shared") == first
    assert await world.ledger.transaction(first.id) == first
    assert await world.funds() == PAID


async def test_a_refusal_of_one_shard_gives_all_back(world: World) -> None:
    ledger, key = world.ledger, f"{world.payer} b"
    await set_status(ledger, 3, [world.payees[1]], AccountStatus.CLOSED)
    refused = await ledger.post(world.entries, idempotency_key=key)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.param) == (RefusalCode.ACCOUNT_CLOSED, "entries[2].account")
    assert await world.funds() == UNPAID
    await set_status(ledger, 3, [world.payees[1]], AccountStatus.OPEN)
    again = await ledger.post(world.entries, idempotency_key=key)
    assert isinstance(again, Refused)
    assert (again.code, again.param, again.detail) == (refused.code, refused.param, refused.detail)
    assert await world.funds() == UNPAID


async def test_what_is_promised_is_there_and_cannot_be_spent(world: World) -> None:
    ledger, key = world.ledger, f"{world.payer} c"
    last = shard_in(ledger, 4).batcher
    saga = await reserved_alone(world, key)
    journey = SplitJourney(1, saga, give_up=False)
    for number in (2, 3):
        (answer,) = await shard_in(ledger, number).batcher.submit([journey.command(number)])
        journey.follow(number, answer)
    assert await world.funds() == [(FUNDS, 600), (100, 100), (200, 200), (0, 0)]
    spent = await ledger.transfer(
        account_name(world.payees[0]), account_name(world.payer), 1, "USD", idempotency_key=f"{key} spend"
    )
    assert isinstance(spent, Refused)
    assert spent.code is RefusalCode.INSUFFICIENT_FUNDS
    assert last.available
    posted = await ledger.post(world.entries, idempotency_key=key)
    assert isinstance(posted, views.Transaction)
    assert posted.state == "posted"
    assert await world.funds() == PAID


async def test_an_operator_has_the_money_back(world: World) -> None:
    ledger, key = world.ledger, f"{world.payer} d"
    saga = await reserved_alone(world, key)
    journey = SplitJourney(1, saga, give_up=False)
    (answer,) = await shard_in(ledger, 2).batcher.submit([journey.command(2)])
    journey.follow(2, answer)
    sagas = OpenSagas(ledger._engine)
    name = format_identifier(Prefix.TRANSACTION, make_identifier(1, saga.saga))
    (found,), silent = await sagas.open()
    assert (found.id, found.stage, found.step, found.other_shards) == (name, "reserved", "promise", [2, 3, 4])
    assert not silent
    ended = await sagas.drive(name, give_up=True)
    assert (ended.stage, ended.step) == ("released", None)
    assert await world.funds() == UNPAID
    refused = await ledger.post(world.entries, idempotency_key=key)
    assert isinstance(refused, Refused)
    assert refused.code is RefusalCode.TRANSFER_CANCELLED


async def test_it_is_not_reversed_as_a_whole_and_the_refusal_says_what_to_do(world: World) -> None:
    ledger, key = world.ledger, f"{world.payer} e"
    posted = await ledger.post(world.entries, idempotency_key=key)
    assert isinstance(posted, views.Transaction)
    refused = await ledger.reverse(posted.id, idempotency_key=f"{key} reverse")
    assert isinstance(refused, Refused)
    assert refused.code is RefusalCode.TRANSACTION_NOT_REVERSIBLE
    assert "a transfer from each payee" in refused.detail
    for payee, amount in world.entries[1:]:
        back = await ledger.transfer(
            payee, account_name(world.payer), amount, "USD", idempotency_key=f"{key} {payee}"
        )
        assert isinstance(back, views.Transaction)
    assert await world.funds() == UNPAID


async def reserved_alone(world: World, key: str) -> SagaState:
    """Reserve, and have nothing drive it on."""
    driver = world.ledger._engine.crossings.driver(shard_in(world.ledger, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "begin", lambda *_, **__: None)
        pending = await world.ledger.post(world.entries, idempotency_key=key)
    assert isinstance(pending, views.Transaction)
    assert pending.state == "pending"
    position = local_of(parse_identifier(Prefix.TRANSACTION, pending.id))
    return (await shard_in(world.ledger, 1).reader.sagas([position]))[position]
