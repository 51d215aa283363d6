"""The canonical bytes of the log, and the hash chain over them.

A row's canonical bytes are those of PostgreSQL's binary COPY format: the number of columns as int16, then each
column as its length (int32, -1 for NULL) and its bytes, integers big-endian, times as microseconds since 2000.
So the bytes that are hashed are the bytes that are written: encoded once, and `COPY … TO STDOUT (FORMAT binary)`
gives them back for anyone to check.
(https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format")
"""

import hashlib
import struct
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Final, NamedTuple, TypeVar

from tallystick.domain.holds import HoldState
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

# The usual rows have a shape of their own, packed in one call: no note on the transaction, nothing held.
_plain_transaction = struct.Struct(">hiqiqiiihiiii").pack
_plain_entry = struct.Struct(">hiqiqiqiqiii").pack
_plain_entry_bounded = struct.Struct(">hiqiqiqiqiiiq").pack
_plain_request = struct.Struct(">hi16siqiiiii").pack


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


def encode(appended: Appended) -> EncodedBatch:
    """Write all rows of a batch as canonical bytes, in the order in which the chain covers them.

    The order is one that the tables can give back: transactions, accounts, holds and sagas by position; entries by
    position, then account; requests that were posted by position, then those refused by key.
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
    """The hash of a batch: SHA-256 over the hash before it, its own numbers, and each table's rows by length.

    Sagas come last, and only where there are any: the logs of before there were sagas have the same hashes.
    """
    digest = hashlib.sha256(previous_hash)
    digest.update(struct.pack(">qqq", number, last_position, recorded_at_us))
    for table in rows if rows.sagas else rows[:-1]:
        digest.update(struct.pack(">q", len(table)))
        digest.update(table)
    return digest.digest()


def genesis_hash(shard: int) -> bytes:
    """The hash before the first batch of a shard, so that no two shards' chains can be exchanged."""
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
    return b"".join(
        (
            _int16(8),
            _column_int64(8, position),
            _column_int64(8, recorded),
            _column_int32(4, tenant),
            _column_int16(2, kind),
            _NULL if effective_at_us is None else _column_int64(8, effective_at_us - POSTGRES_EPOCH_US),
            _optional_int64(refers_to),
            _optional_text(description),
            _optional_text(metadata),
        )
    )


def encode_entry(row: EntryRow) -> bytes:
    """Canonical bytes of an entry. Nothing held is written as NULL: most entries, and 16 bytes each."""
    account, position, amount, balance, held, held_after, bound, asset = row
    name = asset.encode()
    if not held and not held_after:
        if bound is None:
            fixed = _plain_entry(8, 8, account, 8, position, 8, amount, 8, balance, -1, -1, -1)
        else:
            fixed = _plain_entry_bounded(8, 8, account, 8, position, 8, amount, 8, balance, -1, -1, 8, bound)
        return fixed + _length(len(name)) + name
    return b"".join(
        (
            _int16(8),
            _column_int64(8, account),
            _column_int64(8, position),
            _column_int64(8, amount),
            _column_int64(8, balance),
            _optional_int64(held or None),
            _optional_int64(held_after or None),
            _optional_int64(bound),
            _length(len(name)),
            name,
        )
    )


def encode_account(row: AccountRow) -> bytes:
    """Canonical bytes of an account's terms as of a position."""
    terms = row.state.terms
    return b"".join(
        (
            _int16(10),
            _column_int64(8, terms.account),
            _column_int64(8, row.position),
            _column_int32(4, terms.tenant),
            _column_int16(2, terms.kind),
            _column_int16(2, terms.status),
            _optional_int64(terms.min_balance),
            _optional_int64(terms.max_balance),
            _optional_text(terms.owner),
            _optional_text(terms.asset),
            _optional_text(terms.metadata),
        )
    )


def encode_hold(hold: HoldState) -> bytes:
    """Canonical bytes of a hold as of a position."""
    return b"".join(
        (
            _int16(8),
            _column_int64(8, hold.hold),
            _column_int64(8, hold.position),
            _column_int64(8, hold.account),
            _column_int64(8, hold.destination),
            _column_int64(8, hold.amount),
            _column_int64(8, hold.captured),
            _column_int64(8, hold.expires_at_us - POSTGRES_EPOCH_US),
            _column_int16(2, hold.status),
        )
    )


def encode_saga(saga: SagaState) -> bytes:
    """Canonical bytes of a saga as of a position. Its terms stand in its first row only."""
    refusal = saga.refusal
    return b"".join(
        (
            _int16(8),
            _column_int64(8, saga.saga),
            _column_int64(8, saga.position),
            _column_int16(2, saga.status),
            _optional_int64(saga.counterpart),
            _NULL if refusal is None else _column_int16(2, refusal.code),
            _optional_text(None if refusal is None else refusal.param),
            _optional_text(None if refusal is None else refusal.detail),
            _optional_text(write_terms(saga.terms) if saga.status is SagaStatus.RESERVED else None),
        )
    )


def encode_request(row: RequestRow) -> bytes:
    """Canonical bytes of an idempotency key's claim."""
    key, position, batch, code, param, detail, fingerprint = row
    if position is not None and param is None:
        fixed = _plain_request(7, 16, key, 8, position, -1, -1, -1, -1, len(fingerprint))
        return fixed + fingerprint
    return b"".join(
        (
            _int16(7),
            _length(16),
            key,
            _optional_int64(position),
            _optional_int64(batch),
            _NULL if code is None else _column_int16(2, code),
            _optional_text(param),
            _optional_text(detail),
            _length(len(fingerprint)),
            fingerprint,
        )
    )


def _posted_then_refused(requests: list[RequestRow]) -> list[RequestRow]:
    # Commands are answered in order, so those that were posted are in the order of their positions already.
    refused = [row for row in requests if row.position is None]
    if not refused:
        return requests
    posted = [row for row in requests if row.position is not None]
    return posted + sorted(refused, key=_KEY)


def _optional_int64(value: int | None) -> bytes:
    return _NULL if value is None else _column_int64(8, value)


def _optional_text(value: str | None) -> bytes:
    if value is None:
        return _NULL
    encoded = value.encode()
    return _length(len(encoded)) + encoded


def _join(encode_row: Callable[[Row], bytes], rows: Iterable[Row]) -> bytes:
    return b"".join([encode_row(row) for row in rows])
