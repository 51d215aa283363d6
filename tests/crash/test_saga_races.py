"""Sagas among others: driven twice at once, given up as they go, between accounts that change, with shards lost.

Each test shows what is asked beside what the books say then.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import psycopg
import pytest
from structlog.testing import capture_logs

from tallystick import Ledger, RefusalCode, Refused, UnavailableError, views
from tallystick.domain import limits
from tallystick.domain.accounts import AccountStatus
from tallystick.domain.commands import ChangeAccount
from tallystick.domain.sagas import SagaState, SagaStatus
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.ledger.crossing.saga.steps import SagaDriver
from tests.crash.cutting_proxy import CuttingProxy, Moment
from tests.crash.databases import one_value, temporary_server
from tests.crash.two_shards import (
    AWAY,
    HOME,
    OPEN_SAGAS,
    Funds,
    TwoShards,
    account_name,
    assert_whole_together,
    fund,
    open_accounts,
    reserve,
    serving,
    set_status,
    shard_in,
    two_shards,
)
from tests.waiting import WAIT_SECONDS_MAX, wait_for

START: Final = 1_000
AMOUNT: Final = 100
SAGAS: Final = 300
LONG_SECONDS: Final = 30.0

Answer = views.Transaction | Refused


@pytest.fixture
def shards(shards: TwoShards) -> Iterator[TwoShards]:
    """As they are everywhere, and whole in the end."""
    yield shards
    assert_whole_together(shards)


@pytest.fixture(autouse=True)
def recovery_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECOVERY_AGE_SECONDS", 0.2)
    monkeypatch.setattr(limits, "RECOVERY_INTERVAL_SECONDS", 0.1)


@asynccontextmanager
async def without_recovery(shards: TwoShards, **dsns: str) -> AsyncIterator[Ledger]:
    """A ledger that drives only what the test drives; `away` names another way to shard 2."""
    async with serving(
        shards.dsns | {AWAY: dsns.get("away", shards.away.server_dsn)}, workers=False
    ) as ledger:
        yield ledger


async def open_pairs(ledger: Ledger, count: int, *, payee_max: int | None = None) -> list[tuple[int, int]]:
    """Payers on shard 1 with 1,000 cents each, and payees on shard 2 with nothing."""
    payers = await open_accounts(ledger, HOME, count)
    payees = await open_accounts(ledger, AWAY, count, max_balance=payee_max)
    await fund(ledger, HOME, payers, START)
    return list(zip(payers, payees, strict=True))


def driver_of(ledger: Ledger) -> SagaDriver:
    return ledger._engine.crossings.driver(shard_in(ledger, HOME))


async def drive(ledger: Ledger, sagas: list[SagaState], *, give_up: bool = False) -> list[SagaState]:
    states = await driver_of(ledger).drive(sagas, LONG_SECONDS, give_up=give_up)
    return [states[saga.saga] for saga in sagas]


async def pay(ledger: Ledger, source: int, destination: int, amount: int, key: str) -> Answer:
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        return await ledger.transfer(
            account_name(source), account_name(destination), amount, "USD", idempotency_key=key
        )


async def until_closed(shards: TwoShards) -> None:
    await asyncio.to_thread(wait_for, lambda: shards.open_sagas() == 0, "no saga is open")


async def reached(moment_reached: asyncio.Event) -> None:
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        await moment_reached.wait()


def moved(funds: dict[int, Funds], pair: tuple[int, int]) -> int:
    """What went from payer to payee; nothing of it may be held any more."""
    payer, payee = funds[pair[0]], funds.get(pair[1], Funds(0, 0))
    assert payer.held == payee.held == 0
    assert payer.balance + payee.balance == START
    return payee.balance


# Several drivers.


@pytest.mark.parametrize("give_up", [False, True], ids=["drives it too", "gives it up"])
async def test_two_drive_the_same_sagas_at_once(shards: TwoShards, give_up: bool) -> None:
    async with without_recovery(shards) as one, without_recovery(shards) as other:
        pairs = await open_pairs(one, SAGAS)
        await set_status(one, AWAY, [payee for _, payee in pairs[::3]], AccountStatus.CLOSED)
        sagas = await reserve(one, pairs, AMOUNT, "pay")
        ends, other_ends = await asyncio.gather(
            drive(one, sagas), drive(other, list(reversed(sagas)), give_up=give_up)
        )
        assert ends == other_ends[::-1], "both say the same of each"
        assert not [saga for saga in ends if saga.status is SagaStatus.RESERVED]
    funds = shards.funds()
    for number, (pair, end) in enumerate(zip(pairs, ends, strict=True)):
        assert moved(funds, pair) == (AMOUNT if end.status is SagaStatus.FINALIZED else 0)
        assert end.status is SagaStatus.RELEASED or number % 3


async def test_two_recoveries_find_the_same_sagas(shards: TwoShards) -> None:
    async with without_recovery(shards) as ledger:
        pairs = await open_pairs(ledger, SAGAS)
        await reserve(ledger, pairs, AMOUNT, "pay")
    async with serving(shards.dsns) as one, serving(shards.dsns):
        await until_closed(shards)
        answers = await asyncio.gather(
            *(pay(one, payer, payee, AMOUNT, f"pay {payer}") for payer, payee in pairs)
        )
    assert {answer.state for answer in answers if isinstance(answer, views.Transaction)} == {views.POSTED}
    funds = shards.funds()
    assert {moved(funds, pair) for pair in pairs} == {AMOUNT}


async def test_a_shard_that_cannot_be_read_keeps_no_other_from_its_recovery(shards: TwoShards) -> None:
    async with serving(shards.dsns) as ledger:
        pairs = await open_pairs(ledger, 1)
        with psycopg.connect(shards.away.owner_dsn) as connection:
            connection.execute("LOCK TABLE sagas IN ACCESS EXCLUSIVE MODE")
            # The look for sagas of the second shard stands still.
            await asyncio.sleep(1)
            await reserve(ledger, pairs, AMOUNT, "pay")
            deadline = time.monotonic() + limits.STATEMENT_TIMEOUT_MS / 1000 / 2
            while one_value(shards.home.owner_dsn, OPEN_SAGAS):
                assert time.monotonic() < deadline, "the saga is open still"
                await asyncio.sleep(0.1)
    assert moved(shards.funds(), pairs[0]) == AMOUNT


class UnexpectedError(Exception):
    """Nobody thought of it."""


async def test_a_driver_that_fails_says_pending_and_another_one_goes_on(
    shards: TwoShards, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was reserved is neither posted nor refused for a bug in who drives it, and an operator hears of it."""

    async def fail(*_: object, **__: object) -> None:
        raise UnexpectedError

    async with without_recovery(shards) as ledger:
        ((payer, payee),) = await open_pairs(ledger, 1)
        monkeypatch.setattr(SagaDriver, "_take", fail)
        with capture_logs() as logs:
            pending = await pay(ledger, payer, payee, AMOUNT, "pay")
        assert isinstance(pending, views.Transaction)
        assert pending.state == views.PENDING
        assert [log["event"] for log in logs if log["event"].startswith("ALARM")]
        monkeypatch.undo()
        posted = await pay(ledger, payer, payee, AMOUNT, "pay")
        # One that a driver failed with rests for a moment before it is tried again.
        deadline = time.monotonic() + LONG_SECONDS
        while isinstance(posted, views.Transaction) and posted.state == views.PENDING:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
            posted = await pay(ledger, payer, payee, AMOUNT, "pay")
        assert isinstance(posted, views.Transaction)
        assert (posted.id, posted.state) == (pending.id, views.POSTED)
    assert moved(shards.funds(), (payer, payee)) == AMOUNT


