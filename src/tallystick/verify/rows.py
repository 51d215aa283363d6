"""Rows read back from their canonical bytes, with as much of each as is judged; the chain covers the rest.

Usual rows have a shape of their own and are read in one call. All others are read column by column.
"""

import struct
from functools import partial
from typing import Final, NamedTuple

from tallystick.domain.canonical import POSTGRES_EPOCH_US
from tallystick.domain.rows import BatchRow, EntryRow
from tallystick.verify.columns import NULL, columns_of, number, optional, optional_text, text

_int64 = struct.Struct(">q").unpack_from

# The fixed beginnings of the usual rows, without the lengths of the columns that are never NULL.
_transaction_start = struct.Struct(">6xq4xq4xi4xhii")
_entry_start = struct.Struct(">6xq4xq4xq4xqiii")
_request_start = struct.Struct(">6x16siqiiii")

# Where a usual entry's asset begins, or in its place the bound, and then the asset.
_ENTRY_ASSET: Final = 66
_ENTRY_BOUND: Final = 62
_ENTRY_BOUNDED_ASSET: Final = 74
# Where the fingerprint of a usual request that was posted begins.
_REQUEST_FINGERPRINT: Final = 54

# Where a row's place in the log stands: after the number of columns, the columns before it, and its own length.
TRANSACTION_PLACE: Final = 2 + 4
ENTRY_PLACE: Final = 2 + 4 + 8 + 4
ACCOUNT_PLACE: Final = ENTRY_PLACE
HOLD_PLACE: Final = ENTRY_PLACE
SAGA_PLACE: Final = ENTRY_PLACE
POSTED_REQUEST_PLACE: Final = 2 + 4 + 16 + 4
REFUSED_REQUEST_PLACE: Final = 2 + 4 + 16 + 4 + 4


class TransactionHead(NamedTuple):
    """A transaction without what its callers wrote beside it."""

    position: int
    recorded_at_us: int
    tenant: int
    kind: int
    refers_to: int | None


class Claim(NamedTuple):
    """What became of one idempotency key: a position, or a refusal's code and its batch; and what it asked for."""

    key: bytes
    position: int | None
    batch: int | None
    code: int | None
    fingerprint: bytes


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


class SagaChange(NamedTuple):
    """A saga as of a position. `terms` is the text that stands in its first row."""

    saga: int
    position: int
    status: int
    counterpart: int | None
    code: int | None
    terms: str | None


class ReversalPart(NamedTuple):
    """One entry of a transaction that was reversed, or of one of its reversals; no account: it has no entries.

    Of a reversal that goes back to another shard it is what is set aside for it, as an amount that leaves the
    account; `released` says that it was given back.
    """

    original: int
    position: int
    kind: int
    tenant: int
    account: int | None
    amount: int
    released: bool


read_place: Final = _int64
"""Reads the position, or batch, that a row belongs to, as a tuple of one: `read_place(row, offset)`."""


def read_transaction(row: bytes) -> TransactionHead:
    """A transaction from its canonical bytes."""
    position, recorded, tenant, kind, effective, refers = _transaction_start.unpack_from(row)
    if effective == refers == NULL:
        return _new_transaction((position, recorded + POSTGRES_EPOCH_US, tenant, kind, None))
    columns = columns_of(row)
    return TransactionHead(
        number(columns[0]),
        number(columns[1]) + POSTGRES_EPOCH_US,
        number(columns[2]),
        number(columns[3]),
        optional(columns[5]),
    )


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
    columns = columns_of(row)
    return EntryRow(
        number(columns[0]),
        number(columns[1]),
        number(columns[2]),
        number(columns[3]),
        number(columns[4]),
        number(columns[5]),
        optional(columns[6]),
        text(columns[7]),
    )


def read_account(row: bytes) -> AccountChange:
    """An account's terms from their canonical bytes."""
    columns = columns_of(row)
    return AccountChange(
        number(columns[0]),
        number(columns[1]),
        number(columns[2]),
        number(columns[3]),
        number(columns[4]),
        optional(columns[5]),
        optional(columns[6]),
        text(columns[7]),
        text(columns[8]),
    )


def read_hold(row: bytes) -> HoldChange:
    """A hold's change from its canonical bytes."""
    columns = columns_of(row)
    return HoldChange(
        number(columns[0]),
        number(columns[1]),
        number(columns[2]),
        number(columns[3]),
        number(columns[4]),
        number(columns[5]),
        number(columns[6]) + POSTGRES_EPOCH_US,
        number(columns[7]),
    )


def read_saga(row: bytes) -> SagaChange:
    """A saga's change from its canonical bytes."""
    columns = columns_of(row)
    return SagaChange(
        number(columns[0]),
        number(columns[1]),
        number(columns[2]),
        optional(columns[3]),
        optional(columns[4]),
        optional_text(columns[7]),
    )


def read_request(row: bytes) -> Claim:
    """The claim of an idempotency key from its canonical bytes."""
    key, position_bytes, position, batch, code, param, detail = _request_start.unpack_from(row)
    if position_bytes != NULL and batch == code == param == detail == NULL:
        return _new_claim((key, position, None, None, row[_REQUEST_FINGERPRINT:]))
    columns = columns_of(row)
    return Claim(key, optional(columns[1]), optional(columns[2]), optional(columns[3]), columns[6] or b"")


def read_batch(row: bytes) -> BatchRow:
    """The row that closes a batch, from its canonical bytes."""
    columns = columns_of(row)
    return BatchRow(
        number(columns[0]),
        number(columns[1]),
        number(columns[2]) + POSTGRES_EPOCH_US,
        columns[3] or b"",
        columns[4] or b"",
    )


def read_reversal_part(row: bytes) -> ReversalPart:
    """One row of what is asked about reversals."""
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
