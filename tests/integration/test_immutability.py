"""What the database itself refuses: every rule of the log, tried by breaking it in plain SQL.

As the role that the server uses, and as the owner, who is a superuser here. (What no database can refuse to its
superuser: to switch the triggers off first. `tallystick verify` finds what was done then.)
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple, Self

import psycopg
import pytest
from psycopg import sql
from tests.crash.databases import ShardDatabase, assert_whole, temporary_database
from tests.waiting import wait_for

from tallystick import Ledger, Refused, views
from tallystick.embedded.postgres import EmbeddedPostgres

LOG_TABLES = ("batches", "transactions", "entries", "accounts", "holds", "sagas", "requests")
ROLES = ("server", "owner")

KEY = "00000000-0000-0000-0000-000000000001"

Connection = psycopg.Connection[tuple[Any, ...]]
Write = Callable[["Pen"], object]


class Books(NamedTuple):
    """A shard with something in each table of its log."""

    database: ShardDatabase
    source: int
    destination: int

    def connect(self, role: str) -> Connection:
        return psycopg.connect(
            self.database.server_dsn if role == "server" else self.database.owner_dsn, autocommit=True
        )


@pytest.fixture(scope="module")
def books(postgres: EmbeddedPostgres) -> Iterator[Books]:
    """The same books for all tests: nothing that they try may leave a trace."""
    with temporary_database(postgres) as database:
        asyncio.run(write_books(database))
        with psycopg.connect(database.owner_dsn) as connection:
            accounts = connection.execute("SELECT account FROM accounts ORDER BY position").fetchall()
        before = digest(database)
        yield Books(database, accounts[0][0], accounts[1][0])
        assert digest(database) == before, "something in the books has changed"
        assert_whole(database)


async def write_books(database: ShardDatabase) -> None:
    async with Ledger.connect(database.server_dsn) as ledger:
        batcher = ledger._engine.router.shards[0].batcher
        await asyncio.to_thread(wait_for, lambda: batcher.available, "the ledger is connected")
        source, destination = [
            await ledger.open_account(owner, "USD", kind="system") for owner in ("payer", "payee")
        ]
        assert isinstance(source, views.Account)
        assert isinstance(destination, views.Account)
        pair = source.id, destination.id
        assert isinstance(await ledger.transfer(*pair, 5, "USD", idempotency_key="paid"), views.Transaction)
        assert isinstance(await ledger.hold(*pair, 5, "USD", idempotency_key="held"), views.Hold)
        assert isinstance(await ledger.transfer(*pair, 5, "EUR", idempotency_key="refused"), Refused)


def digest(database: ShardDatabase) -> list[tuple[str, object]]:
    with psycopg.connect(database.owner_dsn) as connection:
        found: list[tuple[str, object]] = []
        for table in LOG_TABLES:
            statement = sql.SQL("SELECT md5(string_agg(one::text, '|' ORDER BY one::text)) FROM {} AS one")
            row = connection.execute(statement.format(sql.Identifier(table))).fetchone()
            found.append((table, row))
    return found


# Nothing is ever changed.


UPDATES = {
    "batches": "number = number",
    "transactions": "description = 'other'",
    "entries": "amount = amount + 1",
    "accounts": "status = 1",
    "holds": "captured = 0",
    "sagas": "status = 1",
    "requests": "fingerprint = fingerprint",
}
CHANGES = (
    "UPDATE {table} SET {change}",
    "UPDATE {table} SET {change} WHERE false",
    "UPDATE ONLY {table} SET {change} WHERE ctid = '(0,1)'",
    "DELETE FROM {table}",
    "DELETE FROM {table} WHERE false",
    "TRUNCATE {table}",
    "TRUNCATE {table} CASCADE",
    "TRUNCATE {tables}",
    "WITH gone AS (DELETE FROM {table} RETURNING 1) SELECT count(*) FROM gone",
    "MERGE INTO {table} USING (VALUES (1)) AS one (n) ON false WHEN MATCHED THEN DELETE",
    "MERGE INTO {table} USING (VALUES (1)) AS one (n) ON true WHEN MATCHED THEN UPDATE SET {change}",
)


@pytest.mark.parametrize("statement", CHANGES)
@pytest.mark.parametrize("table", LOG_TABLES)
def test_nothing_in_the_log_can_be_changed(books: Books, table: str, statement: str) -> None:
    text = statement.format(table=table, change=UPDATES[table], tables=", ".join(LOG_TABLES)).encode()
    with books.connect("server") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(text)
    for setting in ("origin", "local", "replica"):
        with books.connect("owner") as connection:
            connection.execute(f"SET session_replication_role = {setting}".encode())
            with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="the log is append-only"):
                connection.execute(text)


@pytest.mark.parametrize("table", LOG_TABLES)
def test_an_upsert_changes_nothing_either(books: Books, table: str) -> None:
    key = {"batches": "number", "requests": "key", "transactions": "position"}.get(table)
    target = f"({key})" if key else f"ON CONSTRAINT {table}_pkey"
    change = (
        UPDATES[table]
        .replace("= amount", f"= {table}.amount")
        .replace("= fingerprint", f"= {table}.fingerprint")
        .replace("= number", f"= {table}.number")
    )
    text = f"INSERT INTO {table} SELECT * FROM {table} LIMIT 1 ON CONFLICT {target} DO UPDATE SET {change}"
    for role in ROLES:
        with books.connect(role) as connection, pytest.raises(psycopg.Error) as raised:
            connection.execute(text.encode())
        assert raised.value.sqlstate == ("42501" if role == "server" else "23000"), raised.value


# Nothing is added that breaks a rule.


class Pen:
    """Writes rows in plain SQL, inside a database transaction that is rolled back in the end."""

    def __init__(self, connection: Connection, books: Books) -> None:
        self._connection = connection
        self.source, self.destination = books.source, books.destination
        row = connection.execute(
            "SELECT number, last_position, recorded_at, hash FROM batches ORDER BY number DESC LIMIT 1"
        ).fetchone()
        assert row is not None
        self.number, self.head, self.recorded_at, self.hash = row
        self.next = self.head + 1

    def transactions(self, *positions: int) -> Self:
        """One statement with a transaction at each position."""
        self._insert(
            "transactions",
            ("position", "recorded_at", "tenant", "kind"),
            [(position, self.recorded_at, 1, 10) for position in positions],
        )
        return self

    def entries(self, *rows: Sequence[object]) -> Self:
        """One statement with entries of (position, account, amount, asset), each without a bound."""
        self._insert(
            "entries",
            ("position", "account", "amount", "asset", "balance"),
            [(*row, 0) for row in rows],
        )
        return self

    def entry(self, amount: int, balance: int, held: int | None, held_after: int | None, bound: int) -> Self:
        """A batch of a transaction with one entry that is to be judged, and one that balances it."""
        self.batch().transactions(self.next)
        self._insert(
            "entries",
            ("account", "position", "amount", "balance", "held", "held_after", "bound", "asset"),
            [
                (self.source, self.next, amount, balance, held, held_after, bound, "USD"),
                (self.destination, self.next, -amount, 0, None, None, None, "USD"),
            ],
        )
        return self

    def account(self, position: int, min_balance: int | None = None, max_balance: int | None = None) -> Self:
        columns = "account, position, tenant, kind, status, min_balance, max_balance, owner, asset"
        row = (self.source, position, 1, 1, 1, min_balance, max_balance, "somebody", "USD")
        self._insert("accounts", columns.split(", "), [row])
        return self

    def hold(self, position: int, amount: int = 5, captured: int = 0) -> Self:
        columns = "hold, position, account, destination, amount, captured, expires_at, status"
        row = (position, position, self.source, self.destination, amount, captured, self.recorded_at, 1)
        self._insert("holds", columns.split(", "), [row])
        return self

    def saga(self, position: int) -> Self:
        self._insert("sagas", ("saga", "position", "status", "terms"), [(position, position, 1, "{}")])
        return self

    def request(self, key: str, **columns: object) -> Self:
        values = {"key": key, "fingerprint": b"f", **columns}
        self._insert("requests", tuple(values), [tuple(values.values())])
        return self

    def batch(self, **other: object) -> Self:
        """The row of the batch, right but for what is said otherwise. It comes before all others."""
        columns = {
            "number": self.number + 1,
            "last_position": self.next,
            "recorded_at": self.recorded_at,
            "previous_hash": self.hash,
            "hash": bytes(32),
            **other,
        }
        self._insert("batches", tuple(columns), [tuple(columns.values())])
        return self

    def transfer(self, position: int) -> Self:
        self.transactions(position)
        self.entries((position, self.source, -5, "USD"), (position, self.destination, 5, "USD"))
        return self

    def refusal(self, batch: int) -> Self:
        """The claim of a request that was refused."""
        return self.request(KEY, batch=batch, code=80)

    def execute(self, text: str) -> Self:
        self._connection.execute(text.encode())
        return self

    def complete(self, write: Write) -> Self:
        """Write, and then check what is checked at the commit."""
        write(self)
        return self.execute("SET CONSTRAINTS ALL IMMEDIATE")

    def commit(self, write: Write) -> Self:
        """Write, and commit."""
        write(self)
        return self.execute("COMMIT")

    def _insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        row = sql.SQL("({})").format(sql.SQL(", ").join([sql.Placeholder()] * len(columns)))
        statement = sql.SQL("INSERT INTO {} ({}) VALUES {}").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join([row] * len(rows)),
        )
        self._connection.execute(statement, [value for one in rows for value in one])


@contextmanager
def writing(books: Books, role: str) -> Iterator[Pen]:
    with books.connect(role) as connection:
        connection.execute("BEGIN")
        yield Pen(connection, books)
        connection.execute("ROLLBACK")


def whole_batch(pen: Pen) -> None:
    pen.batch(last_position=pen.next + 3)
    pen.transactions(pen.next, pen.next + 1, pen.next + 2, pen.next + 3)
    pen.entries((pen.next, pen.source, -5, "USD"), (pen.next, pen.destination, 5, "USD"))
    pen.account(pen.next + 1)
    pen.hold(pen.next + 2)
    pen.saga(pen.next + 3)
    pen.request(KEY, position=pen.next)
    pen.request("00000000-0000-0000-0000-000000000002", batch=pen.number + 1, code=80)


def in_any_order(pen: Pen) -> None:
    """Only the row of the batch has a place of its own: the first."""
    pen.batch(last_position=pen.next + 1)
    pen.request(KEY, position=pen.next)
    pen.entries((pen.next, pen.source, -5, "USD"), (pen.next, pen.destination, 5, "USD"))
    pen.transactions(pen.next + 1).transactions(pen.next)


def refusal_alone(pen: Pen) -> None:
    """Nothing was posted, but a request was refused: the position stays where it is."""
    pen.batch(last_position=pen.head).refusal(pen.number + 1)


def rows_in_savepoints(pen: Pen) -> None:
    pen.batch().execute("SAVEPOINT one").transactions(pen.next)
    pen.execute("SAVEPOINT two").account(pen.next).execute("ROLLBACK TO two").execute("RELEASE one")


def several_assets(pen: Pen) -> None:
    pen.batch().transactions(pen.next)
    accounts = [
        (pen.next, pen.source, -5, "USD"),
        (pen.next, pen.destination, 5, "USD"),
        (pen.next, 1, 7, "EUR"),
        (pen.next, 2, -7, "EUR"),
    ]
    pen.entries(*accounts)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "write",
    [
        whole_batch,
        in_any_order,
        refusal_alone,
        rows_in_savepoints,
        several_assets,
        pytest.param(lambda pen: pen.entry(-5, 0, None, None, 0), id="down to the bound"),
        pytest.param(lambda pen: pen.entry(5, 9, None, None, 9), id="up to the bound"),
        pytest.param(lambda pen: pen.entry(0, 5, 5, 5, 0), id="all of it held"),
        pytest.param(lambda pen: pen.entry(5, -100, None, None, 0), id="from far below towards the bound"),
    ],
)
def test_what_keeps_the_rules_is_taken(books: Books, role: str, write: Write) -> None:
    """Without this the refusals below would prove nothing."""
    with writing(books, role) as pen:
        pen.complete(write)


INT64_MAX = 2**63 - 1
NOT_PART = "not part of the batch being written"

REFUSED: list[tuple[str, str, Write]] = [
    # What an entry is.
    ("one entry alone", "sum to -5 in USD, not to zero", lambda pen: (
        pen.batch().transactions(pen.next), pen.entries((pen.next, pen.source, -5, "USD")))),
    ("entries that do not sum to zero", "sum to 1 in USD, not to zero", lambda pen: (
        pen.batch().transactions(pen.next),
        pen.entries((pen.next, pen.source, -5, "USD"), (pen.next, pen.destination, 6, "USD")))),
    ("assets that make up for each other", r"sum to (-5 in USD|5 in EUR), not to zero", lambda pen: (
        pen.batch().transactions(pen.next),
        pen.entries((pen.next, pen.source, -5, "USD"), (pen.next, pen.destination, 5, "EUR")))),
    ("positions that make up for each other", r"sum to -?5 in USD, not to zero", lambda pen: (
        pen.batch(last_position=pen.next + 1).transactions(pen.next, pen.next + 1),
        pen.entries((pen.next, pen.source, -5, "USD"), (pen.next + 1, pen.destination, 5, "USD")))),
    ("a sum that is zero only modulo 2^64", "not to zero", lambda pen: (
        pen.batch().transactions(pen.next),
        pen.entries((pen.next, pen.source, INT64_MAX, "USD"), (pen.next, pen.destination, INT64_MAX, "USD"),
                    (pen.next, 1, 2, "USD")))),
    ("an account twice in a transaction", "entries_pkey", lambda pen: (
        pen.batch().transactions(pen.next),
        pen.entries((pen.next, pen.source, -5, "USD"), (pen.next, pen.source, 5, "USD")))),
    ("an entry without an asset", "null value in column \"asset\"", lambda pen: (
        pen.batch().transactions(pen.next), pen.entries((pen.next, pen.source, 0, None)))),
    ("less than the lower bound", "balance_within_bounds", lambda pen: pen.entry(-5, -1, None, None, 0)),
    ("less available than the lower bound", "balance_within_bounds", lambda pen: pen.entry(-5, 4, 0, 5, 0)),
    ("more held than there is", "balance_within_bounds", lambda pen: pen.entry(0, 4, 5, 5, 0)),
    ("more than the upper bound", "balance_within_bounds", lambda pen: pen.entry(5, 10, None, None, 9)),
    ("less than nothing held", "held_after", lambda pen: pen.entry(0, 5, -5, -5, 100)),
    # Where an entry stands.
    ("an entry at an old position", NOT_PART, lambda pen: (
        pen.batch().transactions(pen.next),
        pen.entries((pen.head, 1, -5, "USD"), (pen.head, 2, 5, "USD")))),
    ("an entry at an old position beside a right one", NOT_PART, lambda pen: (
        pen.batch().transactions(pen.next),
        pen.entries((pen.head, 1, -5, "USD"), (pen.head, 2, 5, "USD"),
                    (pen.next, 1, -5, "USD"), (pen.next, 2, 5, "USD")))),
    ("an entry without a batch", NOT_PART, lambda pen:
        pen.entries((pen.head, 1, -5, "USD"), (pen.head, 2, 5, "USD"))),
    ("an entry at a future position", NOT_PART, lambda pen: (
        pen.batch().transactions(pen.next),
        pen.entries((pen.next + 1, 1, -5, "USD"), (pen.next + 1, 2, 5, "USD")))),
    # What belongs to no batch.
    ("a transaction without a batch", NOT_PART, lambda pen: pen.transactions(pen.next)),
    ("a transaction before its batch", NOT_PART, lambda pen: (pen.transactions(pen.next), pen.batch())),
    ("a transaction in the batch before", NOT_PART + "|transactions_pkey", lambda pen: pen.transactions(pen.head)),
    ("entries without a batch", NOT_PART, lambda pen:
        pen.entries((pen.next, pen.source, -5, "USD"), (pen.next, pen.destination, 5, "USD"))),
    ("terms without a batch", NOT_PART, lambda pen: pen.account(pen.next)),
    ("a hold without a batch", NOT_PART, lambda pen: pen.hold(pen.next)),
    ("a claim without a batch", "the claim of .* is not part", lambda pen:
        pen.request(KEY, position=pen.next)),
    ("a claim of an old position without a batch", "the claim of .* is not part", lambda pen:
        pen.request(KEY, position=pen.head)),
    ("a refusal without a batch", "the claim of .* is not part", lambda pen: pen.refusal(pen.number + 1)),
    ("a refusal in the batch before", "the claim of .* is not part", lambda pen: pen.refusal(pen.number)),
    # Positions.
    ("a gap after the head", "is not complete", lambda pen:
        pen.batch(last_position=pen.next + 1).transactions(pen.next + 1)),
    ("a gap between", "is not complete", lambda pen:
        pen.batch(last_position=pen.next + 2).transactions(pen.next, pen.next + 2)),
    ("a position too many", NOT_PART, lambda pen: pen.batch().transactions(pen.next, pen.next + 1)),
    ("a position of the past", NOT_PART + "|transactions_pkey", lambda pen:
        pen.batch().transactions(pen.head)),
    ("position zero", NOT_PART, lambda pen: pen.batch().transactions(0)),
    ("a position twice", "transactions_pkey", lambda pen: pen.batch().transactions(pen.next, pen.next)),
    ("a position twice in two statements", "transactions_pkey", lambda pen:
        pen.batch().transactions(pen.next).transactions(pen.next)),
    # The row of a batch.
    ("a batch of nothing", "is not complete", lambda pen: pen.batch(last_position=pen.head)),
    ("a batch without its transactions", "is not complete", lambda pen: pen.batch()),
    ("a batch with a refusal instead of its transaction", "is not complete", lambda pen:
        pen.batch().refusal(pen.number + 1)),
    ("a batch without its last transaction", "is not complete", lambda pen:
        pen.batch(last_position=pen.next + 1).transfer(pen.next)),
    ("a batch whose transactions were taken back", "is not complete", lambda pen: (
        pen.batch().execute("SAVEPOINT one").transactions(pen.next).execute("ROLLBACK TO one"))),
    ("a batch that goes back", "does not continue the log", lambda pen:
        pen.batch(last_position=pen.head - 1)),
    ("a second batch", "does not continue the log", lambda pen: (
        pen.batch().transactions(pen.next),
        pen.batch(number=pen.number + 2, last_position=pen.next + 1, previous_hash=bytes(32)))),
    ("two batches in one statement", "does not continue the log", lambda pen: pen.execute(
        "INSERT INTO batches SELECT number + step, last_position, recorded_at, hash, hash"
        " FROM (SELECT * FROM batches ORDER BY number DESC LIMIT 1) AS head, generate_series(1, 2) AS step")),
    ("a batch in a savepoint", NOT_PART, lambda pen: (
        pen.execute("SAVEPOINT one").batch().execute("RELEASE one").transactions(pen.next))),
    ("a second batch after one in a savepoint", "is not complete", lambda pen: (
        pen.execute("SAVEPOINT one").batch().execute("RELEASE one"),
        pen.batch(number=pen.number + 2, last_position=pen.next + 1, previous_hash=bytes(32)),
        pen.transactions(pen.next + 1))),
    ("a batch that skips a number", "does not continue the log", lambda pen:
        pen.batch(number=pen.number + 2)),
    ("a batch whose number is taken", "batches_pkey|does not continue", lambda pen:
        pen.batch(number=pen.number)),
    ("a batch before all others", "does not continue the log", lambda pen: pen.batch(number=0)),
    ("a batch with another previous hash", "does not continue the log", lambda pen:
        pen.batch(previous_hash=bytes(32))),
    ("a batch with a short hash", "batches_hash_check", lambda pen: pen.batch(hash=bytes(31))),
    ("a batch that is older than the one before", "does not continue the log", lambda pen:
        pen.batch(recorded_at=pen.recorded_at - timedelta(microseconds=1))),
    # Accounts and holds.
    ("terms at an old position", NOT_PART, lambda pen: (
        pen.batch().transactions(pen.next), pen.account(pen.head))),
    ("terms at a future position", NOT_PART, lambda pen: (
        pen.batch().transactions(pen.next), pen.account(pen.next + 1))),
    ("two terms at one position", "accounts_(pkey|position)", lambda pen: (
        pen.batch().transactions(pen.next), pen.account(pen.next), pen.account(pen.next))),
    ("bounds without a number between", "accounts_check", lambda pen: (
        pen.batch().transactions(pen.next), pen.account(pen.next, min_balance=1, max_balance=0))),
    ("a hold at an old position", NOT_PART, lambda pen: (
        pen.batch().transactions(pen.next), pen.hold(pen.head - 1))),
    ("a hold at a future position", NOT_PART, lambda pen: (
        pen.batch().transactions(pen.next), pen.hold(pen.next + 1))),
    ("a hold of nothing", "holds_amount_check", lambda pen: (
        pen.batch().transactions(pen.next), pen.hold(pen.next, amount=0))),
    ("more captured than was held", "holds_check", lambda pen: (
        pen.batch().transactions(pen.next), pen.hold(pen.next, captured=6))),
    # Sagas.
    ("a saga at an old position", NOT_PART, lambda pen: (
        pen.batch().transactions(pen.next), pen.saga(pen.head))),
    ("a saga at a future position", NOT_PART, lambda pen: (
        pen.batch().transactions(pen.next), pen.saga(pen.next + 1))),
    ("a saga without a batch", NOT_PART, lambda pen: pen.saga(pen.next)),
    # Requests.
    ("a key that is taken", "requests_pkey", lambda pen: pen.batch().execute(
        "INSERT INTO requests SELECT * FROM requests LIMIT 1")),
    ("a claim of an old position", "the claim of .* is not part", lambda pen:
        pen.batch().request(KEY, position=pen.head)),
    ("a claim of a future position", "the claim of .* is not part", lambda pen:
        pen.batch().request(KEY, position=pen.next + 1)),
    ("a refusal in an old batch", "the claim of .* is not part", lambda pen: pen.batch().refusal(pen.number)),
    ("a refusal in a future batch", "the claim of .* is not part", lambda pen:
        pen.batch().refusal(pen.number + 2)),
    ("a key with two answers", "requests_check", lambda pen:
        pen.batch().request(KEY, position=pen.next, batch=pen.number + 1, code=80)),
    ("a key with no answer", "requests_check", lambda pen: pen.batch().request(KEY)),
    ("a refusal without a reason", "requests_check", lambda pen:
        pen.batch().request(KEY, batch=pen.number + 1)),
]  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("message", "write"), [pytest.param(message, write, id=name) for name, message, write in REFUSED]
)
def test_what_breaks_a_rule_is_refused(books: Books, role: str, message: str, write: Write) -> None:
    with writing(books, role) as pen, pytest.raises(psycopg.IntegrityError, match=message):
        pen.complete(write)


@pytest.mark.parametrize(
    ("message", "write"),
    [
        ("not to zero", lambda pen: (
            pen.batch().transactions(pen.next), pen.entries((pen.next, pen.source, -5, "USD")))),
        (NOT_PART, lambda pen: pen.transactions(pen.next)),
        ("the claim of .* is not part", lambda pen: pen.refusal(pen.number + 1)),
        ("does not continue the log", lambda pen: pen.batch(number=pen.number + 2)),
        ("is not complete", lambda pen: pen.batch()),
    ],
)  # fmt: skip
def test_rules_hold_in_replication_sessions_too(books: Books, message: str, write: Write) -> None:
    with writing(books, "owner") as pen:
        pen.execute("SET LOCAL session_replication_role = replica")
        with pytest.raises(psycopg.IntegrityError, match=message):
            pen.complete(write)


@pytest.mark.slow
def test_the_shard_goes_on_after_what_was_refused(postgres: EmbeddedPostgres) -> None:
    """Whatever breaks a rule is refused by the statement, or at the latest by COMMIT, and leaves nothing behind."""
    with temporary_database(postgres) as database:
        asyncio.run(go_on_after_what_is_refused(database))
        assert_whole(database)


async def go_on_after_what_is_refused(database: ShardDatabase) -> None:
    async with Ledger.connect(database.server_dsn) as ledger:
        wallets = [await ledger.open_account(owner, "USD", kind="system") for owner in ("payer", "payee")]
        source, destination = [wallet.id for wallet in wallets if isinstance(wallet, views.Account)]
        paid = await ledger.transfer(source, destination, 5, "USD", idempotency_key="before")
        books = Books(database, 3, 4)
        for name, message, write in REFUSED:
            for role in ROLES:
                await asyncio.to_thread(commit_what_is_refused, books, role, message, write)
                again = await ledger.transfer(source, destination, 5, "USD", idempotency_key=f"{name} {role}")
                assert isinstance(paid, views.Transaction)
                assert isinstance(again, views.Transaction)
                assert again.position == paid.position + 1, name
                paid = again


def commit_what_is_refused(books: Books, role: str, message: str, write: Write) -> None:
    with books.connect(role) as connection:
        connection.execute("BEGIN")
        pen = Pen(connection, books)
        with pytest.raises(psycopg.IntegrityError, match=message):
            pen.commit(write)


# The role of the server can do nothing else.


FORBIDDEN = [
    "CREATE TABLE other (number int)",
    "CREATE SCHEMA other",
    "CREATE FUNCTION other() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "CREATE OR REPLACE VIEW batch_being_written AS SELECT 1::bigint AS number",
    "DROP VIEW batch_being_written CASCADE",
    "CREATE TRIGGER other BEFORE INSERT ON entries EXECUTE FUNCTION refuse_change()",
    "CREATE RULE other AS ON INSERT TO entries DO INSTEAD NOTHING",
    "CREATE INDEX other ON entries (amount)",
    "CREATE PUBLICATION other FOR TABLE entries",
    "CREATE ROLE other",
    "CREATE EXTENSION dblink",
    "DROP TABLE entries",
    "DROP TABLE entries CASCADE",
    "DROP TRIGGER immutable ON entries",
    "DROP FUNCTION refuse_change() CASCADE",
    "DROP INDEX entries_position",
    "ALTER TABLE entries ADD COLUMN other int",
    "ALTER TABLE entries DROP CONSTRAINT balance_within_bounds",
    "ALTER TABLE entries DISABLE TRIGGER immutable",
    "ALTER TABLE entries DISABLE TRIGGER ALL",
    "ALTER TABLE entries DISABLE TRIGGER USER",
    "ALTER TABLE batches DISABLE TRIGGER batches_complete",
    "ALTER TABLE entries ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE entries OWNER TO CURRENT_USER",
    "ALTER FUNCTION refuse_change() OWNER TO CURRENT_USER",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "SET ROLE tallystick_owner",
    "SET SESSION AUTHORIZATION tallystick_owner",
    "SET session_replication_role = replica",
    "BEGIN; LOCK TABLE entries IN ACCESS EXCLUSIVE MODE",
    "COPY entries TO PROGRAM 'cat'",
    "COPY entries FROM '/dev/null'",
    "UPDATE shard SET number = 2",
    "INSERT INTO shard (number) VALUES (2)",
    "DELETE FROM tenants",
    "UPDATE tenants SET name = 'other'",
    "DELETE FROM api_keys",
    "UPDATE api_keys SET tenant = 1",
    "UPDATE api_keys SET hash = decode(repeat('00', 32), 'hex')",
    "DELETE FROM assets",
    "UPDATE assets SET scale = 3",
    "DELETE FROM _yoyo_migration",
    "INSERT INTO _yoyo_migration (migration_hash) VALUES ('other')",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_the_servers_role_may_not(books: Books, statement: str) -> None:
    with books.connect("server") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement.encode())


def test_the_servers_role_cannot_take_more_rights(books: Books) -> None:
    """PostgreSQL answers with a warning here, and grants nothing."""
    rights = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
    with books.connect("server") as connection:
        for table in LOG_TABLES:
            connection.execute(f"GRANT ALL ON {table} TO PUBLIC, CURRENT_USER".encode())
            row = connection.execute(
                "SELECT array_agg(one) FROM unnest(%s::text[]) AS one WHERE has_table_privilege(%s, one)",
                (list(rights), table),
            ).fetchone()
            assert row == (["SELECT", "INSERT"],)


def test_the_servers_role_cannot_hide_the_tables_that_the_checks_read(books: Books) -> None:
    """A temporary table is found before others of its name: the checks must not look there."""
    tables = (
        "CREATE TEMPORARY TABLE batches AS SELECT 1::bigint AS number, 1000::bigint AS last_position",
        "CREATE TEMPORARY TABLE transactions AS SELECT 1001::bigint AS position",
        (
            "CREATE TEMPORARY VIEW batch_being_written AS SELECT 2::bigint AS number, 0::bigint AS after_position,"
            " 2000::bigint AS last_position"
        ),
    )
    rows = (
        "INSERT INTO public.transactions (position, recorded_at, tenant, kind) VALUES (1001, now(), 1, 10)",
        (
            "INSERT INTO public.entries (account, position, amount, balance, asset)"
            " VALUES (1, 1001, -5, 0, 'USD'), (2, 1001, 5, 0, 'USD')"
        ),
        f"INSERT INTO public.requests (key, position, fingerprint) VALUES ('{KEY}', 1001, '')",
    )
    for row in rows:
        with books.connect("server") as connection:
            connection.execute("BEGIN")
            try:
                for table in tables:
                    connection.execute(table.encode())
            except psycopg.errors.InsufficientPrivilege:
                return
            with pytest.raises(psycopg.IntegrityError, match="not part of the batch"):
                connection.execute(row.encode())
            connection.execute("ROLLBACK")
