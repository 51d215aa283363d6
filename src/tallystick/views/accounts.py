"""Accounts and their balances, as callers see them."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from tallystick.domain.account_tags import account_tag
from tallystick.domain.accounts import AccountKind, AccountState, AccountStatus
from tallystick.domain.cached import CachedBalance
from tallystick.domain.identifiers import Prefix, format_identifier, shard_of
from tallystick.views.fields import (
    AccountId,
    AssetCode,
    Metadata,
    MinorUnits,
    Owner,
    Position,
    ShardNumber,
    read_metadata,
)

Source = Annotated[Literal["cache", "database", "standby"], Meta(description="Where the balance was read.")]
_Kind = Literal["wallet", "system", "clearing"]
_Status = Literal["open", "frozen", "closed"]

_KINDS: Final[dict[AccountKind, _Kind]] = {
    AccountKind.WALLET: "wallet",
    AccountKind.SYSTEM: "system",
    AccountKind.CLEARING: "clearing",
}
_STATUSES: Final[dict[AccountStatus, _Status]] = {
    AccountStatus.OPEN: "open",
    AccountStatus.FROZEN: "frozen",
    AccountStatus.CLOSED: "closed",
}


class Account(msgspec.Struct, frozen=True):
    """A place where one asset is held. `available` is the balance less what is held."""

    id: AccountId
    owner: Owner
    asset: AssetCode
    kind: _Kind
    status: _Status
    min_balance: MinorUnits | None
    max_balance: MinorUnits | None
    metadata: Metadata
    balance: MinorUnits
    held: MinorUnits
    available: MinorUnits
    position: Position
    shard: ShardNumber

    @property
    def tag(self) -> str:
        """The tag of the account as it is here: another one after each change, also of its balance."""
        return account_tag(
            self.position,
            self.status,
            None if self.min_balance is None else int(self.min_balance),
            None if self.max_balance is None else int(self.max_balance),
            self.metadata,
        )


class Balance(msgspec.Struct, frozen=True):
    """A balance as of a position. `held` is null if it is not known for the requested time."""

    account: AccountId
    asset: AssetCode
    balance: MinorUnits
    held: MinorUnits | None
    available: MinorUnits | None
    position: Position
    source: Source


class Balances(msgspec.Struct, frozen=True):
    """The balances of many accounts, in the order of the request."""

    balances: Sequence[Balance]
    not_found: Annotated[Sequence[AccountId], Meta(description="Accounts that you do not have.")]


class AssetTotal(msgspec.Struct, frozen=True):
    """The sums over several accounts of one asset."""

    asset: AssetCode
    balance: MinorUnits
    held: MinorUnits
    available: MinorUnits
    accounts: Annotated[int, Meta(description="How many accounts there are, on all shards.")]

    @classmethod
    def of_none(cls, asset: str) -> "AssetTotal":
        """The total of no account."""
        return cls(asset, MinorUnits(0), MinorUnits(0), MinorUnits(0), 0)

    def plus(self, state: AccountState) -> "AssetTotal":
        """The total with one more account."""
        return AssetTotal(
            self.asset,
            MinorUnits(self.balance + state.balance),
            MinorUnits(self.held + state.held),
            MinorUnits(self.available + state.available),
            self.accounts + 1,
        )


class SystemOwnerBalances(msgspec.Struct, frozen=True):
    """The sums over a system owner's accounts on all shards, by asset."""

    owner: Owner
    balances: Sequence[AssetTotal]


@lru_cache(maxsize=256)
def account_view(state: AccountState) -> Account:
    """An account as callers see it."""
    terms = state.terms
    return Account(
        id=format_identifier(Prefix.ACCOUNT, terms.account),
        owner=terms.owner,
        asset=terms.asset,
        kind=_KINDS[terms.kind],
        status=_STATUSES[terms.status],
        min_balance=None if terms.min_balance is None else MinorUnits(terms.min_balance),
        max_balance=None if terms.max_balance is None else MinorUnits(terms.max_balance),
        metadata=read_metadata(terms.metadata),
        balance=MinorUnits(state.balance),
        held=MinorUnits(state.held),
        available=MinorUnits(state.available),
        position=state.position,
        shard=shard_of(terms.account),
    )


def balance_view(account: str, found: CachedBalance, source: Source) -> Balance:
    """An account's newest balance; `account` as the caller wrote it."""
    _, position, balance, held, _, asset = found
    return Balance(
        account, asset, MinorUnits(balance), MinorUnits(held), MinorUnits(balance - held), position, source
    )


def logged_balance_view(state: AccountState, balance: int, held: int | None, position: int) -> Balance:
    """An account's balance as an entry of the log has it."""
    return Balance(
        format_identifier(Prefix.ACCOUNT, state.terms.account),
        state.terms.asset,
        MinorUnits(balance),
        None if held is None else MinorUnits(held),
        None if held is None else MinorUnits(balance - held),
        position,
        "database",
    )
