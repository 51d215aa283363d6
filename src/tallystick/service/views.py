"""What callers get to see: accounts, transactions, holds, balances. Amounts are integers of minor units, times UTC.

Every view is made of rows that never change, so the same question about the same position has the same answer.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from operator import attrgetter
from typing import Generic, Literal, TypeVar

import msgspec

from tallystick.domain.accounts import AccountState
from tallystick.domain.commands import PROMISE_KINDS, RECEIVED_KINDS, SAGA_KINDS, SENT_KINDS, Kind
from tallystick.domain.holds import HoldState
from tallystick.domain.identifiers import Prefix, format_identifier, make_identifier, shard_of
from tallystick.domain.parts import HALF_OPERATIONS, Part, asked_for
from tallystick.domain.record import Record
from tallystick.domain.rows import EntryRow, TransactionRow
from tallystick.domain.sagas import SagaState, SagaStatus
from tallystick.domain.times import time_of
from tallystick.followers.cache.balances import FoundBalance

Item = TypeVar("Item")

POSTED = "posted"
PENDING = "pending"
Source = Literal["cache", "database"]
CACHE: Source = "cache"
DATABASE: Source = "database"
_SAGA_STATES = {
    SagaStatus.RESERVED: PENDING,
    SagaStatus.FINALIZED: POSTED,
    SagaStatus.RELEASED: "refused",
    SagaStatus.GIVEN_UP: PENDING,
    SagaStatus.SETTLED: POSTED,
}
_REFERS_TO_TRANSACTION = frozenset({Kind.REVERSAL, *SAGA_KINDS})
# They name the other half by its whole identifier.
_HALVES = frozenset({Kind.TRANSFER_CREDITED, *PROMISE_KINDS, *SENT_KINDS.values(), *RECEIVED_KINDS.values()})
_metadata_decoder = msgspec.json.Decoder(dict[str, str])


class Account(msgspec.Struct, frozen=True):
    """A place where one asset is held. `available` is the balance less what is held."""

    id: str
    owner: str
    asset: str
    kind: str
    status: str
    min_balance: int | None
    max_balance: int | None
    metadata: Mapping[str, str]
    balance: int
    held: int
    available: int
    position: int
    shard: int


class Entry(msgspec.Struct, frozen=True):
    """One account's change in a transaction. `balance` and `held_after` are as they were right after it.

    They are None where the transaction crosses shards: there is no moment that is the same on both.
    """

    account: str
    asset: str
    amount: int
    balance: int | None
    held: int
    held_after: int | None


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """One event in the log. `refers_to` is the hold it is about, or the transaction it reverses.

    The state of what crosses shards is `pending` until it has ended on both; then it is `posted`, or `refused` (and
    nothing moved). The state of everything else is `posted`.
    """

    id: str
    kind: str
    state: str
    position: int
    recorded_at: datetime
    effective_at: datetime
    refers_to: str | None
    description: str | None
    metadata: Mapping[str, str]
    entries: list[Entry]


class Hold(msgspec.Struct, frozen=True):
    """Part of an account's balance set aside. `transaction` is the newest change of it."""

    id: str
    status: str
    source: str
    destination: str
    amount: int
    captured: int
    remaining: int
    expires_at: datetime
    transaction: str
    position: int


class Balance(msgspec.Struct, frozen=True):
    """An account's balance as of a position. `held` is None where it is not known for the time asked about."""

    account: str
    asset: str
    balance: int
    held: int | None
    available: int | None
    position: int
    source: Source


class Balances(msgspec.Struct, frozen=True):
    """Balances of many accounts, in the order in which they were asked for, and those that there are not."""

    balances: Sequence[Balance]
    not_found: Sequence[str]


class AssetTotal(msgspec.Struct, frozen=True):
    """What several accounts of one asset come to, and how many they are."""

    asset: str
    balance: int = 0
    held: int = 0
    available: int = 0
    accounts: int = 0

    def plus(self, state: AccountState) -> "AssetTotal":
        """The total with one more account."""
        return AssetTotal(
            self.asset,
            self.balance + state.balance,
            self.held + state.held,
            self.available + state.available,
            self.accounts + 1,
        )


