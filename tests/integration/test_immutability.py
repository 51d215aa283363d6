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
from tests.crash.databases import ShardDatabase, assert_whole, temporary_database, temporary_server, wait_for

from tallystick import Ledger, Refused
from tallystick.embedded import EmbeddedPostgres
from tallystick.service import views

LOG_TABLES = ("batches", "transactions", "entries", "accounts", "holds", "requests")
ROLES = ("server", "owner")

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
def server() -> Iterator[EmbeddedPostgres]:
    with temporary_server() as server:
        yield server


@pytest.fixture(scope="module")
def books(server: EmbeddedPostgres) -> Iterator[Books]:
    """The same books for all tests: nothing that they try may leave a trace."""
    with temporary_database(server) as database:
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
        """A transaction with one entry that is to be judged, and one that balances it."""
        self.transactions(self.next)
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

    def request(self, key: str, **columns: object) -> Self:
        values = {"key": key, "fingerprint": b"f", **columns}
        self._insert("requests", tuple(values), [tuple(values.values())])
        return self

    def batch(self, **other: object) -> Self:
        """The row that closes the batch, right but for what is said otherwise."""
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

    def execute(self, text: str) -> Self:
        self._connection.execute(text.encode())
        return self

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
    pen.transactions(pen.next, pen.next + 1, pen.next + 2)
    pen.entries((pen.next, pen.source, -5, "USD"), (pen.next, pen.destination, 5, "USD"))
    pen.account(pen.next + 1)
    pen.hold(pen.next + 2)
    pen.request("00000000-0000-0000-0000-000000000001", position=pen.next)
    pen.request("00000000-0000-0000-0000-000000000002", batch=pen.number + 1, code=80)
    pen.batch(last_position=pen.next + 2)
    pen.execute("SET CONSTRAINTS ALL IMMEDIATE")


def empty_batch(pen: Pen) -> None:
    pen.batch(last_position=pen.head)
    pen.execute("SET CONSTRAINTS ALL IMMEDIATE")


