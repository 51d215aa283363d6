"""Transfers between two shards, through the Python package, on two real databases."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
from tests.accounts import opened
from tests.crash.two_shards import two_shards

from tallystick import (
    Ledger,
    RefusalCode,
    Refused,
    ShardNotConfiguredError,
    TransferRequest,
    UnavailableError,
    views,
)
from tallystick.domain import limits
from tallystick.domain.identifiers import (
    Prefix,
    format_identifier,
    parse_identifier,
    shard_of,
)
from tallystick.embedded.postgres import EmbeddedPostgres

FUNDS = 10_000
OWNERS_TRIED_MAX = 100


class World(NamedTuple):
    """A payer on one shard, payees on the other, and a bank on each."""

    ledger: Ledger
    payer: str
    payee: str
    second_payee: str
    neighbour: str


@pytest.fixture(scope="module")
def dsns(postgres: EmbeddedPostgres) -> Iterator[dict[int, str]]:
    with two_shards(postgres) as shards:
        yield shards.dsns


@pytest.fixture
async def world(dsns: dict[int, str], request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with opened_world(dsns, request.node.name) as world:
        yield world


@asynccontextmanager
async def opened_world(dsns: dict[int, str], name: str) -> AsyncIterator[World]:
    async with Ledger.connect(*dsns.values()) as ledger:
        # Nothing is to be pending, however slow this machine is.
        ledger._engine.saga_wait_seconds = limits.SAGA_WAIT_SECONDS_MAX
        banks = {1: "", 2: ""}
        owners = {1: "", 2: ""}
        for number in range(OWNERS_TRIED_MAX):
            if all(banks.values()):
                break
            owner = f"{name} {number}"
            bank = await opened(ledger, owner, kind="system")
            home = shard_of(parse_identifier(Prefix.ACCOUNT, bank))
            banks[home], owners[home] = bank, owner
        payer = await opened(ledger, owners[1])
        neighbour = await opened(ledger, owners[1])
        payee = await opened(ledger, owners[2])
        second_payee = await opened(ledger, owners[2])
        for bank, wallet in ((banks[1], payer), (banks[2], payee)):
            await expect_posted(
                ledger.transfer(bank, wallet, FUNDS, "USD", idempotency_key=f"{name} funds {wallet}")
            )
        yield World(ledger, payer, payee, second_payee, neighbour)


async def expect_posted(answer: object) -> views.Transaction:
    found = await answer  # type: ignore[misc]  # whatever call it is
    assert isinstance(found, views.Transaction), found
    assert found.state == "posted"
    return found


async def balances(world: World, *accounts: str) -> list[tuple[int, int]]:
    """Balance and held of accounts."""
    found: list[tuple[int, int]] = []
    for account in accounts:
        state = await world.ledger.account(account)
        assert isinstance(state, views.Account)
        found.append((state.balance, state.held))
    return found


async def test_a_transfer_arrives_once_however_often_it_is_asked_for(world: World) -> None:
    ledger = world.ledger
    first = await expect_posted(
        ledger.transfer(
            world.payer, world.payee, 1_250, "USD", idempotency_key=f"{world.payer} a", description="lunch"
        )
    )
    again = await ledger.transfer(
        world.payer, world.payee, 1_250, "USD", idempotency_key=f"{world.payer} a", description="lunch"
    )
    assert again == first == await ledger.transaction(first.id)
    assert [(entry.account, entry.amount) for entry in first.entries] == [
        (world.payer, -1_250),
        (world.payee, 1_250),
    ]
    assert await balances(world, world.payer, world.payee) == [(FUNDS - 1_250, 0), (FUNDS + 1_250, 0)]
    history = await ledger.entries(world.payee)
    assert isinstance(history, views.Page)
    assert (history.items[0].kind, history.items[0].transaction, history.items[0].description) == (
        "transfer",
        first.id,
        "lunch",
    )


async def test_a_refusal_of_the_payee_gives_the_money_back_and_stays_the_answer(world: World) -> None:
    ledger = world.ledger
    limited = await ledger.change_account(world.payee, max_balance=FUNDS + 100)
    assert isinstance(limited, views.Account)
    for _ in range(2):
        found = await ledger.transfer(
            world.payer, world.payee, 200, "USD", idempotency_key=f"{world.payer} b"
        )
        assert isinstance(found, Refused)
        assert (found.code, found.param) == (RefusalCode.BALANCE_LIMIT_EXCEEDED, "destination")
    assert await balances(world, world.payer, world.payee) == [(FUNDS, 0), (FUNDS, 0)]
    await ledger.change_account(world.payee, max_balance=None)
    found = await ledger.transfer(world.payer, world.payee, 200, "USD", idempotency_key=f"{world.payer} b")
    assert isinstance(found, Refused)


async def test_the_payer_is_judged_before_anything_crosses(world: World) -> None:
    found = await world.ledger.transfer(
        world.payer, world.payee, FUNDS + 1, "USD", idempotency_key=f"{world.payer} c"
    )
    assert isinstance(found, Refused)
    assert (found.code, found.param) == (RefusalCode.INSUFFICIENT_FUNDS, "source")


async def test_a_ledger_of_one_shard_refuses_nothing_because_it_does_not_know_the_other(
    dsns: dict[int, str], world: World
) -> None:
    paid = await expect_posted(
        world.ledger.transfer(world.payer, world.payee, 40, "USD", idempotency_key=f"{world.payer} paid")
    )
    history = await world.ledger.entries(world.payee)
    assert isinstance(history, views.Page)
    credit = history.items[0].transaction
    calls: list[tuple[int, Callable[[Ledger, str], Awaitable[object]]]] = [
        (1, lambda ledger, key: ledger.transfer(world.payer, world.payee, 1, "USD", idempotency_key=key)),
        (2, lambda ledger, key: ledger.transfer(world.payer, world.payee, 1, "USD", idempotency_key=key)),
        (1, lambda ledger, key: ledger.hold(world.payer, world.payee, 1, "USD", idempotency_key=key)),
        (1, lambda ledger, key: ledger.post([(world.payer, -1), (world.payee, 1)], idempotency_key=key)),
        (1, lambda ledger, key: ledger.reverse(paid.id, 1, idempotency_key=key)),
        (2, lambda ledger, key: ledger.reverse(paid.id, 1, idempotency_key=key)),
        (2, lambda ledger, key: ledger.reverse(credit, 1, idempotency_key=key)),
        (2, lambda ledger, key: ledger.change_account(world.payer, max_balance=None, idempotency_key=key)),
    ]
    for shard in (1, 2):
        async with Ledger.connect(dsns[shard]) as alone:
            for place, (known, call) in enumerate(calls):
                if known == shard:
                    with pytest.raises(ShardNotConfiguredError, match=f"does not know shard {3 - shard}"):
                        await call(alone, f"{world.payer} alone {place}")
    for place, (_, call) in enumerate(calls):
        found = await call(world.ledger, f"{world.payer} alone {place}")
        assert isinstance(found, views.Transaction | views.Hold | views.Account), (place, found)


async def test_one_payer_and_several_payees(world: World) -> None:
    posted = await expect_posted(
        world.ledger.post(
            [(world.payer, -300), (world.payee, 200), (world.second_payee, 100)],
            idempotency_key=f"{world.payer} e",
        )
    )
    assert posted.kind == "transaction"
    assert await balances(world, world.payer, world.payee, world.second_payee) == [
        (FUNDS - 300, 0),
        (FUNDS + 200, 0),
        (100, 0),
    ]


async def test_what_has_credits_on_both_shards_crosses_too_many(world: World) -> None:
    found = await world.ledger.post(
        [(world.payer, -300), (world.neighbour, 200), (world.payee, 100)], idempotency_key=f"{world.payer} f"
    )
    assert isinstance(found, Refused)
    assert found.code is RefusalCode.CROSSES_TOO_MANY_SHARDS
    atomic = await world.ledger.transfers(
        [
            one_cent(world.payer, world.neighbour, f"{world.payer} g"),
            one_cent(world.payer, world.payee, f"{world.payer} h"),
        ],
        atomic=True,
    )
    assert [found.code for found in atomic if isinstance(found, Refused)] == [
        RefusalCode.ATOMIC_BATCH_REFUSED,
        RefusalCode.CROSSES_TOO_MANY_SHARDS,
    ]
    assert await balances(world, world.payer) == [(FUNDS, 0)]


async def test_the_refusal_of_a_wide_split_names_ways_that_work(world: World) -> None:
    ledger, payer, key = world.ledger, world.payer, f"{world.payer} wide"
    wide = [(payer, -300), (world.neighbour, 100), (world.payee, 200)]
    found = await ledger.post(wide, idempotency_key=key)
    assert isinstance(found, Refused)
    assert found.code is RefusalCode.CROSSES_TOO_MANY_SHARDS
    for way in ("`near`", "`@fees`", "all on other shards", "several transactions"):
        assert way in found.detail
    beside = await ledger.open_account(f"{key} beside", "USD", near=world.payee)
    assert isinstance(beside, views.Account)
    ways: dict[str, list[list[tuple[str, int] | tuple[str, int, str]]]] = {
        "near": [[(payer, -300), (beside.id, 100), (world.payee, 200)]],
        "system owner": [[(payer, -300), ("@fees", 100, "USD"), (world.payee, 200)]],
        "one other shard": [[(payer, -300), (world.second_payee, 100), (world.payee, 200)]],
        "several": [[(payer, -100), (world.neighbour, 100)], [(payer, -200), (world.payee, 200)]],
    }
    for name, transactions in ways.items():
        for number, entries in enumerate(transactions):
            await expect_posted(ledger.post(entries, idempotency_key=f"{key} {name} {number}"))
    paid = await balances(world, payer, world.neighbour, world.payee, world.second_payee, beside.id)
    assert paid == [(FUNDS - 1_200, 0), (100, 0), (FUNDS + 800, 0), (100, 0), (100, 0)]


def one_cent(source: str, destination: str, key: str) -> TransferRequest:
    return TransferRequest(source, destination, 1, "USD", key)


async def test_a_batch_may_hold_both_kinds(world: World) -> None:
    found = await world.ledger.transfers(
        [
            one_cent(world.payer, world.neighbour, f"{world.payer} i"),
            one_cent(world.payer, world.payee, f"{world.payer} j"),
            one_cent(world.payee, world.payer, f"{world.payer} k"),
        ]
    )
    assert [one.state for one in found if isinstance(one, views.Transaction)] == ["posted"] * 3
    assert await balances(world, world.payer, world.payee) == [(FUNDS - 1, 0), (FUNDS, 0)]


async def test_a_hold_is_captured_in_parts_to_the_other_shard(world: World) -> None:
    ledger = world.ledger
    hold = await ledger.hold(world.payer, world.payee, 3_000, "USD", idempotency_key=f"{world.payer} l")
    assert isinstance(hold, views.Hold)
    part = await ledger.capture(hold.id, 1_000, idempotency_key=f"{world.payer} m")
    assert isinstance(part, views.Hold)
    assert (part.status, part.captured, part.remaining) == ("open", 1_000, 2_000)
    assert await ledger.capture(hold.id, 1_000, idempotency_key=f"{world.payer} m") == part
    last = await ledger.capture(hold.id, 500, final=True, idempotency_key=f"{world.payer} n")
    assert isinstance(last, views.Hold)
    assert (last.status, last.captured, last.remaining) == ("captured", 1_500, 0)
    assert await balances(world, world.payer, world.payee) == [(FUNDS - 1_500, 0), (FUNDS + 1_500, 0)]


async def test_a_capture_that_is_refused_leaves_the_hold_as_it_was(world: World) -> None:
    ledger = world.ledger
    hold = await ledger.hold(
        world.payer, world.second_payee, 3_000, "USD", idempotency_key=f"{world.payer} o"
    )
    assert isinstance(hold, views.Hold)
    closed = await ledger.change_account(world.second_payee, status="closed")
    assert isinstance(closed, views.Account)
    found = await ledger.capture(hold.id, final=True, idempotency_key=f"{world.payer} p")
    assert isinstance(found, Refused)
    assert found.code is RefusalCode.ACCOUNT_CLOSED
    now = await ledger.held(hold.id)
    assert isinstance(now, views.Hold)
    assert (now.status, now.remaining) == ("open", 3_000)
    assert await balances(world, world.payer) == [(FUNDS, 3_000)]


async def test_a_hold_for_nobody_is_refused(world: World) -> None:
    missing = format_identifier(Prefix.ACCOUNT, parse_identifier(Prefix.ACCOUNT, world.payee) ^ 1)
    found = await world.ledger.hold(world.payer, missing, 1, "USD", idempotency_key=f"{world.payer} q")
    assert isinstance(found, Refused)
    assert (found.code, found.param) == (RefusalCode.ACCOUNT_NOT_FOUND, "destination")


async def test_a_reversal_goes_back_over_the_same_shards_and_never_exceeds_the_whole(world: World) -> None:
    ledger = world.ledger
    original = await expect_posted(
        ledger.transfer(world.payer, world.payee, 1_000, "USD", idempotency_key=f"{world.payer} r")
    )
    part = await expect_posted(ledger.reverse(original.id, 400, idempotency_key=f"{world.payer} s"))
    assert part.kind == "reversal"
    excess = await ledger.reverse(original.id, 601, idempotency_key=f"{world.payer} t")
    assert isinstance(excess, Refused)
    assert excess.code is RefusalCode.REVERSAL_EXCEEDS_ORIGINAL
    await expect_posted(ledger.reverse(original.id, idempotency_key=f"{world.payer} u"))
    assert await balances(world, world.payer, world.payee) == [(FUNDS, 0), (FUNDS, 0)]
    reversed_again = await ledger.reverse(part.id, idempotency_key=f"{world.payer} v")
    assert isinstance(reversed_again, Refused)
    assert reversed_again.code is RefusalCode.TRANSACTION_NOT_REVERSIBLE


async def test_a_reversal_that_is_refused_can_be_asked_for_again(world: World) -> None:
    ledger = world.ledger
    original = await expect_posted(
        ledger.transfer(world.payer, world.payee, 1_000, "USD", idempotency_key=f"{world.payer} w")
    )
    await ledger.change_account(world.payer, max_balance=FUNDS - 500)
    found = await ledger.reverse(original.id, idempotency_key=f"{world.payer} x")
    assert isinstance(found, Refused)
    assert (found.code, found.param) == (RefusalCode.BALANCE_LIMIT_EXCEEDED, "id")
    await ledger.change_account(world.payer, max_balance=None)
    await expect_posted(ledger.reverse(original.id, 1_000, idempotency_key=f"{world.payer} y"))
    assert await balances(world, world.payer, world.payee) == [(FUNDS, 0), (FUNDS, 0)]


async def test_no_more_crosses_than_a_clearing_account_can_carry(world: World) -> None:
    """It is the payee's shard that refuses, so what it has credited can always be finalized."""
    ledger = world.ledger
    first, second = [await neighbour_of(ledger, world.payer) for _ in range(2)]
    payee, other_payee = [await neighbour_of(ledger, world.payee) for _ in range(2)]

    async def pay(source: str, destination: str, amount: int, key: str) -> object:
        return await ledger.transfer(source, destination, amount, "EUR", idempotency_key=f"{first} {key}")

    await expect_posted(pay(first, payee, limits.AMOUNT_MAX - 4, "most"))
    await expect_posted(pay(second, other_payee, 4, "the rest"))
    found = await pay(second, other_payee, 4, "too much")
    assert isinstance(found, Refused)
    assert (found.code, found.param) == (RefusalCode.BALANCE_LIMIT_EXCEEDED, "destination")
    assert await balances(world, second, other_payee) == [(-4, 0), (4, 0)]
    await expect_posted(pay(payee, first, 4, "back"))
    await expect_posted(pay(second, other_payee, 4, "now"))
    assert await balances(world, second, other_payee) == [(-8, 0), (8, 0)]


