"""The views for people with psql say what the API says, and their role can do nothing but read them."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from tests.crash.databases import temporary_server
from tests.crash.two_shards import account_name, fund, open_accounts, serving, shard_in
from tests.forgery.builder import build
from tests.forgery.crossings import build_crossings

from tallystick import Ledger, Refused, views
from tallystick.domain.commands import SENT_KINDS, Kind, PostTransaction
from tallystick.domain.identifiers import (
    Prefix,
    format_identifier,
    local_of,
    make_identifier,
    parse_identifier,
)
from tallystick.domain.limits import LOCAL_NUMBER_MAX, SHARD_NUMBER_MAX
from tallystick.domain.outcomes import Posted
from tallystick.embedded.postgres_cluster import LOGIN_ROLE
from tallystick.service.open_sagas import OpenSagas
from tallystick.store.migrate import migrate

PAGE: Final = Path(__file__).parents[2] / "docs" / "on-call.md"
READER: Final = "on_call"
PASSWORD: Final = "on call"
CROSSING: Final = (1, 2, 3)
SENT: Final = {kind.text for kind in SENT_KINDS.values()}
VIEWS: Final = (
    "readable_accounts",
    "readable_transactions",
    "readable_entries",
    "readable_open_holds",
    "readable_open_sagas",
)
Row = dict[str, Any]


class Book(NamedTuple):
    """Databases of shards that were written together, by their numbers: as servers see them, and as people do."""

    served: dict[int, str]
    read: dict[int, str]


@pytest.fixture(scope="module")
def books() -> Iterator[dict[str, Book]]:
    """A log with some of everything inside a shard, and three with some of everything that crosses."""
    with temporary_server() as server:

        def made(name: str, numbers: tuple[int, ...]) -> Book:
            served, read = {}, {}
            for number in numbers:
                server.create_database(f"{name}_{number}")
                migrate(server.dsn(f"{name}_{number}"), number)
                served[number] = server.dsn(f"{name}_{number}", role=LOGIN_ROLE)
                read[number] = make_conninfo(server.dsn(f"{name}_{number}"), user=READER, password=PASSWORD)
            return Book(served, read)

        found = {"inside": made("inside", (1,)), "crossing": made("crossing", CROSSING)}
        with psycopg.connect(server.dsn("inside_1")) as owner:
            owner.execute(f"CREATE ROLE {READER} LOGIN PASSWORD '{PASSWORD}'")
            owner.execute(f"GRANT tallystick_reader TO {READER}")
        asyncio.run(build(found["inside"].served[1]))
        asyncio.run(cross(found["crossing"].served))
        yield found


async def cross(dsns: dict[int, str]) -> None:
    """Some of everything that crosses between two shards, and what goes to two others at once: posted, and open."""
    await build_crossings({number: dsns[number] for number in CROSSING[:2]})
    async with serving(dsns, workers=False) as ledger:
        (payer,) = await open_accounts(ledger, 1, 1)
        payees = [(await open_accounts(ledger, number, 1))[0] for number in CROSSING[1:]]
        await fund(ledger, 1, [payer], 1_000)
        entries = [(payer, -30), *((payee, 15) for payee in payees)]
        named = [(account_name(account), amount) for account, amount in entries]
        posted = await ledger.post(named, idempotency_key="split", description="split")
        assert not isinstance(posted, Refused)
        command = PostTransaction(
            tenant=1, entries=tuple(entries), foreign_assets=dict.fromkeys(payees, "USD")
        )
        (answer,) = await shard_in(ledger, 1).batcher.submit([command])
        assert isinstance(answer.outcome, Posted)


@pytest.fixture(params=["inside", "crossing"])
def book(books: dict[str, Book], request: pytest.FixtureRequest) -> Book:
    name: str = request.param
    return books[name]


@pytest.fixture
async def ledger(book: Book) -> AsyncIterator[Ledger]:
    """Answers as the API has them; no process drives what is open."""
    async with serving(book.served, workers=False) as ledger:
        yield ledger


def rows(dsn: str, query: str, *values: object) -> list[Row]:
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return connection.execute(query.encode(), values).fetchall()


def all_rows(book: Book, view: str) -> list[Row]:
    return [row for dsn in book.read.values() for row in rows(dsn, f"SELECT * FROM {view}")]


async def test_accounts(book: Book, ledger: Ledger) -> None:
    found = all_rows(book, "readable_accounts")
    assert {row["kind"] for row in found} >= {"wallet", "system"}
    for row in found:
        said = await ledger.account(row["account"])
        assert parse_identifier(Prefix.ACCOUNT, row.pop("account")) == row.pop("account_number")
        assert row.pop("tenant") == "default"
        assert (row.pop("metadata") or {}) == said.metadata
        assert row == {name: getattr(said, name) for name in row}
    opened = "SELECT count(DISTINCT account) FROM accounts"
    assert len(found) == sum(rows(dsn, opened)[0]["count"] for dsn in book.read.values())


async def test_entries(book: Book, ledger: Ledger) -> None:
    entries = all_rows(book, "readable_entries")
    assert len(entries) == sum(
        rows(dsn, "SELECT count(*) FROM entries")[0]["count"] for dsn in book.read.values()
    )
    for account in {row["account"] for row in entries}:
        lines: dict[int, views.HistoryEntry] = {}
        cursor = None
        while True:
            page = await ledger.entries(account, cursor=cursor, stages=True)
            lines.update((line.position, line) for line in page.items)
            cursor = page.next_cursor
            if cursor is None:
                break
        state = await ledger.account(account)
        mine = [dict(row) for row in entries if row["account"] == account]
        assert len(mine) == len(lines)
        for row in mine:
            said = lines[row["position"]]
            assert parse_identifier(Prefix.ACCOUNT, row.pop("account")) == row.pop("account_number")
            assert (row.pop("metadata") or {}) == said.metadata
            assert row.pop("available") == said.balance - said.held_after
            assert (row.pop("owner"), row.pop("asset")) == (state.owner, state.asset)
            assert row == {name: getattr(said, name) for name in row}


async def test_transactions(book: Book, ledger: Ledger) -> None:
    found = all_rows(book, "readable_transactions")
    logged = "SELECT count(*) FROM transactions"
    assert len(found) == sum(rows(dsn, logged)[0]["count"] for dsn in book.read.values())
    for row in found:
        said = await ledger.transaction(row["transaction"], stages=True)
        assert (row["transaction"], row["position"], row["tenant"]) == (said.id, said.position, "default")
        assert (row["asked_for"] or row["kind"], row["state"]) == (said.kind, said.state)
        assert (row["recorded_at"], row["effective_at"]) == (said.recorded_at, said.effective_at)
        assert (row["description"], row["metadata"] or {}) == (said.description, said.metadata)
        if row["kind"] not in SENT:
            assert row["refers_to"] == said.refers_to, row
    assert {row["state"] for row in found} >= {"posted"}


async def test_open_holds(book: Book, ledger: Ledger) -> None:
    found = {row["hold"]: row for row in all_rows(book, "readable_open_holds")}
    assert found
    placed = {
        format_identifier(Prefix.HOLD, make_identifier(number, row["position"])): row["recorded_at"]
        for number, dsn in book.read.items()
        for row in rows(
            dsn, "SELECT position, recorded_at FROM readable_transactions WHERE kind = 'hold_placed'"
        )
    }
    said = {hold: await ledger.held(hold) for hold in placed}
    assert found.keys() == {hold for hold, one in said.items() if one.status in ("open", "capturing")}
    for hold, row in found.items():
        one = said[hold]
        assert row["hold_position"] == local_of(parse_identifier(Prefix.HOLD, hold))
        for name in ("status", "source", "destination", "amount", "captured", "remaining", "expires_at"):
            assert row[name] == getattr(one, name)
        for name in ("source", "destination"):
            assert parse_identifier(Prefix.ACCOUNT, row[name]) == row[f"{name}_number"]
        assert row["placed_at"] == placed[hold]
        assert (row["asset"], row["tenant"]) == ("USD", "default")


async def test_open_sagas(book: Book, ledger: Ledger) -> None:
    found = {row["transaction"]: row for row in all_rows(book, "readable_open_sagas")}
    said, silent = await OpenSagas(ledger._engine).open()
    assert not silent
    assert found.keys() == {one.id for one in said}
    assert bool(found) == (len(book.read) > 1)
    for one in said:
        row = found[one.id]
        assert (row["asked_for"], row["other_shard"], row["reserved_at"]) == (
            one.operation,
            one.other_shard,
            one.reserved_at,
        )
        assert (row["debits"], row["credits"]) == (one.debits, one.credits)
        assert (row["status"], row["tenant"]) == ("reserved", "default")


def test_kinds_are_those_of_the_api(books: dict[str, Book]) -> None:
    """After a kind was added: replace readable_kind in a new migration."""
    for kind in Kind:
        (found,) = rows(books["inside"].read[1], "SELECT readable_kind(%s) AS text", int(kind))
        assert found["text"] == kind.text


def test_identifiers_are_those_of_the_api(books: dict[str, Book]) -> None:
    numbers = [
        make_identifier(1 + secrets.randbelow(SHARD_NUMBER_MAX), 1 + secrets.randbelow(LOCAL_NUMBER_MAX))
        for _ in range(2_000)
    ]
    numbers += [make_identifier(SHARD_NUMBER_MAX, LOCAL_NUMBER_MAX), make_identifier(1, 1)]
    names = [format_identifier(Prefix.ACCOUNT, number) for number in numbers]
    found = rows(
        books["inside"].read[1],
        """
        SELECT array_agg(readable_identifier('acct', number) ORDER BY place) AS names,
            array_agg(readable_number(name) ORDER BY place) AS numbers
        FROM unnest(%s::bigint[], %s::text[]) WITH ORDINALITY AS one (number, name, place)
        """,
        numbers,
        names,
    )
    assert found == [{"names": names, "numbers": numbers}]


@pytest.mark.parametrize(
    "mistyped", ["", "acct_", "acct_!", "nonsense", "acct_00800000000015", "acct_zzzzzzzzzzzzzz"]
)
def test_a_mistyped_identifier_is_no_number(books: dict[str, Book], mistyped: str) -> None:
    (found,) = rows(
        books["inside"].read[1],
        "SELECT readable_number(%s) AS number, readable_position(%s) AS position",
        mistyped,
        mistyped,
    )
    assert found == {"number": None, "position": None}


def test_a_position_of_another_shard_is_none_here(books: dict[str, Book]) -> None:
    names = [format_identifier(Prefix.TRANSACTION, make_identifier(shard, 7)) for shard in (1, 2)]
    for name, position in zip(names, (7, None), strict=True):
        (found,) = rows(books["inside"].read[1], "SELECT readable_position(%s) AS position", name)
        assert found == {"position": position}


# The page for those who are on call.


def queries() -> list[str]:
    text = PAGE.read_text(encoding="utf-8").partition("## Ten queries")[2]
    return re.findall(r"^```sql\n(.*?);\n^```$", text, flags=re.MULTILINE | re.DOTALL)


def test_the_page_names_every_view() -> None:
    assert len(queries()) == 10
    assert all(any(view in query for query in queries()) for view in VIEWS)


@pytest.mark.parametrize("query", queries(), ids=lambda query: " ".join(query.split())[:60])
def test_queries_of_the_page(books: dict[str, Book], query: str) -> None:
    """They run as the reader; what names one thing finds it by an index, and finds something."""
    dsn = books["inside"].read[1]
    (last,) = rows(dsn, "SELECT * FROM readable_open_holds ORDER BY hold_position LIMIT 1")
    values = {
        "account": last["source"],
        "tenant": "default",
        "owner": "alice",
        "time": last["placed_at"].isoformat(),
        "transaction": format_identifier(Prefix.TRANSACTION, make_identifier(1, last["position"])),
    }
    names_one_thing = ":'" in query
    filled = re.sub(r":'(\w+)'", lambda found: f"'{values[found.group(1)]}'", query)
    found = rows(dsn, filled)
    if not names_one_thing:
        return
    assert found
    with psycopg.connect(dsn) as connection:
        connection.execute("SET enable_seqscan = off")
        plan = "\n".join(line for (line,) in connection.execute(f"EXPLAIN {filled}".encode()))
    if "readable_open_holds" not in query:
        assert not re.search(r"Seq Scan on (entries|accounts|transactions|sagas)", plan), plan


# What the role may do.


@pytest.mark.parametrize(
    "table", ["batches", "transactions", "entries", "accounts", "holds", "sagas", "shard", "tenants"]
)
def test_the_reader_reads_what_the_views_stand_on(books: dict[str, Book], table: str) -> None:
    assert rows(books["crossing"].read[1], f"SELECT * FROM {table} LIMIT 1")


@pytest.mark.parametrize(
    "table",
    ["api_keys", "webhook_endpoints", "webhook_deliveries", "account_key", "requests", "two_phase_decisions"],
)
def test_the_reader_reads_no_secrets(books: dict[str, Book], table: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows(books["inside"].read[1], f"SELECT count(*) FROM {table}")


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO tenants (tenant, name) VALUES (666, 'mine')",
        "INSERT INTO entries SELECT * FROM entries LIMIT 0",
        "UPDATE entries SET amount = 0",
        "DELETE FROM transactions",
        "TRUNCATE holds",
        "LOCK TABLE batches IN EXCLUSIVE MODE",
        "SELECT * FROM batches FOR UPDATE",
        "UPDATE shard SET number = 2",
        "COPY accounts FROM STDIN",
        "CREATE TABLE mine (id int)",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE OR REPLACE VIEW readable_accounts AS SELECT 1",
        "DROP VIEW readable_accounts",
        "DELETE FROM readable_accounts",
        "SET ROLE tallystick_server",
        "CREATE ROLE mine",
    ],
)
def test_the_reader_writes_nothing(books: dict[str, Book], statement: str) -> None:
    with psycopg.connect(books["inside"].read[1]) as connection:
        refused = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)
        with pytest.raises(refused):
            connection.execute(statement.encode())
