"""The batcher and a real PostgreSQL that is slow, lost or shared: what callers hear is what the books say."""

import asyncio
import random
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import asyncpg
import psycopg
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from tests.accounts import opened
from tests.crash.cutting_proxy import CuttingProxy, Moment
from tests.crash.databases import (
    SHARD,
    ShardDatabase,
    assert_whole,
    one_value,
    open_transactions,
    terminate_writers,
)
from tests.engines import running
from tests.waiting import WAIT_SECONDS_MAX, wait_for
from tests.whole import some_of

from tallystick import (
    FaultyCommandError,
    Ledger,
    OverloadedError,
    RefusalCode,
    Refused,
    UnavailableError,
    views,
)
from tallystick.domain import limits
from tallystick.domain.canonical import EncodedBatch, chain, encode
from tallystick.domain.needs import Needs
from tallystick.domain.rows import Appended, BatchRow, RequestRow
from tallystick.domain.times import microseconds_of
from tallystick.ledger import writing as writing_module
from tallystick.ledger.writing import BatchWriter, Decided, Units
from tallystick.service import ledger as ledger_module
from tallystick.service.engine import Engine
from tallystick.store.log import LogWriter

START_BALANCE = 100
POISON = 13
# As everywhere but here.
PEEK_TIMEOUT_SECONDS = limits.PEEK_TIMEOUT_SECONDS

Answer = views.Transaction | Refused
Session: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Poison = Callable[[Appended], None]


@pytest.fixture
async def proxy(database: ShardDatabase) -> AsyncIterator[CuttingProxy]:
    async with CuttingProxy(database.server_dsn) as proxy:
        yield proxy


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Ledger]:
    """A ledger that is ready to write."""
    async with Ledger.connect(dsn) as ledger:
        await becomes(ledger, is_available=True)
        yield ledger


class Wallets:
    """A bank that may go below zero, and wallets that may not; each starts with 100 cents."""

    def __init__(self, bank: str, wallets: list[str]) -> None:
        self.bank = bank
        self.wallets = wallets

    @classmethod
    async def open(cls, ledger: Ledger, count: int = 2) -> "Wallets":
        bank = await opened(ledger, "bank", kind="system")
        wallets = [await opened(ledger, f"owner {number}") for number in range(count)]
        for wallet in wallets:
            await ledger.transfer(bank, wallet, START_BALANCE, "USD", idempotency_key=f"start {wallet}")
        return cls(bank, wallets)


async def pay(ledger: Ledger, source: str, destination: str, amount: int, key: str) -> Answer:
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        return await ledger.transfer(source, destination, amount, "USD", idempotency_key=key)


def available(ledger: Ledger) -> bool:
    return ledger._engine.router.shards[0].batcher.available


async def becomes(ledger: Ledger, *, is_available: bool) -> None:
    await asyncio.to_thread(wait_for, lambda: available(ledger) is is_available, f"available: {is_available}")


async def balance(ledger: Ledger, account: str) -> int:
    found = await ledger.balance(account)
    assert isinstance(found, views.Balance)
    return found.balance


async def reached(moment_reached: asyncio.Event) -> None:
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        await moment_reached.wait()


def unknown_commits() -> float:
    return REGISTRY.get_sample_value("tallystick_commits_unknown_total", {"shard": str(SHARD)}) or 0.0


def faulty_commands() -> float:
    return REGISTRY.get_sample_value("tallystick_faulty_commands_total", {"shard": str(SHARD)}) or 0.0


def transfers_in_books(database: ShardDatabase) -> int:
    return one_value(database.owner_dsn, "SELECT count(*) FROM transactions WHERE kind = 10")


def batches_in_books(database: ShardDatabase) -> int:
    return one_value(database.owner_dsn, "SELECT count(*) FROM batches")


def waiting_for_the_lock(database: ShardDatabase) -> int:
    return one_value(
        database.owner_dsn,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock' AND wait_event = 'advisory'",
    )


class Load:
    """Payments that arrive together, some of which are refused, and what became of them."""

    def __init__(self, ledger: Ledger, wallets: Wallets, name: str = "load") -> None:
        self._ledger = ledger
        self._wallets = wallets
        # Each wallet can pay twice and is refused the third time.
        self._payments = [
            (wallet, wallets.bank, 50, f"{name} {turn} {wallet}")
            for turn in range(3)
            for wallet in wallets.wallets
        ]
        self.task = asyncio.create_task(self.pay())

    async def pay(self) -> list[Answer]:
        return await asyncio.gather(*(pay(self._ledger, *payment) for payment in self._payments))

    async def assert_done_once(self, database: ShardDatabase) -> None:
        """What was answered is what the books say, and asking again answers the same and moves nothing."""
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            answers = await self.task
        posted = [answer for answer in answers if isinstance(answer, views.Transaction)]
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        wallet_count = len(self._wallets.wallets)
        assert len(posted) == 2 * wallet_count
        assert [answer.code for answer in refused] == [RefusalCode.INSUFFICIENT_FUNDS] * wallet_count
        for transaction in posted:
            assert await self._ledger.transaction(transaction.id) == transaction
        before = transfers_in_books(database)
        assert before == wallet_count + len(posted)
        again = await self.pay()
        assert [_without_replay(answer) for answer in again] == [_without_replay(one) for one in answers]
        assert transfers_in_books(database) == before
        for wallet in self._wallets.wallets:
            assert await balance(self._ledger, wallet) == 0
        assert_whole(database)
        assert open_transactions(database) == 0


def _without_replay(answer: Answer) -> Answer:
    if isinstance(answer, Refused):
        return Refused(answer.code, answer.param, answer.detail)
    return answer


# The wire is cut.


