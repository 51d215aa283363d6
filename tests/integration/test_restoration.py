"""A log that goes on after a restore: positions that clients were told of are not used again."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from tests.accounts import opened
from tests.crash.databases import SHARD, ShardDatabase, find_again, lose, one_value
from tests.forked import run_forked

from tallystick import Ledger, views
from tallystick.service.configuration import Configuration, ShardConfiguration, write_configuration
from tallystick.service.restoration import NotRestoredError, Restoration, continue_restored
from tallystick.store.errors import NotPermittedError
from tallystick.verify.log import LostPositions, ShardReport, verify_shard
from tallystick.verify.problems import ProblemKind

REASON = "disk lost"


@pytest.fixture
async def ledger(database: ShardDatabase) -> AsyncIterator[Ledger]:
    async with Ledger.connect(database.server_dsn) as ledger:
        yield ledger


async def pay(ledger: Ledger, source: str, destination: str) -> int:
    """The position of a new transfer."""
    found = await ledger.transfer(source, destination, 5, "USD", idempotency_key=secrets.token_hex(8))
    assert isinstance(found, views.Transaction)
    return found.position


async def restored(database: ShardDatabase) -> Restoration:
    return await continue_restored(SHARD, database.owner_dsn, REASON)


def verified(database: ShardDatabase) -> ShardReport:
    return verify_shard(database.owner_dsn, SHARD)


async def test_the_log_goes_on_beyond_what_it_can_have_reached(
    database: ShardDatabase, ledger: Ledger
) -> None:
    """The server ran meanwhile: it goes on, too."""
    bank, alice = await opened(ledger, "bank", "system"), await opened(ledger, "alice")
    before = await pay(ledger, bank, alice)
    done = await restored(database)
    assert done.lost_after == before
    assert done.lost_through - before >= 3_600 * 100_000
    assert await pay(ledger, bank, alice) == done.lost_through + 1
    balance = await ledger.balance(alice)
    assert balance.balance == 10
    report = verified(database)
    assert report.ok
    assert [(one.batch, one.first, one.last, one.reason) for one in report.lost] == [
        (done.batch, before + 1, done.lost_through, REASON)
    ]


async def test_twice(database: ShardDatabase, ledger: Ledger) -> None:
    bank, alice = await opened(ledger, "bank", "system"), await opened(ledger, "alice")
    first = await restored(database)
    second = await restored(database)
    assert second.lost_after == first.lost_through
    assert await pay(ledger, bank, alice) == second.lost_through + 1
    report = verified(database)
    assert report.ok
    assert [one.batch for one in report.lost] == [first.batch, second.batch]


async def test_readers_of_the_log_pass_the_gap_in_one_step(database: ShardDatabase, ledger: Ledger) -> None:
    """Page by page, each of 20,000 positions, the gap would be 18,000 pages."""
    bank, alice = await opened(ledger, "bank", "system"), await opened(ledger, "alice")
    before = await pay(ledger, bank, alice)
    done = await restored(database)
    last = await pay(ledger, bank, alice)
    found, pages, after = [], 0, 0
    while (page := await ledger.events(after=after, accounts=[alice])).position > after:
        found += [event.position for event in page.items if event.kind == "transfer"]
        after, pages = page.position, pages + 1
    assert found == [before, last]
    assert pages <= 3
    # A reader whose position was lost.
    page = await ledger.events(after=before + 7)
    assert (page.items, page.position) == ([], done.lost_through)
    parts = await ledger.follow_events(after=done.lost_after + 7)
    async for part in parts:
        if part.items:
            assert [event.position for event in part.items] == [last]
            break


async def test_an_empty_log_was_not_restored(database: ShardDatabase) -> None:
    with pytest.raises(NotRestoredError, match="the log of shard 1 is empty"):
        await restored(database)
    assert one_value(database.owner_dsn, "SELECT count(*) FROM batches") == 0


async def test_only_the_owner_may(database: ShardDatabase, ledger: Ledger) -> None:
    await opened(ledger, "alice")
    with pytest.raises(NotPermittedError):
        await continue_restored(SHARD, database.server_dsn, REASON)
    assert one_value(database.owner_dsn, "SELECT count(*) FROM batches") == 1
    assert verified(database).ok


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO restorations VALUES (1, 'a batch that is written already')",
        "INSERT INTO restorations VALUES (2, 'no batch')",
        "UPDATE restorations SET reason = 'another'",
        "DELETE FROM restorations",
        "TRUNCATE restorations",
    ],
)
async def test_the_database_refuses_other_changes(
    database: ShardDatabase, ledger: Ledger, statement: str
) -> None:
    await opened(ledger, "alice")
    with psycopg.connect(database.owner_dsn) as connection, pytest.raises(psycopg.DatabaseError):
        connection.execute(statement.encode())
    assert verified(database).ok


async def test_a_gap_that_no_restore_made_is_found(database: ShardDatabase, ledger: Ledger) -> None:
    """The owner has taken the guards off for a moment."""
    await opened(ledger, "alice")
    done = await restored(database)
    with psycopg.connect(database.owner_dsn) as connection:
        connection.execute("ALTER TABLE restorations DISABLE TRIGGER immutable")
        connection.execute("DELETE FROM restorations")
        connection.execute("ALTER TABLE restorations ENABLE ALWAYS TRIGGER immutable")
    report = verified(database)
    assert not report.ok
    assert report.lost == []
    assert ProblemKind.BATCH_POSITION in report.counts
    assert report.positions == done.lost_through


async def test_rows_that_were_hidden_in_a_gap_are_found(database: ShardDatabase, ledger: Ledger) -> None:
    bank, alice = await opened(ledger, "bank", "system"), await opened(ledger, "alice")
    position = await pay(ledger, bank, alice)
    done = await restored(database)
    with psycopg.connect(database.owner_dsn) as connection:
        connection.execute("SET session_replication_role = 'origin'")
        connection.execute("ALTER TABLE transactions DISABLE TRIGGER ALL")
        connection.execute(
            "INSERT INTO transactions SELECT %s, recorded_at, tenant, kind FROM transactions WHERE position = %s",
            [done.lost_after + 5, position],
        )
        connection.execute("ALTER TABLE transactions ENABLE TRIGGER ALL")
    report = verified(database)
    assert {ProblemKind.BATCH_HASH, ProblemKind.POSITION_REPEATED} <= report.counts.keys()
    assert isinstance(report.lost[0], LostPositions)


@pytest.fixture
def path(database: ShardDatabase, tmp_path: Path) -> Path:
    shards = [ShardConfiguration(SHARD, database.server_dsn, database.owner_dsn)]
    write_configuration(tmp_path / "tallystick.toml", Configuration(shards))
    return tmp_path / "tallystick.toml"


def command(path: Path, *arguments: str) -> tuple[int, str]:
    """The status of the command, and its error."""
    done = run_forked(["restored", "--config", str(path), *arguments], timeout=30)
    return done.returncode, done.stderr.strip()


def test_the_command_says_what_to_do(database: ShardDatabase, path: Path) -> None:
    assert command(path, "--shard", "1", "--reason", REASON) == (
        1,
        "error: this asks before it acts: answer in a terminal, or add --yes",
    )
    assert command(path, "--shard", "9", "--reason", REASON, "--yes") == (
        1,
        "error: there is no shard 9 in the configuration: choose from 1",
    )
    for reason in ("", " ", "x" * 201, "a\x1bb"):
        assert command(path, "--shard", "1", "--reason", reason, "--yes") == (
            1,
            "error: --reason: expected 1 to 200 printable characters",
        )
    assert command(path, "--shard", "1", "--reason", REASON, "--yes") == (
        1,
        "error: the log of shard 1 is empty: restore a back-up first",
    )
    lose(database)
    status, error = command(path, "--shard", "1", "--reason", REASON, "--yes")
    assert status == 1
    assert "shard 1 cannot be reached" in error
    assert "start its database" in error
    find_again(database)
    assert one_value(database.owner_dsn, "SELECT count(*) FROM batches") == 0
