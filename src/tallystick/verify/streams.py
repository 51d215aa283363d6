"""Reads a whole log to verify it: each table as one stream of canonical rows, all from one snapshot.

Each table is read over its own connection, which uses the snapshot that the first one exported. So writes meanwhile
raise no false alarm. The server sends rows only when they are read, so no more than a slice is in memory here.

A small log is read over the first connection alone, one table after the other, and kept in memory: connecting would
take longer than reading.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Final, NamedTuple, Protocol, Self

import psycopg
from psycopg.rows import TupleRow

from tallystick.domain import limits
from tallystick.domain.canonical import COPY_HEADER, COPY_TRAILER, EncodedBatch
from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.rows import BatchRow
from tallystick.store.address import options_of
from tallystick.store.errors import ShardUnavailableError, translated
from tallystick.store.log import derivation
from tallystick.store.primary import connect_once
from tallystick.store.queries import query
from tallystick.verify.rows import (
    ACCOUNT_PLACE,
    ENTRY_PLACE,
    HOLD_PLACE,
    POSTED_REQUEST_PLACE,
    REFUSED_REQUEST_PLACE,
    SAGA_PLACE,
    TRANSACTION_PLACE,
    ReversalPart,
    read_batch,
    read_place,
    read_reversal_part,
)

_Connection = psycopg.Connection[TupleRow]
_TRAILER_BYTES: Final = len(COPY_TRAILER)

# Unlike the queries of a server, these read everything, and have no time limit.
_SETTINGS: Final = {
    "timezone": "UTC",
    "client_encoding": "UTF8",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    # Requests have no index on their position, so they are sorted. What does not fit into memory goes to disk.
    "work_mem": "64MB",
}

# PostgreSQL's errors for a snapshot that is gone: the first before version 17, the second since then.
_SNAPSHOT_IS_GONE: Final = (psycopg.errors.InvalidParameterValue, psycopg.errors.UndefinedObject)


class RawSlice(NamedTuple):
    """Canonical rows of one slice of the log, each table in the order in which the chain covers it."""

    transactions: list[bytes]
    entries: list[bytes]
    accounts: list[bytes]
    holds: list[bytes]
    posted: list[bytes]
    refused: list[bytes]
    sagas: list[bytes]

    def encoded(self) -> EncodedBatch:
        """The bytes that the chain covers, if this slice is exactly one batch."""
        return EncodedBatch(
            b"".join(self.transactions),
            b"".join(self.entries),
            b"".join(self.accounts),
            b"".join(self.holds),
            b"".join(self.posted) + b"".join(self.refused),
            b"".join(self.sagas),
        )


class _Messages(Protocol):
    """The messages of one COPY: the file's header before the first row, and the file's trailer in the last."""

    def received(self, _: int, /) -> tuple[int, bytes | memoryview]:
        """The next message, if it is here already: its size and its bytes. Size 0: wait for it; below 0: the end."""

    def awaited(self, *, ended: bool) -> bytes:
        """Wait for the next message. Raises OperationalError at the end, which only a lost server brings here."""


class _Sent:
    """Messages that the server sends when they are read."""

    def __init__(self, copy: psycopg.Copy) -> None:
        self._copy = copy
        self._connection = copy.cursor.connection.pgconn
        # Rows that libpq has received already are taken from it directly, because the driver's own loop costs three
        # times as much. Only the driver can wait.
        self.received = self._connection.get_copy_data

    def awaited(self, *, ended: bool) -> bytes:
        message = b"" if ended else bytes(self._copy.read())
        if not message:
            result = self._connection.get_result()
            reason = "" if result is None else result.get_error_message()
            raise psycopg.OperationalError(f"the log could not be read to its end: {reason.strip()}")
        return message


class _Kept:
    """Messages that are all in memory."""

    def __init__(self, messages: Sequence[bytes]) -> None:
        self._left = iter(messages)

    def received(self, _: int, /) -> tuple[int, bytes]:
        message = next(self._left, None)
        return (-1, b"") if message is None else (len(message), message)

    def awaited(self, *, ended: bool) -> bytes:
        byte_count, message = (-1, b"") if ended else self.received(1)
        if byte_count < 0:
            raise psycopg.OperationalError("the log could not be read to its end")
        return message


class RowStream:
    """One table's canonical rows in the order of the log, read slice by slice."""

    def __init__(self, messages: _Messages, place_offset: int) -> None:
        self._messages = messages
        self._place_offset = place_offset
        self._next: bytes | None = None

    def take(self, through: int) -> list[bytes]:
        """The next rows up to a place in the log (a position, or a batch's number)."""
        taken: list[bytes] = []
        row, offset, received = self._peek(), self._place_offset, self._messages.received
        while len(row) > _TRAILER_BYTES and read_place(row, offset)[0] <= through:
            taken.append(row)
            byte_count, message = received(1)
            row = bytes(message) if byte_count > 0 else self._messages.awaited(ended=byte_count < 0)
        self._next = row
        return taken

    def __iter__(self) -> Iterator[bytes]:
        """All remaining rows, one at a time."""
        row, received = self._peek(), self._messages.received
        while len(row) > _TRAILER_BYTES:
            byte_count, message = received(1)
            self._next = bytes(message) if byte_count > 0 else self._messages.awaited(ended=byte_count < 0)
            yield row
            row = self._next

    def _peek(self) -> bytes:
        # Do not wait for the first row before it is needed: meanwhile the server sorts other tables.
        if self._next is None:
            await_next = self._messages.awaited
            self._next = await_next(ended=False).removeprefix(COPY_HEADER) or await_next(ended=False)
        return self._next

    def places(self) -> Iterator[int]:
        """The places of all remaining rows."""
        for row in self:
            yield read_place(row, self._place_offset)[0]


