"""What callers get: the types of answers, and how the service's views become them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from tallystick.api.fields import (
    AccountId,
    AmountOut,
    AssetCode,
    HoldId,
    Metadata,
    Owner,
    Position,
    ShardNumber,
    TransactionId,
)
from tallystick.domain.outcomes import RefusalCode, Refused
from tallystick.service import views

Source = Annotated[Literal["cache", "database"], Meta(description="Where it was read.")]


_encode = msgspec.json.Encoder().encode

# Told to no client: what a key's home keeps of a request that went elsewhere.
_REFUSAL_CODES = [code.text for code in RefusalCode if code is not RefusalCode.IDEMPOTENCY_KEY_CLAIMED]


class Account(Struct):
    """A place where one asset is held. `available` is the balance less what is held."""

    id: AccountId
    owner: Owner
    asset: AssetCode
    kind: Literal["wallet", "system", "clearing"]
    status: Literal["open", "frozen", "closed"]
    min_balance: AmountOut | None
    max_balance: AmountOut | None
    metadata: Metadata
    balance: AmountOut
    held: AmountOut
    available: AmountOut
    position: Position
    shard: ShardNumber


class Entry(Struct):
    """One account's change: debits are negative. `balance` and `held_after` are as of right after it.

    They are null where the transaction crosses shards, which have no moment in common.
    """

    account: AccountId
    asset: AssetCode
    amount: AmountOut
    balance: AmountOut | None
    held: AmountOut
    held_after: AmountOut | None


class Transaction(Struct, gc=False):
    """One event in the log. `refers_to` is the hold it is about, or the transaction it reverses.

    `state` is `pending` while it is on its way to another shard. Then it is `posted`, or `refused`: nothing moved.
    """

    id: TransactionId
    kind: str
    state: Literal["posted", "pending", "refused"]
    position: Position
    recorded_at: datetime
    effective_at: datetime
    refers_to: str | None
    description: str | None
    metadata: Metadata
    entries: list[Entry]


class Hold(Struct):
    """Money set aside. `transaction` is the newest change of the hold."""

    id: HoldId
    status: Literal["open", "capturing", "captured", "voided", "expired"]
    source: AccountId
    destination: AccountId
    amount: AmountOut
    captured: AmountOut
    remaining: AmountOut
    expires_at: datetime
    transaction: TransactionId
    position: Position


class Balance(Struct):
    """A balance as of a position. `held` is null where it is not known for the time asked about."""

    account: AccountId
    asset: AssetCode
    balance: AmountOut
    held: AmountOut | None
    available: AmountOut | None
    position: Position
    source: Source


class BalanceList(Struct):
    """The balances of many accounts, in the order in which they were asked for."""

    balances: list[Balance]
    not_found: Annotated[list[AccountId], Meta(description="Those that are no accounts of yours.")]


class AssetTotal(Struct):
    """What several accounts of one asset come to."""

    asset: AssetCode
    balance: AmountOut
    held: AmountOut
    available: AmountOut
    accounts: Annotated[int, Meta(description="How many accounts there are, on all shards.")]


class SystemOwnerBalances(Struct):
    """What a system owner's accounts on all shards come to, by asset."""

    owner: Owner
    balances: list[AssetTotal]


class HistoryEntry(Struct):
    """One line of an account's history, with the running balance after it: one payment, on however many shards it is.

    What is on its way to another shard has a line of amount 0 with what is held for it; what was refused has none.
    """

    transaction: TransactionId
    kind: str
    position: Position
    recorded_at: datetime
    effective_at: datetime
    refers_to: str | None
    description: str | None
    metadata: Metadata
    amount: AmountOut
    balance: AmountOut
    held: AmountOut
    held_after: AmountOut


class Asset(Struct):
    """What is counted. `scale` is the number of digits after the point."""

    code: AssetCode
    scale: int
    name: str
    custom: bool


class AccountList(Struct):
    """One page of accounts."""

    items: list[Account]
    next_cursor: str | None


class HistoryList(Struct):
    """One page of an account's history, newest first."""

    items: list[HistoryEntry]
    next_cursor: str | None


class AssetList(Struct):
    """All assets."""

    items: list[Asset]


class Refusal(Struct):
    """Why one transfer of a batch was refused."""

    code: Annotated[str, Meta(extra_json_schema={"enum": _REFUSAL_CODES})]
    param: str | None
    detail: str


class TransferOutcome(Struct, gc=False):
    """What one transfer of a batch came to: one of the two."""

    transaction: Transaction | None
    refusal: Refusal | None


class TransferBatch(Struct):
    """One outcome for each transfer, in their order."""

    outcomes: list[TransferOutcome]


class EncodedTransferBatch(Struct):
    """A `TransferBatch` whose outcomes are JSON already."""

    outcomes: list[Raw]


