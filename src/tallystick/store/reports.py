"""Reports of one shard, each at a position of its log: so they are the same whenever they are made."""

from enum import IntEnum
from typing import NamedTuple

from tallystick.domain import limits
from tallystick.domain.accounts import AccountKind
from tallystick.store.connection import Database
from tallystick.store.reads import HistoryRow, history_row


class Period(NamedTuple):
    """A period of recorded time at an account: the positions after `opened` and up to `closed`.

    `is_final`: nothing can come into the period any more.
    """

    opened: int
    closed: int
    is_final: bool
    opening_balance: int
    closing_balance: int


class Label(IntEnum):
    """What balances are summed by."""

    OWNER = 0
    KIND = 1
    METADATA = 2


class Labels(NamedTuple):
    """The labels of accounts. `key` is that of the metadata."""

    label: Label
    key: str = ""


class KindTotal(NamedTuple):
    """The accounts of one asset and kind: debit balances (zero or less) and credit balances."""

    asset: str
    kind: AccountKind
    accounts: int
    debit: int
    credit: int


class Group(NamedTuple):
    """The accounts of one label and asset. `key` is `''` for accounts without a label, else `=` and the label."""

    key: str
    asset: str
    accounts: int
    balance: int
    held: int


class ReportReader:
    """Makes reports of one shard. When it cannot, every method raises what the database's `rows` raises."""

    def __init__(self, database: Database) -> None:
        self._rows = database.rows

    async def position_at(self, at_us: int) -> int:
        """The last position that was recorded up to a time."""
        (row,) = await self._rows("position_at", at_us)
        return int(row[0])

    async def period(self, account: int, since_us: int, until_us: int, closed_max: int) -> Period:
        """What the time from one moment up to another, without it, has of an account, up to a position at most."""
        (row,) = await self._rows(
            "statement_period", account, since_us, until_us, limits.STATEMENT_FINAL_SECONDS, closed_max
        )
        return Period(*row)

    async def entries(self, account: int, after: int, last: int, row_count: int) -> list[HistoryRow]:
        """Entries of an account after a position and up to another one, oldest first."""
        rows = await self._rows("statement_entries", account, after, last, row_count)
        return [history_row(account, row) for row in rows]

    async def trial_balance(self, tenant: int, position: int) -> list[KindTotal]:
        """The balances of a tenant's accounts at a position, by asset and kind. The cost grows with the accounts."""
        return [
            KindTotal(asset, AccountKind(kind), accounts, int(debit), int(credit))
            for asset, kind, accounts, debit, credit in await self._rows("trial_balance", tenant, position)
        ]

    async def groups(
        self, tenant: int, position: int, labels: Labels, after: tuple[str, str], row_count: int
    ) -> list[Group]:
        """Balances at a position by label and asset, after a label and asset. The cost grows with the accounts."""
        rows = await self._rows(
            "grouped_balances", tenant, position, *labels, *after, row_count, AccountKind.CLEARING
        )
        return [
            Group(group, asset, accounts, int(balance), int(held))
            for group, asset, accounts, balance, held in rows
        ]