class SystemOwnerBalances(msgspec.Struct, frozen=True):
    """What a system owner's accounts on all shards come to, by asset."""

    owner: str
    balances: Sequence[AssetTotal]


class HistoryEntry(msgspec.Struct, frozen=True):
    """One line of an account's history, with the running balance after it.

    A line is a payment, `transaction` its identifier, unless the stages of what crosses shards were asked for.
    """

    transaction: str
    kind: str
    position: int
    recorded_at: datetime
    effective_at: datetime
    refers_to: str | None
    description: str | None
    metadata: Mapping[str, str]
    amount: int
    balance: int
    held: int
    held_after: int


class Asset(msgspec.Struct, frozen=True):
    """What is counted. `scale` is the number of digits after the point: 2 for USD, 0 for JPY."""

    code: str
    scale: int
    name: str
    custom: bool


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """One page of a list; `next_cursor` gets the next one, None at the end."""

    items: list[Item]
    next_cursor: str | None


@lru_cache(maxsize=256)
def account_view(state: AccountState) -> Account:
    """An account as callers see it."""
    terms = state.terms
    return Account(
        id=format_identifier(Prefix.ACCOUNT, terms.account),
        owner=terms.owner,
        asset=terms.asset,
        kind=terms.kind.name.lower(),
        status=terms.status.name.lower(),
        min_balance=terms.min_balance,
        max_balance=terms.max_balance,
        metadata=_metadata(terms.metadata),
        balance=state.balance,
        held=state.held,
        available=state.available,
        position=state.position,
        shard=shard_of(terms.account),
    )


def balance_view(account: str, found: FoundBalance) -> Balance:
    """An account's newest balance; `account` as the caller wrote it."""
    _, position, balance, held, _, asset = found.balance
    return Balance(
        account, asset, balance, held, balance - held, position, CACHE if found.from_cache else DATABASE
    )


def logged_balance_view(state: AccountState) -> Balance:
    """An account's balance as an entry of the log tells it."""
    return Balance(
        format_identifier(Prefix.ACCOUNT, state.terms.account),
        state.terms.asset,
        state.balance,
        state.held,
        state.available,
        state.position,
        DATABASE,
    )


def transaction_view(shard: int, record: Record) -> Transaction:
    """A transaction as callers see it."""
    row = record.transaction
    if row.kind is Kind.TRANSFER_RESERVED and record.saga is not None:
        return _crossing_view(shard, record, record.saga)
    if record.other_half is not None:
        return _two_halves_view(shard, record, record.other_half)
    recorded_at = time_of(row.recorded_at_us)
    return Transaction(
        format_identifier(Prefix.TRANSACTION, make_identifier(shard, row.position)),
        row.kind.text,
        POSTED,
        row.position,
        recorded_at,
        recorded_at if row.effective_at_us is None else time_of(row.effective_at_us),
        _reference(shard, row),
        row.description,
        _metadata(row.metadata),
        [_entry_view(entry) for entry in sorted(record.entries, key=_entry_order)],
    )


def _crossing_view(shard: int, record: Record, saga: SagaState) -> Transaction:
    """A transaction that crosses shards, as the shard of the payer knows it."""
    row, terms = record.transaction, saga.terms
    asked = asked_for(shard, record)
    signed = [*((leg, -leg.amount) for leg in terms.debits), *((leg, leg.amount) for leg in terms.credits)]
    return Transaction(
        id=format_identifier(Prefix.TRANSACTION, make_identifier(shard, row.position)),
        kind=terms.operation.text,
        state=_SAGA_STATES[saga.status],
        position=row.position,
        recorded_at=time_of(row.recorded_at_us),
        effective_at=_effective(row),
        refers_to=None if asked is None else reference(asked.kind, asked.refers_to),
        description=row.description,
        metadata=_metadata(row.metadata),
        entries=[
            Entry(format_identifier(Prefix.ACCOUNT, leg.account), leg.asset or "", amount, None, 0, None)
            for leg, amount in signed
        ],
    )


