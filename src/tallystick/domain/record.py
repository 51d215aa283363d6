"""The rows of one transaction. Answers about it are made from them."""

from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter
from typing import Final, NamedTuple, Protocol, TypeVar

from tallystick.domain.accounts import AccountState
from tallystick.domain.commands import (
    ACCOUNT_KINDS,
    HOLD_KINDS,
    PROMISE_KINDS,
    RECEIVED_KINDS,
    SAGA_KINDS,
    Kind,
)
from tallystick.domain.decide import Decision
from tallystick.domain.holds import HoldState
from tallystick.domain.identifiers import make_identifier
from tallystick.domain.outcomes import Asked, Posted
from tallystick.domain.rows import EntryRow, TransactionRow
from tallystick.domain.sagas import SagaState, credit_request


class _HasPosition(Protocol):
    @property
    def position(self) -> int: ...


Placed = TypeVar("Placed", bound=_HasPosition)


class Record(NamedTuple):
    """One transaction with its entries, and the account, hold or saga that it changed, as of its position.

    `other_half` is the record on the other shard, if two-phase commit posted both. `asked` is what the caller asked
    for, if a credit records it, or if the terms of a saga do not.
    """

    transaction: TransactionRow
    entries: tuple[EntryRow, ...]
    account: AccountState | None = None
    hold: HoldState | None = None
    saga: SagaState | None = None
    other_half: "Record | None" = None
    asked: Asked | None = None


def record_at(decision: Decision, position: int) -> Record:
    """The record of one transaction of a decision. It is made on demand, because many callers do not need it."""
    appended = decision.appended
    index = position - decision.first_position
    starts = decision.entry_starts
    end = starts[index + 1] if index + 1 < len(starts) else len(appended.entries)
    transaction = appended.transactions[index]
    account = hold = saga = asked = None
    if transaction.kind in ACCOUNT_KINDS:
        row = _at(appended.accounts, position)
        account = None if row is None else row.state
    elif transaction.kind in HOLD_KINDS:
        hold = _at(appended.holds, position)
    elif transaction.kind in SAGA_KINDS:
        hold, saga = _at(appended.holds, position), _at(appended.sagas, position)
    elif transaction.kind is Kind.TRANSFER_CREDITED:
        claim = decision.requests.get(credit_request(transaction.reference).key)
        asked = claim.outcome.asked if claim is not None and isinstance(claim.outcome, Posted) else None
    entries = tuple(appended.entries[starts[index] : end])
    return Record(transaction, entries, account, hold, saga, asked=asked)


def payment_of(shard: int, row: TransactionRow) -> int:
    """The identifier of the payment to which a transaction belongs: that of its first stage, on the payer's shard."""
    if row.kind in _BEGAN_ON_OTHER_SHARD:
        # Their `refers_to` is a whole identifier already.
        return row.reference
    ends = row.kind in SAGA_KINDS and row.kind is not Kind.TRANSFER_RESERVED
    return make_identifier(shard, row.reference if ends else row.position)


def _at(rows: Sequence[Placed], position: int) -> Placed | None:
    """The row at a position, found in rows that are in the order of the log."""
    index = bisect_left(rows, position, key=_position)
    return rows[index] if index < len(rows) and rows[index].position == position else None


_BEGAN_ON_OTHER_SHARD: Final = frozenset({Kind.TRANSFER_CREDITED, *PROMISE_KINDS, *RECEIVED_KINDS.values()})
_position: Final = attrgetter("position")
