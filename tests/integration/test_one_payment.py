"""What crosses shards has one identifier, by which it is read and reversed, as if it were inside one shard."""

import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple, TypeVar

import asyncpg
import pytest
from tests import engines
from tests.accounts import opened_on
from tests.crash.databases import ShardDatabase, temporary_shards

from tallystick import Ledger, RefusalCode, Refused, TransferRequest, views
from tallystick.domain import limits
from tallystick.domain.sagas import SagaTerms
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.ledger.errors import UnavailableError
from tallystick.service.engine import Engine

FUNDS = 1_000
FUNDING = "funding"
SHARDS = (1, 2)

Found = TypeVar("Found")


class Books(NamedTuple):
    """A wallet with funds, and whom it pays: on the same shard, or across."""

    ledger: Ledger
    payer: str
    payee: str
    crosses: bool

    async def stages(self) -> list[str]:
        """The identifiers of all lines that stand in the two histories."""
        lines = []
        for account in (self.payer, self.payee):
            lines += (await self.ledger.entries(account, stages=True)).items
        return [line.transaction for line in lines]


@pytest.fixture(scope="module")
def databases(postgres: EmbeddedPostgres) -> Iterator[dict[int, ShardDatabase]]:
    with temporary_shards(postgres, SHARDS) as databases:
        yield databases


@pytest.fixture(scope="module")
def dsns(databases: dict[int, ShardDatabase]) -> dict[int, str]:
    return {number: database.server_dsn for number, database in databases.items()}


@pytest.fixture(params=["inside", "saga", "two_phase"])
async def books(dsns: dict[int, str], request: pytest.FixtureRequest) -> AsyncIterator[Books]:
    way: str = "two_phase" if request.param == "two_phase" else "saga"
    async with engines.running(Engine(dsns, cross_shard=way)) as engine:
        # Nothing is to be pending, however slow this machine is.
        engine.saga_wait_seconds = limits.SAGA_WAIT_SECONDS_MAX
        yield await _books(engine, crosses=request.param != "inside")


async def _books(engine: Engine, *, crosses: bool) -> Books:
    ledger = Ledger(engine, 1)
    bank, payer = await opened_on(ledger, 1, "system"), await opened_on(ledger, 1, "wallet")
    payee = await opened_on(ledger, 2 if crosses else 1, "wallet")
    key = secrets.token_hex()
    posted(await ledger.transfer(bank, payer, FUNDS, "USD", idempotency_key=key, description=FUNDING))
    return Books(ledger, payer, payee, crosses)


def posted(answer: Found | Refused) -> Found:
    assert not isinstance(answer, Refused), answer
    return answer


async def paid(books: Books, amount: int) -> views.Transaction:
    key = secrets.token_hex()
    return posted(await books.ledger.transfer(books.payer, books.payee, amount, "USD", idempotency_key=key))


async def captured(books: Books, amount: int) -> tuple[views.Hold, views.Hold]:
    """A hold as it was placed, and as its capture left it."""
    ledger = books.ledger
    hold = posted(
        await ledger.hold(books.payer, books.payee, amount, "USD", idempotency_key=secrets.token_hex())
    )
    return hold, posted(await ledger.capture(hold.id, idempotency_key=secrets.token_hex()))


async def test_every_stage_names_the_payment(books: Books) -> None:
    (funding,) = await books.stages()
    payment = await paid(books, 30)
    for stage in await books.stages():
        if stage != funding:
            assert await books.ledger.transaction(stage) == payment


async def test_the_transaction_of_a_capture_is_reversed(books: Books) -> None:
    hold, capture = await captured(books, 40)
    ledger = books.ledger
    assert (await ledger.held(hold.id)).transaction == capture.transaction
    transaction = await ledger.transaction(capture.transaction)
    assert (transaction.id, transaction.kind) == (capture.transaction, "hold_captured")
    assert transaction.refers_to == hold.id
    back = posted(await ledger.reverse(capture.transaction, idempotency_key=secrets.token_hex()))
    assert (back.kind, back.refers_to) == ("reversal", capture.transaction)
    balances = [(await ledger.balance(account)).balance for account in (books.payer, books.payee)]
    assert balances == [FUNDS, 0]