class LostRange(NamedTuple):
    """Positions that were lost before a restore, and are not used again; and why the shard was restored."""

    positions: range
    reason: str


class Moment:
    """One moment of a shard's database: every stream of it shows the same snapshot.

    A separate connection holds the snapshot, so a stream may be opened later. The streams of a small log come from
    this connection. Every method raises ShardUnavailableError when PostgreSQL cannot be reached.
    """

    def __init__(self, dsn: str, closing: ExitStack) -> None:
        """Connect; `closing` disconnects. `take` chooses the moment."""
        self._dsn = dsn
        self._closing = closing
        self._snapshot = ""
        self._is_small = False
        self.head_position = 0
        with translated():
            self._holder = self._connect()

    def take(self) -> None:
        """Choose this moment."""
        with translated():
            row = self._holder.execute(query("verify_export_snapshot")).fetchone()
        if row is None:
            raise ShardUnavailableError("the shard's head could not be read")
        self._snapshot, self.head_position = str(row[0]), int(row[1])
        self._is_small = int(row[2]) <= limits.VERIFY_BYTES_AT_ONCE_MAX

    def derivation(self, shard: int) -> Derivation:
        """The inputs for deriving accounts that the ledger opens. Raises SchemaError if they are missing."""
        with translated():
            return derivation(shard, self._holder.execute(query("account_key")).fetchone())

    def lost_ranges(self) -> dict[int, LostRange]:
        """The positions that were lost before restores, by the number of the batch that covers them."""
        with translated():
            rows = self._holder.execute(query("verify_restorations")).fetchall()
        return {
            batch: LostRange(range(after + 1, through + 1), reason) for batch, after, through, reason in rows
        }

    def stream(self, name: str, place_offset: int = 0, parameters: tuple[int, ...] = ()) -> RowStream:
        """The rows of a named COPY as of this moment."""
        with translated():
            read = self._keep if self._is_small else self._send
            return RowStream(read(name, parameters), place_offset)

    def _keep(self, name: str, parameters: tuple[int, ...]) -> _Messages:
        with _copying(self._holder, name, parameters) as copy:
            return _Kept([bytes(message) for message in copy])

    def _send(self, name: str, parameters: tuple[int, ...]) -> _Messages:
        connection = self._connect()
        try:
            psycopg.ClientCursor(connection).execute(query("verify_adopt_snapshot"), (self._snapshot,))
        except _SNAPSHOT_IS_GONE as error:
            raise ShardUnavailableError("the connection that held the snapshot was lost") from error
        return _Sent(self._closing.enter_context(_copying(connection, name, parameters)))

    def rows(self, name: str, parameters: tuple[int, ...] = ()) -> Iterator[bytes]:
        """The rows of a named COPY as of this moment, one at a time."""
        with translated():
            yield from self.stream(name, parameters=parameters)

    def _connect(self) -> _Connection:
        connection = connect_once(
            self._dsn, options=options_of(self._dsn, _SETTINGS), application_name="tallystick verify"
        )
        self._closing.callback(connection.close)
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        return connection


def _copying(
    connection: _Connection, name: str, parameters: tuple[int, ...]
) -> AbstractContextManager[psycopg.Copy]:
    # PostgreSQL accepts no parameters in a utility statement.
    return psycopg.ClientCursor(connection).copy(query(name), parameters or None)


class LogStreams:
    """All tables of one shard's log as of one moment.

    A context manager; every method raises ShardUnavailableError when PostgreSQL cannot be reached.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as failing:
            failing.push(self._open)
            self._moment = Moment(self._dsn, self._open)
            self._moment.take()
            stream = self._moment.stream
            self.transactions = stream("verify_transactions", TRANSACTION_PLACE)
            self.entries = stream("verify_entries", ENTRY_PLACE)
            self.accounts = stream("verify_accounts", ACCOUNT_PLACE)
            self.holds = stream("verify_holds", HOLD_PLACE)
            self.posted = stream("verify_requests_posted", POSTED_REQUEST_PLACE)
            self.refused = stream("verify_requests_refused", REFUSED_REQUEST_PLACE)
            self.sagas = stream("verify_sagas", SAGA_PLACE)
            failing.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def derivation(self, shard: int) -> Derivation:
        """The inputs for deriving accounts that the ledger opens. Raises SchemaError if they are missing."""
        return self._moment.derivation(shard)

    @property
    def head_position(self) -> int:
        """The last position of the log at this moment."""
        return self._moment.head_position

    def lost_ranges(self) -> dict[int, LostRange]:
        """The positions that were lost before restores, by the number of the batch that covers them."""
        return self._moment.lost_ranges()

    def batches(self) -> Iterator[BatchRow]:
        """The rows that close the batches, by number."""
        for row in self._moment.rows("verify_batches"):
            yield read_batch(row)

    def take(self, through: int, batch: int) -> RawSlice:
        """The next rows up to a position, and the refusals up to a batch."""
        with translated():
            return RawSlice(
                self.transactions.take(through),
                self.entries.take(through),
                self.accounts.take(through),
                self.holds.take(through),
                self.posted.take(through),
                self.refused.take(batch),
                self.sagas.take(through),
            )

    def reversals(self) -> Iterator[ReversalPart]:
        """The entries of all transactions that were reversed, and of their reversals."""
        for row in self._moment.rows("verify_reversals"):
            yield read_reversal_part(row)
