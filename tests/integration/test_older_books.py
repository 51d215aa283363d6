"""Books that an earlier version wrote: they are migrated, verified, read and paid with.

`books_of_0_1/` has the dumps of two shards as they were after migration `0006`, with rows of every kind that
there was: funds, refusals, reversals, several entries, holds in each state, what crossed as sagas and by two-phase
commit, and a saga that had not ended.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import psycopg
import pytest
from tests import engines
from tests.waiting import until

from tallystick import Account, Ledger, Refused, Transaction
from tallystick.domain import limits
from tallystick.domain.access import Scope
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.embedded.postgres_cluster import LOGIN_ROLE
from tallystick.service.engine import Engine
from tallystick.store.migrate import migrate
from tallystick.verify.crossings import verify_crossings
from tallystick.verify.log import verify_shard

FOLDER: Final = Path(__file__).with_name("books_of_0_1")
LEFT_OPEN: Final = "left open"


@pytest.fixture
def older_shards(postgres: EmbeddedPostgres) -> Iterator[dict[int, str]]:
    """The owner's connection strings of the shards, not migrated yet."""
    names = {number: f"older_shard_{number}" for number in (1, 2)}
    for number, name in names.items():
        postgres.create_database(name)
        with psycopg.connect(postgres.dsn(name)) as connection:
            connection.execute((FOLDER / f"shard_{number}.sql").read_bytes())
    yield {number: postgres.dsn(name) for number, name in names.items()}
    for name in names.values():
        postgres.drop_database(name)


def assert_whole(dsns: dict[int, str], open_count: int) -> None:
    for number, dsn in dsns.items():
        report = verify_shard(dsn, number)
        assert report.ok, report.problems
    crossings = verify_crossings(dsns)
    assert crossings.ok, crossings.problems
    assert crossings.open_count == open_count
    assert crossings.halves


async def test_older_books_go_on(older_shards: dict[int, str], postgres: EmbeddedPostgres) -> None:
    for number, dsn in older_shards.items():
        with psycopg.connect(dsn) as connection:
            connection.execute("INSERT INTO api_keys VALUES ('0123456789ab', 1, 'before', sha256('secret'))")
        migrate(dsn, number)
    assert_whole(older_shards, open_count=1)
    served = {number: postgres.dsn(f"older_shard_{number}", role=LOGIN_ROLE) for number in older_shards}
    async with engines.running(Engine(served)) as engine:
        # A key from before scopes may do what it could: everything.
        assert (await engine.api_keys.access_of("secret")).scopes == set(Scope)
        ledger = Ledger(engine, 1)
        told = {number: await told_of(ledger, number) for number in served}
        # The saga that was left open may have ended meanwhile.
        payer, payee = next(one.accounts for one in told[1] + told[2] if one.amounts == [-77, 77])

        async def ended() -> bool:
            answer = await ledger.transfer(payer, payee, 77, "USD", idempotency_key=LEFT_OPEN)
            return isinstance(answer, Transaction) and answer.state == "posted"

        await until(ended, "recovery ends what was left, and the key has its answer")
        posted = await ledger.transfer(payer, payee, 1, "USD", idempotency_key="a new one")
        assert isinstance(posted, Transaction)
        found = await ledger.account(payer)
        assert isinstance(found, Account)
        assert found.balance == -78
    assert_whole(older_shards, open_count=0)


class Told(NamedTuple):
    """What is answered of one transaction."""

    accounts: list[str]
    amounts: list[int]


async def told_of(ledger: Ledger, shard: int) -> list[Told]:
    """Read a whole log as its readers do: each event, its transaction, and each account's history and balance."""
    events = (await ledger.events(shard=shard, stages=True, limit=limits.PAGE_ROWS_MAX)).items
    told = []
    for event in events:
        if event.account is not None:
            account = event.account.id
            found = await ledger.account(account)
            assert isinstance(found, Account)
            lines = await ledger.entries(account)
            assert not isinstance(lines, Refused)
            assert sum(line.amount for line in lines.items) == found.balance
        transaction = await ledger.transaction(event.transaction)
        assert isinstance(transaction, Transaction)
        entries = transaction.entries
        told.append(Told([one.account for one in entries], [one.amount for one in entries]))
    return told
