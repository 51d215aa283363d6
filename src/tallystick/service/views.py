"""What callers get to see: accounts, transactions, holds, balances. Amounts are integers of minor units, times UTC.

Every view is made of rows that never change, so the same question about the same position has the same answer.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Generic, TypeVar

import msgspec

from tallystick.domain.accounts import AccountState
from tallystick.domain.commands import Kind
from tallystick.domain.holds import HoldState
from tallystick.domain.identifiers import Prefix, format_identifier, make_identifier
from tallystick.domain.record import Record
from tallystick.domain.rows import EntryRow, TransactionRow

Item = TypeVar("Item")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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


class Entry(msgspec.Struct, frozen=True):
    """One account's change in a transaction. `balance` and `held_after` are as they were right after it."""

    account: str
    asset: str
    amount: int
    balance: int
    held: int
    held_after: int


class Transaction(msgspec.Struct, frozen=True):
    """One event in the log. `refers_to` is the hold it is about, or the transaction it reverses."""

    id: str
    kind: str
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


class HistoryEntry(msgspec.Struct, frozen=True):
    """One line of an account's history, with the running balance after it."""

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
def time_of(microseconds: int) -> datetime:
    """A time in UTC from microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=microseconds)


def microseconds_of(time: datetime) -> int:
    """Microseconds since 1970 of a time that names its zone."""
    return (time - _EPOCH) // timedelta(microseconds=1)


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
    )


def balance_view(state: AccountState) -> Balance:
    """An account's newest balance."""
    return Balance(
        account=format_identifier(Prefix.ACCOUNT, state.terms.account),
        asset=state.terms.asset,
        balance=state.balance,
        held=state.held,
        available=state.available,
        position=state.position,
    )


def transaction_view(shard: int, record: Record) -> Transaction:
    """A transaction as callers see it."""
    row = record.transaction
    recorded_at = time_of(row.recorded_at_us)
    return Transaction(
        format_identifier(Prefix.TRANSACTION, make_identifier(shard, row.position)),
        row.kind.text,
        row.position,
        recorded_at,
        recorded_at if row.effective_at_us is None else time_of(row.effective_at_us),
        _reference(shard, row),
        row.description,
        _metadata(row.metadata),
        [_entry_view(entry) for entry in sorted(record.entries, key=_entry_order)],
    )


def hold_view(shard: int, hold: HoldState) -> Hold:
    """A hold as callers see it."""
    return Hold(
        id=format_identifier(Prefix.HOLD, make_identifier(shard, hold.hold)),
        status=hold.status.name.lower(),
        source=format_identifier(Prefix.ACCOUNT, hold.account),
        destination=format_identifier(Prefix.ACCOUNT, hold.destination),
        amount=hold.amount,
        captured=hold.captured,
        remaining=hold.remaining,
        expires_at=time_of(hold.expires_at_us),
        transaction=format_identifier(Prefix.TRANSACTION, make_identifier(shard, hold.position)),
        position=hold.position,
    )


def history_view(shard: int, entry: EntryRow, row: TransactionRow) -> HistoryEntry:
    """One line of an account's history as callers see it."""
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
    prefix = Prefix.TRANSACTION if row.kind is Kind.REVERSAL else Prefix.HOLD
    return format_identifier(prefix, make_identifier(shard, row.refers_to))


def _metadata(text: str | None) -> Mapping[str, str]:
    return {} if text is None else _metadata_decoder.decode(text)
