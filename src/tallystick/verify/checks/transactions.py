"""Transactions: gapless positions, each with the rows that its kind must have, its entries summing to zero."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, groupby
from operator import attrgetter
from typing import Final, NamedTuple, Protocol, TypeVar

from tallystick.domain.commands import PROMISE_KINDS, SAGA_KINDS, Kind
from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.limits import ENTRIES_PER_TRANSACTION_MAX
from tallystick.domain.rows import BatchRow, EntryRow
from tallystick.verify.checks.accounts import Accounts, name
from tallystick.verify.checks.holds import Holds
from tallystick.verify.checks.requests import Posting
from tallystick.verify.checks.sagas import Sagas
from tallystick.verify.checks.sides import CLEARING_KINDS, CREDIT_KINDS, SENT, Promises, Sides
from tallystick.verify.problems import Findings, ProblemKind
from tallystick.verify.rows import AccountChange, HoldChange, SagaChange, TransactionHead

_NONE: Final = range(1)
_ONE: Final = range(1, 2)
_TWO: Final = range(2, 3)
_NONE_OR_ONE: Final = range(2)
_SEVERAL: Final = range(2, ENTRIES_PER_TRANSACTION_MAX + 1)
# A step of a saga has the clearing accounts of its assets on top of one side of what crosses, where it moves money.
_SIDE: Final = range(1, ENTRIES_PER_TRANSACTION_MAX)
_SIDE_AND_CLEARING: Final = range(2, 2 * ENTRIES_PER_TRANSACTION_MAX)


class Shape(NamedTuple):
    """How many rows of each table a kind of transaction has. `refers` None: it may refer to another."""

    entries: range
    refers: bool | None = False
    accounts: range = _NONE
    holds: range = _NONE
    sagas: range = _NONE

    def fits(self, refers_to: int | None, entries: int, accounts: int, holds: int, sagas: int) -> bool:
        """Whether a transaction with so many rows has this shape."""
        return (
            entries in self.entries
            and (self.refers is None or (refers_to is not None) == self.refers)
            and accounts in self.accounts
            and holds in self.holds
            and sagas in self.sagas
        )

    def __str__(self) -> str:
        counts = (
            (self.entries, "entries"),
            (self.accounts, "rows of accounts"),
            (self.holds, "rows of holds"),
            (self.sagas, "rows of sagas"),
        )
        refers = {True: "refers to another", False: "refers to no other", None: "may refer to another"}
        return (
            f"{', '.join(f'{_in_words(count)} {rows}' for count, rows in counts)} and {refers[self.refers]}"
        )


SHAPES: Final[dict[int, Shape]] = {
    int(Kind.ACCOUNT_OPENED): Shape(_NONE, accounts=_ONE),
    int(Kind.ACCOUNT_CHANGED): Shape(_NONE, accounts=_ONE),
    int(Kind.TRANSFER): Shape(_TWO),
    int(Kind.TRANSACTION): Shape(_SEVERAL),
    int(Kind.REVERSAL): Shape(_SEVERAL, refers=True),
    int(Kind.HOLD_PLACED): Shape(_ONE, holds=_ONE),
    int(Kind.HOLD_CAPTURED): Shape(_TWO, refers=True, holds=_ONE),
    int(Kind.HOLD_VOIDED): Shape(_ONE, refers=True, holds=_ONE),
    int(Kind.HOLD_EXPIRED): Shape(_ONE, refers=True, holds=_ONE),
    # The capture of a hold sets nothing more aside, and gives back only what the hold no longer keeps.
    int(Kind.TRANSFER_RESERVED): Shape(range(_SIDE.stop), refers=None, holds=_NONE_OR_ONE, sagas=_ONE),
    int(Kind.TRANSFER_CREDITED): Shape(_SIDE_AND_CLEARING, refers=True),
    int(Kind.TRANSFER_FINALIZED): Shape(_SIDE_AND_CLEARING, refers=True, holds=_NONE_OR_ONE, sagas=_ONE),
    int(Kind.TRANSFER_PROMISED): Shape(_SIDE_AND_CLEARING, refers=True),
    int(Kind.TRANSFER_CONFIRMED): Shape(_SIDE, refers=True),
    int(Kind.TRANSFER_REVOKED): Shape(_SIDE_AND_CLEARING, refers=True),
    int(Kind.TRANSFER_GIVEN_UP): Shape(_NONE, refers=True, sagas=_ONE),
    int(Kind.TRANSFER_SETTLED): Shape(_NONE, refers=True, sagas=_ONE),
    int(Kind.TRANSFER_RELEASED): Shape(range(_SIDE.stop), refers=True, holds=_NONE_OR_ONE, sagas=_ONE),
    int(Kind.TRANSFER_SENT): Shape(_TWO, refers=True),
    int(Kind.TRANSFER_RECEIVED): Shape(_TWO, refers=True),
    int(Kind.TRANSACTION_SENT): Shape(_SIDE_AND_CLEARING, refers=True),
    int(Kind.TRANSACTION_RECEIVED): Shape(_SIDE_AND_CLEARING, refers=True),
}


def _in_words(count: range) -> str:
    lowest, highest = count.start, count.stop - 1
    return str(lowest) if lowest == highest else f"{lowest} to {highest}"


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
    sagas: list[SagaChange]


# One side of what crosses, with no row of a saga.
_SIDES: Final = CREDIT_KINDS | SENT
_TWO_ENTRIES: Final = 2


class Transactions:
    """Follows the log position by position."""

    def __init__(self, derivation: Derivation, findings: Findings) -> None:
        shard = derivation.shard
        self._findings = findings
        self._last_position = 0
        self.accounts = Accounts(derivation, findings)
        self.holds = Holds(shard, self.accounts, findings)
        self.sides = Sides(shard, self.accounts, findings)
        self.sagas = Sagas(shard, self.accounts, self.holds, self.sides, findings)
        self.promises = Promises(shard, self.sides, findings)

    def judge(self, batch: BatchRow, through: int, rows: Rows) -> dict[int, Posting]:
        """Judge all rows after the last slice and up to the position `through`, which belong to a batch.

        Returns the transactions with their rows, by position.
        """
        postings = {}
        entries = _by_position(rows.entries)
        accounts = _by_position(rows.accounts)
        holds = _by_position(rows.holds)
        sagas = _by_position(rows.sagas)
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
            posting = postings[position] = Posting(
                transaction,
                entries.pop(position, ()),
                accounts.pop(position, ()),
                holds.pop(position, ()),
                sagas.pop(position, ()),
            )
            self._judge(posting)
        if self._last_position < through:
            self._misplaced(through + 1)
            self._last_position = through
        tables = (("entries", entries), ("accounts", accounts), ("holds", holds), ("sagas", sagas))
        for table, left in tables:
            for position in left:
                self._findings.at_position(
                    ProblemKind.ROW_WITHOUT_TRANSACTION,
                    position,
                    f"{table} has a row at this position, transactions has none",
                )
        return postings

    def finish(self, last_position: int) -> None:
        """Judge the end of the log: what is held of each account, and what all balances sum to."""
        left: Counter[int] = Counter()
        for account, amount in chain(
            self.holds.set_aside(), self.sagas.set_aside(), self.promises.set_aside()
        ):
            left[account] += amount
        for account, held in self.accounts.held():
            if held != left[account]:
                self._findings.at_position(
                    ProblemKind.HELD_WRONG,
                    last_position,
                    f"account {name(account)} has {held} held at the end of the log, "
                    f"but {left[account]} is left of its open holds, sagas and promises",
                )
        for kind, detail in chain(self.sagas.stuck(), self.holds.stuck(self.sagas.captured())):
            self._findings.at_position(kind, last_position, detail)
        for (tenant, asset), total in self.accounts.sums().items():
            if total:
                self._findings.at_position(
                    ProblemKind.SHARD_UNBALANCED,
                    last_position,
                    f"all balances of tenant {tenant} sum to {total} in {asset} at the end of the log, not to zero",
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

    def _judge(self, posting: Posting) -> None:
        transaction, entries, accounts, holds, sagas = posting
        position, _, tenant, kind, refers_to = transaction
        counts = len(entries), len(accounts), len(holds), len(sagas)
        shape = SHAPES.get(kind)
        if shape is None:
            detail = f"there is no kind {kind} of transaction"
            self._findings.at_position(ProblemKind.TRANSACTION_KIND, position, detail)
        elif not shape.fits(refers_to, *counts):
            self._misshapen(transaction, shape, counts)
        self._judge_sums(position, entries)
        sets_aside, clears = bool(holds or sagas) or kind in PROMISE_KINDS, kind in CLEARING_KINDS
        for entry in entries:
            self.accounts.enter(tenant, entry, clears=clears)
            if not sets_aside and (entry.held or not entry.amount):
                detail = f"account {name(entry.account)}: the amount is {entry.amount}, held is {entry.held}"
                self._findings.at_position(
                    ProblemKind.TRANSACTION_SHAPE, position, f"{detail}: only a hold sets something aside"
                )
        for account in accounts:
            self.accounts.change(transaction, account)
        if kind in SAGA_KINDS:
            for saga in sagas:
                self.sagas.change(transaction, saga, holds, entries)
        else:
            for hold in holds:
                self.holds.change(transaction, hold, entries)
        if kind in _SIDES:
            self.sides.judge(transaction, entries)
        elif kind in PROMISE_KINDS:
            self.promises.judge(transaction, entries)

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
        self, transaction: TransactionHead, shape: Shape, counts: tuple[int, int, int, int]
    ) -> None:
        refers = "none" if transaction.refers_to is None else str(transaction.refers_to)
        self._findings.at_position(
            ProblemKind.TRANSACTION_SHAPE,
            transaction.position,
            f"a transaction of kind {Kind(transaction.kind).text} has {shape}; "
            f"this one has {', '.join(map(str, counts))} and refers to {refers}",
        )


def _by_position(rows: Iterable[Placed]) -> dict[int, list[Placed]]:
    return {position: list(group) for position, group in groupby(rows, _POSITION)}