CUTS = [
    (Moment.BEGIN, 0),
    (Moment.BATCH_ROW, 0),
    (Moment.COPY_TRANSACTIONS, 0),
    (Moment.COPY_ENTRIES, 0),
    (Moment.COPY_REQUESTS, 0),
    (Moment.COMMIT, 1),
    (Moment.COMMITTED, 1),
]
# Opening an account without a key writes neither entries nor requests.
CUTS_OF_A_NEW_ACCOUNT = [cut for cut in CUTS if cut[0] not in {Moment.COPY_ENTRIES, Moment.COPY_REQUESTS}]


@pytest.mark.parametrize(("moment", "unknown"), [*CUTS, (Moment.COMMITTED_IN_PART, 1)])
async def test_the_connection_is_cut(
    database: ShardDatabase, proxy: CuttingProxy, moment: Moment, unknown: int
) -> None:
    async with connected(proxy.dsn) as ledger:
        wallets = await Wallets.open(ledger)
        batches, unknown_before = batches_in_books(database), unknown_commits()
        stop = proxy.stop_at(moment)
        load = Load(ledger, wallets)
        await reached(stop.reached)
        stop.cut()
        await load.assert_done_once(database)
        assert batches_in_books(database) == batches + 1, "all of them went together"
        assert unknown_commits() == unknown_before + unknown


@pytest.mark.parametrize(("moment", "unknown"), some_of("terminated sessions", CUTS, 4))
async def test_the_session_is_terminated(
    database: ShardDatabase, proxy: CuttingProxy, moment: Moment, unknown: int
) -> None:
    async with connected(proxy.dsn) as ledger:
        wallets = await Wallets.open(ledger)
        unknown_before = unknown_commits()
        stop = proxy.stop_at(moment)
        load = Load(ledger, wallets)
        await reached(stop.reached)
        assert terminate_writers(database) >= 1
        stop.pass_on()
        await load.assert_done_once(database)
        # The session may have said good-bye before or after the message arrived.
        assert unknown_commits() - unknown_before <= unknown


@pytest.mark.parametrize("noticed", [False, True])
async def test_a_session_that_is_terminated_while_nobody_pays_refuses_nobody(
    database: ShardDatabase, *, noticed: bool
) -> None:
    """PostgreSQL is there all the time: who pays while the ledger connects anew waits a moment, and that is all."""
    async with connected(database.server_dsn) as ledger:
        wallets = await Wallets.open(ledger)
        writer = ledger._engine.router.shards[0].batcher._writer
        for turn in range(20):
            assert terminate_writers(database) >= 1
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                while noticed and writer.connected:  # noqa: ASYNC110 - every turn of the loop counts here
                    await asyncio.sleep(0)
            paid = await pay(ledger, wallets.bank, wallets.wallets[0], 1, f"turn {turn}")
            assert isinstance(paid, views.Transaction)
        assert await balance(ledger, wallets.wallets[0]) == START_BALANCE + 20
        assert_whole(database)


@pytest.mark.parametrize("moment", [Moment.COMMIT, Moment.COMMITTED])
async def test_the_connection_is_cut_again_while_the_ledger_is_asked(
    database: ShardDatabase, proxy: CuttingProxy, moment: Moment
) -> None:
    async with connected(proxy.dsn) as ledger:
        wallets = await Wallets.open(ledger)
        stops = [proxy.stop_at(one) for one in (moment, Moment.BEGIN, Moment.BEGIN, Moment.BEGIN)]
        load = Load(ledger, wallets)
        for stop in stops:
            await reached(stop.reached)
            stop.cut()
        await load.assert_done_once(database)


@pytest.mark.parametrize("moment", [Moment.BEGIN, Moment.COMMIT, Moment.COMMITTED])
async def test_postgresql_is_away_for_a_while(
    database: ShardDatabase, proxy: CuttingProxy, moment: Moment
) -> None:
    """Nothing was promised when BEGIN was lost, so callers hear so; an unknown commit is never called failed."""
    async with connected(proxy.dsn) as ledger:
        wallets = await Wallets.open(ledger)
        stop = proxy.stop_at(moment)
        load = Load(ledger, wallets)
        await reached(stop.reached)
        proxy.reachable = False
        stop.cut()
        proxy.cut_all()
        await becomes(ledger, is_available=False)
        with pytest.raises(UnavailableError):
            await pay(ledger, wallets.wallets[0], wallets.bank, 1, "while it is away")
        if moment is Moment.BEGIN:
            with pytest.raises(UnavailableError):
                await load.task
            assert transfers_in_books(database) == len(wallets.wallets)
        else:
            assert not load.task.done()
        proxy.reachable = True
        if moment is Moment.BEGIN:
            await becomes(ledger, is_available=True)
            load = Load(ledger, wallets)
        await load.assert_done_once(database)


async def test_what_cannot_be_read_is_said_in_the_words_of_the_package(
    database: ShardDatabase, proxy: CuttingProxy
) -> None:
    async with connected(proxy.dsn) as ledger:
        wallets = await Wallets.open(ledger)
        source, destination = wallets.wallets
        paid = await pay(ledger, source, destination, 1, "paid")
        held = await ledger.hold(source, destination, 1, "USD", idempotency_key="held")
        assert isinstance(paid, views.Transaction)
        assert isinstance(held, views.Hold)
        proxy.reachable = False
        proxy.cut_all()
        reads: list[Callable[[], Awaitable[object]]] = [
            lambda: ledger.account(source),
            lambda: ledger.accounts("owner 0"),
            lambda: ledger.balance(source),
            lambda: ledger.balance(source, at=datetime.now(UTC)),
            lambda: ledger.entries(source),
            lambda: ledger.transaction(paid.id),
            lambda: ledger.held(held.id),
            ledger.assets,
            lambda: ledger.create_asset("POINTS", 0, "Points"),
        ]
        for read in reads:
            with pytest.raises(UnavailableError, match=r"read|reached"):
                await read()
        proxy.reachable = True
        await becomes(ledger, is_available=True)
        assert await balance(ledger, source) == START_BALANCE - 1