def several_assets(pen: Pen) -> None:
    pen.transactions(pen.next)
    accounts = [
        (pen.next, pen.source, -5, "USD"),
        (pen.next, pen.destination, 5, "USD"),
        (pen.next, 1, 7, "EUR"),
        (pen.next, 2, -7, "EUR"),
    ]
    pen.entries(*accounts)
    pen.batch()


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "write",
    [
        whole_batch,
        empty_batch,
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
        write(pen)


INT64_MAX = 2**63 - 1

REFUSED: list[tuple[str, str, Write]] = [
    # What an entry is.
    ("one entry alone", "sum to -5 in USD, not to zero", lambda pen: (
        pen.transactions(pen.next), pen.entries((pen.next, pen.source, -5, "USD")))),
    ("entries that do not sum to zero", "sum to 1 in USD, not to zero", lambda pen: (
        pen.transactions(pen.next),
        pen.entries((pen.next, pen.source, -5, "USD"), (pen.next, pen.destination, 6, "USD")))),
    ("assets that make up for each other", r"sum to (-5 in USD|5 in EUR), not to zero", lambda pen: (
        pen.transactions(pen.next),
        pen.entries((pen.next, pen.source, -5, "USD"), (pen.next, pen.destination, 5, "EUR")))),
    ("positions that make up for each other", r"sum to -?5 in USD, not to zero", lambda pen: (
        pen.transactions(pen.next, pen.next + 1),
        pen.entries((pen.next, pen.source, -5, "USD"), (pen.next + 1, pen.destination, 5, "USD")))),
    ("a sum that is zero only modulo 2^64", "not to zero", lambda pen: (
        pen.transactions(pen.next),
        pen.entries((pen.next, pen.source, INT64_MAX, "USD"), (pen.next, pen.destination, INT64_MAX, "USD"),
                    (pen.next, 1, 2, "USD")))),
    ("an account twice in a transaction", "entries_pkey", lambda pen: (
        pen.transactions(pen.next),
        pen.entries((pen.next, pen.source, -5, "USD"), (pen.next, pen.source, 5, "USD")))),
    ("an entry without an asset", "null value in column \"asset\"", lambda pen: (
        pen.transactions(pen.next), pen.entries((pen.next, pen.source, 0, None)))),
    ("less than the lower bound", "balance_within_bounds", lambda pen: pen.entry(-5, -1, None, None, 0)),
    ("less available than the lower bound", "balance_within_bounds", lambda pen: pen.entry(-5, 4, 0, 5, 0)),
    ("more held than there is", "balance_within_bounds", lambda pen: pen.entry(0, 4, 5, 5, 0)),
    ("more than the upper bound", "balance_within_bounds", lambda pen: pen.entry(5, 10, None, None, 9)),
    ("less than nothing held", "held_after", lambda pen: pen.entry(0, 5, -5, -5, 100)),
    # Where an entry stands.
    ("an entry at an old position", "not part of the batch being written", lambda pen: (
        pen.transactions(pen.next),
        pen.entries((pen.head, 1, -5, "USD"), (pen.head, 2, 5, "USD")))),
    ("an entry at an old position beside a right one", "not part of the batch being written", lambda pen: (
        pen.transactions(pen.next),
        pen.entries((pen.head, 1, -5, "USD"), (pen.head, 2, 5, "USD"),
                    (pen.next, 1, -5, "USD"), (pen.next, 2, 5, "USD")))),
    ("an entry without a batch", "not part of the batch being written", lambda pen:
        pen.entries((pen.head, 1, -5, "USD"), (pen.head, 2, 5, "USD"))),
    ("an entry at a future position", "not part of the batch being written", lambda pen: (
        pen.transactions(pen.next),
        pen.entries((pen.next + 1, 1, -5, "USD"), (pen.next + 1, 2, 5, "USD")))),
    ("an entry after the batch was closed", "not part of the batch being written", lambda pen: (
        pen.transactions(pen.next), pen.batch(),
        pen.entries((pen.next, pen.source, -5, "USD"), (pen.next, pen.destination, 5, "USD")))),
    # Positions.
    ("a gap after the head", "do not follow the head", lambda pen: pen.transactions(pen.next + 1)),
    ("a gap between", "do not follow the head", lambda pen: pen.transactions(pen.next, pen.next + 2)),
    ("a position of the past", "transactions_pkey|do not follow", lambda pen: pen.transactions(pen.head)),
    ("position zero", "do not follow the head", lambda pen: pen.transactions(0)),
    ("a position twice", "transactions_pkey", lambda pen: pen.transactions(pen.next, pen.next)),
    ("two statements of transactions", "do not follow the head", lambda pen: (
        pen.transactions(pen.next), pen.transactions(pen.next + 1))),
    # The row that closes a batch.
    ("a batch that skips a number", "does not continue the log", lambda pen: (
        pen.transfer(pen.next), pen.batch(number=pen.number + 2))),
    ("a batch whose number is taken", "batches_pkey|does not continue", lambda pen: (
        pen.transfer(pen.next), pen.batch(number=pen.number))),
    ("a batch before all others", "does not continue the log", lambda pen: (
        pen.transfer(pen.next), pen.batch(number=0))),
    ("a batch with another previous hash", "does not continue the log", lambda pen: (
        pen.transfer(pen.next), pen.batch(previous_hash=bytes(32)))),
    ("a batch with a short hash", "batches_hash_check", lambda pen: (
        pen.transfer(pen.next), pen.batch(hash=bytes(31)))),
    ("a batch that is older than the one before", "does not continue the log", lambda pen: (
        pen.transfer(pen.next), pen.batch(recorded_at=pen.recorded_at - timedelta(microseconds=1)))),
    ("a batch that forgets its last transaction", "does not continue the log", lambda pen: (
        pen.transactions(pen.next, pen.next + 1), pen.batch(last_position=pen.next))),
    ("a batch with more positions than transactions", "does not continue the log", lambda pen: (
        pen.transfer(pen.next), pen.batch(last_position=pen.next + 1))),
    # Accounts and holds.
    ("terms at an old position", "not part of the batch being written", lambda pen: (
        pen.transactions(pen.next), pen.account(pen.head))),
    ("terms at a future position", "not part of the batch being written", lambda pen: (
        pen.transactions(pen.next), pen.account(pen.next + 1))),
    ("terms without a batch", "not part of the batch being written", lambda pen: pen.account(pen.next)),
    ("two terms at one position", "accounts_(pkey|position)", lambda pen: (
        pen.transactions(pen.next), pen.account(pen.next), pen.account(pen.next))),
    ("bounds without a number between", "accounts_check", lambda pen: (
        pen.transactions(pen.next), pen.account(pen.next, min_balance=1, max_balance=0))),
    ("a hold at an old position", "not part of the batch being written", lambda pen: (
        pen.transactions(pen.next), pen.hold(pen.head - 1))),
    ("a hold at a future position", "not part of the batch being written", lambda pen: (
        pen.transactions(pen.next), pen.hold(pen.next + 1))),
    ("a hold without a batch", "not part of the batch being written", lambda pen: pen.hold(pen.next)),
    ("a hold of nothing", "holds_amount_check", lambda pen: (
        pen.transactions(pen.next), pen.hold(pen.next, amount=0))),
    ("more captured than was held", "holds_check", lambda pen: (
        pen.transactions(pen.next), pen.hold(pen.next, captured=6))),
    # Requests.
    ("a key that is taken", "requests_pkey", lambda pen: pen.execute(
        "INSERT INTO requests SELECT * FROM requests LIMIT 1")),
    ("a key with two answers", "requests_check", lambda pen: pen.request(
        "00000000-0000-0000-0000-000000000001", position=pen.next, batch=pen.number + 1, code=80)),
    ("a key with no answer", "requests_check", lambda pen: pen.request(
        "00000000-0000-0000-0000-000000000001")),
    ("a refusal without a reason", "requests_check", lambda pen: pen.request(
        "00000000-0000-0000-0000-000000000001", batch=pen.number + 1)),
]  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("message", "write"), [pytest.param(message, write, id=name) for name, message, write in REFUSED]
)
def test_what_breaks_a_rule_is_refused(books: Books, role: str, message: str, write: Write) -> None:
    with writing(books, role) as pen, pytest.raises(psycopg.IntegrityError, match=message):
        write(pen)


