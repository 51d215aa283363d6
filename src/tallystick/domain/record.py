"""What one transaction appended: everything that an answer about it is made of."""

from typing import NamedTuple

from tallystick.domain.accounts import AccountState
from tallystick.domain.decide import Decision
from tallystick.domain.holds import HoldState
from tallystick.domain.rows import EntryRow, TransactionRow


class Record(NamedTuple):
    """One transaction with its entries, and the account or hold that it changed, as of its position."""

    transaction: TransactionRow
    entries: tuple[EntryRow, ...]
    account: AccountState | None = None
    hold: HoldState | None = None


def records_of(decision: Decision) -> dict[int, Record]:
    """The records of all that a decision posts, by position."""
    appended = decision.appended
    entries: dict[int, list[EntryRow]] = {}
    for entry in appended.entries:
        entries.setdefault(entry.position, []).append(entry)
    accounts = {row.position: row.state for row in appended.accounts}
    holds = {hold.position: hold for hold in appended.holds}
    return {
        row.position: Record(
            row,
            tuple(entries.get(row.position, ())),
            accounts.get(row.position),
            holds.get(row.position),
        )
        for row in appended.transactions
    }
