"""The canonical bytes of the log, and the hash chain over them.

A row's canonical bytes are those of PostgreSQL's binary COPY format: the number of columns as int16, then each column
as its length (int32, -1 for NULL) and its bytes, integers big-endian, times as microseconds since 2000. So the bytes
that are hashed are the bytes that are written. They are encoded once, and `COPY … TO STDOUT (FORMAT binary)` returns
them to anyone who checks. (https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format")
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeVar

from tallystick.domain.holds import HoldState
from tallystick.domain.layout import (
    ACCOUNTS,
    ENTRIES,
    HOLDS,
    PLAIN_BOUNDED_ENTRY,
    PLAIN_ENTRY,
    PLAIN_REQUEST,
    PLAIN_TRANSACTION,
    REQUESTS,
    SAGAS,
    TRANSACTIONS,
    ColumnType,
    Table,
)
from tallystick.domain.rows import (
    AccountRow,
    Appended,
    BatchRow,
    EntryRow,
    RequestRow,
    TransactionRow,
)
from tallystick.domain.sagas import SagaState, SagaStatus, write_terms

Row = TypeVar("Row")

COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER: Final = b"\xff\xff"

# PostgreSQL counts time from 2000-01-01, 10,957 days after 1970-01-01.
POSTGRES_EPOCH_US: Final = 10_957 * 86_400 * 1_000_000

_int16 = struct.Struct(">h").pack
_column_int16 = struct.Struct(">ih").pack
_column_int32 = struct.Struct(">ii").pack
_column_int64 = struct.Struct(">iq").pack
_length = struct.Struct(">i").pack
_NULL: Final = _length(-1)

# The usual rows (a transaction without a note, an entry without a held amount) have a fixed format, packed in one
# call. That of a request ends with the length of its fingerprint.
_plain_transaction = struct.Struct(TRANSACTIONS.packed(null=PLAIN_TRANSACTION)).pack
_plain_entry = struct.Struct(ENTRIES.packed(null=PLAIN_ENTRY)).pack
_plain_entry_bounded = struct.Struct(ENTRIES.packed(null=PLAIN_BOUNDED_ENTRY)).pack
_plain_request = struct.Struct(REQUESTS.packed(null=PLAIN_REQUEST) + "i").pack
# Other transactions and entries begin with columns that are never NULL.
_transaction_start = struct.Struct(TRANSACTIONS.packed(before="effective_at")).pack
_entry_start = struct.Struct(ENTRIES.packed(before="held")).pack


_KEY: Final = itemgetter(RequestRow._fields.index("key"))
_POSITION_AND_ACCOUNT: Final = itemgetter(
    EntryRow._fields.index("position"), EntryRow._fields.index("account")
)


class EncodedBatch(NamedTuple):
    """The canonical rows of one batch, table by table."""

    transactions: bytes
    entries: bytes
    accounts: bytes
    holds: bytes
    requests: bytes
    sagas: bytes = b""


NO_ROWS: Final = EncodedBatch(b"", b"", b"", b"", b"")
"""The rows of a batch that covers positions which were lost before a restore."""


def encode(appended: Appended) -> EncodedBatch:
    """Write all rows of a batch as canonical bytes, in the order in which the chain covers them.

    The order is one in which the tables can be read again: transactions, accounts, holds and sagas by position;
    entries by position, then account; requests that were posted by position, then those refused by key.
    """
    return EncodedBatch(
        _join(encode_transaction, appended.transactions),
        _join(encode_entry, sorted(appended.entries, key=_POSITION_AND_ACCOUNT)),
        _join(encode_account, appended.accounts),
        _join(encode_hold, appended.holds),
        _join(encode_request, _posted_then_refused(appended.requests)),
        _join(encode_saga, appended.sagas),
    )


def chain_hash(
    previous_hash: bytes, number: int, last_position: int, recorded_at_us: int, rows: EncodedBatch
) -> bytes:
    """The hash of a batch: SHA-256 over the previous hash, its own numbers, and each table's rows with their length.

    Sagas come last, and only if there are any. So logs that were written before sagas existed keep their hashes.
    """
    digest = hashlib.sha256(previous_hash)
    digest.update(struct.pack(">qqq", number, last_position, recorded_at_us))
    for table in rows if rows.sagas else rows[:-1]:
        digest.update(struct.pack(">q", len(table)))
        digest.update(table)
    return digest.digest()


def genesis_hash(shard: int) -> bytes:
    """The hash before the first batch of a shard. Each shard has another, so chains cannot be exchanged."""
    return hashlib.sha256(b"tallystick log of shard %d" % shard).digest()


def chain(
    previous_hash: bytes, number: int, last_position: int, recorded_at_us: int, rows: EncodedBatch
) -> BatchRow:
    """The row that closes a batch."""
    hashed = chain_hash(previous_hash, number, last_position, recorded_at_us, rows)
    return BatchRow(number, last_position, recorded_at_us, previous_hash, hashed)


def encode_transaction(row: TransactionRow) -> bytes:
    """Canonical bytes of a transaction."""
    position, recorded_at_us, tenant, kind, effective_at_us, refers_to, description, metadata = row
    recorded = recorded_at_us - POSTGRES_EPOCH_US
    if effective_at_us is None and refers_to is None and description is None and metadata is None:
        return _plain_transaction(8, 8, position, 8, recorded, 4, tenant, 2, kind, -1, -1, -1, -1)
    start = _transaction_start(8, 8, position, 8, recorded, 4, tenant, 2, kind)
    return b"".join(
        (
            start,
            _NULL if effective_at_us is None else _time_column(effective_at_us),
            _NULL if refers_to is None else _column_int64(8, refers_to),
            _NULL if description is None else _text_column(description),
            _NULL if metadata is None else _text_column(metadata),
        )
    )


def encode_entry(row: EntryRow) -> bytes:
    """Canonical bytes of an entry. If nothing is held, NULL is written: most entries, 16 bytes less each."""
    account, position, amount, balance, held, held_after, bound, asset = row
    if not held and not held_after:
        name = asset.encode()
        if bound is None:
            fixed = _plain_entry(8, 8, account, 8, position, 8, amount, 8, balance, -1, -1, -1)
        else:
            fixed = _plain_entry_bounded(8, 8, account, 8, position, 8, amount, 8, balance, -1, -1, 8, bound)
        return fixed + _length(len(name)) + name
    start = _entry_start(8, 8, account, 8, position, 8, amount, 8, balance)
    return b"".join(
        (
            start,
            _column_int64(8, held) if held else _NULL,
            _column_int64(8, held_after) if held_after else _NULL,
            _NULL if bound is None else _column_int64(8, bound),
            _text_column(asset),
        )
    )


def encode_account(row: AccountRow) -> bytes:
    """Canonical bytes of an account's terms as of a position."""
    terms = row.state.terms
    return _account_row(
        (
            terms.account,
            row.position,
            terms.tenant,
            terms.kind,
            terms.status,
            terms.min_balance,
            terms.max_balance,
            terms.owner,
            terms.asset,
            terms.metadata,
        )
    )