@pytest.mark.parametrize("moment", [Moment.COMMIT, Moment.COMMITTED])
async def test_a_commit_that_stays_unknown_for_too_long(
    database: ShardDatabase, proxy: CuttingProxy, moment: Moment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "COMMIT_RESOLUTION_SECONDS_MAX", 0.2)
    async with connected(proxy.dsn) as ledger:
        wallets = await Wallets.open(ledger)
        stop = proxy.stop_at(moment)
        load = Load(ledger, wallets)
        await reached(stop.reached)
        proxy.reachable = False
        stop.cut()
        with pytest.raises(UnavailableError, match="cannot be written to now"):
            await load.task
        proxy.reachable = True
        await becomes(ledger, is_available=True)
        # The same keys again: they are told what became of the first attempt, or it is done now.
        await Load(ledger, wallets).assert_done_once(database)


@pytest.mark.parametrize("moment", [Moment.COPY_REQUESTS, Moment.COMMIT, Moment.COMMITTED])
async def test_nobody_is_answered_before_the_commit(
    database: ShardDatabase, proxy: CuttingProxy, moment: Moment
) -> None:
    async with connected(proxy.dsn) as ledger:
        wallets = await Wallets.open(ledger)
        stop = proxy.stop_at(moment)
        load = Load(ledger, wallets)
        await reached(stop.reached)
        # Several round trips to the database: time enough for an answer that waits for nothing.
        for _ in range(5):
            await balance(ledger, wallets.bank)
        assert not load.task.done()
        stop.pass_on()
        await load.assert_done_once(database)


@pytest.mark.parametrize(("moment", "unknown"), CUTS_OF_A_NEW_ACCOUNT)
async def test_a_command_without_a_key_is_carried_out_once(
    database: ShardDatabase, proxy: CuttingProxy, moment: Moment, unknown: int
) -> None:
    """No key tells that it was done before: only the batch itself does."""
    async with connected(proxy.dsn) as ledger:
        unknown_before = unknown_commits()
        stop = proxy.stop_at(moment)
        opening = asyncio.create_task(opened(ledger, "somebody"))
        await reached(stop.reached)
        stop.cut()
        account = await opening
        page = await ledger.accounts("somebody")
        assert [item.id for item in page.items] == [account]
        assert unknown_commits() == unknown_before + unknown
    assert_whole(database)


async def test_a_commit_that_arrives_late(database: ShardDatabase, proxy: CuttingProxy) -> None:
    """The connection is lost, but COMMIT is still on its way to a session that lives: there is nothing to see yet."""
    async with connected(proxy.dsn) as ledger:
        stop = proxy.stop_at(Moment.COMMIT)
        opening = asyncio.create_task(opened(ledger, "somebody"))
        await reached(stop.reached)
        stop.cut_and_deliver_later()
        await asyncio.to_thread(wait_for, lambda: waiting_for_the_lock(database) == 1, "it asks the ledger")
        assert not opening.done()
        stop.deliver()
        account = await opening
        page = await ledger.accounts("somebody")
        assert [item.id for item in page.items] == [account]
    assert_whole(database)


# Callers who do not wait, and callers who are too many.