async def test_each_stage_is_reversed_as_the_payment(books: Books) -> None:
    payment = await paid(books, 50)
    whole = 0
    for stage in await books.stages():
        if (await books.ledger.transaction(stage)).id != payment.id:
            continue
        back = posted(await books.ledger.reverse(stage, 5, idempotency_key=secrets.token_hex()))
        whole += 5
        assert back.refers_to == payment.id
    assert whole >= 10
    excess = await books.ledger.reverse(payment.id, 51 - whole, idempotency_key=secrets.token_hex())
    assert isinstance(excess, Refused)
    assert excess.code is RefusalCode.REVERSAL_EXCEEDS_ORIGINAL


async def test_a_reversal_names_the_payment_each_time(books: Books) -> None:
    """When it is answered, answered again, and read."""
    ledger = books.ledger
    payment = await paid(books, 60)
    key = secrets.token_hex()
    first = posted(await ledger.reverse(payment.id, 20, idempotency_key=key))
    assert first.refers_to == payment.id
    assert await ledger.reverse(payment.id, 20, idempotency_key=key) == first
    assert await ledger.transaction(first.id) == first


async def test_a_stage_of_a_reversal_cannot_be_reversed(books: Books) -> None:
    payment = await paid(books, 70)
    back = posted(await books.ledger.reverse(payment.id, idempotency_key=secrets.token_hex()))
    stages = [
        stage for stage in await books.stages() if (await books.ledger.transaction(stage)).id == back.id
    ]
    assert len(stages) >= 2
    for stage in stages:
        found = await books.ledger.reverse(stage, idempotency_key=secrets.token_hex())
        assert isinstance(found, Refused)
        assert found.code is RefusalCode.TRANSACTION_NOT_REVERSIBLE


async def told(books: Books, account: str) -> list[tuple[str, str, str | None, int, int]]:
    """What an account's history says of all that came after its funding, oldest first."""
    lines = (await books.ledger.entries(account)).items
    return [
        (line.kind, line.transaction, line.refers_to, line.amount, line.held)
        for line in reversed(lines)
        if line.description != FUNDING
    ]


async def test_a_history_has_one_line_for_each_payment(books: Books) -> None:
    ledger = books.ledger
    payment = await paid(books, 30)
    hold, capture = await captured(books, 40)
    back = posted(await ledger.reverse(capture.transaction, 15, idempotency_key=secrets.token_hex()))
    assert await told(books, books.payer) == [
        ("transfer", payment.id, None, -30, 0),
        ("hold_placed", hold.transaction, None, 0, 40),
        ("hold_captured", capture.transaction, hold.id, -40, -40),
        ("reversal", back.id, capture.transaction, 15, 0),
    ]
    assert await told(books, books.payee) == [
        ("transfer", payment.id, None, 30, 0),
        ("hold_captured", capture.transaction, hold.id, 40, 0),
        ("reversal", back.id, capture.transaction, -15, 0),
    ]


async def test_a_history_says_nothing_of_what_was_refused(books: Books) -> None:
    ledger = books.ledger
    posted(await ledger.change_account(books.payee, max_balance=10))
    hold = posted(await ledger.hold(books.payer, books.payee, 20, "USD", idempotency_key=secrets.token_hex()))
    for _ in range(5):
        refused = await ledger.transfer(
            books.payer, books.payee, 20, "USD", idempotency_key=secrets.token_hex()
        )
        assert isinstance(refused, Refused)
        assert isinstance(await ledger.capture(hold.id, idempotency_key=secrets.token_hex()), Refused)
    payment = await paid(books, 10)
    kinds = [line.kind for line in (await ledger.entries(books.payer)).items]
    assert kinds == ["transfer", "hold_placed", "transfer"]
    # A page is filled, however much came to nothing between its lines.
    first = await ledger.entries(books.payer, limit=2)
    assert [line.transaction for line in first.items] == [payment.id, hold.transaction]
    second = await ledger.entries(books.payer, limit=2, cursor=first.next_cursor)
    assert ([line.description for line in second.items], second.next_cursor) == ([FUNDING], None)