async def neighbour_of(ledger: Ledger, account: str) -> str:
    """An account without bounds, of the same owner and so on the same shard."""
    known = await ledger.account(account)
    assert isinstance(known, views.Account)
    opened = await ledger.open_account(known.owner, "EUR", kind="system")
    assert isinstance(opened, views.Account)
    return opened.id


async def test_clearing_accounts_cannot_be_used_by_anybody(world: World) -> None:
    ledger = world.ledger
    posted = await expect_posted(
        ledger.transfer(world.payer, world.payee, 10, "USD", idempotency_key=f"{world.payer} z")
    )
    history = await ledger.entries(world.payee, stages=True)
    assert isinstance(history, views.Page)
    credit = await ledger.transaction(history.items[0].transaction, stages=True)
    assert isinstance(credit, views.Transaction)
    assert credit.refers_to == posted.id
    (clearing,) = [entry.account for entry in credit.entries if entry.account != world.payee]
    account = await ledger.account(clearing)
    assert isinstance(account, views.Account)
    assert account.kind == "clearing"
    for outcome in (
        await ledger.transfer(clearing, world.payee, 1, "USD", idempotency_key=f"{world.payer} 1"),
        await ledger.transfer(world.payee, clearing, 1, "USD", idempotency_key=f"{world.payer} 2"),
        await ledger.transfer(world.payer, clearing, 1, "USD", idempotency_key=f"{world.payer} 3"),
        await ledger.change_account(clearing, status="frozen"),
        await ledger.hold(world.payee, clearing, 1, "USD", idempotency_key=f"{world.payer} 4"),
        await ledger.hold(world.payer, clearing, 1, "USD", idempotency_key=f"{world.payer} 5"),
    ):
        assert isinstance(outcome, Refused)
        assert outcome.code is RefusalCode.ACCOUNT_NOT_FOUND


async def test_what_is_away_is_refused_before_anything_is_reserved(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = world.ledger
    other = ledger._engine.router.shards[1]
    monkeypatch.setattr(
        type(other.batcher), "available", property(lambda batcher: batcher is not other.batcher)
    )
    with pytest.raises(UnavailableError):
        await ledger.transfer(world.payer, world.payee, 5, "USD", idempotency_key=f"{world.payer} 4")
    inside = ledger.transfer(world.payer, world.neighbour, 5, "USD", idempotency_key=f"{world.payer} 5")
    assert (await expect_posted(inside)).entries[0].balance == FUNDS - 5
    monkeypatch.undo()
    await expect_posted(
        ledger.transfer(world.payer, world.payee, 5, "USD", idempotency_key=f"{world.payer} 4")
    )