# Giving up, while the credit is on its way.


@pytest.mark.parametrize("moment", [Moment.BEGIN, Moment.COMMIT, Moment.COMMITTED])
async def test_a_saga_is_given_up_while_its_credit_is_on_its_way(shards: TwoShards, moment: Moment) -> None:
    """Whichever comes first is what both find: the refusal, and the late credit does nothing; or the credit."""
    credited = moment is not Moment.BEGIN
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(CuttingProxy(shards.away.server_dsn))
        slow = await stack.enter_async_context(without_recovery(shards, away=proxy.dsn))
        operator = await stack.enter_async_context(without_recovery(shards))
        pairs = await open_pairs(operator, 1)
        sagas = await reserve(operator, pairs, AMOUNT, "pay")
        stop = proxy.stop_at(moment)
        driving = asyncio.create_task(drive(slow, sagas))
        await reached(stop.reached)
        giving_up = asyncio.create_task(drive(operator, sagas, give_up=True))
        if not credited:
            await giving_up
        stop.pass_on()
        (end,), (other_end,) = await asyncio.gather(driving, giving_up)
    assert end == other_end
    assert end.status is (SagaStatus.FINALIZED if credited else SagaStatus.RELEASED)
    assert moved(shards.funds(), pairs[0]) == (AMOUNT if credited else 0)
    if not credited:
        assert end.refusal is not None
        assert end.refusal.code is RefusalCode.TRANSFER_CANCELLED
        async with serving(shards.dsns) as ledger:
            payer, payee = pairs[0]
            answer = await pay(ledger, payer, payee, AMOUNT, f"pay {payer}")
        assert isinstance(answer, Refused)
        assert answer.code is RefusalCode.TRANSFER_CANCELLED


