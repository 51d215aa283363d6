"""Transactions, as callers see them."""

from datetime import datetime
from operator import attrgetter
from typing import Final, Literal

import msgspec

from tallystick.domain.commands import PROMISE_KINDS, RECEIVED_KINDS, SAGA_KINDS, SENT_KINDS, Kind
from tallystick.domain.identifiers import Prefix, format_identifier, make_identifier
from tallystick.domain.parts import HALF_OPERATIONS, asked_for
from tallystick.domain.record import Record
from tallystick.domain.rows import EntryRow, TransactionRow
from tallystick.domain.sagas import SagaState, SagaStatus
from tallystick.domain.times import time_of
from tallystick.views.fields import (
    AccountId,
    AssetCode,
    Metadata,
    MinorUnits,
    Position,
    TransactionId,
    read_metadata,
)

State = Literal["posted", "pending", "refused"]
POSTED: Final = "posted"
PENDING: Final = "pending"
REFUSED: Final = "refused"
_SAGA_STATES: Final[dict[SagaStatus, State]] = {
    SagaStatus.RESERVED: PENDING,
    SagaStatus.FINALIZED: POSTED,
    SagaStatus.RELEASED: REFUSED,
    SagaStatus.GIVEN_UP: PENDING,
    SagaStatus.SETTLED: POSTED,
}
_REFERS_TO_TRANSACTION = frozenset({Kind.REVERSAL, *SAGA_KINDS})
# Most entries hold nothing, so they share one amount.
_NOTHING: Final = MinorUnits(0)
# They name the other half by its whole identifier.
_HALVES = frozenset({Kind.TRANSFER_CREDITED, *PROMISE_KINDS, *SENT_KINDS.values(), *RECEIVED_KINDS.values()})


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One account's change: debits are negative. `balance` and `held_after` are the values after it.

    They are null for a transaction between shards, because two shards have no common moment.
    """

    account: AccountId
    asset: AssetCode
    amount: MinorUnits
    balance: MinorUnits | None
    held: MinorUnits
    held_after: MinorUnits | None


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """One event in the log. `refers_to` is its hold, or the transaction that it reverses.

    `state` is `pending` until a transfer to another shard has ended. Then it is `posted`, or `refused`: nothing
    moved.
    """

    id: TransactionId
    kind: str
    state: State
    position: Position
    recorded_at: datetime
    effective_at: datetime
    refers_to: str | None
    description: str | None
    metadata: Metadata
    entries: list[Entry]


def transaction_view(shard: int, record: Record) -> Transaction:
    """A transaction as callers see it."""
    row = record.transaction
    if row.kind is Kind.TRANSFER_RESERVED and record.saga is not None:
        return _crossing_view(shard, record, record.saga)
    if record.other_half is not None:
        return _two_halves_view(shard, record, record.other_half)
    recorded_at = time_of(row.recorded_at_us)
    return Transaction(
        format_identifier(Prefix.TRANSACTION, make_identifier(shard, row.position)),
        row.kind.text,
        POSTED,
        row.position,
        recorded_at,
        recorded_at if row.effective_at_us is None else time_of(row.effective_at_us),
        None if row.refers_to is None else own_reference(shard, row),
        row.description,
        {} if row.metadata is None else read_metadata(row.metadata),
        [_entry_view(entry) for entry in sorted(record.entries, key=_entry_order)],
    )


def _crossing_view(shard: int, record: Record, saga: SagaState) -> Transaction:
    """A transaction between shards, as the payer's shard knows it."""
    row, terms = record.transaction, saga.terms
    asked = asked_for(shard, record)
    signed = [*((leg, -leg.amount) for leg in terms.debits), *((leg, leg.amount) for leg in terms.credits)]
    return Transaction(
        id=format_identifier(Prefix.TRANSACTION, make_identifier(shard, row.position)),
        kind=terms.operation.text,
        state=_SAGA_STATES[saga.status],
        position=row.position,
        recorded_at=time_of(row.recorded_at_us),
        effective_at=effective_time(row),
        refers_to=None if asked is None else reference(asked.kind, asked.refers_to),
        description=row.description,
        metadata=read_metadata(row.metadata),
        entries=[_entry_between(leg.account, leg.known_asset, amount) for leg, amount in signed],
    )


def _two_halves_view(shard: int, sent: Record, received: Record) -> Transaction:
    """A transaction that two-phase commit posted on two shards, without the clearing accounts."""
    row = sent.transaction
    debits = [entry for entry in sent.entries if entry.amount < 0]
    payees = [entry for entry in received.entries if entry.amount > 0]
    return Transaction(
        id=format_identifier(Prefix.TRANSACTION, make_identifier(shard, row.position)),
        kind=HALF_OPERATIONS[row.kind].text,
        state=POSTED,
        position=row.position,
        recorded_at=time_of(row.recorded_at_us),
        effective_at=effective_time(row),
        refers_to=None,
        description=row.description,
        metadata=read_metadata(row.metadata),
        entries=[
            _entry_between(entry.account, entry.asset, entry.amount)
            for entries in (debits, payees)
            for entry in sorted(entries, key=_entry_order)
        ],
    )


def reference(kind: Kind, refers_to: int | None) -> str | None:
    """The identifier that a transaction of this kind refers to."""
    if refers_to is None:
        return None
    return format_identifier(Prefix.TRANSACTION if kind is Kind.REVERSAL else Prefix.HOLD, refers_to)


def _entry_view(entry: EntryRow) -> Entry:
    account, _, amount, balance, held, held_after, _, asset = entry
    return Entry(
        format_identifier(Prefix.ACCOUNT, account),
        asset,
        MinorUnits(amount),
        MinorUnits(balance),
        MinorUnits(held) if held else _NOTHING,
        MinorUnits(held_after) if held_after else _NOTHING,
    )


def _entry_between(account: int, asset: str, amount: int) -> Entry:
    """The change that a transaction between shards makes in the end."""
    return Entry(format_identifier(Prefix.ACCOUNT, account), asset, MinorUnits(amount), None, _NOTHING, None)


# Debits first. The order is fixed, so that an answer from memory equals one from the database.
_entry_order = attrgetter("amount", "account")


def effective_time(row: TransactionRow) -> datetime:
    """The effective time of a transaction; by default the time at which it was recorded."""
    return time_of(row.recorded_at_us if row.effective_at_us is None else row.effective_at_us)


def own_reference(shard: int, row: TransactionRow) -> str | None:
    """The identifier that a transaction of the log refers to."""
    if row.refers_to is None:
        return None
    if row.kind in _HALVES:
        # The transaction on the other shard that this is a half of.
        return format_identifier(Prefix.TRANSACTION, row.refers_to)
    prefix = Prefix.TRANSACTION if row.kind in _REFERS_TO_TRANSACTION else Prefix.HOLD
    return format_identifier(prefix, make_identifier(shard, row.refers_to))