async def test_what_is_on_its_way_has_a_line(dsns: dict[int, str]) -> None:
    async with engines.running(Engine(dsns, recover=False)) as engine:
        ledger = Ledger(engine, 1)
        bank, payer = await opened_on(ledger, 1, "system"), await opened_on(ledger, 1, "wallet")
        payee = await opened_on(ledger, 2, "wallet")
        key = secrets.token_hex()
        posted(await ledger.transfer(bank, payer, FUNDS, "USD", idempotency_key=secrets.token_hex()))
        # It is reserved by a process that ends there.
        command = ledger._transfer_command(TransferRequest(payer, payee, 5, "USD", key), "")
        await engine.router.shard(command.source).batcher.submit([command])
        (line, _) = (await ledger.entries(payer)).items
        assert (line.kind, line.amount, line.held, line.held_after) == ("transfer", 0, 5, 5)
        payment = posted(await ledger.transfer(payer, payee, 5, "USD", idempotency_key=key))
        assert payment.state == "posted"
        (after, _) = (await ledger.entries(payer)).items
        assert (after.transaction, after.kind) == (payment.id, "transfer") == (line.transaction, line.kind)
        assert (after.amount, after.held, after.held_after) == (-5, 0, 0)


async def test_a_credit_of_an_earlier_version_is_told_by_the_payers_shard(
    databases: dict[int, ShardDatabase], dsns: dict[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As it was written before: neither the credit nor the terms say what was asked for.
    monkeypatch.setattr("tallystick.domain.rules.saga_steps.asked_of", lambda *_: None)
    monkeypatch.setattr("tallystick.domain.rules.transfers.SagaTerms", _terms_before)
    async with engines.running(Engine(dsns)) as engine:
        engine.saga_wait_seconds = limits.SAGA_WAIT_SECONDS_MAX
        books = await _books(engine, crosses=True)
        payment = await paid(books, 30)
        hold, capture = await captured(books, 40)
        back = posted(
            await books.ledger.reverse(capture.transaction, 15, idempotency_key=secrets.token_hex())
        )
        monkeypatch.undo()
        connection = await asyncpg.connect(databases[1].owner_dsn)
        try:
            async with connection.transaction():
                await connection.execute("LOCK TABLE transactions IN ACCESS EXCLUSIVE MODE")
                # It is waited for a while, and then what is known is said: that something was credited.
                assert await told(books, books.payee) == [
                    ("transfer_credited", payment.id, None, 30, 0),
                    ("transfer_credited", capture.transaction, None, 40, 0),
                    ("reversal", back.id, capture.transaction, -15, 0),
                ]
        finally:
            await connection.close()
        lines = [
            ("transfer", payment.id, None, 30, 0),
            ("hold_captured", capture.transaction, hold.id, 40, 0),
            ("reversal", back.id, capture.transaction, -15, 0),
        ]
        assert await told(books, books.payee) == lines
        assert (await told(books, books.payer))[-1] == ("reversal", back.id, capture.transaction, 15, 0)
        (event,) = (await books.ledger.events(accounts=[books.payee], kinds=["hold_captured"])).items
        assert (event.kind, event.transaction, event.refers_to) == (
            "hold_captured",
            capture.transaction,
            hold.id,
        )
    # One who has read nothing yet, and cannot ask the payer's shard.
    async with engines.running(Engine({2: dsns[2]})) as engine:
        alone = Books(Ledger(engine, 1), books.payer, books.payee, crosses=True)
        kinds = [line[0] for line in await told(alone, books.payee)]
        assert kinds == ["transfer_credited", "transfer_credited", "reversal"]
        # An event must never look otherwise than when it was first read: it is not told until it is known.
        with pytest.raises(UnavailableError):
            await alone.ledger.events(accounts=[books.payee], kinds=["hold_captured"])
        # What it cannot be is told all the same.
        assert (await alone.ledger.events(accounts=[books.payee], kinds=["hold_placed"])).items == []


async def test_the_payees_shard_alone_tells_what_was_asked_for(dsns: dict[int, str]) -> None:
    async with engines.running(Engine(dsns)) as engine:
        engine.saga_wait_seconds = limits.SAGA_WAIT_SECONDS_MAX
        books = await _books(engine, crosses=True)
        hold, capture = await captured(books, 40)
        back = posted(
            await books.ledger.reverse(capture.transaction, 15, idempotency_key=secrets.token_hex())
        )
    for shard, account, line in (
        (2, books.payee, ("hold_captured", capture.transaction, hold.id, 40, 0)),
        (1, books.payer, ("reversal", back.id, capture.transaction, 15, 0)),
    ):
        async with engines.running(Engine({shard: dsns[shard]})) as engine:
            alone = Books(Ledger(engine, 1), books.payer, books.payee, crosses=True)
            assert line in await told(alone, account)


def _terms_before(**terms: Any) -> SagaTerms:
    return SagaTerms(**(terms | {"reverses": None}))


async def test_a_stage_is_read_as_it_is_when_it_is_asked_for(books: Books) -> None:
    payment = await paid(books, 80)
    (line, *_) = (await books.ledger.entries(books.payee, stages=True)).items
    stage = await books.ledger.transaction(line.transaction, stages=True)
    assert (stage.id, stage.kind) == (line.transaction, line.kind)
    assert (stage.id == payment.id) is not books.crosses


async def heard(books: Books, *kinds: str, stages: bool = False) -> list[views.Event]:
    """What the change feeds say of the payer, then of the payee, but for what is told of both at once."""
    found: dict[tuple[int, int], views.Event] = {}
    for account in (books.payer, books.payee):
        page = await books.ledger.events(accounts=[account], kinds=kinds, stages=stages)
        found |= {(event.shard, event.position): event for event in page.items}
    return [event for event in found.values() if event.description != FUNDING and event.account is None]


async def test_the_feed_tells_each_accounts_part_of_a_payment_once(books: Books) -> None:
    ledger = books.ledger
    payment = await paid(books, 30)
    hold, capture = await captured(books, 40)
    back = posted(await ledger.reverse(capture.transaction, 15, idempotency_key=secrets.token_hex()))
    for kind, identifier, refers_to, parts in (
        ("transfer", payment.id, None, [(books.payer, -30, 0), (books.payee, 30, 0)]),
        ("hold_captured", capture.transaction, hold.id, [(books.payer, -40, -40), (books.payee, 40, 0)]),
        ("reversal", back.id, capture.transaction, [(books.payer, 15, 0), (books.payee, -15, 0)]),
    ):
        told = await heard(books, kind)
        assert len(told) == 1 + books.crosses
        assert {(event.kind, event.transaction, event.refers_to) for event in told} == {
            (kind, identifier, refers_to)
        }
        entries = [(one.account, one.amount, one.held) for event in told for one in event.entries]
        assert sorted(entries) == sorted(parts)
        holds = {event.hold.transaction for event in told if event.hold is not None}
        assert holds == ({identifier} if kind == "hold_captured" else set())
    assert {event.kind for event in await heard(books)} == {
        "transfer", "hold_placed", "hold_captured", "reversal",
    }  # fmt: skip


async def test_the_feed_tells_stages_to_who_asks_for_them(books: Books) -> None:
    payment = await paid(books, 30)
    told = {event.transaction: event.kind for event in await heard(books, stages=True)}
    assert len(told) > 1 if books.crosses else len(told) == 1
    for stage, kind in told.items():
        assert (await books.ledger.transaction(stage, stages=True)).id == stage
        assert (kind == "transfer") is not books.crosses
        assert (await books.ledger.transaction(stage)).id == payment.id


async def test_a_hold_is_as_before_when_its_capture_was_refused(books: Books) -> None:
    ledger = books.ledger
    posted(await ledger.change_account(books.payee, max_balance=10))
    hold = posted(await ledger.hold(books.payer, books.payee, 50, "USD", idempotency_key=secrets.token_hex()))
    for captured_before in (False, True):
        if captured_before:
            posted(await ledger.capture(hold.id, 10, idempotency_key=secrets.token_hex()))
        before = await ledger.held(hold.id)
        for _ in range(2):
            refused = await ledger.capture(hold.id, 20, idempotency_key=secrets.token_hex())
            assert isinstance(refused, Refused)
        after = await ledger.held(hold.id)
        assert (after.transaction, after.status, after.remaining) == (
            before.transaction,
            "open",
            before.remaining,
        )
    assert [event.kind for event in await heard(books)] == ["hold_placed", "hold_captured"] + [
        "hold_captured"
    ] * books.crosses