def _two_halves_view(shard: int, sent: Record, received: Record) -> Transaction:
    """A transaction that was posted on two shards at once: without the clearing accounts between them."""
    row = sent.transaction
    debits = [entry for entry in sent.entries if entry.amount < 0]
    payees = [entry for entry in received.entries if entry.amount > 0]
    return Transaction(
        id=format_identifier(Prefix.TRANSACTION, make_identifier(shard, row.position)),
        kind=HALF_OPERATIONS[row.kind].text,
        state=POSTED,
        position=row.position,
        recorded_at=time_of(row.recorded_at_us),
        effective_at=_effective(row),
        refers_to=None,
        description=row.description,
        metadata=_metadata(row.metadata),
        entries=[
            Entry(format_identifier(Prefix.ACCOUNT, entry.account), entry.asset, entry.amount, None, 0, None)
            for entries in (debits, payees)
            for entry in sorted(entries, key=_entry_order)
        ],
    )


def hold_view(shard: int, hold: HoldState, payment: int | None = None) -> Hold:
    """A hold as callers see it; `payment` is what its newest change is a stage of."""
    return Hold(
        id=format_identifier(Prefix.HOLD, make_identifier(shard, hold.hold)),
        status=hold.status.name.lower(),
        source=format_identifier(Prefix.ACCOUNT, hold.account),
        destination=format_identifier(Prefix.ACCOUNT, hold.destination),
        amount=hold.amount,
        captured=hold.captured,
        remaining=hold.remaining,
        expires_at=time_of(hold.expires_at_us),
        transaction=format_identifier(Prefix.TRANSACTION, payment or make_identifier(shard, hold.position)),
        position=hold.position,
    )


def history_view(shard: int, entry: EntryRow, row: TransactionRow) -> HistoryEntry:
    """One line of an account's history, as the log has it."""
    return HistoryEntry(
        transaction=format_identifier(Prefix.TRANSACTION, make_identifier(shard, row.position)),
        kind=row.kind.text,
        position=row.position,
        recorded_at=time_of(row.recorded_at_us),
        effective_at=_effective(row),
        refers_to=_reference(shard, row),
        description=row.description,
        metadata=_metadata(row.metadata),
        amount=entry.amount,
        balance=entry.balance,
        held=entry.held,
        held_after=entry.held_after,
    )


def payment_line(line: HistoryEntry, part: Part, amount: int, held: int) -> HistoryEntry:
    """A line as the part of a payment that it is."""
    return msgspec.structs.replace(
        line,
        transaction=format_identifier(Prefix.TRANSACTION, part.payment),
        kind=part.kind.text,
        refers_to=reference(part.kind, part.refers_to),
        amount=amount,
        held=held,
    )


def reference(kind: Kind, refers_to: int | None) -> str | None:
    """What something of this kind refers to, by its identifier."""
    if refers_to is None:
        return None
    return format_identifier(Prefix.TRANSACTION if kind is Kind.REVERSAL else Prefix.HOLD, refers_to)


def _entry_view(entry: EntryRow) -> Entry:
    account, _, amount, balance, held, held_after, _, asset = entry
    return Entry(format_identifier(Prefix.ACCOUNT, account), asset, amount, balance, held, held_after)


# Debits first; an order of its own, so that an answer from memory and one from the database are alike.
_entry_order = attrgetter("amount", "account")


def _effective(row: TransactionRow) -> datetime:
    return time_of(row.recorded_at_us if row.effective_at_us is None else row.effective_at_us)


def _reference(shard: int, row: TransactionRow) -> str | None:
    if row.refers_to is None:
        return None
    if row.kind in _HALVES:
        # The transaction on the other shard that this is a half of.
        return format_identifier(Prefix.TRANSACTION, row.refers_to)
    prefix = Prefix.TRANSACTION if row.kind in _REFERS_TO_TRANSACTION else Prefix.HOLD
    return format_identifier(prefix, make_identifier(shard, row.refers_to))


def _metadata(text: str | None) -> Mapping[str, str]:
    return {} if text is None else _metadata_decoder.decode(text)
