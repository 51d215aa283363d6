"""What one transaction appended: everything that an answer about it is made of."""

from typing import NamedTuple

from tallystick.domain.accounts import AccountState
from tallystick.domain.commands import ACCOUNT_KINDS, HOLD_KINDS
from tallystick.domain.decide import Decision
from tallystick.domain.holds import HoldState
from tallystick.domain.rows import EntryRow, TransactionRow


class Record(NamedTuple):
    """One transaction with its entries, and the account or hold that it changed, as of its position."""

    transaction: TransactionRow
    entries: tuple[EntryRow, ...]
    account: AccountState | None = None
    hold: HoldState | None = None


def record_at(decision: Decision, position: int) -> Record:
    """The record of one transaction that a decision posts. Made when it is asked for: not everybody asks."""
    appended = decision.appended
    index = position - decision.first_position
    starts = decision.entry_starts
    end = starts[index + 1] if index + 1 < len(starts) else len(appended.entries)
    transaction = appended.transactions[index]
    account = hold = None
    if transaction.kind in ACCOUNT_KINDS:
        account = next(row.state for row in appended.accounts if row.position == position)
    elif transaction.kind in HOLD_KINDS:
        hold = next(one for one in appended.holds if one.position == position)
    return Record(transaction, tuple(appended.entries[starts[index] : end]), account, hold)
