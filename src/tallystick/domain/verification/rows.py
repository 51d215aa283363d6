"""Rows read back from their canonical bytes, with as much of each as is judged; the chain covers the rest.

Usual rows have a shape of their own and are read in one call. All others are read column by column, and there a
NULL where none may be counts as zero: the judges and the chain will find it wrong.
"""

import struct
from functools import partial
from typing import Final, NamedTuple

from tallystick.domain.canonical import POSTGRES_EPOCH_US
from tallystick.domain.rows import BatchRow, EntryRow

_NULL: Final = -1

_int16 = struct.Struct(">h").unpack_from
_int32 = struct.Struct(">i").unpack_from
_int64 = struct.Struct(">q").unpack_from

# The fixed beginnings of the usual rows, without the lengths of the columns that are never NULL.
_transaction_start = struct.Struct(">6xq4xq4xi4xhii")
_entry_start = struct.Struct(">6xq4xq4xq4xqiii")
_request_start = struct.Struct(">22xiqii")

# Where a usual entry's asset begins, or in its place the bound, and then the asset.
_ENTRY_ASSET: Final = 66
_ENTRY_BOUND: Final = 62
_ENTRY_BOUNDED_ASSET: Final = 74

# Where a row's place in the log stands: after the number of columns, the columns before it, and its own length.
TRANSACTION_PLACE: Final = 2 + 4
ENTRY_PLACE: Final = 2 + 4 + 8 + 4
ACCOUNT_PLACE: Final = ENTRY_PLACE
HOLD_PLACE: Final = ENTRY_PLACE
POSTED_REQUEST_PLACE: Final = 2 + 4 + 16 + 4
REFUSED_REQUEST_PLACE: Final = 2 + 4 + 16 + 4 + 4
BATCH_PLACE: Final = 2 + 4


class TransactionHead(NamedTuple):
    """A transaction without what its callers wrote beside it."""

    position: int
    recorded_at_us: int
    tenant: int
    kind: int
    refers_to: int | None


class Claim(NamedTuple):
    """What became of one idempotency key: a position, or a refusal's code and its batch."""

    position: int | None
    batch: int | None
    code: int | None


# Nearly all rows are made here, and a named tuple's own constructor takes twice as long.
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


class ReversalPart(NamedTuple):
    """One entry of a transaction that was reversed, or of one of its reversals; no account: it has no entries."""

    original: int
    position: int
    kind: int
    tenant: int
    account: int | None
    amount: int


read_place: Final = _int64
"""Reads the position, or batch, that a row belongs to, as a tuple of one: `read_place(row, offset)`."""


def read_transaction(row: bytes) -> TransactionHead:
    """A transaction from its canonical bytes."""
    position, recorded, tenant, kind, effective, refers = _transaction_start.unpack_from(row)
    if effective == refers == _NULL:
        return _new_transaction((position, recorded + POSTGRES_EPOCH_US, tenant, kind, None))
    columns = _columns(row)
    return TransactionHead(
        _number(columns[0]),
        _number(columns[1]) + POSTGRES_EPOCH_US,
        _number(columns[2]),
        _number(columns[3]),
        _optional(columns[5]),
    )


def read_entry(row: bytes) -> EntryRow:
    """An entry from its canonical bytes. NULL held and held_after are zero."""
    if len(row) > _ENTRY_ASSET:
        account, position, amount, balance, held, held_after, bound = _entry_start.unpack_from(row)
        if held == held_after == _NULL:
            if bound == _NULL:
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
    columns = _columns(row)
    return EntryRow(
        _number(columns[0]),
        _number(columns[1]),
        _number(columns[2]),
        _number(columns[3]),
        _number(columns[4]),
        _number(columns[5]),
        _optional(columns[6]),
        _text(columns[7]),
    )


def read_account(row: bytes) -> AccountChange:
    """An account's terms from their canonical bytes."""
    columns = _columns(row)
    return AccountChange(
        _number(columns[0]),
        _number(columns[1]),
        _number(columns[2]),
        _number(columns[3]),
        _number(columns[4]),
        _optional(columns[5]),
        _optional(columns[6]),
        _text(columns[7]),
        _text(columns[8]),
    )


def read_hold(row: bytes) -> HoldChange:
    """A hold's change from its canonical bytes."""
    columns = _columns(row)
    return HoldChange(
        _number(columns[0]),
        _number(columns[1]),
        _number(columns[2]),
        _number(columns[3]),
        _number(columns[4]),
        _number(columns[5]),
        _number(columns[6]) + POSTGRES_EPOCH_US,
        _number(columns[7]),
    )


def read_request(row: bytes) -> Claim:
    """The claim of an idempotency key from its canonical bytes."""
    position_bytes, position, batch, code = _request_start.unpack_from(row)
    if position_bytes != _NULL and batch == code == _NULL:
        return _new_claim((position, None, None))
    columns = _columns(row)
    return Claim(_optional(columns[1]), _optional(columns[2]), _optional(columns[3]))


def read_batch(row: bytes) -> BatchRow:
    """The row that closes a batch, from its canonical bytes."""
    columns = _columns(row)
    return BatchRow(
        _number(columns[0]),
        _number(columns[1]),
        _number(columns[2]) + POSTGRES_EPOCH_US,
        columns[3] or b"",
        columns[4] or b"",
    )


def read_reversal_part(row: bytes) -> ReversalPart:
    """One row of what is asked about reversals."""
    columns = _columns(row)
    return ReversalPart(
        _number(columns[0]),
        _number(columns[1]),
        _number(columns[2]),
        _number(columns[3]),
        _optional(columns[4]),
        _number(columns[5]),
    )


def _columns(row: bytes) -> list[bytes | None]:
    (count,) = _int16(row)
    columns: list[bytes | None] = []
    offset = 2
    for _ in range(count):
        (length,) = _int32(row, offset)
        offset += 4
        if length == _NULL:
            columns.append(None)
        else:
            columns.append(bytes(row[offset : offset + length]))
            offset += length
    return columns


def _optional(column: bytes | None) -> int | None:
    return None if column is None else int.from_bytes(column, "big", signed=True)


def _number(column: bytes | None) -> int:
    return 0 if column is None else int.from_bytes(column, "big", signed=True)


def _text(column: bytes | None) -> str:
    return "" if column is None else column.decode(errors="replace")
