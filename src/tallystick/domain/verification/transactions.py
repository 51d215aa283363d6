"""Transactions: gapless positions, each with the rows that its kind must have, its entries summing to zero."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple, Protocol, TypeVar

from tallystick.domain.commands import Kind
from tallystick.domain.limits import ENTRIES_PER_TRANSACTION_MAX
from tallystick.domain.rows import BatchRow, EntryRow
from tallystick.domain.verification.accounts import Accounts, name
from tallystick.domain.verification.holds import Holds
from tallystick.domain.verification.problems import Findings, ProblemKind
from tallystick.domain.verification.rows import AccountChange, HoldChange, TransactionHead


class _HasPosition(Protocol):
    @property
    def position(self) -> int: ...


Placed = TypeVar("Placed", bound=_HasPosition)


_POSITION: Final = attrgetter("position")


class Rows(NamedTuple):
    """The rows of a slice of the log, each table by position."""

    transactions: list[TransactionHead]
    entries: list[EntryRow]
    accounts: list[AccountChange]
    holds: list[HoldChange]


class _Shape(NamedTuple):
    """How many rows of each table a kind of transaction has, and whether it refers to another."""

    entries_min: int
    entries_max: int
    refers: bool = False
    accounts: int = 0
    holds: int = 0


_SHAPES: Final[dict[int, _Shape]] = {
    int(Kind.ACCOUNT_OPENED): _Shape(0, 0, accounts=1),
    int(Kind.ACCOUNT_CHANGED): _Shape(0, 0, accounts=1),
    int(Kind.TRANSFER): _Shape(2, 2),
    int(Kind.TRANSACTION): _Shape(2, ENTRIES_PER_TRANSACTION_MAX),
    int(Kind.REVERSAL): _Shape(2, ENTRIES_PER_TRANSACTION_MAX, refers=True),
    int(Kind.HOLD_PLACED): _Shape(1, 1, holds=1),
    int(Kind.HOLD_CAPTURED): _Shape(2, 2, refers=True, holds=1),
    int(Kind.HOLD_VOIDED): _Shape(1, 1, refers=True, holds=1),
    int(Kind.HOLD_EXPIRED): _Shape(1, 1, refers=True, holds=1),
}


_TWO_ENTRIES: Final = 2


class Transactions:
    """Follows the log position by position."""

    def __init__(self, shard: int, findings: Findings) -> None:
        self._findings = findings
        self._last_position = 0
        self.accounts = Accounts(shard, findings)
        self.holds = Holds(self.accounts, findings)

    def judge(self, batch: BatchRow, through: int, rows: Rows) -> None:
        """Judge all rows after the last slice and up to the position `through`, which belong to a batch."""
        entries = _by_position(rows.entries)
        accounts = _by_position(rows.accounts)
        holds = _by_position(rows.holds)
        for transaction in rows.transactions:
            position = transaction.position
            if position != self._last_position + 1:
                self._misplaced(position)
            self._last_position = max(self._last_position, position)
            if transaction.recorded_at_us != batch.recorded_at_us:
                self._findings.at_position(
                    ProblemKind.TRANSACTION_TIME,
                    position,
                    f"recorded_at is not that of batch {batch.number}, which wrote it",
                )
            self._judge(
                transaction, entries.pop(position, ()), accounts.pop(position, ()), holds.pop(position, ())
            )
        if self._last_position < through:
            self._misplaced(through + 1)
            self._last_position = through
        for table, left in (("entries", entries), ("accounts", accounts), ("holds", holds)):
            for position in left:
                self._findings.at_position(
                    ProblemKind.ROW_WITHOUT_TRANSACTION,
                    position,
                    f"{table} has a row at this position, transactions has none",
                )

    def _misplaced(self, position: int) -> None:
        expected = self._last_position + 1
        if position < expected:
            kind = ProblemKind.POSITION_REPEATED
            self._findings.at_position(
                kind, position, f"there is a transaction at {position} where none may be"
            )
        else:
            missing = (
                f"position {expected} is"
                if position == expected + 1
                else (f"positions {expected} to {position - 1} are")
            )
            self._findings.at_position(ProblemKind.POSITION_MISSING, expected, f"{missing} missing")

    def _judge(
        self,
        transaction: TransactionHead,
        entries: Sequence[EntryRow],
        accounts: Sequence[AccountChange],
        holds: Sequence[HoldChange],
    ) -> None:
        position, _, tenant, kind, refers_to = transaction
        shape = _SHAPES.get(kind)
        if shape is None:
            detail = f"there is no kind {kind} of transaction"
            self._findings.at_position(ProblemKind.TRANSACTION_KIND, position, detail)
        elif (
            not shape.entries_min <= len(entries) <= shape.entries_max
            or (refers_to is not None) != shape.refers
            or len(accounts) != shape.accounts
            or len(holds) != shape.holds
        ):
            self._misshapen(transaction, shape, len(entries), len(accounts), len(holds))
        self._judge_sums(position, entries)
        is_hold = bool(holds)
        for entry in entries:
            self.accounts.enter(tenant, entry)
            if not is_hold and (entry.held or not entry.amount):
                detail = f"account {name(entry.account)}: the amount is {entry.amount}, held is {entry.held}"
                self._findings.at_position(
                    ProblemKind.TRANSACTION_SHAPE, position, f"{detail}: only a hold sets something aside"
                )
        for account in accounts:
            self.accounts.change(transaction, account)
        for hold in holds:
            self.holds.change(transaction, hold, entries)

    def _judge_sums(self, position: int, entries: Sequence[EntryRow]) -> None:
        if len(entries) == _TWO_ENTRIES:
            first, second = entries
            if first.amount + second.amount == 0 and first.asset == second.asset:
                return
        totals: dict[str, int] = {}
        for entry in entries:
            totals[entry.asset] = totals.get(entry.asset, 0) + entry.amount
        for asset, total in totals.items():
            if total:
                self._findings.at_position(
                    ProblemKind.TRANSACTION_UNBALANCED,
                    position,
                    f"the entries sum to {total} in {asset}, not to zero",
                )

    def _misshapen(
        self, transaction: TransactionHead, shape: _Shape, entries: int, accounts: int, holds: int
    ) -> None:
        reference = "refers to another" if shape.refers else "refers to no other"
        refers = "none" if transaction.refers_to is None else str(transaction.refers_to)
        self._findings.at_position(
            ProblemKind.TRANSACTION_SHAPE,
            transaction.position,
            f"a transaction of kind {Kind(transaction.kind).text} has {shape.entries_min} to "
            f"{shape.entries_max} entries, {shape.accounts} rows of accounts, {shape.holds} rows of holds and "
            f"{reference}; this one has {entries}, {accounts}, {holds} and refers to {refers}",
        )


def _by_position(rows: Iterable[Placed]) -> dict[int, list[Placed]]:
    return {position: list(group) for position, group in groupby(rows, _POSITION)}
