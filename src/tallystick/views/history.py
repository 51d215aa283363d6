"""An account's history, as callers see it."""

from datetime import datetime

import msgspec

from tallystick.domain.identifiers import Prefix, format_identifier, make_identifier
from tallystick.domain.parts import Part
from tallystick.domain.rows import EntryRow, TransactionRow
from tallystick.domain.times import time_of
from tallystick.views.fields import Metadata, MinorUnits, Position, TransactionId, read_metadata
from tallystick.views.transactions import effective_time, own_reference, reference


class HistoryEntry(msgspec.Struct, frozen=True):
    """One line of an account's history, with the running balance after it. A payment has one line.

    A pending payment to another shard has a line with the amount 0 and what is held. A refused one has no line.
    """

    transaction: TransactionId
    kind: str
    position: Position
    recorded_at: datetime
    effective_at: datetime
    refers_to: str | None
    description: str | None
    metadata: Metadata
    amount: MinorUnits
    balance: MinorUnits
    held: MinorUnits
    held_after: MinorUnits


def history_view(shard: int, entry: EntryRow, row: TransactionRow) -> HistoryEntry:
    """One line of an account's history, as it is in the log."""
    return HistoryEntry(
        transaction=format_identifier(Prefix.TRANSACTION, make_identifier(shard, row.position)),
        kind=row.kind.text,
        position=row.position,
        recorded_at=time_of(row.recorded_at_us),
        effective_at=effective_time(row),
        refers_to=own_reference(shard, row),
        description=row.description,
        metadata=read_metadata(row.metadata),
        amount=MinorUnits(entry.amount),
        balance=MinorUnits(entry.balance),
        held=MinorUnits(entry.held),
        held_after=MinorUnits(entry.held_after),
    )


def payment_line(line: HistoryEntry, part: Part, amount: int, held: int) -> HistoryEntry:
    """A line that is a part of a payment."""
    return msgspec.structs.replace(
        line,
        transaction=format_identifier(Prefix.TRANSACTION, part.payment),
        kind=part.kind.text,
        refers_to=reference(part.kind, part.refers_to),
        amount=MinorUnits(amount),
        held=MinorUnits(held),
    )