# Accounts change between the steps.


async def test_accounts_that_are_frozen_after_the_reservation(shards: TwoShards) -> None:
    """Money may come into a frozen account, and what was reserved before may leave one."""
    async with without_recovery(shards) as ledger:
        pairs = await open_pairs(ledger, 2)
        sagas = await reserve(ledger, pairs, AMOUNT, "pay")
        await set_status(ledger, HOME, [pairs[0][0]], AccountStatus.FROZEN)
        await set_status(ledger, AWAY, [pairs[1][1]], AccountStatus.FROZEN)
        ends = await drive(ledger, sagas)
    assert [end.status for end in ends] == [SagaStatus.FINALIZED] * 2
    assert [moved(shards.funds(), pair) for pair in pairs] == [AMOUNT] * 2


async def test_a_payee_that_is_closed_after_the_reservation(shards: TwoShards) -> None:
    """The money goes back, even to an account that was frozen since; and the same key is answered so for ever."""
    async with without_recovery(shards) as ledger:
        pairs = await open_pairs(ledger, 1)
        ((payer, payee),) = pairs
        sagas = await reserve(ledger, pairs, AMOUNT, "pay")
        await set_status(ledger, AWAY, [payee], AccountStatus.CLOSED)
        await set_status(ledger, HOME, [payer], AccountStatus.FROZEN)
        (end,) = await drive(ledger, sagas)
        assert end.status is SagaStatus.RELEASED
        await set_status(ledger, AWAY, [payee], AccountStatus.OPEN)
        await set_status(ledger, HOME, [payer], AccountStatus.OPEN)
        answer = await pay(ledger, payer, payee, AMOUNT, f"pay {payer}")
    assert isinstance(answer, Refused)
    assert answer.code is RefusalCode.ACCOUNT_CLOSED
    assert moved(shards.funds(), (payer, payee)) == 0


async def test_a_payee_that_is_closed_after_the_credit(shards: TwoShards) -> None:
    """It was paid, and its money was sent on before it was closed: the payer's side ends all the same."""
    async with without_recovery(shards) as ledger, without_recovery(shards) as other:
        pairs = await open_pairs(ledger, 1)
        ((payer, payee),) = pairs
        sagas = await reserve(ledger, pairs, AMOUNT, "pay")
        # Its driver is gone when the credit is there.
        home = shard_in(other, HOME).batcher
        await home.stop()
        await drive(other, sagas)
        assert shards.funds()[payee] == Funds(AMOUNT, 0)
        (collector,) = await open_accounts(ledger, AWAY, 1)
        await pay(ledger, payee, collector, AMOUNT, "sent on")
        await set_status(ledger, AWAY, [payee], AccountStatus.CLOSED)
        (end,) = await drive(ledger, sagas)
    assert end.status is SagaStatus.FINALIZED
    assert shards.funds()[payer] == Funds(START - AMOUNT, 0)
    assert shards.funds()[collector] == Funds(AMOUNT, 0)


async def test_a_payer_cannot_be_closed_while_its_money_is_on_its_way(shards: TwoShards) -> None:
    async with without_recovery(shards) as ledger:
        pairs = await open_pairs(ledger, 1)
        sagas = await reserve(ledger, pairs, START, "pay")
        closing = ChangeAccount(tenant=1, account=pairs[0][0], status=AccountStatus.CLOSED)
        (answer,) = await shard_in(ledger, HOME).batcher.submit([closing])
        assert isinstance(answer.outcome, Refused)
        await drive(ledger, sagas)
        await set_status(ledger, HOME, [pairs[0][0]], AccountStatus.CLOSED)
    assert moved(shards.funds(), pairs[0]) == START


async def test_a_receiver_at_its_limit(shards: TwoShards) -> None:
    """Room for two of five: two are posted, the others get their money back and are told why."""
    async with serving(shards.dsns) as ledger:
        payers = await open_accounts(ledger, HOME, 5)
        await fund(ledger, HOME, payers, START)
        (payee,) = await open_accounts(ledger, AWAY, 1, max_balance=2 * AMOUNT + 1)
        answers = await asyncio.gather(
            *(pay(ledger, payer, payee, AMOUNT, f"pay {payer}") for payer in payers)
        )
    refused = [answer for answer in answers if isinstance(answer, Refused)]
    assert [answer.code for answer in refused] == [RefusalCode.BALANCE_LIMIT_EXCEEDED] * 3
    funds = shards.funds()
    assert funds[payee] == Funds(2 * AMOUNT, 0)
    for payer, answer in zip(payers, answers, strict=True):
        assert funds[payer] == Funds(START if isinstance(answer, Refused) else START - AMOUNT, 0)


