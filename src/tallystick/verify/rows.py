"""Rows that are read from their canonical bytes, with the columns that are judged. The chain covers the rest.

Usual rows have a fixed format and are read in one call. All others are read column by column.
"""

import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from tallystick.domain.canonical import POSTGRES_EPOCH_US
from tallystick.domain.layout import (
    ACCOUNTS,
    BATCHES,
    ENTRIES,
    HOLDS,
    PLAIN_BOUNDED_ENTRY,
    PLAIN_ENTRY,
    PLAIN_REQUEST,
    REQUESTS,
    SAGAS,
    TRANSACTIONS,
    Column,
    ColumnType,
    Table,
)
from tallystick.domain.rows import BatchRow, EntryRow
from tallystick.verify.columns import NULL, columns_of, number, optional, optional_text, text

_int64 = struct.Struct(">q").unpack_from

# The formats of the fixed beginnings of usual rows, without the lengths of columns that are never NULL.
_transaction_start = struct.Struct(TRANSACTIONS.unpacked(null=("effective_at", "refers_to")))
_entry_start = struct.Struct(ENTRIES.unpacked(null=PLAIN_ENTRY))
_request_start = struct.Struct(REQUESTS.unpacked(null=PLAIN_REQUEST))

# The offset of a usual entry's asset, or of its bound, which comes before the asset.
_ENTRY_ASSET: Final = ENTRIES.place("asset", null=PLAIN_ENTRY)
_ENTRY_BOUND: Final = ENTRIES.place("bound", null=PLAIN_BOUNDED_ENTRY)
_ENTRY_BOUNDED_ASSET: Final = ENTRIES.place("asset", null=PLAIN_BOUNDED_ENTRY)
# The offset of the fingerprint in a usual request that was posted.
_REQUEST_FINGERPRINT: Final = REQUESTS.place("fingerprint", null=PLAIN_REQUEST)

# The offset of a row's place in the log: its position, or the batch of a request that was refused.
TRANSACTION_PLACE: Final = TRANSACTIONS.place("position")
ENTRY_PLACE: Final = ENTRIES.place("position")
ACCOUNT_PLACE: Final = ACCOUNTS.place("position")
HOLD_PLACE: Final = HOLDS.place("position")
SAGA_PLACE: Final = SAGAS.place("position")
POSTED_REQUEST_PLACE: Final = REQUESTS.place("position")
REFUSED_REQUEST_PLACE: Final = REQUESTS.place("batch", null=("position",))


class TransactionHead(NamedTuple):
    """A transaction, without its caller's description and metadata."""

    position: int
    recorded_at_us: int
    tenant: int
    kind: int
    refers_to: int | None


class Claim(NamedTuple):
    """The claim of one idempotency key: a position, or the code of a refusal and its batch; and the fingerprint."""

    key: bytes
    position: int | None
    batch: int | None
    code: int | None
    fingerprint: bytes


# Nearly all rows are made here. The constructor of a named tuple takes twice as long.
_new_transaction = partial(tuple.__new__, TransactionHead)
_new_entry = partial(tuple.__new__, EntryRow)
_new_claim = partial(tuple.__new__, Claim)


class AccountChange(NamedTuple):
    """An account's terms as of a position."""

    account: int
    position: int
    tenant: int
    kind: int
    status: int
    min_balance: int | None
    max_balance: int | None
    owner: str
    asset: str


class HoldChange(NamedTuple):
    """A hold as of a position."""

    hold: int
    position: int
    account: int
    destination: int
    amount: int
    captured: int
    expires_at_us: int
    status: int


class SagaChange(NamedTuple):
    """A saga as of a position. `terms` is a text that only its first row has."""

    saga: int
    position: int
    status: int
    counterpart: int | None
    code: int | None
    terms: str | None


class Posting(NamedTuple):
    """A transaction and its rows."""

    transaction: TransactionHead
    entries: Sequence[EntryRow]
    accounts: Sequence[AccountChange]
    holds: Sequence[HoldChange]
    sagas: Sequence[SagaChange]


class ReversalPart(NamedTuple):
    """One entry of a transaction that was reversed, or of one of its reversals. Without entries there is no account.

    For a reversal to another shard it is the reserved amount, as an amount that leaves the account. `released`: the
    reservation was released.
    """

    original: int
    position: int
    kind: int
    tenant: int
    account: int | None
    amount: int
    released: bool


