"""What one transaction appended: everything that an answer about it is made of."""

from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter
from typing import Final, NamedTuple, Protocol, TypeVar

from tallystick.domain.accounts import AccountState
from tallystick.domain.commands import ACCOUNT_KINDS, HOLD_KINDS, SAGA_KINDS
from tallystick.domain.decide import Decision
from tallystick.domain.holds import HoldState
from tallystick.domain.rows import EntryRow, TransactionRow
from tallystick.domain.sagas import SagaState


class _HasPosition(Protocol):
    @property
    def position(self) -> int: ...


Placed = TypeVar("Placed", bound=_HasPosition)


class Record(NamedTuple):
    """One transaction with its entries, and the account, hold or saga that it changed, as of its position.

    `other_half` is the record on the other shard, for what was posted on both at once.
    """

    transaction: TransactionRow
    entries: tuple[EntryRow, ...]
    account: AccountState | None = None
    hold: HoldState | None = None
    saga: SagaState | None = None
    other_half: "Record | None" = None


def record_at(decision: Decision, position: int) -> Record:
    """The record of one transaction that a decision posts. Made when it is asked for: not everybody asks."""
    appended = decision.appended
    index = position - decision.first_position
    starts = decision.entry_starts
    end = starts[index + 1] if index + 1 < len(starts) else len(appended.entries)
    transaction = appended.transactions[index]
    account = hold = saga = None
    if transaction.kind in ACCOUNT_KINDS:
        row = _at(appended.accounts, position)
        account = None if row is None else row.state
    elif transaction.kind in HOLD_KINDS:
        hold = _at(appended.holds, position)
    elif transaction.kind in SAGA_KINDS:
        hold, saga = _at(appended.holds, position), _at(appended.sagas, position)
    return Record(transaction, tuple(appended.entries[starts[index] : end]), account, hold, saga)


def _at(rows: Sequence[Placed], position: int) -> Placed | None:
    """The row at a position, of rows in the order of the log."""
    index = bisect_left(rows, position, key=_position)
    return rows[index] if index < len(rows) and rows[index].position == position else None


_position: Final = attrgetter("position")