class ShardHealth(Struct):
    """Whether one shard can be written to, as far as this server knows; since when, and why not."""

    shard: int
    available: bool
    state: Literal["up", "away", "silent", "failing"]
    since: datetime
    reason: str | None


class Health(Struct):
    """Whether this server can serve: all of the shards (`ok`), some of them (`degraded`), or none."""

    status: Literal["ok", "degraded", "unavailable"]
    shards: list[ShardHealth]


class Problem(Struct, omit_defaults=True):
    """A problem document (RFC 9457). `code` is stable; `param` names what of the request it is about."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    param: str | None = None


def account(view: views.Account) -> Account:
    """An account's JSON."""
    return Account(
        id=view.id,
        owner=view.owner,
        asset=view.asset,
        kind=view.kind,  # type: ignore[arg-type]  # one of the words above
        status=view.status,  # type: ignore[arg-type]  # one of the words above
        min_balance=_amount(view.min_balance),
        max_balance=_amount(view.max_balance),
        metadata=_metadata(view.metadata),
        balance=str(view.balance),
        held=str(view.held),
        available=str(view.available),
        position=view.position,
        shard=view.shard,
    )


def transaction(view: views.Transaction) -> Transaction:
    """A transaction's JSON."""
    return Transaction(
        view.id,
        view.kind,
        view.state,  # type: ignore[arg-type]  # one of the words above
        view.position,
        view.recorded_at,
        view.effective_at,
        view.refers_to,
        view.description,
        _metadata(view.metadata),
        [entry(one) for one in view.entries],
    )


def entry(view: views.Entry) -> Entry:
    """An entry's JSON."""
    return Entry(
        view.account,
        view.asset,
        str(view.amount),
        _amount(view.balance),
        str(view.held),
        _amount(view.held_after),
    )


def awaited(answer: Struct) -> str | None:
    """Where to ask for what is still on its way to another shard; None when it has come to an end."""
    if isinstance(answer, Transaction) and answer.state == views.PENDING:
        return f"/v1/transactions/{answer.id}"
    if isinstance(answer, Hold) and answer.status == "capturing":
        return f"/v1/holds/{answer.id}"
    return None


def hold(view: views.Hold) -> Hold:
    """A hold's JSON."""
    return Hold(
        id=view.id,
        status=view.status,  # type: ignore[arg-type]  # one of the words above
        source=view.source,
        destination=view.destination,
        amount=str(view.amount),
        captured=str(view.captured),
        remaining=str(view.remaining),
        expires_at=view.expires_at,
        transaction=view.transaction,
        position=view.position,
    )


def balance(view: views.Balance) -> Balance:
    """A balance's JSON."""
    return Balance(
        account=view.account,
        asset=view.asset,
        balance=str(view.balance),
        held=_amount(view.held),
        available=_amount(view.available),
        position=view.position,
        source=view.source,
    )


def balances(view: views.Balances) -> BalanceList:
    """The JSON of many balances."""
    return BalanceList([balance(one) for one in view.balances], list(view.not_found))


def system_owner_balances(view: views.SystemOwnerBalances) -> SystemOwnerBalances:
    """The JSON of what a system owner has on all shards."""
    totals = [
        AssetTotal(one.asset, str(one.balance), str(one.held), str(one.available), one.accounts)
        for one in view.balances
    ]
    return SystemOwnerBalances(view.owner, totals)


def history_entry(view: views.HistoryEntry) -> HistoryEntry:
    """The JSON of one line of an account's history."""
    return HistoryEntry(
        transaction=view.transaction,
        kind=view.kind,
        position=view.position,
        recorded_at=view.recorded_at,
        effective_at=view.effective_at,
        refers_to=view.refers_to,
        description=view.description,
        metadata=_metadata(view.metadata),
        amount=str(view.amount),
        balance=str(view.balance),
        held=str(view.held),
        held_after=str(view.held_after),
    )


def asset(view: views.Asset) -> Asset:
    """An asset's JSON."""
    return Asset(view.code, view.scale, view.name, view.custom)


def outcome(view: views.Transaction | Refused) -> TransferOutcome:
    """The JSON of what one transfer of a batch came to."""
    if isinstance(view, Refused):
        return TransferOutcome(None, Refusal(view.code.text, view.param, view.detail))
    return TransferOutcome(transaction(view), None)


def encoded_outcome(view: views.Transaction | Refused) -> Raw:
    """The same, as text."""
    return Raw(_encode(outcome(view)))


def _amount(value: int | None) -> str | None:
    return None if value is None else str(value)


def _metadata(value: Mapping[str, str]) -> dict[str, str]:
    return value if isinstance(value, dict) else dict(value)