async def test_both_directions_at_once_between_two_accounts(shards: TwoShards) -> None:
    """Each has enough for ten and pays twenty times: what comes in meanwhile may be sent back."""
    async with serving(shards.dsns) as ledger:
        (here,) = await open_accounts(ledger, HOME, 1)
        (there,) = await open_accounts(ledger, AWAY, 1)
        await fund(ledger, HOME, [here], START)
        await fund(ledger, AWAY, [there], START)
        answers = await asyncio.gather(
            *(pay(ledger, here, there, AMOUNT, f"out {number}") for number in range(20)),
            *(pay(ledger, there, here, AMOUNT, f"back {number}") for number in range(20)),
        )
    posted = [isinstance(answer, views.Transaction) for answer in answers]
    codes = {answer.code for answer in answers if isinstance(answer, Refused)}
    assert codes <= {RefusalCode.INSUFFICIENT_FUNDS}
    net = (sum(posted[20:]) - sum(posted[:20])) * AMOUNT
    assert sum(posted) >= 20
    funds = shards.funds()
    assert (funds[here], funds[there]) == (Funds(START + net, 0), Funds(START - net, 0))


# A shard that is slow or lost.


async def test_what_takes_long_is_pending_until_it_is_posted(shards: TwoShards) -> None:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(CuttingProxy(shards.away.server_dsn))
        ledger = await stack.enter_async_context(serving({HOME: shards.home.server_dsn, AWAY: proxy.dsn}))
        ledger._engine.saga_wait_seconds = 0.3
        ((payer, payee),) = await open_pairs(ledger, 1)
        stop = proxy.stop_at(Moment.BEGIN)
        pending = await pay(ledger, payer, payee, AMOUNT, "pay")
        assert isinstance(pending, views.Transaction)
        assert pending.state == views.PENDING
        assert await pay(ledger, payer, payee, AMOUNT, "pay") == pending
        assert await ledger.transaction(pending.id) == pending
        stop.pass_on()
        await until_closed(shards)
        posted = await pay(ledger, payer, payee, AMOUNT, "pay")
        assert isinstance(posted, views.Transaction)
        assert (posted.id, posted.state) == (pending.id, views.POSTED)
        assert await ledger.transaction(pending.id) == posted
    assert moved(shards.funds(), (payer, payee)) == AMOUNT


@pytest.mark.timeout(240)
async def test_the_other_shard_is_lost_between_reserve_and_credit(postgres: EmbeddedPostgres) -> None:
    with temporary_server() as other_server, two_shards(postgres, other_server) as shards:
        async with AsyncExitStack() as stack:
            proxy = await stack.enter_async_context(CuttingProxy(shards.away.server_dsn))
            ledger = await stack.enter_async_context(serving({HOME: shards.home.server_dsn, AWAY: proxy.dsn}))
            ledger._engine.saga_wait_seconds = 0.5
            pairs = await open_pairs(ledger, 3)
            (payer, payee), (neighbour, _), (late_payer, late_payee) = pairs
            stop = proxy.stop_at(Moment.BEGIN)
            paying = asyncio.create_task(pay(ledger, payer, payee, AMOUNT, "pay"))
            await reached(stop.reached)
            await asyncio.to_thread(other_server.kill)
            stop.cut()
            pending = await paying
            assert isinstance(pending, views.Transaction)
            assert pending.state == views.PENDING

            await asyncio.to_thread(
                wait_for, lambda: not shard_in(ledger, AWAY).batcher.available, "the loss was noticed"
            )
            reserved = sagas_of(shards)
            with pytest.raises(UnavailableError):
                await pay(ledger, late_payer, late_payee, AMOUNT, "late")
            assert sagas_of(shards) == reserved == 1, "nothing was reserved that could not be credited"
            # The shard that is there goes on.
            inside = await pay(ledger, payer, neighbour, 1, "inside")
            assert isinstance(inside, views.Transaction)
            assert inside.state == views.POSTED
            balance = await ledger.balance(account_name(payer))
            assert isinstance(balance, views.Balance)
            assert (balance.balance, balance.held) == (START - 1, AMOUNT)

            await asyncio.to_thread(other_server.start)
            await until_closed(shards)
            posted = await pay(ledger, payer, payee, AMOUNT, "pay")
            assert isinstance(posted, views.Transaction)
            assert (posted.id, posted.state) == (pending.id, views.POSTED)
            answer = await pay(ledger, late_payer, late_payee, AMOUNT, "late")
            assert isinstance(answer, views.Transaction)
        assert shards.funds()[payee] == shards.funds()[late_payee] == Funds(AMOUNT, 0)
        assert_whole_together(shards)


def sagas_of(shards: TwoShards) -> int:
    return one_value(shards.home.owner_dsn, "SELECT count(*) FROM sagas WHERE status = 1")
