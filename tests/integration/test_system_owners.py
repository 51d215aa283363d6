"""System owners on two real shards: wherever buyer and seller live, a fee and an exchange need no luck."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count, product
from typing import Final, NamedTuple

import pytest
from tests import engines
from tests.crash.databases import temporary_shards

from tallystick import Ledger, RefusalCode, Refused, TransferRequest, views
from tallystick.domain import limits
from tallystick.domain.identifiers import Prefix, parse_identifier, shard_of
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.service.engine import Engine
from tallystick.service.errors import ParameterError
from tallystick.verify.crossings import verify_crossings
from tallystick.verify.log import verify_shard

SHARDS: Final = (1, 2)
WAYS: Final[tuple[str, str]] = ("saga", "two_phase")
FUNDS: Final = 10_000
_numbers = count(1)


class Books(NamedTuple):
    """Two shards with nothing in them, and how to reach them."""

    dsns: dict[int, str]


class Customer(NamedTuple):
    """A wallet of two currencies on one shard."""

    usd: str
    eur: str


@pytest.fixture
def books(postgres: EmbeddedPostgres) -> Iterator[Books]:
    with temporary_shards(postgres, SHARDS) as databases:
        yield Books({shard: database.owner_dsn for shard, database in databases.items()})


@asynccontextmanager
async def running(books: Books, way: str = "saga") -> AsyncIterator[Ledger]:
    async with engines.running(Engine(books.dsns, cross_shard=way)) as engine:
        # Nothing is to be pending, however slow this machine is.
        engine.saga_wait_seconds = limits.SAGA_WAIT_SECONDS_MAX
        yield Ledger(engine, 1)


async def customer(ledger: Ledger, shard: int) -> Customer:
    """A new customer who lives on a shard, with 100.00 in each currency that came from `@bank-in`."""
    while True:
        owner = f"customer {next(_numbers)}"
        wallets = [await ledger.open_account(owner, asset) for asset in ("USD", "EUR")]
        usd, eur = (wallet.id for wallet in wallets if isinstance(wallet, views.Account))
        if home(usd) == shard:
            for wallet, asset in ((usd, "USD"), (eur, "EUR")):
                await posted(
                    ledger.transfer("@bank-in", wallet, FUNDS, asset, idempotency_key=f"funds {wallet}")
                )
            return Customer(usd, eur)


def home(account: str) -> int:
    return shard_of(parse_identifier(Prefix.ACCOUNT, account))


async def posted(answer: object) -> views.Transaction:
    found = await answer  # type: ignore[misc]  # whatever call it is
    assert isinstance(found, views.Transaction), found
    assert found.state == "posted"
    return found


async def balance(ledger: Ledger, account: str) -> int:
    state = await ledger.account(account)
    assert isinstance(state, views.Account)
    return state.balance


async def of_owner(ledger: Ledger, owner: str) -> list[views.Account]:
    return list((await ledger.accounts(owner)).items)


async def verified(books: Books) -> None:
    """Nothing is wrong with any shard, nor between them."""
    for shard, dsn in books.dsns.items():
        report = await asyncio.to_thread(verify_shard, dsn, shard)
        assert not report.problems, report
    crossings = await asyncio.to_thread(verify_crossings, books.dsns)
    assert not crossings.problems, crossings


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
async def test_fee_and_exchange_work_wherever_buyer_and_seller_live(books: Books, way: str) -> None:
    async with running(books, way) as ledger:
        for buyer_shard, seller_shard in product(SHARDS, SHARDS):
            buyer, seller = await customer(ledger, buyer_shard), await customer(ledger, seller_shard)
            name = f"{buyer_shard} pays {seller_shard}"
            sale = await posted(
                ledger.post(
                    [(buyer.usd, -1_000), (seller.usd, 975), ("@fees", 25, "USD")],
                    idempotency_key=f"{name} sale",
                )
            )
            (fee,) = [entry.account for entry in sale.entries if entry.amount == 25]
            assert home(fee) == seller_shard
            exchange = await posted(
                ledger.post(
                    [
                        (buyer.usd, -1_000),
                        ("@fx", 1_000, "USD"),
                        ("@fx", -900, "EUR"),
                        (seller.eur, 900),
                    ],
                    idempotency_key=f"{name} exchange",
                )
            )
            again = await posted(
                ledger.post(
                    [
                        (buyer.usd, -1_000),
                        ("@fx", 1_000, "USD"),
                        ("@fx", -900, "EUR"),
                        (seller.eur, 900),
                    ],
                    idempotency_key=f"{name} exchange",
                )
            )
            assert again == exchange
            assert await balance(ledger, buyer.usd) == FUNDS - 2_000
            assert (await balance(ledger, seller.usd), await balance(ledger, seller.eur)) == (
                FUNDS + 975,
                FUNDS + 900,
            )
        fees = await of_owner(ledger, "@fees")
        assert [(one.shard, one.kind, one.asset, one.balance) for one in fees] == [
            (1, "system", "USD", 50),
            (2, "system", "USD", 50),
        ]
        assert {(one.shard, one.asset) for one in await of_owner(ledger, "@fx")} == set(
            product(SHARDS, ("USD", "EUR"))
        )
        totals = await ledger.system_owner_balances("@fx")
        assert [(one.asset, one.balance, one.available, one.accounts) for one in totals.balances] == [
            ("EUR", -3_600, -3_600, 2),
            ("USD", 4_000, 4_000, 2),
        ]
    await verified(books)


async def test_an_account_is_opened_once_by_all_who_need_it_at_once(books: Books) -> None:
    async with running(books) as one, running(books) as two:
        wallet = (await customer(one, 1)).usd
        await asyncio.gather(
            *(
                posted(ledger.transfer(wallet, "@fees", 1, "USD", idempotency_key=f"fee {number}"))
                for number in range(40)
                for ledger in (one, two)
            )
        )
        assert [(fees.balance, fees.shard) for fees in await of_owner(one, "@fees")] == [(40, 1)]
    await verified(books)


async def test_pages_go_over_all_shards(books: Books) -> None:
    async with running(books) as ledger:
        for shard in SHARDS:
            wallet = await customer(ledger, shard)
            for one, asset in ((wallet.usd, "USD"), (wallet.eur, "EUR")):
                await posted(ledger.transfer(one, "@fees", 1, asset, idempotency_key=f"fee {one}"))
        whole = await of_owner(ledger, "@fees")
        assert len(whole) == 4
        read: list[views.Account] = []
        cursor: str | None = None
        while True:
            page = await ledger.accounts("@fees", cursor=cursor, limit=1)
            read += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        assert read == whole


async def test_what_is_refused_opens_nothing(books: Books) -> None:
    async with running(books) as ledger:
        wallet = (await customer(ledger, 1)).usd
        refused = [
            await ledger.transfer(wallet, "@fees", FUNDS + 1, "USD", idempotency_key="too much"),
            await ledger.transfer(wallet, "@fees", 1, "EUR", idempotency_key="other asset"),
            await ledger.transfer("@fees", "@fees", 1, "USD", idempotency_key="to itself"),
            await ledger.hold(wallet, "@fees", FUNDS + 1, "USD", idempotency_key="hold"),
            await ledger.post(
                [("@fees", 1, "USD"), ("@fees", 1, "USD"), (wallet, -2)], idempotency_key="named twice"
            ),
        ]
        assert [one.code for one in refused if isinstance(one, Refused)] == [
            RefusalCode.INSUFFICIENT_FUNDS,
            RefusalCode.ASSET_MISMATCH,
            RefusalCode.SAME_ACCOUNT,
            RefusalCode.INSUFFICIENT_FUNDS,
            RefusalCode.SAME_ACCOUNT,
        ]
        group = [
            TransferRequest(wallet, "@fees", 1, "USD", "a"),
            TransferRequest(wallet, "@fees", FUNDS, "USD", "b"),
        ]
        assert all(isinstance(one, Refused) for one in await ledger.transfers(group, atomic=True))
        with pytest.raises(ParameterError):
            await ledger.transfer("@bank-in", "@fees", 1, "NOASSET", idempotency_key="no asset")
        assert await of_owner(ledger, "@fees") == []
    await verified(books)


async def test_a_key_is_bound_to_what_the_caller_said(books: Books) -> None:
    async with running(books) as ledger:
        wallet = (await customer(ledger, 2)).usd
        first = await posted(ledger.transfer(wallet, "@fees", 5, "USD", idempotency_key="fee"))
        assert await posted(ledger.transfer(wallet, "@fees", 5, "USD", idempotency_key="fee")) == first
        (fees,) = await of_owner(ledger, "@fees")
        reused = await ledger.transfer(wallet, fees.id, 5, "USD", idempotency_key="fee")
        assert isinstance(reused, Refused)
        assert (reused.code, reused.param) == (RefusalCode.IDEMPOTENCY_KEY_REUSED, "destination")
        by_identifier = await posted(
            ledger.transfer(wallet, fees.id, 5, "USD", idempotency_key="by identifier")
        )
        assert by_identifier.entries[1].account == first.entries[1].account


async def test_groups_holds_and_reversals(books: Books) -> None:
    async with running(books) as ledger:
        buyer, seller = await customer(ledger, 1), await customer(ledger, 2)
        group = [
            TransferRequest(buyer.usd, "@fees", 1, "USD", "group 1"),
            TransferRequest("@bonus", buyer.usd, 1, "USD", "group 2"),
        ]
        assert all(isinstance(one, views.Transaction) for one in await ledger.transfers(group, atomic=True))
        hold = await ledger.hold(seller.usd, "@disputes", 30, "USD", idempotency_key="hold")
        assert isinstance(hold, views.Hold)
        captured = await ledger.capture(hold.id, idempotency_key="capture")
        assert isinstance(captured, views.Hold)
        assert [(one.shard, one.balance) for one in await of_owner(ledger, "@disputes")] == [(2, 30)]
        sale = await posted(
            ledger.post([(buyer.usd, -100), (seller.usd, 90), ("@cut", 10, "USD")], idempotency_key="sale")
        )
        await posted(ledger.reverse(sale.id, idempotency_key="back"))
        assert await balance(ledger, buyer.usd) == FUNDS
        assert [one.balance for one in await of_owner(ledger, "@cut")] == [0]
    await verified(books)


async def test_money_between_system_owners_alone_has_a_shard_too(books: Books) -> None:
    async with running(books) as ledger:
        await posted(ledger.transfer("@fees", "@bank-out", 7, "USD", idempotency_key="paid out"))
        await posted(ledger.transfer("@fees", "@bank-out", 7, "USD", idempotency_key="paid out"))
        assert [(one.shard, one.balance) for one in await of_owner(ledger, "@bank-out")] == [(1, 7)]


@pytest.mark.parametrize("name", ["@", "@Fees", "@fees ", "@-fees", "@fees-", "@fée", "@" + "f" * 32])
async def test_names_that_are_none(books: Books, name: str) -> None:
    async with running(books) as ledger:
        with pytest.raises(ParameterError):
            await ledger.transfer("@bank-in", name, 1, "USD", idempotency_key="a")
        with pytest.raises(ParameterError):
            await ledger.open_account(name, "USD")


async def test_an_owner_named_as_a_system_owner_is_not_opened(books: Books) -> None:
    async with running(books) as ledger:
        with pytest.raises(ParameterError, match="opened when they are first needed"):
            await ledger.open_account("@fees", "USD", kind="system")