async def test_a_full_queue_refuses_at_once_and_recovers(
    database: ShardDatabase, proxy: CuttingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(proxy.dsn) as ledger:
        wallets = await Wallets.open(ledger)
        source, destination = wallets.wallets
        monkeypatch.setattr(limits, "QUEUE_COMMANDS_PER_TENANT_MAX", 10)
        stop = proxy.stop_at(Moment.COMMIT)
        first = asyncio.create_task(pay(ledger, source, destination, 1, "first"))
        await reached(stop.reached)
        queued = [
            asyncio.create_task(pay(ledger, source, destination, 1, f"queued {number}"))
            for number in range(10)
        ]
        await asyncio.sleep(0)
        for _ in range(3):
            with pytest.raises(OverloadedError):
                await pay(ledger, source, destination, 1, "one too many")
        with pytest.raises(OverloadedError):
            await ledger.transfers(
                [
                    ledger_module.TransferRequest(source, destination, 1, "USD", f"batch {number}")
                    for number in range(2)
                ]
            )
        stop.pass_on()
        answers = await asyncio.gather(first, *queued)
        assert all(isinstance(answer, views.Transaction) for answer in answers)
        assert isinstance(await pay(ledger, source, destination, 1, "one too many"), views.Transaction)
        assert await balance(ledger, source) == START_BALANCE - 12
    assert_whole(database)


async def test_a_client_that_goes_away_cancels_no_commit(
    database: ShardDatabase, proxy: CuttingProxy
) -> None:
    async with connected(proxy.dsn) as ledger:
        wallets = await Wallets.open(ledger)
        source, destination = wallets.wallets
        stop = proxy.stop_at(Moment.COMMIT)
        gone = asyncio.create_task(pay(ledger, source, destination, 1, "gone"))
        await reached(stop.reached)
        neighbour = asyncio.create_task(pay(ledger, source, destination, 1, "neighbour"))
        gone_in_queue = asyncio.create_task(pay(ledger, source, destination, 1, "gone in the queue"))
        await asyncio.sleep(0)
        for task in (gone, gone_in_queue):
            task.cancel()
        await asyncio.gather(gone, gone_in_queue, return_exceptions=True)
        assert gone.cancelled()
        assert gone_in_queue.cancelled()
        before = transfers_in_books(database)
        stop.pass_on()
        assert isinstance(await neighbour, views.Transaction)
        assert transfers_in_books(database) == before + 2, "the first is there, the queued one was let go"
        for key, count in (("gone", 0), ("gone in the queue", 1)):
            answer = await pay(ledger, source, destination, 1, key)
            assert isinstance(answer, views.Transaction)
            assert transfers_in_books(database) == before + 2 + count
            assert await pay(ledger, source, destination, 1, key) == answer
    assert_whole(database)


async def test_a_client_that_waits_too_long_is_told_so_and_finds_the_answer_later(
    database: ShardDatabase, proxy: CuttingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(proxy.dsn) as ledger:
        wallets = await Wallets.open(ledger)
        source, destination = wallets.wallets
        stop = proxy.stop_at(Moment.COMMITTED)
        monkeypatch.setattr(limits, "REQUEST_TIMEOUT_SECONDS", 0.1)
        with pytest.raises(UnavailableError, match="in time"):
            await pay(ledger, source, destination, 1, "slow")
        monkeypatch.undo()
        stop.pass_on()
        answer = await pay(ledger, source, destination, 1, "slow")
        assert isinstance(answer, views.Transaction)
        assert await balance(ledger, source) == START_BALANCE - 1
    assert_whole(database)


async def test_what_waits_is_written_before_the_end(database: ShardDatabase, proxy: CuttingProxy) -> None:
    async with connected(proxy.dsn) as ledger:
        wallets = await Wallets.open(ledger)
        batcher = ledger._engine.router.shards[0].batcher
        stop = proxy.stop_at(Moment.COMMIT)
        first = asyncio.create_task(pay(ledger, wallets.bank, wallets.wallets[0], 1, "first"))
        await reached(stop.reached)
        load = Load(ledger, wallets)
        await asyncio.sleep(0)

        async def go_on_at_the_end() -> None:
            await asyncio.to_thread(wait_for, lambda: batcher._stopping, "the ledger is being closed")
            stop.pass_on()

        going_on = asyncio.create_task(go_on_at_the_end())
    await going_on
    assert isinstance(await first, views.Transaction)
    answers = await load.task
    assert sum(isinstance(answer, views.Transaction) for answer in answers) == 2 * len(wallets.wallets)
    assert transfers_in_books(database) == 1 + 3 * len(wallets.wallets)
    assert_whole(database)


# Bugs.


def raise_in_a_rule(appended: Appended) -> None:
    if _poisoned(appended):
        raise ZeroDivisionError("a bug in a rule")


def unbalance(appended: Appended) -> None:
    for index, entry in enumerate(appended.entries):
        if entry.amount == POISON:
            appended.entries[index] = entry._replace(amount=POISON + 1, balance=entry.balance + 1)


def overdraw(appended: Appended) -> None:
    for index, entry in enumerate(appended.entries):
        if entry.amount == -POISON:
            appended.entries[index] = entry._replace(balance=-1)


def claim_a_key_twice(appended: Appended) -> None:
    if _poisoned(appended):
        appended.requests.append(appended.requests[0])


def skip_a_position(appended: Appended) -> None:
    if _poisoned(appended):
        transactions = appended.transactions
        transactions[-1] = transactions[-1]._replace(position=transactions[-1].position + 1)


def claim_another_position(appended: Appended) -> None:
    if _poisoned(appended):
        requests = appended.requests
        requests[-1] = requests[-1]._replace(position=1)


def forget_the_transaction(appended: Appended) -> None:
    """Each row that is there is right, so it is not seen before the commit."""
    positions = {entry.position for entry in appended.entries if entry.amount == POISON}
    appended.transactions[:] = [row for row in appended.transactions if row.position not in positions]


def _poisoned(appended: Appended) -> bool:
    return any(entry.amount == POISON for entry in appended.entries)


def poison_rows(monkeypatch: pytest.MonkeyPatch, poison: Poison) -> None:
    """A bug in what decides, seen where all that was decided passes."""

    def poisoned(appended: Appended) -> EncodedBatch:
        poison(appended)
        return encode(appended)

    monkeypatch.setattr(writing_module, "encode", poisoned)


@pytest.mark.parametrize(
    "poison",
    [
        raise_in_a_rule,
        unbalance,
        overdraw,
        claim_a_key_twice,
        skip_a_position,
        claim_another_position,
        forget_the_transaction,
    ],
)
async def test_a_faulty_command_fails_alone(
    database: ShardDatabase, monkeypatch: pytest.MonkeyPatch, poison: Poison
) -> None:
    async with connected(database.server_dsn) as ledger:
        poison_rows(monkeypatch, poison)
        unknown = unknown_commits()
        await fail_alone(ledger, database)
        assert unknown_commits() == unknown, "a COMMIT that was refused is not a lost one"


async def test_a_command_whose_batch_row_is_refused_fails_alone(
    database: ShardDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_poisoned = False

    def note(appended: Appended) -> None:
        nonlocal is_poisoned
        is_poisoned = _poisoned(appended)

    def discontinue(
        previous: bytes, number: int, last_position: int, recorded_at_us: int, rows: EncodedBatch
    ) -> BatchRow:
        row = chain(previous, number, last_position, recorded_at_us, rows)
        return row._replace(previous_hash=bytes(32)) if is_poisoned else row

    async with connected(database.server_dsn) as ledger:
        poison_rows(monkeypatch, note)
        monkeypatch.setattr(writing_module, "chain", discontinue)
        await fail_alone(ledger, database)


async def fail_alone(ledger: Ledger, database: ShardDatabase) -> None:
    wallets = await Wallets.open(ledger)
    source, destination = wallets.wallets
    amounts = [1, 2, POISON, 3, 500]
    before, faulty_before = transfers_in_books(database), faulty_commands()
    with capture_logs() as logged:
        answers = await asyncio.gather(
            *(pay(ledger, source, destination, amount, f"pay {amount}") for amount in amounts),
            return_exceptions=True,
        )
    assert [entry["event"] for entry in logged if entry["log_level"] == "error"] == [
        "ALARM: command failed alone"
    ]
    assert isinstance(answers[2], FaultyCommandError)
    assert [type(answer) for answer in (*answers[:2], answers[3])] == [views.Transaction] * 3
    assert isinstance(answers[4], Refused)
    assert faulty_commands() == faulty_before + 1
    assert transfers_in_books(database) == before + 3
    assert await balance(ledger, source) == START_BALANCE - 6
    assert open_transactions(database) == 0
    # The faulty one burned no key and left nothing behind.
    with capture_logs(), pytest.raises(FaultyCommandError):
        await pay(ledger, source, destination, POISON, f"pay {POISON}")
    assert open_transactions(database) == 0
    again = await asyncio.gather(
        *(pay(ledger, source, destination, amount, f"pay {amount}") for amount in amounts if amount != POISON)
    )
    assert again[:3] == [answers[0], answers[1], answers[3]]
    assert transfers_in_books(database) == before + 3
    assert_whole(database)


@pytest.mark.parametrize("broken", ["roll_back", "reconnect"])
async def test_the_batcher_outlives_what_nobody_expected(
    database: ShardDatabase, proxy: CuttingProxy, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """A bug in the driver must not end the task that writes: nobody would notice but by waiting."""
    async with connected(proxy.dsn) as ledger:
        wallets = await Wallets.open(ledger)
        source, destination = wallets.wallets
        original = getattr(LogWriter, broken)
        failures = 2

        async def fail_twice(writer: LogWriter) -> None:
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise RuntimeError("a bug of the driver")
            await original(writer)

        with capture_logs():
            if broken == "roll_back":
                poison_rows(monkeypatch, raise_in_a_rule)
            monkeypatch.setattr(LogWriter, broken, fail_twice)
            if broken == "reconnect":
                proxy.cut_all()
            with pytest.raises((UnavailableError, FaultyCommandError)):
                await pay(ledger, source, destination, POISON, "poison")
            monkeypatch.undo()
            await becomes(ledger, is_available=True)
            answer = await pay(ledger, source, destination, 1, "after it")
        assert isinstance(answer, views.Transaction)
    assert_whole(database)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_bug_of_the_driver_leaves_a_commit_unknown(
    database: ShardDatabase, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Whatever is raised in place of COMMIT's answer, the ledger is asked; also when asking fails at first."""
    execute, was_committed = asyncpg.Connection.execute, LogWriter.was_committed
    bugs = ["COMMIT", "was_committed"]

    async def fail_once(connection: Session, text: str, *arguments: object, **options: float) -> str:
        if text not in bugs:
            return await execute(connection, text, *arguments, **options)
        bugs.remove(text)
        if when == "after":
            await execute(connection, text)
        raise asyncpg.InternalClientError("a bug of the driver")

    async def ask(writer: LogWriter, row: BatchRow) -> bool:
        if "was_committed" in bugs:
            bugs.remove("was_committed")
            raise asyncpg.InternalClientError("another bug of the driver")
        return await was_committed(writer, row)

    async with connected(database.server_dsn) as ledger:
        wallets = await Wallets.open(ledger)
        unknown_before, faulty_before = unknown_commits(), faulty_commands()
        monkeypatch.setattr(asyncpg.Connection, "execute", fail_once)
        monkeypatch.setattr(LogWriter, "was_committed", ask)
        account = await opened(ledger, "somebody")
        assert bugs == []
        page = await ledger.accounts("somebody")
        assert [item.id for item in page.items] == [account]
        assert unknown_commits() == unknown_before + 1
        assert faulty_commands() == faulty_before
        await Load(ledger, wallets).assert_done_once(database)


async def test_an_identifier_that_is_taken_is_drawn_again(
    database: ShardDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter([7, 7, 7, 8, 9, 10])

    async with connected(database.server_dsn) as ledger:
        first = await opened(ledger, "bank", kind="system")
        monkeypatch.setattr(secrets, "randbelow", lambda _: next(drawn))
        faulty_before = faulty_commands()
        accounts = await asyncio.gather(*(opened(ledger, f"owner {number}") for number in range(3)))
        assert len({first, *accounts}) == 4
        assert faulty_commands() == faulty_before
        assert open_transactions(database) == 0
    assert_whole(database)


async def test_a_batch_with_nothing_to_write_leaves_no_transaction_open(database: ShardDatabase) -> None:
    """A replay writes nothing, so its database transaction ends without COMMIT and must give the lock back."""
    async with connected(database.server_dsn) as ledger, connected(database.server_dsn) as other:
        wallets = await Wallets.open(ledger)
        source, destination = wallets.wallets
        answer = await pay(ledger, source, destination, 1, "first")
        batches = batches_in_books(database)
        assert await pay(ledger, source, destination, 1, "first") == answer
        assert batches_in_books(database) == batches
        assert open_transactions(database) == 0
        assert isinstance(await pay(other, source, destination, 1, "second"), views.Transaction)
    assert_whole(database)


# Several processes on one shard.


async def test_two_engines_in_turn_never_believe_an_old_balance(database: ShardDatabase) -> None:
    async with connected(database.server_dsn) as first, connected(database.server_dsn) as second:
        wallets = await Wallets.open(first)
        source, destination = wallets.wallets
        for turn in range(10):
            # Whoever paid before remembers a balance that the other one has changed since.
            for ledger in (first, second):
                answer = await pay(ledger, source, destination, 5, f"turn {turn} {id(ledger)}")
                assert isinstance(answer, views.Transaction)
        assert await balance(first, source) == 0
        for ledger in (first, second):
            refused = await pay(ledger, source, destination, 1, f"too much {id(ledger)}")
            assert isinstance(refused, Refused)
            assert refused.code is RefusalCode.INSUFFICIENT_FUNDS
    assert_whole(database)


async def test_two_engines_see_each_others_changes_of_accounts_and_holds(database: ShardDatabase) -> None:
    async with connected(database.server_dsn) as first, connected(database.server_dsn) as second:
        wallets = await Wallets.open(first)
        source, destination = wallets.wallets
        assert isinstance(await pay(first, source, destination, 1, "known to the first"), views.Transaction)
        held = await second.hold(source, destination, 90, "USD", idempotency_key="hold")
        assert isinstance(held, views.Hold)
        refused = await pay(first, source, destination, 10, "more than is available")
        assert isinstance(refused, Refused)
        assert refused.code is RefusalCode.INSUFFICIENT_FUNDS
        assert isinstance(await first.change_account(source, status="frozen"), views.Account)
        refused = await pay(second, source, destination, 1, "frozen")
        assert isinstance(refused, Refused)
        assert refused.code is RefusalCode.ACCOUNT_FROZEN
        captured = await first.capture(held.id, 30, idempotency_key="capture")
        assert isinstance(captured, views.Hold)
        too_much = await second.capture(held.id, 61, idempotency_key="too much")
        assert isinstance(too_much, Refused)
        assert too_much.code is RefusalCode.CAPTURE_EXCEEDS_HOLD
    assert_whole(database)


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
async def test_two_engines_at_once(database: ShardDatabase, isolation: str) -> None:
    """Whatever the database's default isolation is, a batch sees all that was committed before its lock."""
    with psycopg.connect(database.owner_dsn, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(
            f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = '{isolation}'".encode()
        )
    seed = random.randrange(2**32)
    sys.stdout.write(f"seed {seed}\n")
    chance = random.Random(seed)
    faulty_before = faulty_commands()
    async with connected(database.server_dsn) as first, connected(database.server_dsn) as second:
        wallets = await Wallets.open(first, count=4)
        payments = []
        for number in range(300):
            source, destination = chance.sample(wallets.wallets, 2)
            payments.append((source, destination, chance.randint(1, 60), f"payment {number}"))

        async def client(ledger: Ledger, mine: list[tuple[str, str, int, str]]) -> list[Answer]:
            return [await pay(ledger, *payment) for payment in mine]

        # Every payment is sent to both engines: to one in this order, to the other in another.
        orders = [payments, chance.sample(payments, len(payments))]
        answers = await asyncio.gather(
            *(
                client(ledger, order[start::10])
                for ledger, order in zip((first, second), orders, strict=True)
                for start in range(10)
            )
        )
        by_key: dict[str, Answer] = {}
        for index, group in enumerate(answers):
            mine = orders[index // 10][index % 10 :: 10]
            for payment, answer in zip(mine, group, strict=True):
                plain = _without_replay(answer)
                assert by_key.setdefault(payment[3], plain) == plain
        posted = sum(isinstance(answer, views.Transaction) for answer in by_key.values())
        assert transfers_in_books(database) == posted + len(wallets.wallets)
        balances = [await balance(first, wallet) for wallet in wallets.wallets]
        assert min(balances) >= 0
        assert sum(balances) == START_BALANCE * len(wallets.wallets)
        assert await balance(second, wallets.bank) == -START_BALANCE * len(wallets.wallets)
    assert faulty_commands() == faulty_before
    assert_whole(database)


async def test_the_lock_keeps_others_out_until_the_commit(
    database: ShardDatabase, proxy: CuttingProxy
) -> None:
    async with connected(proxy.dsn) as first, connected(database.server_dsn) as second:
        wallets = await Wallets.open(first)
        source, destination = wallets.wallets
        stop = proxy.stop_at(Moment.COMMIT)
        slow = asyncio.create_task(pay(first, source, destination, 70, "slow"))
        await reached(stop.reached)
        waiting = asyncio.create_task(pay(second, source, destination, 70, "waiting"))
        await asyncio.to_thread(
            wait_for, lambda: waiting_for_the_lock(database) == 1, "the second engine waits for the lock"
        )
        assert not waiting.done()
        stop.pass_on()
        assert isinstance(await slow, views.Transaction)
        assert isinstance(await waiting, Refused)
        assert await balance(first, source) == 30
    assert_whole(database)


# Batches decided ahead, while the one before them is being written.


@pytest.fixture
def decided_ahead(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whatever waits is decided ahead; whether each batch could be."""
    decide_ahead = BatchWriter.decide_ahead
    decided: list[bool] = []

    async def note(writer: BatchWriter, units: Units) -> Decided | None:
        found = await decide_ahead(writer, units)
        decided.append(found is not None)
        return found

    monkeypatch.setattr(limits, "AHEAD_COMMANDS_MIN", 1)
    # However slow this machine is, it is not that which keeps a batch from being decided ahead.
    monkeypatch.setattr(limits, "PEEK_TIMEOUT_SECONDS", WAIT_SECONDS_MAX)
    monkeypatch.setattr(BatchWriter, "decide_ahead", note)
    return decided


async def becomes_decided(decided: list[bool], count: int) -> None:
    await asyncio.to_thread(wait_for, lambda: sum(decided) >= count, f"{count} batches decided ahead")


@pytest.mark.parametrize("moment", [moment for moment, _ in CUTS if moment is not Moment.BEGIN])
async def test_the_batch_below_one_that_was_decided_ahead_is_cut(
    database: ShardDatabase, proxy: CuttingProxy, decided_ahead: list[bool], moment: Moment
) -> None:
    """What was decided ahead is written only on top of exactly what it was decided on."""
    async with connected(proxy.dsn) as ledger:
        wallets = await Wallets.open(ledger, count=2)
        source, destination = wallets.wallets
        before = sum(decided_ahead)
        stop = proxy.stop_at(moment)
        first = asyncio.create_task(pay(ledger, source, destination, 70, "first"))
        await reached(stop.reached)
        # The second is possible because of the first, the third impossible because of it.
        following = [
            asyncio.create_task(pay(ledger, destination, source, 170, "second")),
            asyncio.create_task(pay(ledger, destination, source, 1, "third")),
            asyncio.create_task(pay(ledger, source, destination, 70, "first")),
        ]
        await becomes_decided(decided_ahead, before + 1)
        stop.cut()
        answers = await asyncio.gather(first, *following)
        assert isinstance(answers[0], views.Transaction)
        assert isinstance(answers[1], views.Transaction)
        assert isinstance(answers[2], Refused)
        assert answers[3] == answers[0]
        assert await balance(ledger, source) == 200
        assert await balance(ledger, destination) == 0
        for key, payment, answer in (
            ("first", (source, destination, 70), answers[0]),
            ("second", (destination, source, 170), answers[1]),
        ):
            assert await pay(ledger, *payment, key) == answer
    assert transfers_in_books(database) == 4
    assert_whole(database)
    assert open_transactions(database) == 0


async def test_a_repeated_request_is_not_answered_from_a_batch_that_was_lost(
    database: ShardDatabase, proxy: CuttingProxy, decided_ahead: list[bool]
) -> None:
    """The repetition waits while the first is being written; the first is lost, and then there is no money left."""
    async with connected(proxy.dsn) as first, connected(database.server_dsn) as second:
        wallets = await Wallets.open(first, count=2)
        source, destination = wallets.wallets
        stop = proxy.stop_at(Moment.COMMIT)
        asked = asyncio.create_task(pay(first, source, destination, 70, "asked"))
        await reached(stop.reached)
        count = len(decided_ahead)
        repeated = asyncio.create_task(pay(first, source, destination, 70, "asked"))
        await asyncio.to_thread(wait_for, lambda: len(decided_ahead) > count, "it was tried")
        between = asyncio.create_task(pay(second, source, destination, 50, "between"))
        await asyncio.to_thread(
            wait_for, lambda: waiting_for_the_lock(database) == 1, "it waits for the lock"
        )
        stop.cut()
        assert isinstance(await between, views.Transaction)
        answers = await asyncio.gather(asked, repeated)
        assert [type(answer) for answer in answers] == [Refused, Refused]
        assert await balance(first, source) == 50
    assert_whole(database)


async def test_another_engine_writes_before_what_was_decided_ahead(
    database: ShardDatabase, proxy: CuttingProxy, decided_ahead: list[bool]
) -> None:
    async with connected(proxy.dsn) as first, connected(database.server_dsn) as second:
        wallets = await Wallets.open(first, count=2)
        source, destination = wallets.wallets
        committed = proxy.stop_at(Moment.COMMITTED)
        begun = asyncio.create_task(pay(first, source, destination, 10, "begun"))
        await reached(committed.reached)
        before_its_turn = proxy.stop_at(Moment.BEGIN)
        before = sum(decided_ahead)
        ahead = asyncio.create_task(pay(first, source, destination, 60, "ahead"))
        await becomes_decided(decided_ahead, before + 1)
        committed.pass_on()
        assert isinstance(await begun, views.Transaction)
        await reached(before_its_turn.reached)
        # There are 90 left: enough for the one that was decided ahead, but somebody else takes them.
        assert isinstance(await pay(second, source, destination, 50, "between"), views.Transaction)
        before_its_turn.pass_on()
        refused = await ahead
        assert isinstance(refused, Refused)
        assert refused.code is RefusalCode.INSUFFICIENT_FUNDS
        assert await balance(first, source) == 40
    assert_whole(database)
    assert open_transactions(database) == 0


@pytest.mark.parametrize("known_accounts_max", [0, 1, 4, 1000])
async def test_balances_decided_ahead_when_not_all_accounts_can_be_remembered(
    database: ShardDatabase,
    decided_ahead: list[bool],
    monkeypatch: pytest.MonkeyPatch,
    known_accounts_max: int,
) -> None:
    """What the batch below changed is nowhere to be read yet, so it must not be forgotten."""
    monkeypatch.setattr(limits, "KNOWN_ACCOUNTS_MAX", known_accounts_max)
    # Small batches, so that the next one always waits already.
    monkeypatch.setattr(limits, "BATCH_COMMANDS_MAX", 3)
    chance = random.Random(known_accounts_max)
    async with connected(database.server_dsn) as ledger:
        wallets = await Wallets.open(ledger, count=8)

        async def client(number: int) -> None:
            for turn in range(40):
                source, destination = chance.sample(wallets.wallets, 2)
                await pay(ledger, source, destination, chance.randint(1, 90), f"{number} {turn}")

        await asyncio.gather(*(client(number) for number in range(6)))
        balances = [await balance(ledger, wallet) for wallet in wallets.wallets]
        assert min(balances) >= 0
        assert sum(balances) == START_BALANCE * len(wallets.wallets)
    assert sum(decided_ahead) > 10, "the test would prove nothing"
    assert_whole(database)


async def test_a_faulty_command_that_was_decided_ahead_fails_alone(
    database: ShardDatabase, proxy: CuttingProxy, decided_ahead: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(proxy.dsn) as ledger:
        wallets = await Wallets.open(ledger)
        source, destination = wallets.wallets
        poison_rows(monkeypatch, unbalance)
        stop = proxy.stop_at(Moment.COMMIT)
        first = asyncio.create_task(pay(ledger, source, destination, 1, "first"))
        await reached(stop.reached)
        before = sum(decided_ahead)
        following = [
            asyncio.create_task(pay(ledger, source, destination, amount, f"pay {amount}"))
            for amount in (2, POISON, 3)
        ]
        await becomes_decided(decided_ahead, before + 1)
        with capture_logs():
            stop.pass_on()
            answers = await asyncio.gather(first, *following, return_exceptions=True)
        assert [type(answer) for answer in answers] == [
            views.Transaction,
            views.Transaction,
            FaultyCommandError,
            views.Transaction,
        ]
        assert await balance(ledger, source) == START_BALANCE - 6
    assert_whole(database)
    assert open_transactions(database) == 0


async def test_deciding_ahead_goes_on_after_its_connection_was_lost(
    database: ShardDatabase, decided_ahead: list[bool], proxy: CuttingProxy
) -> None:
    async with connected(proxy.dsn) as ledger:
        wallets = await Wallets.open(ledger)
        source, destination = wallets.wallets

        async def decide_one_ahead(name: str) -> bool:
            stop = proxy.stop_at(Moment.COMMIT)
            first = asyncio.create_task(pay(ledger, source, destination, 1, f"first {name}"))
            await reached(stop.reached)
            count = len(decided_ahead)
            second = asyncio.create_task(pay(ledger, source, destination, 1, f"second {name}"))
            await asyncio.to_thread(wait_for, lambda: len(decided_ahead) > count, "it was tried")
            stop.pass_on()
            assert isinstance(await first, views.Transaction)
            assert isinstance(await second, views.Transaction)
            return decided_ahead[count]

        assert await decide_one_ahead("before")
        # Of the two sessions of the batcher, the one that writes is not touched.
        one_value(
            database.owner_dsn,
            "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND starts_with(application_name, 'tallystick writer')"
            " ORDER BY backend_start DESC LIMIT 1) AS newest",
        )
        tries = [await decide_one_ahead(f"after {number}") for number in range(3)]
        assert tries[-1], tries
    assert_whole(database)


async def test_a_connection_beside_that_hangs_delays_nobody_for_long(
    database: ShardDatabase, decided_ahead: list[bool], proxy: CuttingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To decide ahead is worth a short wait and no more: the batch is decided when its turn comes."""
    monkeypatch.setattr(limits, "PEEK_TIMEOUT_SECONDS", PEEK_TIMEOUT_SECONDS)
    async with connected(proxy.dsn) as ledger:
        wallets = await Wallets.open(ledger)
        source, destination = wallets.wallets
        commit = proxy.stop_at(Moment.COMMIT)
        first = asyncio.create_task(pay(ledger, source, destination, 1, "first"))
        await reached(commit.reached)
        hangs = proxy.stop_at(Moment.HEAD)
        count = len(decided_ahead)
        second = asyncio.create_task(pay(ledger, source, destination, 1, "second"))
        await reached(hangs.reached)
        commit.pass_on()
        # Longer than a request may take, they would not be answered.
        answers = await asyncio.gather(first, second)
        assert [type(answer) for answer in answers] == [views.Transaction] * 2
        assert decided_ahead[count:] == [False]
        # Over another connection it is decided ahead again.
        monkeypatch.setattr(limits, "PEEK_TIMEOUT_SECONDS", WAIT_SECONDS_MAX)
        commit = proxy.stop_at(Moment.COMMIT)
        third = asyncio.create_task(pay(ledger, source, destination, 1, "third"))
        await reached(commit.reached)
        fourth = asyncio.create_task(pay(ledger, source, destination, 1, "fourth"))
        await becomes_decided(decided_ahead, sum(decided_ahead) + 1)
        commit.pass_on()
        answers = await asyncio.gather(third, fourth)
        assert [type(answer) for answer in answers] == [views.Transaction] * 2
    assert_whole(database)


# The clock.


async def test_recorded_time_never_goes_backwards(database: ShardDatabase) -> None:
    tolerant = Engine({SHARD: database.server_dsn}, clock_tolerance_seconds=7_200)
    async with running(tolerant) as engine:
        ledger = Ledger(engine, 1)
        wallets = await Wallets.open(ledger)
        source, destination = wallets.wallets
        ahead = datetime.now(UTC).replace(microsecond=123_456) + timedelta(hours=1)
        await write_a_refusal(database, ahead)
        recorded = []
        for number in range(3):
            answer = await pay(ledger, source, destination, 1, f"after the clock was set back {number}")
            assert isinstance(answer, views.Transaction)
            recorded.append(answer.recorded_at)
        assert recorded == [ahead] * 3
        # In spite of equal times, the balance by time is that after the newest of them.
        with psycopg.connect(database.owner_dsn) as connection:
            row = connection.execute(
                "SELECT bool_and(t.recorded_at <= b.recorded_at) FROM transactions AS t"
                " JOIN batches AS b ON b.number = (SELECT min(number) FROM batches"
                " WHERE last_position >= t.position)"
            ).fetchone()
        assert row == (True,)
    assert_whole(database)


async def write_a_refusal(database: ShardDatabase, recorded_at: datetime) -> None:
    """What a server writes whose clock is ahead."""
    writer = LogWriter(database.server_dsn, SHARD)
    await writer.reconnect()
    head, _, _ = await writer.begin(Needs())
    number = head.number + 1
    refused = RequestRow(bytes(16), None, number, RefusalCode.INSUFFICIENT_FUNDS, None, "", b"")
    rows = encode(Appended([], [], [], [], [], [refused]))
    await writer.append(
        chain(head.hash, number, head.last_position, microseconds_of(recorded_at), rows), rows
    )
    await writer.commit()
    await writer.close()


async def test_an_idle_shard_that_is_lost_is_known_before_it_is_needed(database: ShardDatabase) -> None:
    """Nobody asks for anything, and the batcher connects anew all the same."""
    writers = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND starts_with(application_name, 'tallystick writer')"
    )
    async with connected(database.server_dsn) as ledger:
        await Wallets.open(ledger, count=1)
        assert await asyncio.to_thread(terminate_writers, database) > 0
        await asyncio.to_thread(
            wait_for, lambda: one_value(database.owner_dsn, writers) > 0, "connected again, unasked"
        )
        await becomes(ledger, is_available=True)