def encode_hold(hold: HoldState) -> bytes:
    """Canonical bytes of a hold as of a position."""
    return _hold_row(
        (
            hold.hold,
            hold.position,
            hold.account,
            hold.destination,
            hold.amount,
            hold.captured,
            hold.expires_at_us,
            hold.status,
        )
    )


def encode_saga(saga: SagaState) -> bytes:
    """Canonical bytes of a saga as of a position. Only its first row has its terms."""
    refusal = saga.refusal
    return _saga_row(
        (
            saga.saga,
            saga.position,
            saga.status,
            saga.counterpart,
            None if refusal is None else refusal.code,
            None if refusal is None else refusal.param,
            None if refusal is None else refusal.detail,
            write_terms(saga.terms) if saga.status is SagaStatus.RESERVED else None,
        )
    )


def encode_request(row: RequestRow) -> bytes:
    """Canonical bytes of an idempotency key's claim."""
    key, position, _, _, param, _, fingerprint = row
    if position is not None and param is None:
        fixed = _plain_request(7, 16, key, 8, position, -1, -1, -1, -1, len(fingerprint))
        return fixed + fingerprint
    return _request_row(row)


def _posted_then_refused(requests: list[RequestRow]) -> list[RequestRow]:
    # Commands are answered in order, so requests that were posted are already in the order of their positions.
    refused = [row for row in requests if row.position is None]
    if not refused:
        return requests
    posted = [row for row in requests if row.position is not None]
    return posted + sorted(refused, key=_KEY)


def _join(encode_row: Callable[[Row], bytes], rows: Iterable[Row]) -> bytes:
    return b"".join([encode_row(row) for row in rows])


# Rare rows are written column by column, following the layout.


def _bytes_column(value: bytes) -> bytes:
    return _length(len(value)) + value


def _text_column(value: str) -> bytes:
    encoded = value.encode()
    return _length(len(encoded)) + encoded


def _time_column(at_us: int) -> bytes:
    return _column_int64(8, at_us - POSTGRES_EPOCH_US)


_COLUMNS: Final[Mapping[ColumnType, Callable[[Any], bytes]]] = {
    ColumnType.INT16: partial(_column_int16, 2),
    ColumnType.INT32: partial(_column_int32, 4),
    ColumnType.INT64: partial(_column_int64, 8),
    ColumnType.TIME: _time_column,
    ColumnType.UUID: _bytes_column,
    ColumnType.TEXT: _text_column,
    ColumnType.JSON: _text_column,
    ColumnType.BYTES: _bytes_column,
}


def _writing(table: Table) -> Callable[[Iterable[Any]], bytes]:
    """A function that writes any row of a table from its values in the order of the columns."""
    count = _int16(len(table.columns))
    writers = [_COLUMNS[column.type] for column in table.columns]

    def written(values: Iterable[Any]) -> bytes:
        columns = [
            _NULL if value is None else write(value) for write, value in zip(writers, values, strict=True)
        ]
        return count + b"".join(columns)

    return written


_account_row: Final = _writing(ACCOUNTS)
_hold_row: Final = _writing(HOLDS)
_saga_row: Final = _writing(SAGAS)
_request_row: Final = _writing(REQUESTS)
