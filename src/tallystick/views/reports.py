"""Reports, as callers see them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from tallystick.domain.identifiers import Prefix, format_identifier
from tallystick.domain.parts import Part
from tallystick.domain.rows import EntryRow, TransactionRow
from tallystick.domain.times import time_of
from tallystick.views.fields import (
    AccountId,
    AssetCode,
    Metadata,
    MinorUnits,
    Position,
    ShardNumber,
    TransactionId,
    read_metadata,
)
from tallystick.views.transactions import effective_time, own_reference, reference


class ReportPosition(msgspec.Struct, frozen=True):
    """The position in a shard's log at which the shard was read."""

    shard: ShardNumber
    position: Position


class TrialBalanceLine(msgspec.Struct, frozen=True):
    """All accounts of one asset and kind. Balances below zero are debits, the others are credits."""

    asset: AssetCode
    kind: str
    accounts: int
    debit: MinorUnits
    credit: MinorUnits


class TrialBalanceTotal(msgspec.Struct, frozen=True):
    """All accounts of one asset. Debits, which are negative, and credits sum to zero."""

    asset: AssetCode
    debit: MinorUnits
    credit: MinorUnits


class TrialBalance(msgspec.Struct, frozen=True):
    """The balances of all of a tenant's accounts, summed by asset and kind of account.

    In each asset debits, which are negative, and credits sum to zero on every shard: that is checked first.
    """

    positions: Sequence[ReportPosition]
    lines: Sequence[TrialBalanceLine]
    totals: Sequence[TrialBalanceTotal]


class BalanceGroup(msgspec.Struct, frozen=True):
    """The balances of all accounts with one label and one asset. `label` is null for accounts without one."""

    label: str | None
    asset: AssetCode
    accounts: int
    balance: MinorUnits
    held: MinorUnits


class BalanceGroups(msgspec.Struct, frozen=True):
    """One page of balances by label. All pages are read at the same positions."""

    positions: Sequence[ReportPosition]
    items: Sequence[BalanceGroup]
    next_cursor: str | None


class StatementLine(msgspec.Struct, frozen=True):
    """One movement of an account's money, with the balance after it and the accounts on the other side."""

    transaction: TransactionId
    kind: str
    position: Position
    recorded_at: datetime
    effective_at: datetime
    refers_to: str | None
    description: str | None
    metadata: Metadata
    counterparties: Sequence[AccountId]
    amount: MinorUnits
    balance: MinorUnits


class Statement(msgspec.Struct, frozen=True):
    """One page of an account's statement for a period of recorded time, oldest first.

    It has the movements after `opened_at_position` and up to `closed_at_position`. Once it is `final`, the same
    request has the same answer for ever.
    """

    account: AccountId
    owner: str
    asset: AssetCode
    since: datetime
    until: datetime
    opened_at_position: int
    closed_at_position: int
    final: Annotated[bool, Meta(description="Nothing can come into the period any more.")]
    opening_balance: MinorUnits
    closing_balance: MinorUnits
    items: Sequence[StatementLine]
    next_cursor: str | None


def statement_line(
    shard: int, entry: EntryRow, row: TransactionRow, part: Part, counterparties: Sequence[str]
) -> StatementLine:
    """A movement of money as a line of a statement."""
    whole = part.kind is row.kind
    return StatementLine(
        transaction=format_identifier(Prefix.TRANSACTION, part.payment),
        kind=part.kind.text,
        position=entry.position,
        recorded_at=time_of(row.recorded_at_us),
        effective_at=effective_time(row),
        refers_to=own_reference(shard, row) if whole else reference(part.kind, part.refers_to),
        description=row.description,
        metadata=read_metadata(row.metadata),
        counterparties=counterparties,
        amount=MinorUnits(entry.amount),
        balance=MinorUnits(entry.balance),
    )