def test_rules_hold_in_replication_sessions_too(books: Books) -> None:
    with writing(books, "owner") as pen:
        pen.execute("SET LOCAL session_replication_role = replica")
        pen.transactions(pen.next)
        with pytest.raises(psycopg.IntegrityError, match="not to zero"):
            pen.entries((pen.next, pen.source, -5, "USD"))
    with writing(books, "owner") as pen:
        pen.execute("SET LOCAL session_replication_role = replica")
        with pytest.raises(psycopg.IntegrityError, match="do not follow the head"):
            pen.transactions(pen.next + 1)


# The role of the server can do nothing else.


FORBIDDEN = [
    "CREATE TABLE other (number int)",
    "CREATE SCHEMA other",
    "CREATE FUNCTION other() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "CREATE OR REPLACE FUNCTION head_position() RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'",
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
        "CREATE TEMPORARY TABLE transactions AS SELECT 1002::bigint AS position",
    )
    with books.connect("server") as connection:
        connection.execute("BEGIN")
        try:
            for table in tables:
                connection.execute(table.encode())
        except psycopg.errors.InsufficientPrivilege:
            return
        with pytest.raises(psycopg.IntegrityError, match="do not follow the head"):
            connection.execute(
                "INSERT INTO public.transactions (position, recorded_at, tenant, kind)"
                " VALUES (1001, now(), 1, 10)"
            )
        connection.execute("ROLLBACK")
    with books.connect("server") as connection:
        connection.execute("BEGIN")
        for table in tables:
            connection.execute(table.encode())
        with pytest.raises(psycopg.IntegrityError, match="not part of the batch"):
            connection.execute(
                "INSERT INTO public.entries (account, position, amount, balance, asset)"
                " VALUES (1, 1001, -5, 0, 'USD'), (2, 1001, 5, 0, 'USD')"
            )
        connection.execute("ROLLBACK")


# A batch that was never closed.


def test_transactions_that_no_batch_closes(server: EmbeddedPostgres) -> None:
    """They are refused at their commit, or else at the latest by the next batch, which cannot go on silently."""
    with temporary_database(server) as database:
        asyncio.run(write_books(database))
        with psycopg.connect(database.owner_dsn) as connection:
            accounts = connection.execute("SELECT account FROM accounts ORDER BY position").fetchall()
        books = Books(database, accounts[0][0], accounts[1][0])
        committed = True
        with books.connect("server") as connection:
            connection.execute("BEGIN")
            pen = Pen(connection, books)
            pen.transfer(pen.next)
            try:
                connection.execute("COMMIT")
            except psycopg.IntegrityError:
                committed = False
        with books.connect("server") as connection:
            connection.execute("BEGIN")
            pen = Pen(connection, books)
            if committed:
                with pytest.raises(psycopg.IntegrityError, match="transactions_pkey"):
                    pen.transfer(pen.next)
            else:
                pen.transfer(pen.next)
                pen.batch()
                connection.execute("COMMIT")