def _time(column: bytes | None) -> int:
    """A time in microseconds since 1970."""
    return number(column) + POSTGRES_EPOCH_US


def _plain_bytes(column: bytes | None) -> bytes:
    return column or b""


def _converter(column: Column) -> Callable[[bytes | None], Any]:
    match column.type:
        case ColumnType.TIME:
            return _time
        case ColumnType.TEXT | ColumnType.JSON:
            return optional_text if column.optional else text
        case ColumnType.UUID | ColumnType.BYTES:
            return _plain_bytes
        case _:
            return optional if column.optional and not column.zero_is_null else number


def _reading(table: Table, fields: Sequence[str]) -> Callable[[bytes], list[Any]]:
    """A function that reads these columns of any row of a table. The name of a time field ends in `_us`."""
    places = [table.index(field.removesuffix("_us")) for field in fields]
    wanted = [(place, _converter(table.columns[place])) for place in places]

    def read(row: bytes) -> list[Any]:
        columns = columns_of(row)
        return [convert(columns[place]) for place, convert in wanted]

    return read


_transaction_columns: Final = _reading(TRANSACTIONS, TransactionHead._fields)
_entry_columns: Final = _reading(ENTRIES, EntryRow._fields)
_account_columns: Final = _reading(ACCOUNTS, AccountChange._fields)
_hold_columns: Final = _reading(HOLDS, HoldChange._fields)
_saga_columns: Final = _reading(SAGAS, SagaChange._fields)
_request_columns: Final = _reading(REQUESTS, Claim._fields)
_batch_columns: Final = _reading(BATCHES, BatchRow._fields)

read_place: Final = _int64
"""Reads the position, or batch, that a row belongs to, as a tuple of one: `read_place(row, offset)`."""


def read_transaction(row: bytes) -> TransactionHead:
    """A transaction from its canonical bytes."""
    position, recorded, tenant, kind, effective, refers = _transaction_start.unpack_from(row)
    if effective == refers == NULL:
        return _new_transaction((position, recorded + POSTGRES_EPOCH_US, tenant, kind, None))
    return TransactionHead(*_transaction_columns(row))


def read_entry(row: bytes) -> EntryRow:
    """An entry from its canonical bytes. NULL held and held_after are zero."""
    if len(row) > _ENTRY_ASSET:
        account, position, amount, balance, held, held_after, bound = _entry_start.unpack_from(row)
        if held == held_after == NULL:
            if bound == NULL:
                return _new_entry(
                    (
                        account,
                        position,
                        amount,
                        balance,
                        0,
                        0,
                        None,
                        row[_ENTRY_ASSET:].decode(errors="replace"),
                    )
                )
            bound = _int64(row, _ENTRY_BOUND)[0]
            return _new_entry(
                (
                    account,
                    position,
                    amount,
                    balance,
                    0,
                    0,
                    bound,
                    row[_ENTRY_BOUNDED_ASSET:].decode(errors="replace"),
                )
            )
    return EntryRow(*_entry_columns(row))


def read_account(row: bytes) -> AccountChange:
    """An account's terms from their canonical bytes."""
    return AccountChange(*_account_columns(row))


def read_hold(row: bytes) -> HoldChange:
    """A hold's change from its canonical bytes."""
    return HoldChange(*_hold_columns(row))


def read_saga(row: bytes) -> SagaChange:
    """A saga's change from its canonical bytes."""
    return SagaChange(*_saga_columns(row))


def read_request(row: bytes) -> Claim:
    """The claim of an idempotency key from its canonical bytes."""
    key, position_bytes, position, batch, code, param, detail = _request_start.unpack_from(row)
    if position_bytes != NULL and batch == code == param == detail == NULL:
        return _new_claim((key, position, None, None, row[_REQUEST_FINGERPRINT:]))
    return Claim(*_request_columns(row))


def read_batch(row: bytes) -> BatchRow:
    """The row that closes a batch, from its canonical bytes."""
    return BatchRow(*_batch_columns(row))


def read_reversal_part(row: bytes) -> ReversalPart:
    """One row of the query about reversals."""
    columns = columns_of(row)
    return ReversalPart(
        number(columns[0]),
        number(columns[1]),
        number(columns[2]),
        number(columns[3]),
        optional(columns[4]),
        number(columns[5]),
        bool(number(columns[6])),
    )
