"""Transactions: checks of each one that do not depend on earlier rows of the log.

Each check is a function of one slice of the log. They are called slice by slice, in the order of `SLICE_CHECKS`.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple, Protocol, TypeVar

from tallystick.domain.commands import PROMISE_KINDS, Kind
from tallystick.domain.limits import ENTRIES_PER_TRANSACTION_MAX
from tallystick.domain.rows import BatchRow, EntryRow
from tallystick.verify.checks.accounts import name
from tallystick.verify.problems import FoundProblem, ProblemKind
from tallystick.verify.rows import AccountChange, HoldChange, Posting, SagaChange, TransactionHead

_TWO_ENTRIES: Final = 2


class Rows(NamedTuple):
    """The rows of a slice of the log, each table by position."""

    transactions: list[TransactionHead]
    entries: list[EntryRow]
    accounts: list[AccountChange]
    holds: list[HoldChange]
    sagas: list[SagaChange]


class Slice(NamedTuple):
    """A batch or a part of one, for the checks: the positions after `after` and up to `through`.

    `strays` are the rows at positions that have no transaction: the table, and the position.
    """

    batch: BatchRow
    after: int
    through: int
    postings: list[Posting]
    strays: list[tuple[str, int]]


def slice_of(batch: BatchRow, after: int, through: int, rows: Rows) -> Slice:
    """Join each transaction with its rows."""
    entries = _by_position(rows.entries)
    accounts = _by_position(rows.accounts)
    holds = _by_position(rows.holds)
    sagas = _by_position(rows.sagas)
    postings = []
    for transaction in rows.transactions:
        position = transaction.position
        postings.append(
            Posting(
                transaction,
                entries.pop(position, ()),
                accounts.pop(position, ()),
                holds.pop(position, ()),
                sagas.pop(position, ()),
            )
        )
    left = (("entries", entries), ("accounts", accounts), ("holds", holds), ("sagas", sagas))
    strays = [(table, position) for table, positions in left for position in positions]
    return Slice(batch, after, through, postings, strays)


# The checks.


def positions_are_gapless(part: Slice) -> Iterator[FoundProblem]:
    """Each position up to the head of the log has one transaction."""
    expected = part.after + 1
    for posting in part.postings:
        position = posting.transaction.position
        if position != expected:
            yield _misplaced(expected, position)
        if position >= expected:
            expected = position + 1
    if expected <= part.through:
        yield _misplaced(expected, part.through + 1)


def times_are_those_of_the_batch(part: Slice) -> Iterator[FoundProblem]:
    """A transaction was recorded when its batch was, so that times in the log never go back."""
    batch = part.batch
    for posting in part.postings:
        transaction = posting.transaction
        if transaction.recorded_at_us != batch.recorded_at_us:
            detail = f"recorded_at is not that of batch {batch.number}, which wrote it"
            yield FoundProblem(ProblemKind.TRANSACTION_TIME, transaction.position, detail)


def rows_fit_the_kind(part: Slice) -> Iterator[FoundProblem]:
    """A transaction is of a known kind, and has the number of rows and the reference that its kind must have."""
    for transaction, entries, accounts, holds, sagas in part.postings:
        shape = SHAPES.get(transaction.kind)
        if shape is None:
            detail = f"there is no kind {transaction.kind} of transaction"
            yield FoundProblem(ProblemKind.TRANSACTION_KIND, transaction.position, detail)
            continue
        counts = len(entries), len(accounts), len(holds), len(sagas)
        if not shape.fits(transaction.refers_to, *counts):
            refers = "none" if transaction.refers_to is None else str(transaction.refers_to)
            detail = (
                f"a transaction of kind {Kind(transaction.kind).text} has {shape}; "
                f"this one has {', '.join(map(str, counts))} and refers to {refers}"
            )
            yield FoundProblem(ProblemKind.TRANSACTION_SHAPE, transaction.position, detail)


def entries_sum_to_zero(part: Slice) -> Iterator[FoundProblem]:
    """The entries of a transaction sum to zero in each asset: money is neither made nor lost."""
    for posting in part.postings:
        entries = posting.entries
        if len(entries) == _TWO_ENTRIES:
            first, second = entries
            if first.amount + second.amount == 0 and first.asset == second.asset:
                continue
        totals: dict[str, int] = {}
        for entry in entries:
            totals[entry.asset] = totals.get(entry.asset, 0) + entry.amount
        for asset, total in totals.items():
            if total:
                detail = f"the entries sum to {total} in {asset}, not to zero"
                yield FoundProblem(ProblemKind.TRANSACTION_UNBALANCED, posting.transaction.position, detail)


def only_holds_set_money_aside(part: Slice) -> Iterator[FoundProblem]:
    """An entry moves an amount, and sets nothing aside, unless its transaction is of a hold, a saga or a promise."""
    for posting in part.postings:
        if posting.holds or posting.sagas:
            continue
        for entry in posting.entries:
            if (entry.held or not entry.amount) and posting.transaction.kind not in PROMISE_KINDS:
                moved = f"account {name(entry.account)}: the amount is {entry.amount}, held is {entry.held}"
                detail = f"{moved}: only a hold sets something aside"
                yield FoundProblem(ProblemKind.TRANSACTION_SHAPE, entry.position, detail)


def rows_have_a_transaction(part: Slice) -> Iterator[FoundProblem]:
    """No table has a row at a position that has no transaction."""
    for table, position in part.strays:
        detail = f"{table} has a row at this position, transactions has none"
        yield FoundProblem(ProblemKind.ROW_WITHOUT_TRANSACTION, position, detail)


SLICE_CHECKS: Final[tuple[Callable[[Slice], Iterator[FoundProblem]], ...]] = (
    positions_are_gapless,
    times_are_those_of_the_batch,
    rows_fit_the_kind,
    entries_sum_to_zero,
    only_holds_set_money_aside,
    rows_have_a_transaction,
)


def nothing_stands_beyond_the_head(
    table: str, places: Iterator[int], head_position: int
) -> Iterator[FoundProblem]:
    """No table has a row after the last position of the last batch."""
    first = next(places, None)
    if first is not None:
        row_count = 1 + sum(1 for _ in places)
        detail = f"{row_count} rows of {table} begin here, after the head of the log at {head_position}"
        yield FoundProblem(ProblemKind.BEYOND_HEAD, first, detail)


def _misplaced(expected: int, position: int) -> FoundProblem:
    if position < expected:
        detail = f"there is a transaction at {position} where none may be"
        return FoundProblem(ProblemKind.POSITION_REPEATED, position, detail)
    missing = (
        f"position {expected} is"
        if position == expected + 1
        else f"positions {expected} to {position - 1} are"
    )
    return FoundProblem(ProblemKind.POSITION_MISSING, expected, f"{missing} missing")


# The rows of each kind.

_NONE: Final = range(1)
_ONE: Final = range(1, 2)
_TWO: Final = range(2, 3)
_NONE_OR_ONE: Final = range(2)
_SEVERAL: Final = range(2, ENTRIES_PER_TRANSACTION_MAX + 1)
# A step of a saga that moves money has entries of clearing accounts, beside those of one side of the transfer.
_SIDE: Final = range(1, ENTRIES_PER_TRANSACTION_MAX)
_SIDE_AND_CLEARING: Final = range(2, 2 * ENTRIES_PER_TRANSACTION_MAX)


class Shape(NamedTuple):
    """The number of rows of each table that a kind of transaction has. `refers` None: it may refer to another."""

    entries: range
    refers: bool | None = False
    accounts: range = _NONE
    holds: range = _NONE
    sagas: range = _NONE

    def fits(self, refers_to: int | None, entries: int, accounts: int, holds: int, sagas: int) -> bool:
        """Whether a transaction with these numbers of rows has this shape."""
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
    # The capture of a hold reserves nothing more, and releases only what the hold no longer sets aside.
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


_Placed = TypeVar("_Placed", bound=_HasPosition)
_POSITION: Final = attrgetter("position")


def _by_position(rows: Iterable[_Placed]) -> dict[int, list[_Placed]]:
    return {position: list(group) for position, group in groupby(rows, _POSITION)}
