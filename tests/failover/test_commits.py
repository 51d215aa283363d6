"""What is answered is on the standby, whatever happens to the commit; and bugs that are planted here are seen."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import uvloop
from structlog.testing import capture_logs

from tallystick.ledger.crossing.two_phase.databases import PairBatch, PairLogWriter
from tallystick.ledger.writing import BatchWriter
from tallystick.store import commits, log
from tallystick.store.connection import SETTINGS, Database, close_connection, connect_writer
from tallystick.store.directory import AssetRow, Directory
from tallystick.store.errors import CommitUnknownError, ShardUnavailableError, translated_commit
from tallystick.store.log import LogWriter
from tallystick.store.primary import Connection
from tests.crash.databases import SHARD, ShardDatabase, assert_whole, one_value
from tests.crash.hanging import hanging
from tests.failover import scenarios
from tests.failover.pairs import Pair
from tests.failover.payments import PATIENCE_SECONDS, payer
from tests.waiting import until

Scenario = Callable[[Pair, pytest.MonkeyPatch], Awaitable[None]]
NewLoop = Callable[[], asyncio.AbstractEventLoop]
Plant = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.parametrize(
    "scenario",
    [
        scenarios.patience_ends,
        scenarios.an_operator_cancels,
        scenarios.another_process_is_asked_again,
        scenarios.the_primary_starts_again,
        scenarios.a_server_stops,
    ],
)
async def test_what_is_answered_is_on_the_standby(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, scenario: Scenario
) -> None:
    await scenario(pair, monkeypatch)
    assert_whole(pair.database)


def a_time_limit_of_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    async def timed(connection: Connection, statement: str = "COMMIT") -> None:
        with commits.replicated(connection), translated_commit():
            await connection.execute(statement, timeout=scenarios.COMMIT_SECONDS)

    monkeypatch.setattr(log, "commit", timed)


def deaf_to_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def deaf(_: Connection) -> Iterator[None]:
        yield

    monkeypatch.setattr(commits, "replicated", deaf)


def the_log_of_the_primary_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LogWriter, "commit_nothing", LogWriter.roll_back)


def a_hasty_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BatchWriter, "abandon_connections", lambda _: None)


@pytest.mark.parametrize(
    ("scenario", "plant"),
    [
        (scenarios.patience_ends, a_time_limit_of_the_driver),
        (scenarios.an_operator_cancels, deaf_to_warnings),
        (scenarios.an_operator_cancels, the_log_of_the_primary_is_enough),
        (scenarios.another_process_is_asked_again, the_log_of_the_primary_is_enough),
        (scenarios.the_primary_starts_again, the_log_of_the_primary_is_enough),
        (scenarios.a_server_stops, a_hasty_end),
    ],
)
async def test_a_planted_bug_is_seen(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, scenario: Scenario, plant: Plant
) -> None:
    plant(monkeypatch)
    with capture_logs(), pytest.raises(AssertionError):
        await scenario(pair, monkeypatch)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_warning_is_heard_before_the_result(pair: Pair, new_loop: NewLoop) -> None:
    """With the event loop of servers, too."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(a_warning_is_heard(pair))


async def a_warning_is_heard(pair: Pair) -> None:
    async with written(pair) as connection:
        with hanging(pair.standby):
            committing = asyncio.create_task(commits.commit(connection))
            await until(pair.waiting, "it waits for the standby")
            pair.cancel_waiting()
            with pytest.raises(CommitUnknownError, match="canceling wait for synchronous replication"):
                await committing


@asynccontextmanager
async def written(pair: Pair) -> AsyncIterator[Connection]:
    """A session with a transaction that has written something."""
    connection = await connect_writer(pair.database.server_dsn)
    try:
        await connection.execute("BEGIN; SELECT pg_logical_emit_message(true, 'test', '')")
        yield connection
    finally:
        await close_connection(connection)


async def test_the_directory_waits_for_the_standby(pair: Pair) -> None:
    """What was found written already may be on the primary alone, too."""
    database = Database(pair.dsn)
    await database.open()
    directory = Directory(database)
    asset = AssetRow("POINTS", 0, "Points")
    try:
        with hanging(pair.standby):
            for _ in range(2):
                adding = asyncio.create_task(directory.add_asset(1, asset))
                while not adding.done():
                    if pair.waiting():
                        pair.cancel_waiting()
                    await asyncio.sleep(0.05)
                with pytest.raises(ShardUnavailableError, match="canceling wait"):
                    adding.result()
            assert await directory.assets(1) == [asset], "it is on the primary"
        await directory.add_asset(1, asset)
    finally:
        await database.close()


async def test_two_phase_commit_acts_on_no_decision_that_no_standby_has(pair: Pair) -> None:
    writer = PairLogWriter(pair.dsn, SHARD)
    batch = PairBatch(SHARD, SHARD + 1, "0123")
    await writer.reconnect()
    try:
        with hanging(pair.standby):
            # The decision is made, and found when it is asked for again.
            for _ in range(2):
                await is_unknown(pair, writer.decide(batch, commit=True))
        assert await writer.decide(batch, commit=False), "it was decided before"
        await writer.begin_after()
        await writer.prepare(batch.half(SHARD))
        with hanging(pair.standby):
            for _ in range(2):
                await is_unknown(pair, writer.end(batch.half(SHARD), commit=True))
        await writer.end(batch.half(SHARD), commit=True)
    finally:
        await writer.close()


async def is_unknown(pair: Pair, call: Awaitable[object]) -> None:
    """A call waits for the standby. It is cancelled, and says that its result is unknown."""
    calling = asyncio.ensure_future(call)
    await until(pair.waiting, "it waits for the standby")
    pair.cancel_waiting()
    with pytest.raises(CommitUnknownError):
        await calling


async def test_a_server_that_stands_still_in_a_batch_does_not_stop_others(
    database: ShardDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SETTINGS, "idle_in_transaction_session_timeout", "500")
    one, other = LogWriter(database.server_dsn, SHARD), LogWriter(database.server_dsn, SHARD)
    await asyncio.gather(one.reconnect(), other.reconnect())
    await one.begin_after()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await other.begin_after()
    await other.roll_back()
    with pytest.raises(ShardUnavailableError):
        await one.roll_back()
    await asyncio.gather(one.close(), other.close())


async def test_without_standbys_a_repeated_request_writes_nothing(database: ShardDatabase) -> None:
    transactions = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
    async with payer(database.server_dsn) as one:
        posted = await one.pay("once")
        before = one_value(database.owner_dsn, transactions)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await one.pay("once")).id == posted.id
        assert one_value(database.owner_dsn, transactions) == before
