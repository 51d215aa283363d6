"""Transfers between two shards by two-phase commit, on two real servers: killed and cut between any two phases."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import psycopg
import pytest
from tests import engines
from tests.crash.databases import (
    ShardDatabase,
    one_value,
    shard_template,
    temporary_database,
    temporary_server,
)
from tests.waiting import WAIT_SECONDS_MAX, wait_for
from tests.whole import some_of

from tallystick import (
    FaultyCommandError,
    Ledger,
    RefusalCode,
    Refused,
    TransferRequest,
    UnavailableError,
    views,
)
from tallystick.domain import limits
from tallystick.domain.books import Books
from tallystick.domain.commands import Note
from tallystick.domain.identifiers import Prefix, parse_identifier, shard_of
from tallystick.domain.outcomes import Outcome
from tallystick.domain.sagas import SagaTerms
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.ledger.crossing.two_phase import deciding
from tallystick.ledger.crossing.two_phase.databases import (
    PairBatch,
    PairLogWriter,
    check_prepared_transactions,
)
from tallystick.service.engine import Engine
from tallystick.store.errors import PreparationError
from tallystick.store.queries import query
from tallystick.verify.crossings import verify_crossings
from tallystick.verify.log import verify_shard

OTHER_TEMPLATE = "other_shard_template"
SHARDS = (1, 2)
WAYS: Final[tuple[str, str]] = ("saga", "two_phase")
START_BALANCE = 100
AGE_SECONDS_MAX = 0.3

Answer = views.Transaction | Refused


class Pair(NamedTuple):
    """Two shards, each on a server of its own."""

    one: ShardDatabase
    two: ShardDatabase

    @property
    def dsns(self) -> dict[int, str]:
        return {1: self.one.server_dsn, 2: self.two.server_dsn}


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[EmbeddedPostgres, EmbeddedPostgres]]:
    with temporary_server(unique=True) as one, temporary_server(unique=True) as two:
        yield one, two


@pytest.fixture
def pair(servers: tuple[EmbeddedPostgres, EmbeddedPostgres]) -> Iterator[Pair]:
    one, two = servers
    with temporary_database(one) as first, temporary_database(two, number=2) as second:
        yield Pair(first, second)


@asynccontextmanager
async def running(dsns: dict[int, str], cross_shard: str = "two_phase") -> AsyncIterator[Ledger]:
    """A ledger in an engine of its own, as every server process has one."""
    async with engines.running(Engine(dsns, cross_shard=cross_shard)) as engine:
        # Nothing is to be pending, however slow this machine is.
        engine.saga_wait_seconds = limits.SAGA_WAIT_SECONDS_MAX
        yield Ledger(engine, 1)


class Accounts(NamedTuple):
    """A bank that may go below zero and a wallet with 100 cents on each shard."""

    banks: dict[int, str]
    wallets: dict[int, str]


async def opened_on(ledger: Ledger, shard: int, kind: str, asset: str = "USD") -> str:
    """An account on one shard: owners are drawn until one lives there."""
    while True:
        account = await ledger.open_account(secrets.token_hex(4), asset, kind=kind)
        assert isinstance(account, views.Account)
        if shard_of(parse_identifier(Prefix.ACCOUNT, account.id)) == shard:
            return account.id


async def open_accounts(ledger: Ledger) -> Accounts:
    banks = {shard: await opened_on(ledger, shard, "system") for shard in SHARDS}
    wallets = {shard: await opened_on(ledger, shard, "wallet") for shard in SHARDS}
    for shard in SHARDS:
        key = f"start {shard}"
        await ledger.transfer(banks[shard], wallets[shard], START_BALANCE, "USD", idempotency_key=key)
    return Accounts(banks, wallets)


async def pay(ledger: Ledger, source: str, destination: str, amount: int, key: str) -> Answer:
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        return await ledger.transfer(source, destination, amount, "USD", idempotency_key=key)


async def pay_until_answered(ledger: Ledger, source: str, destination: str, amount: int, key: str) -> Answer:
    """Ask again with the same key for as long as there is no answer."""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while True:
            try:
                return await ledger.transfer(source, destination, amount, "USD", idempotency_key=key)
            except UnavailableError:
                await asyncio.sleep(0.05)


async def balance(ledger: Ledger, account: str) -> int:
    found = await ledger.balance(account)
    assert isinstance(found, views.Balance)
    return found.balance


async def balances(ledger: Ledger, accounts: Accounts) -> tuple[int, int]:
    return await balance(ledger, accounts.wallets[1]), await balance(ledger, accounts.wallets[2])


def prepared(pair: Pair) -> int:
    query = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()"
    return sum(one_value(database.owner_dsn, query) for database in pair)


def sent(database: ShardDatabase) -> int:
    return one_value(database.owner_dsn, "SELECT count(*) FROM transactions WHERE kind IN (40, 42)")


def assert_books_agree(pair: Pair) -> None:
    """Each shard is whole, both say the same of what crossed between them, and nothing waits."""
    for shard, dsn in pair.dsns.items():
        report = verify_shard(dsn, shard)
        assert report.ok, report.problems
    crossings = verify_crossings(pair.dsns)
    assert crossings.ok, crossings.problems
    assert crossings.open_count == 0
    assert crossings.halves == sent(pair.one) + sent(pair.two)
    assert prepared(pair) == 0


def without_replay(answer: Answer) -> Answer:
    return Refused(answer.code, answer.param, answer.detail) if isinstance(answer, Refused) else answer


# What it does.


async def test_a_transfer_is_posted_on_both_shards_at_once(pair: Pair) -> None:
    async with running(pair.dsns) as ledger:
        accounts = await open_accounts(ledger)
        source, destination = accounts.wallets[1], accounts.wallets[2]
        answer = await ledger.transfer(
            source, destination, 30, "USD", idempotency_key="once", description="rent", metadata={"a": "b"}
        )
        assert isinstance(answer, views.Transaction)
        assert (answer.kind, answer.state, answer.description, answer.metadata) == (
            "transfer", "posted", "rent", {"a": "b"},
        )  # fmt: skip
        assert [(entry.account, entry.amount) for entry in answer.entries] == [
            (source, -30),
            (destination, 30),
        ]
        assert await balances(ledger, accounts) == (70, 130)
        assert await ledger.transaction(answer.id) == answer
    async with running(pair.dsns) as ledger:
        again = await ledger.transfer(
            source, destination, 30, "USD", idempotency_key="once", description="rent", metadata={"a": "b"}
        )
        assert again == answer
        assert await balances(ledger, accounts) == (70, 130)
    assert_books_agree(pair)


async def test_answers_look_as_those_of_sagas_do(pair: Pair) -> None:
    async with running(pair.dsns) as ledger:
        accounts = await open_accounts(ledger)
    found = []
    for way in WAYS:
        async with running(pair.dsns, way) as ledger:
            answer = await pay(ledger, accounts.wallets[1], accounts.wallets[2], 5, f"by {way}")
            assert isinstance(answer, views.Transaction)
            found.append((answer.kind, answer.state, answer.refers_to, answer.entries))
    assert found[0] == found[1]
    assert_books_agree(pair)


async def test_keys_are_the_same_in_both_ways(pair: Pair) -> None:
    """Whoever changes the setting answers old keys as they were answered."""
    async with running(pair.dsns) as ledger:
        accounts = await open_accounts(ledger)
    answers: dict[str, Answer] = {}
    for way in WAYS:
        async with running(pair.dsns, way) as ledger:
            answers[way] = await pay(ledger, accounts.wallets[1], accounts.wallets[2], 5, f"by {way}")
    for way, other_way in zip(WAYS, reversed(WAYS), strict=True):
        async with running(pair.dsns, other_way) as ledger:
            again = await pay(ledger, accounts.wallets[1], accounts.wallets[2], 5, f"by {way}")
            assert again == answers[way]
            assert await balances(ledger, accounts) == (90, 110)


async def test_refused_on_either_side_and_neighbours_are_posted(pair: Pair) -> None:
    async with running(pair.dsns) as ledger:
        accounts = await open_accounts(ledger)
        payer, payee = accounts.wallets[1], accounts.wallets[2]
        frozen, closed, limited = [await opened_on(ledger, 2, "wallet") for _ in range(3)]
        euros = await opened_on(ledger, 2, "wallet", "EUR")
        await ledger.change_account(frozen, status="frozen")
        await ledger.change_account(closed, status="closed")
        await ledger.change_account(limited, max_balance=10)
        requests = [
            (payer, payee, 101, RefusalCode.INSUFFICIENT_FUNDS, "source"),
            (payer, closed, 1, RefusalCode.ACCOUNT_CLOSED, "destination"),
            (payer, limited, 11, RefusalCode.BALANCE_LIMIT_EXCEEDED, "destination"),
            (payer, euros, 1, RefusalCode.ASSET_MISMATCH, "destination"),
            # Both sides refuse: the reason with precedence is given.
            (payer, closed, 101, RefusalCode.ACCOUNT_CLOSED, "destination"),
            (frozen, payer, 1, RefusalCode.ACCOUNT_FROZEN, "source"),
            (payer, frozen, 10, None, None),
            (payer, payee, 20, None, None),
            (payee, payer, 1, None, None),
        ]

        async def ask() -> list[Answer]:
            return list(
                await asyncio.gather(
                    *(
                        pay(ledger, source, destination, amount, f"key {number}")
                        for number, (source, destination, amount, _, _) in enumerate(requests)
                    )
                )
            )

        answers = await ask()
        for answer, (*_, code, param) in zip(answers, requests, strict=True):
            if code is None:
                assert isinstance(answer, views.Transaction)
            else:
                assert isinstance(answer, Refused)
                assert (answer.code, answer.param) == (code, param)
        assert await balances(ledger, accounts) == (71, 119)
        # The refusal stays, also when its reason is gone.
        await ledger.change_account(closed, status="open")
        again = await ask()
        assert [without_replay(one) for one in again] == [without_replay(one) for one in answers]
        assert all(one.replayed for one in again if isinstance(one, Refused))
        assert await balances(ledger, accounts) == (71, 119)
        other = await pay(ledger, payer, payee, 2, "key 0")
        assert isinstance(other, Refused)
        assert other.code is RefusalCode.IDEMPOTENCY_KEY_REUSED
    assert_books_agree(pair)


async def test_both_directions_at_once_in_two_processes(pair: Pair) -> None:
    async with running(pair.dsns) as ledger, running(pair.dsns) as other:
        accounts = await open_accounts(ledger)
        wallets = accounts.wallets
        # Every payment is asked for twice, of both; the wallets cannot pay for all of them in every order.
        payments = [
            (wallets[1 + number % 2], wallets[2 - number % 2], 1 + number % 37, f"key {number}")
            for number in range(200)
        ]
        asked = [pay(one, *payment) for payment in payments for one in (ledger, other)]
        local = [pay(ledger, accounts.banks[1], wallets[1], 1, f"local {number}") for number in range(50)]
        answers = await asyncio.gather(*asked, *local)
        for first, second in zip(answers[0:400:2], answers[1:400:2], strict=True):
            assert without_replay(first) == without_replay(second)
        posted = [
            payment
            for answer, payment in zip(answers[0:400:2], payments, strict=True)
            if isinstance(answer, views.Transaction)
        ]
        moved = sum(amount if source == wallets[2] else -amount for source, _, amount, _ in posted)
        assert await balances(ledger, accounts) == (150 + moved, 100 - moved)
        assert sent(pair.one) + sent(pair.two) == len(posted)
    assert_books_agree(pair)


async def test_a_transaction_of_several_entries(pair: Pair) -> None:
    async with running(pair.dsns) as ledger:
        accounts = await open_accounts(ledger)
        tip = await opened_on(ledger, 2, "wallet")
        payer, payee = accounts.wallets[1], accounts.wallets[2]
        entries = [(payer, -12), (payee, 10), (tip, 2)]
        answer = await ledger.post(entries, idempotency_key="dinner")
        assert isinstance(answer, views.Transaction)
        assert answer.kind == "transaction"
        assert sorted((entry.account, entry.amount) for entry in answer.entries) == sorted(entries)
        assert await ledger.post(entries, idempotency_key="dinner") == answer
        assert await balances(ledger, accounts) == (88, 110)
        wide = await ledger.post([(payer, -5), (payee, -5), (tip, 10)], idempotency_key="wide")
        assert isinstance(wide, Refused)
        assert wide.code is RefusalCode.CROSSES_TOO_MANY_SHARDS
    assert_books_agree(pair)


async def test_many_transfers_in_one_request(pair: Pair) -> None:
    async with running(pair.dsns) as ledger:
        accounts = await open_accounts(ledger)
        one, two = accounts.wallets[1], accounts.wallets[2]
        bank = accounts.banks[1]
        requests = [
            TransferRequest(source, destination, amount, "USD", f"key {number}")
            for number, (source, destination, amount) in enumerate(
                [(one, two, 1), (one, bank, 2), (two, one, 4), (one, two, 1000), (bank, one, 8)]
            )
        ]
        answers = await ledger.transfers(requests)
        assert [isinstance(answer, views.Transaction) for answer in answers] == [
            True,
            True,
            True,
            False,
            True,
        ]
        assert await ledger.transfers(requests[:3]) == answers[:3]
        assert await balances(ledger, accounts) == (109, 97)
        refused = await ledger.transfers(
            [
                TransferRequest(one, bank, 1, "USD", "atomic 1"),
                TransferRequest(one, two, 1, "USD", "atomic 2"),
            ],
            atomic=True,
        )
        assert all(isinstance(answer, Refused) for answer in refused)
    assert_books_agree(pair)


async def test_a_tenants_flood_does_not_delay_another(pair: Pair) -> None:
    async with engines.running(Engine(pair.dsns, cross_shard="two_phase")) as engine:
        loud, quiet = Ledger(engine, 1), Ledger(engine, 2)
        flooded, paying = await open_accounts(loud), await open_accounts(quiet)
        requests = [
            TransferRequest(flooded.wallets[1], flooded.banks[2], 1, "USD", f"flood {number}")
            for number in range(3_000)
        ]
        flood = asyncio.create_task(loud.transfers(requests))
        # The flood's keys are claimed first: the quiet one pays once it is being written.
        while await balance(loud, flooded.banks[2]) == -START_BALANCE:
            pass
        assert isinstance(
            await pay(quiet, paying.wallets[1], paying.wallets[2], 1, "quiet"), views.Transaction
        )
        assert not flood.done()
        assert len(await flood) == len(requests)


async def test_reversals_and_captures_cross_as_sagas(pair: Pair) -> None:
    async with running(pair.dsns) as ledger:
        accounts = await open_accounts(ledger)
        one, two = accounts.wallets[1], accounts.wallets[2]
        answer = await pay(ledger, one, two, 30, "payment")
        assert isinstance(answer, views.Transaction)
        back = await ledger.reverse(answer.id, 10, idempotency_key="part")
        assert isinstance(back, views.Transaction)
        assert back.state == "posted"
        received = await ledger.entries(two, stages=True)
        assert isinstance(received, views.Page)
        half = next(line for line in received.items if line.kind == "transfer_received")
        assert half.refers_to == answer.id
        rest = await ledger.reverse(half.transaction, idempotency_key="rest")
        assert isinstance(rest, views.Transaction)
        more = await ledger.reverse(answer.id, idempotency_key="more")
        assert isinstance(more, Refused)
        assert more.code is RefusalCode.REVERSAL_EXCEEDS_ORIGINAL
        assert await balances(ledger, accounts) == (100, 100)
        hold = await ledger.hold(one, two, 5, "USD", idempotency_key="hold")
        assert isinstance(hold, views.Hold)
        captured = await ledger.capture(hold.id, idempotency_key="capture")
        assert isinstance(captured, views.Hold)
        assert await balances(ledger, accounts) == (95, 105)
    assert_books_agree(pair)


# What is left prepared.


POINTS = {
    # Where the coordinator is killed, and whether its batch is committed then.
    "before it is prepared": False,
    "prepared on the first": False,
    "prepared on the second": False,
    "prepared on both": False,
    "decided": True,
    "committed on the first": True,
    "committed on the second": True,
    "committed on both": True,
}


@pytest.mark.parametrize("point", some_of("killed coordinator", list(POINTS), 4))
async def test_the_coordinator_is_killed(pair: Pair, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    monkeypatch.setattr(limits, "PREPARED_AGE_SECONDS_MAX", AGE_SECONDS_MAX)
    async with running(pair.dsns, "saga") as ledger:
        accounts = await open_accounts(ledger)
    payment = (accounts.wallets[2], accounts.wallets[1], 30, "killed")
    await asyncio.to_thread(run_victim, pair, point, payment)
    left = prepared(pair)
    assert left == {"prepared on both": 2, "decided": 2}.get(point, 1 if " on the " in point else 0)
    # Another process; which way it crosses shards does not matter.
    async with running(pair.dsns, "saga") as ledger:
        await asyncio.to_thread(wait_for, lambda: prepared(pair) == 0, "nothing is left prepared")
        committed = POINTS[point]
        assert sent(pair.two) == int(committed)
        assert await balances(ledger, accounts) == ((130, 70) if committed else (100, 100))
        assert_books_agree(pair)
    async with running(pair.dsns) as ledger:
        first = await pay_until_answered(ledger, *payment)
        assert isinstance(first, views.Transaction)
        assert await pay(ledger, *payment) == first
        assert await balances(ledger, accounts) == (130, 70)
        assert sent(pair.two) == 1
    assert_books_agree(pair)


async def test_transfers_go_on_while_what_was_left_is_ended(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PREPARED_AGE_SECONDS_MAX", AGE_SECONDS_MAX)
    async with running(pair.dsns) as ledger, running(pair.dsns) as other:
        accounts = await open_accounts(ledger)
        one, two = accounts.wallets[1], accounts.wallets[2]
        await asyncio.to_thread(run_victim, pair, "decided", (one, two, 30, "killed"))
        answers = await asyncio.gather(
            pay_until_answered(ledger, one, two, 1, "crossing"),
            pay_until_answered(other, one, two, 30, "killed"),
            pay_until_answered(ledger, accounts.banks[1], one, 1, "inside"),
        )
        assert all(isinstance(answer, views.Transaction) for answer in answers)
        assert await balances(ledger, accounts) == (70, 131)
    assert_books_agree(pair)


async def test_what_others_keep_prepared_is_theirs(
    servers: tuple[EmbeddedPostgres, EmbeddedPostgres], pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PREPARED_AGE_SECONDS_MAX", 0.0)
    with psycopg.connect(pair.one.owner_dsn, autocommit=True) as connection:
        connection.execute(
            "BEGIN; CREATE TABLE of_somebody_else (); PREPARE TRANSACTION 'tallystick/not/ours'"
        )
        async with running(pair.dsns):
            await asyncio.sleep(3 * limits.PREPARED_LOOK_SECONDS)
        assert prepared(pair) == 1
        connection.execute("ROLLBACK PREPARED 'tallystick/not/ours'")


async def test_a_coordinator_that_is_too_slow_is_given_up_and_tries_again(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PREPARED_AGE_SECONDS_MAX", 0.1)
    decide = PairLogWriter.decide
    asked: list[bool] = []

    async def decide_late(self: PairLogWriter, batch: PairBatch, *, commit: bool) -> bool:
        if commit and not asked:
            await asyncio.to_thread(wait_for, lambda: prepared(pair) == 0, "the batch is given up")
            # The next one is not too slow, whatever this machine does.
            monkeypatch.setattr(limits, "PREPARED_AGE_SECONDS_MAX", WAIT_SECONDS_MAX)
        committed = await decide(self, batch, commit=commit)
        asked.extend([committed] if commit else [])
        return committed

    async with running(pair.dsns) as ledger:
        accounts = await open_accounts(ledger)
        monkeypatch.setattr(PairLogWriter, "decide", decide_late)
        answer = await pay(ledger, accounts.wallets[1], accounts.wallets[2], 30, "slow")
        assert isinstance(answer, views.Transaction)
        assert asked == [False, True]
        assert await balances(ledger, accounts) == (70, 130)
    assert_books_agree(pair)


async def test_a_decision_is_made_once_and_never_changed(pair: Pair) -> None:
    batch = PairBatch(1, 2, "0" * 32)
    writers = [PairLogWriter(pair.one.server_dsn, 1) for _ in range(8)]
    await asyncio.gather(*(writer.reconnect() for writer in writers))
    said = await asyncio.gather(
        *(writer.decide(batch, commit=number % 2 == 0) for number, writer in enumerate(writers))
    )
    await asyncio.gather(*(writer.close() for writer in writers))
    assert len(set(said)) == 1
    for statement in ("UPDATE two_phase_decisions SET committed = false", "DELETE FROM two_phase_decisions"):
        with psycopg.connect(pair.one.owner_dsn) as connection, pytest.raises(psycopg.IntegrityError):
            connection.execute(statement.encode())


# The wire is cut.


@pytest.mark.parametrize(
    ("phase", "shard", "lost_answer"),
    [
        pytest.param(phase, shard, lost_answer, id=f"{phase}-{shard}-{how}")
        for phase in ("append", "prepare", "decide", "end")
        for lost_answer, how in ((False, "before it arrives"), (True, "after it took effect"))
        for shard in some_of(f"cut {phase} {how}", SHARDS)
    ],
)
async def test_the_connection_is_lost(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, phase: str, shard: int, lost_answer: bool
) -> None:
    """Once, in any phase, on either shard: whoever asks is told what the books say."""
    cuts = cut_once(monkeypatch, phase, pair[shard - 1].server_dsn, lost_answer=lost_answer)
    async with running(pair.dsns) as ledger:
        accounts = await open_accounts(ledger)
        payment = (accounts.wallets[1], accounts.wallets[2], 30, "cut")
        answer = await pay(ledger, *payment)
        assert isinstance(answer, views.Transaction)
        assert len(cuts) == (0 if (phase, shard) == ("decide", 2) else 1)
        assert await pay(ledger, *payment) == answer
        assert await balances(ledger, accounts) == (70, 130)
    assert sent(pair.one) == 1
    assert_books_agree(pair)


def cut_once(monkeypatch: pytest.MonkeyPatch, phase: str, dsn: str, *, lost_answer: bool) -> list[str]:
    """Cut the connection to one shard when a phase is reached there for the first time."""
    carry_out: Callable[..., Awaitable[object]] = getattr(PairLogWriter, phase)
    cuts: list[str] = []

    async def cut(self: PairLogWriter, *arguments: object, **options: object) -> object:
        if cuts or self._dsn != dsn:
            return await carry_out(self, *arguments, **options)
        cuts.append(phase)
        if lost_answer:
            await carry_out(self, *arguments, **options)
        self._open_connection().terminate()
        return await carry_out(self, *arguments, **options)

    monkeypatch.setattr(PairLogWriter, phase, cut)
    return cuts


async def test_a_shard_that_is_slow_blocks_the_other_for_a_moment_only(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(pair.dsns) as ledger:
        accounts = await open_accounts(ledger)
        one, two = accounts.wallets[1], accounts.wallets[2]
        with psycopg.connect(pair.two.owner_dsn, autocommit=True) as connection:
            connection.execute(b"BEGIN")
            connection.execute(query("begin_batch").partition(";")[2])
            monkeypatch.setattr(limits, "PAIR_LOCKS_SECONDS_MAX", 0.2)
            crossing = asyncio.create_task(pay(ledger, one, two, 30, "crossing"))
            for number in range(20):
                inside = await pay(ledger, accounts.banks[1], one, 1, f"inside {number}")
                assert isinstance(inside, views.Transaction)
            with pytest.raises(UnavailableError):
                await crossing
            connection.execute(b"ROLLBACK")
        monkeypatch.setattr(limits, "PAIR_LOCKS_SECONDS_MAX", WAIT_SECONDS_MAX)
        answer = await pay_until_answered(ledger, one, two, 30, "crossing")
        assert isinstance(answer, views.Transaction)
        assert await balances(ledger, accounts) == (90, 130)
    assert_books_agree(pair)


async def test_a_faulty_command_fails_alone(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = deciding.exchange

    def fail_at_13(payer: Books, payees: Books, tenant: int, terms: SagaTerms, note: Note) -> Outcome:
        if terms.debits[0].amount == 13:
            raise RuntimeError("a bug")
        return exchange(payer, payees, tenant, terms, note)

    monkeypatch.setattr(deciding, "exchange", fail_at_13)
    async with running(pair.dsns) as ledger:
        accounts = await open_accounts(ledger)
        one, two = accounts.wallets[1], accounts.wallets[2]
        answers = await asyncio.gather(
            *(pay(ledger, one, two, amount, f"key {amount}") for amount in (12, 13, 14)),
            return_exceptions=True,
        )
        assert isinstance(answers[0], views.Transaction)
        assert isinstance(answers[1], FaultyCommandError)
        assert isinstance(answers[2], views.Transaction)
        assert await balances(ledger, accounts) == (74, 126)
    assert_books_agree(pair)


# How a server must be set up.


async def test_a_server_that_can_prepare_nothing_is_refused_at_the_start(pair: Pair) -> None:
    with (
        temporary_server(settings={"max_prepared_transactions": "0"}) as server,
        temporary_database(server) as database,
    ):
        dsns = {1: database.server_dsn, 2: pair.two.server_dsn}
        with pytest.raises(PreparationError, match=r"max_prepared_transactions = 1 .* of shard 1, .* 0"):
            async with running(dsns):
                pass
        async with running(dsns, "saga"):
            pass


def test_a_server_needs_one_for_each_of_its_shards() -> None:
    with temporary_server(settings={"max_prepared_transactions": "1"}) as server:
        dsns = {number: server.dsn(shard_template(server), role="tallystick_login") for number in (1, 2)}
        check_prepared_transactions({1: dsns[1]})
        with pytest.raises(PreparationError, match=r"max_prepared_transactions = 2 .* shards 1, 2"):
            check_prepared_transactions(dsns)


# The process that is killed.


def run_victim(pair: Pair, point: str, payment: tuple[str, str, int, str]) -> None:
    """Let another process begin a payment and kill itself at a point on the way."""
    source, destination, amount, key = payment
    arguments = [point, *pair.dsns.values(), source, destination, str(amount), key]
    victim = subprocess.run(
        [sys.executable, "-m", "tests.integration.test_two_phase", *arguments],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=WAIT_SECONDS_MAX,
    )  # fmt: skip
    assert victim.returncode == -signal.SIGKILL, victim.stdout + victim.stderr


class Killer:
    """Kills this process at a point. What goes on at once on both shards is made to go on in turn."""

    def __init__(self, point: str) -> None:
        self._point = point
        self._first_done = asyncio.Event()
        self._ended = 0

    def at(self, point: str) -> None:
        if point == self._point:
            os.kill(os.getpid(), signal.SIGKILL)

    async def in_turn(self, stage: str, name: str, step: Awaitable[None]) -> None:
        if not self._point.startswith(f"{stage} on the "):
            await step
        elif self._point.endswith("the first") == name.endswith("/1"):
            await step
            self._first_done.set()
        else:
            await self._first_done.wait()
            self.at(self._point)

    def ended(self) -> None:
        self._ended += 1
        if self._ended == len(SHARDS):
            self.at("committed on both")


def die_at(point: str) -> None:
    """Be killed at a point of the next batch."""
    killer = Killer(point)
    prepare, decide, end = PairLogWriter.prepare, PairLogWriter.decide, PairLogWriter.end

    async def prepare_and_die(self: PairLogWriter, name: str) -> None:
        killer.at("before it is prepared")
        await killer.in_turn("prepared", name, prepare(self, name))

    async def decide_and_die(self: PairLogWriter, batch: PairBatch, *, commit: bool) -> bool:
        killer.at("prepared on both")
        decided = await decide(self, batch, commit=commit)
        killer.at("decided")
        return decided

    async def end_and_die(self: PairLogWriter, name: str, *, commit: bool) -> None:
        await killer.in_turn("committed", name, end(self, name, commit=commit))
        killer.ended()

    for name, step in (("prepare", prepare_and_die), ("decide", decide_and_die), ("end", end_and_die)):
        setattr(PairLogWriter, name, step)


async def victim(point: str, one: str, two: str, *payment: str) -> None:
    source, destination, amount, key = payment
    async with running({1: one, 2: two}) as ledger:
        die_at(point)
        await pay(ledger, source, destination, int(amount), key)


if __name__ == "__main__":
    asyncio.run(victim(*sys.argv[1:]))
