"""Reading a whole log to verify it: every table as one stream of canonical rows, all from one snapshot.

Each table is read over a connection of its own, which adopts the snapshot that the first one exported: a system
that moves raises no false alarm, and the server holds back what has not been asked for yet, so that no more than
a slice is ever in memory here.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final, NamedTuple, Self

import psycopg
from psycopg.rows import TupleRow

from tallystick.domain import limits
from tallystick.domain.canonical import COPY_HEADER, COPY_TRAILER, EncodedBatch
from tallystick.domain.rows import BatchRow
from tallystick.domain.verification.rows import (
    ACCOUNT_PLACE,
    BATCH_PLACE,
    ENTRY_PLACE,
    HOLD_PLACE,
    POSTED_REQUEST_PLACE,
    REFUSED_REQUEST_PLACE,
    TRANSACTION_PLACE,
    ReversalPart,
    read_batch,
    read_place,
    read_reversal_part,
)
from tallystick.store.errors import ShardUnavailableError, translated
from tallystick.store.queries import query

_Connection = psycopg.Connection[TupleRow]
_TRAILER_BYTES: Final = len(COPY_TRAILER)

# Unlike the server's own queries these read everything, and take as long as it takes.
_SETTINGS: Final = {
    "timezone": "UTC",
    "client_encoding": "UTF8",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    # Requests have no index on their position: they are sorted, and what does not fit goes to disk.
    "work_mem": "64MB",
}


class RawSlice(NamedTuple):
    """Canonical rows of one slice of the log, each table in the order in which the chain covers it."""

    transactions: list[bytes]
    entries: list[bytes]
    accounts: list[bytes]
    holds: list[bytes]
    posted: list[bytes]
    refused: list[bytes]

    def encoded(self) -> EncodedBatch:
        """The bytes that the chain covers, if this slice is exactly one batch."""
        return EncodedBatch(
            b"".join(self.transactions),
            b"".join(self.entries),
            b"".join(self.accounts),
            b"".join(self.holds),
            b"".join(self.posted) + b"".join(self.refused),
        )


class RowStream:
    """One table's canonical rows in the order of the log, taken slice by slice.

    The server sends each row of a COPY in a message of its own, the file's header before the first, and the
    file's trailer in the last.
    """

    def __init__(self, copy: psycopg.Copy, place_offset: int) -> None:
        self._copy = copy
        self._place_offset = place_offset
        # What libpq has received already is taken from it directly: the driver's own loop costs three times as
        # much, and only it knows how to wait.
        self._connection = copy.cursor.connection.pgconn
        self._next: bytes | None = None

    def take(self, through: int) -> list[bytes]:
        """The following rows up to a place in the log (a position, or a batch's number)."""
        taken: list[bytes] = []
        row, offset, received = self._peek(), self._place_offset, self._connection.get_copy_data
        while len(row) > _TRAILER_BYTES and read_place(row, offset)[0] <= through:
            taken.append(row)
            byte_count, message = received(1)
            row = bytes(message) if byte_count > 0 else self._read(ended=byte_count < 0)
        self._next = row
        return taken

    def __iter__(self) -> Iterator[bytes]:
        """All rows that were not taken yet, one at a time."""
        while len(row := self._peek()) > _TRAILER_BYTES:
            self._next = self._read()
            yield row

    def _peek(self) -> bytes:
        # The first row is not waited for before it is needed: meanwhile the server sorts other tables.
        if self._next is None:
            self._next = self._read().removeprefix(COPY_HEADER) or self._read()
        return self._next

    def _read(self, *, ended: bool = False) -> bytes:
        """Wait for a message. A stream ends with its trailer, and before that only because the server did."""
        message = b"" if ended else bytes(self._copy.read())
        if not message:
            result = self._connection.get_result()
            reason = "" if result is None else result.get_error_message()
            raise psycopg.OperationalError(f"the log could not be read to its end: {reason.strip()}")
        return message

    def places(self) -> Iterator[int]:
        """The places of all rows that were not taken yet."""
        for row in self:
            yield read_place(row, self._place_offset)[0]


class LogStreams:
    """All tables of one shard's log as of one moment.

    A context manager; every method raises ShardUnavailableError when PostgreSQL cannot be reached.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._open = ExitStack()
        self._snapshot = ""
        self.head_position = 0

    def __enter__(self) -> Self:
        with self._open, translated():
            self._snapshot, self.head_position = self._export_snapshot()
            self.transactions = self._stream("verify_transactions", TRANSACTION_PLACE)
            self.entries = self._stream("verify_entries", ENTRY_PLACE)
            self.accounts = self._stream("verify_accounts", ACCOUNT_PLACE)
            self.holds = self._stream("verify_holds", HOLD_PLACE)
            self.posted = self._stream("verify_requests_posted", POSTED_REQUEST_PLACE)
            self.refused = self._stream("verify_requests_refused", REFUSED_REQUEST_PLACE)
            self._open = self._open.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def batches(self) -> Iterator[BatchRow]:
        """The rows that close the batches, by number."""
        with translated():
            for row in self._stream("verify_batches", BATCH_PLACE):
                yield read_batch(row)

    def take(self, through: int, batch: int) -> RawSlice:
        """The following rows up to a position, and the refusals up to a batch."""
        with translated():
            return RawSlice(
                self.transactions.take(through),
                self.entries.take(through),
                self.accounts.take(through),
                self.holds.take(through),
                self.posted.take(through),
                self.refused.take(batch),
            )

    def reversals(self) -> Iterator[ReversalPart]:
        """The entries of all transactions that were reversed, and of their reversals."""
        with translated():
            for row in self._stream("verify_reversals", BATCH_PLACE):
                yield read_reversal_part(row)

    def _export_snapshot(self) -> tuple[str, int]:
        row = self._connect().execute(query("verify_export_snapshot")).fetchone()
        if row is None:
            raise ShardUnavailableError("the shard's head could not be read")
        return str(row[0]), int(row[1])

    def _stream(self, name: str, place_offset: int) -> RowStream:
        connection = self._connect()
        # A utility statement takes no parameters from the server's side.
        psycopg.ClientCursor(connection).execute(query("verify_adopt_snapshot"), (self._snapshot,))
        copy = self._open.enter_context(connection.cursor().copy(query(name)))
        return RowStream(copy, place_offset)

    def _connect(self) -> _Connection:
        connection = psycopg.connect(
            self._dsn,
            options=" ".join(f"-c {name}={value}" for name, value in _SETTINGS.items()),
            application_name="tallystick verify",
            connect_timeout=limits.CONNECT_TIMEOUT_SECONDS,
        )
        self._open.callback(connection.close)
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        return connection
