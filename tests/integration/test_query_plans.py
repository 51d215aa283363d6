"""The hot queries on a shard with a long log: index descents only, whatever the planner knows about the tables.

A query that reads more as the log grows is fast on the day it is written and slow a year later, so what is bounded
here is how many rows and pages each one touches, not how long it takes.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any, NamedTuple, TypeAlias

import asyncpg
import psycopg
import pytest
from tests.accounts import opened
from tests.crash.databases import (
    SHARD,
    ShardDatabase,
    assert_whole,
    name_of,
    temporary_database,
    temporary_server,
)
from tests.waiting import wait_for

from tallystick import Ledger, TransferRequest, views
from tallystick.domain.commands import Transfer
from tallystick.domain.identifiers import Prefix, make_identifier, parse_identifier
from tallystick.domain.limits import INT64_MAX, LOCAL_NUMBER_MAX
from tallystick.domain.outcomes import Posted
from tallystick.domain.parts import stored_kinds
from tallystick.domain.record import record_at
from tallystick.domain.saga_commands import Finalize
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.ledger.batcher import Batcher
from tallystick.store.connection import connect_writer
from tallystick.store.queries import query

WALLETS = 500
HOT_TRANSFERS = 12_000
OTHER_TRANSFERS = 8_000
IDLE_TRANSFERS = 4_000
HOLDS = 300
REVERSALS = 50
TERMS_CHANGES = 300
SAGAS = 600
OPEN_SAGAS = 20
TRANSFERS_PER_CALL = 4_000
REQUEST_KEYS = 2_000
YEAR_US = 366 * 86_400 * 1_000_000

Plan = dict[str, Any]
Session: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Books(NamedTuple):
    """A shard with a long log, and some of what is in it."""

    database: ShardDatabase
    hot: int
    wallets: list[int]
    holds: list[int]
    transfers: list[int]
    reversed: list[int]
    sagas: list[int]
    keys: list[str]
    last_position: int
    middle_us: int


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    # Nothing gathers statistics but the tests that want them.
    with temporary_server(settings={"autovacuum": "off"}) as server:
        yield server


@pytest.fixture(scope="module")
async def shards(server: EmbeddedPostgres) -> AsyncIterator[dict[str, Books]]:
    """The same books three times, by what the planner knows about them.

    `fresh`: nothing, no statistics were ever gathered. `analyzed`: how they are. `outdated`: that every table
    is empty, as it was when statistics were gathered last.
    """
    with ExitStack() as databases:
        fresh, outdated = [databases.enter_context(temporary_database(server)) for _ in range(2)]
        gather_statistics(outdated)
        for database in (fresh, outdated):
            await write_books(database)
            assert_whole(database)
        analyzed = databases.enter_context(temporary_database(server, template=name_of(fresh)))
        gather_statistics(analyzed)
        books = read_books(fresh)
        yield {
            "fresh": books,
            "analyzed": books._replace(database=analyzed),
            "outdated": read_books(outdated),
        }


def gather_statistics(database: ShardDatabase) -> None:
    with psycopg.connect(database.owner_dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


async def write_books(database: ShardDatabase) -> None:
    chance = random.Random(20_000)
    async with Ledger.connect(database.server_dsn) as ledger:
        batcher = ledger._engine.router.shards[0].batcher
        await asyncio.to_thread(wait_for, lambda: batcher.available, "the ledger is connected")
        hot = await opened(ledger, "hot", "system")
        wallets = await asyncio.gather(
            *(opened(ledger, f"owner {number // 50}", "system") for number in range(WALLETS))
        )
        others = []
        for _ in range(OTHER_TRANSFERS):
            source, destination = chance.sample(wallets, 2)
            others.append((source, destination))
        pairs = [(chance.choice(wallets), hot) for _ in range(HOT_TRANSFERS)] + others[IDLE_TRANSFERS:]
        chance.shuffle(pairs)
        # In the end nothing happens to the hot account any more, though statistics say that it is everywhere.
        pairs += others[:IDLE_TRANSFERS]
        posted: list[views.Transaction] = []
        for start in range(0, len(pairs), TRANSFERS_PER_CALL):
            requests = [
                TransferRequest(source, destination, 5, "USD", f"transfer {start + number}")
                for number, (source, destination) in enumerate(pairs[start : start + TRANSFERS_PER_CALL])
            ]
            answers = await ledger.transfers(requests)
            posted += [answer for answer in answers if isinstance(answer, views.Transaction)]
        assert len(posted) == len(pairs)
        holds = await asyncio.gather(
            *(
                ledger.hold(
                    wallets[1],
                    chance.choice(wallets),
                    9,
                    "USD",
                    idempotency_key=f"hold {number}",
                    expires_in_seconds=3600,
                )
                for number in range(HOLDS)
            )
        )
        for round_number in range(3):
            await asyncio.gather(
                *(
                    ledger.capture(hold.id, 2, idempotency_key=f"capture {round_number} {hold.id}")
                    for hold in holds
                    if isinstance(hold, views.Hold)
                )
            )
        await asyncio.gather(
            *(
                ledger.reverse(one.id, 1, idempotency_key=f"reversal {part} {one.id}")
                for one in posted[-REVERSALS:]
                for part in range(3)
            )
        )
        await reserve_for_another_shard(batcher, wallets)
        for number in range(TERMS_CHANGES):
            await ledger.change_account(wallets[0], metadata={"number": str(number)})


async def reserve_for_another_shard(batcher: Batcher, wallets: list[str]) -> None:
    """Sagas, of which the last few have not ended."""
    transfers = [
        Transfer(
            tenant=1,
            source=parse_identifier(Prefix.ACCOUNT, wallets[2]),
            destination=make_identifier(SHARD + 1, 1),
            amount=3,
            asset="USD",
        )
        for _ in range(SAGAS)
    ]
    reserved = [
        record_at(answer.decision, answer.outcome.position).saga
        for answer in await batcher.submit(transfers)
        if isinstance(answer.outcome, Posted)
    ]
    ended = [
        Finalize(tenant=1, saga=make_identifier(SHARD, saga.saga), terms=saga.terms, counterpart=number)
        for number, saga in enumerate(reserved[:-OPEN_SAGAS], start=1)
        if saga is not None
    ]
    assert len(await batcher.submit(ended)) == SAGAS - OPEN_SAGAS


def read_books(database: ShardDatabase) -> Books:
    with psycopg.connect(database.owner_dsn) as connection:

        def column(text: str) -> list[Any]:
            return [row[0] for row in connection.execute(text.encode())]

        return Books(
            database,
            column("SELECT account FROM accounts WHERE owner = 'hot'")[0],
            column("SELECT DISTINCT account FROM accounts WHERE owner <> 'hot'"),
            column("SELECT DISTINCT hold FROM holds"),
            column("SELECT position FROM transactions WHERE kind = 10 ORDER BY position"),
            column("SELECT DISTINCT refers_to FROM transactions WHERE kind = 12"),
            column("SELECT saga FROM sagas WHERE status = 1 ORDER BY saga"),
            column(f"SELECT key::text FROM requests LIMIT {REQUEST_KEYS}"),
            column("SELECT max(position) FROM transactions")[0],
            column(
                "SELECT (extract(epoch FROM recorded_at) * 1000000)::bigint FROM batches"
                " ORDER BY number OFFSET 5 LIMIT 1"
            )[0],
        )


class Hot(NamedTuple):
    """A hot query, what it is asked, and how many rows and pages it may touch."""

    name: str
    arguments: list[Any]
    rows_max: int
    pages_max: int


def hot_queries(books: Books) -> list[Hot]:
    """The parts of a batch, then what readers ask. A descent into an index touches up to 4 pages here."""
    ten = books.wallets[:10]
    wallet_count = len(books.wallets)
    late = books.last_position - 1_000, books.last_position
    return [
        Hot("head", [[]], 2, 8),
        Hot("head", [books.keys[:1]], 3, 12),
        Hot("head", [books.keys], 1 + REQUEST_KEYS, 8 + 5 * REQUEST_KEYS),
        Hot("account_states", [[books.hot], [], []], 2, 12),
        Hot("account_states", [books.wallets, [], []], 2 * wallet_count, 12 * wallet_count),
        Hot("standby_balances", [[books.hot]], 3, 16),
        Hot("standby_balances", [books.wallets], 1 + 2 * wallet_count, 4 + 12 * wallet_count),
        Hot("account_states", [[], books.holds[:10], []], 10 + 2 * 20, 10 * 5 + 20 * 12),
        Hot("account_states", [[], [], books.transfers[:10]], 20 + 2 * 20, 10 * 5 + 20 * 12),
        Hot("account_states", [ten, books.holds[:10], books.transfers[:10]], 30 + 2 * 50, 100 + 50 * 12),
        Hot("hold_states", [books.holds[:10]], 10, 10 * 5),
        Hot("hold_change", [books.holds[0]], 2 * 4, 40),
        Hot("originals", [books.transfers[:10]], 10 + 20 + 20, 10 * 20),
        Hot("originals", [books.reversed[:10]], 10 + 20 + 20 * 3 * 3, 10 * 100),
        Hot("batch_exists", [1, bytes(32)], 1, 8),
        Hot("records", [books.transfers[:1]], 3, 12),
        Hot("records", [books.transfers[:10]], 30, 100),
        Hot("record_accounts", [[5]], 2, 12),
        Hot("record_holds", [[books.holds[0]]], 1, 8),
        Hot("balance_at", [books.hot, books.middle_us], 2, 16),
        Hot("balance_at", [books.hot, books.middle_us + YEAR_US], 2, 16),
        Hot("balance_at", [books.wallets[0], books.middle_us], 2, 16),
        # It sums the history of one account, and looks at no other.
        Hot("balance_effective", [books.wallets[0], books.middle_us], 600, 2_000),
        # What the cache is told: each position and its entries are read once, wherever in the log that is.
        Hot("entries_between", [0, 2_000], 3 * 2_000, 60 + 3 * 2_000),
        Hot("entries_between", [books.last_position // 2, books.last_position // 2 + 100], 3 * 100, 60 + 3 * 100),
        Hot("entries_between", [late[1] - 10, late[1]], 3 * 10, 60),
        Hot("entries_between", [late[1], late[1]], 0, 16),
        # A thousand positions, told by two index descents each; what an owner has is not read through.
        Hot("webhook_events", [0, 1_000, 1, [], None, 100], 1_000, 60),
        Hot("webhook_events", [*late, 1, [], "nobody", 100], 6_000, 9_000),
        Hot("webhook_events", [0, 1_000, 1, [int(kind) for kind in stored_kinds(None)], None, 100], 1_000, 60),
        Hot("webhook_events", [*late, 1, [12], "nobody", 100], 3_000, 3_000),
        Hot("webhook_endpoint", [1, "hook_00000000000000"], 1, 8),
        Hot("history", [books.hot, INT64_MAX, 50], 100, 60 + 50 * 5),
        Hot("history", [books.hot, books.last_position // 2, 50], 100, 60 + 50 * 5),
        Hot("history", [books.wallets[0], INT64_MAX, 50], 100, 60 + 50 * 5),
        Hot("statement_period", [books.hot, books.middle_us, books.middle_us + YEAR_US, 600, INT64_MAX], 6, 60),
        Hot("statement_entries", [books.hot, 0, books.last_position // 2, 50], 100, 60 + 50 * 5),
        Hot("statement_entries", [books.hot, books.last_position // 2, books.last_position, 50], 100, 60 + 50 * 5),
        Hot("statement_entries", [books.wallets[0], 0, books.last_position, 50], 100, 60 + 50 * 5),
        Hot("position_at", [books.middle_us], 1, 16),
        Hot("accounts_of_owner", [1, "owner 1", 0, 20], 4 * 20, 20 * 6),
        Hot("accounts_of_owner", [1, "nobody", 0, 20], 0, 8),
        Hot("look_up_owners", [[1, 1], ["owner 1", "nobody"]], 3, 3 * 8),
        Hot("look_up_owners", [[1] * 500, [f"owner {number}" for number in range(500)]], 501, 500 * 4),
        Hot("look_up_shard", [], 2, 16),
        Hot("holds_to_expire", [0, 0, 500], 0, 8),
        Hot("saga_states", [books.sagas[:10]], 3 * 10, 10 * 15),
        Hot("still_open_sagas", [books.sagas[:10]], 2 * 10, 10 * 10),
        # What was looked through is not looked through again.
        Hot("open_sagas", [books.sagas[-OPEN_SAGAS - 1], 500], 3 * OPEN_SAGAS, OPEN_SAGAS * 12),
        Hot("requests", [books.keys[:10]], 10, 10 * 5),
        Hot("log_head", [], 1, 8),
        Hot("feed_positions", [1000, 1200, 1, None, 50], 200, 16),
        Hot("feed_positions", [1000, 1100, 1, [20], 50], 100, 16),
        # All kinds but the one that a client who ignores shards is not shown.
        Hot("feed_positions", [1000, 1200, 1, [int(kind) for kind in stored_kinds(None)], 50], 200, 16),
        Hot("feed_positions_of_accounts", [1000, 21000, 1, None, 50, [books.hot]], 110, 60 + 50 * 5),
        Hot("feed_positions_of_accounts", [1000, 21000, 1, [10], 50, [books.wallets[0]]], 260, 60 + 120 * 5),
        Hot("feed_watched", [5000, 5100, [], [books.hot]], 300, 40),
        Hot("feed_watched", [5000, 5100, [1], []], 400, 40),
        Hot("feed_opened", [5000, 5100], 100, 20),
        Hot("feed_accounts_of_owner", [1, "owner 1", 100], 100, 60),
    ]  # fmt: skip


def nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for inner in plan.get("Plans", []):
        yield from nodes(inner)


def tables_scanned(plan: Plan) -> list[str]:
    """Tables that are read from their beginning to their end."""
    return [node["Relation Name"] for node in nodes(plan) if "Seq Scan" in node["Node Type"]]


def rows_touched(plan: Plan) -> int:
    """Rows that were read from tables and indexes, those that were read for nothing included."""
    touched: float = sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            + node.get("Rows Removed by Index Recheck", 0)) * node["Actual Loops"]
        for node in nodes(plan)
        if "Index" in node["Node Type"] or "Seq Scan" in node["Node Type"]
    )  # fmt: skip
    return round(touched)


@asynccontextmanager
async def session(database: ShardDatabase) -> AsyncIterator[Session]:
    """A connection with the settings of the product."""
    connection = await connect_writer(database.server_dsn)
    try:
        # What a session reads of the catalog once, to know the function, is not counted with a query.
        await connection.fetchval("SELECT obj_description('shard'::regclass, 'pg_class')")
        yield connection
    finally:
        await connection.close()


async def explained(connection: Session, hot: Hot) -> Plan:
    options = "EXPLAIN (ANALYZE, BUFFERS, TIMING off, FORMAT json)"
    text = await connection.fetchval(f"{options} {query(hot.name)}", *hot.arguments)
    plan: Plan = json.loads(text)[0]["Plan"]
    return plan


@pytest.mark.parametrize("statistics", ["fresh", "analyzed", "outdated"])
@pytest.mark.parametrize("plan_cache_mode", ["force_custom_plan", "force_generic_plan"])
async def test_hot_queries_are_index_descents(
    shards: dict[str, Books], statistics: str, plan_cache_mode: str
) -> None:
    """A statement that was run often may get one plan for all parameters: both kinds must be good."""
    books = shards[statistics]
    too_much = []
    async with session(books.database) as connection:
        await connection.execute(f"SET plan_cache_mode = {plan_cache_mode}")
        for hot in hot_queries(books):
            plan = await explained(connection, hot)
            rows, pages = rows_touched(plan), plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
            if tables_scanned(plan) or rows > hot.rows_max or pages > hot.pages_max:
                too_much.append((hot.name, tables_scanned(plan), rows, hot.rows_max, pages, hot.pages_max))
    assert not too_much, too_much


async def test_the_lock_reads_one_row(shards: dict[str, Books]) -> None:
    """Of the table that names the shard there is one row, so it has no index to descend."""
    statement = query("begin_batch").rpartition("SELECT")[2]
    async with session(shards["fresh"].database) as connection:
        text = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT json) SELECT {statement}")
    plan = json.loads(text)[0]["Plan"]
    assert rows_touched(plan) == 1
    assert tables_scanned(plan) in ([], ["shard"])


async def test_the_worker_that_expires_holds_looks_only_at_those_that_are_due(
    server: EmbeddedPostgres, shards: dict[str, Books]
) -> None:
    """Holds that ended long ago stay in its index; it begins after them."""
    with temporary_database(server, template=name_of(shards["fresh"].database)) as database:
        with psycopg.connect(database.owner_dsn) as owner:
            # As if time had passed: the holds are all due. Only a superuser who switches triggers off can do this.
            owner.execute("ALTER TABLE holds DISABLE TRIGGER immutable")
            owner.execute("UPDATE holds SET expires_at = expires_at - interval '2 hours'")
            row = owner.execute(
                "SELECT (extract(epoch FROM expires_at) * 1000000)::bigint, hold FROM holds"
                " ORDER BY expires_at, hold OFFSET 3 * %s LIMIT 1",
                (HOLDS,),
            ).fetchone()
            assert row is not None
        async with session(database) as connection:
            plan = await explained(connection, Hot("holds_to_expire", [*row, 20], 0, 0))
        assert tables_scanned(plan) == []
        assert rows_touched(plan) <= 20 * 4 + 20 + 20 + 4, json.dumps(plan, indent=1)


async def test_what_a_batch_asks_is_cheap_for_accounts_that_are_not_there(shards: dict[str, Books]) -> None:
    nobody = [LOCAL_NUMBER_MAX - number for number in range(10)]
    async with session(shards["fresh"].database) as connection:
        plan = await explained(connection, Hot("account_states", [nobody, nobody, nobody], 0, 0))
    assert tables_scanned(plan) == []
    assert rows_touched(plan) == 0
