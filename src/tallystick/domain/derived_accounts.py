"""Accounts that the ledger opens by itself when they are first needed: of clearing, and of system owners.

The identifier of such an account follows from what it is for, so who needs it knows it without asking, and two who
open it at once mean the same one. It follows from a key of the shard too, which no caller knows: assets and system
owners have names that callers choose, and they cannot be chosen so that two accounts get one identifier.
"""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import msgspec

from tallystick.domain.accounts import (
    DEFAULT_MIN_BALANCE,
    AccountKind,
    AccountState,
    AccountStatus,
    AccountTerms,
)
from tallystick.domain.identifiers import make_identifier
from tallystick.domain.limits import LOCAL_NUMBER_MAX

_DIGEST_BYTES: Final = 8
_CLEARING: Final = b"tallystick clearing "
_SYSTEM: Final = b"tallystick system owner "


class DerivedAccount(msgspec.Struct, frozen=True, gc=False):
    """One of these accounts, open already or not.

    `former` is the identifier that it has if it was opened before shards had keys. That follows from the names alone,
    so it may be any other account's.
    """

    account: int
    former: int
    tenant: int
    owner: str
    asset: str
    kind: AccountKind

    def among(self, account: Callable[[int], AccountState | None]) -> AccountState | None:
        """Its state, found by identifier; None: it is not open."""
        for identifier in (self.account, self.former):
            state = account(identifier)
            if state is not None and self.is_described_by(state.terms):
                return state
        return None

    def is_described_by(self, terms: AccountTerms) -> bool:
        """Whether an account with these terms is this one."""
        return (terms.tenant, terms.owner, terms.asset, terms.kind) == (
            self.tenant,
            self.owner,
            self.asset,
            self.kind,
        )

    def terms(self) -> AccountTerms:
        """What is agreed about it when it is opened."""
        return AccountTerms(
            self.account,
            self.tenant,
            self.owner,
            self.asset,
            self.kind,
            AccountStatus.OPEN,
            DEFAULT_MIN_BALANCE[self.kind],
            None,
        )


class Derivation(msgspec.Struct, frozen=True, gc=False):
    """What these accounts of a shard follow from: its number, and its key, which it has since a position."""

    shard: int
    key: bytes
    since_position: int = 0

    def clearing(self, other_shard: int, tenant: int, asset: str) -> DerivedAccount:
        """The account that carries the other side of what a tenant moves to and from another shard."""
        return _clearing(self, other_shard, tenant, asset)

    def of_system_owner(self, tenant: int, owner: str, asset: str) -> DerivedAccount:
        """The account of a tenant's system owner."""
        return _of_system_owner(self, tenant, owner, asset)


def clearing_owner(other_shard: int) -> str:
    """Who a clearing account belongs to, in words."""
    return f"clearing with shard {other_shard}"


@lru_cache(maxsize=8192)
def _clearing(derivation: Derivation, other_shard: int, tenant: int, asset: str) -> DerivedAccount:
    name = _CLEARING + b"%d %d %s" % (other_shard, tenant, asset.encode())
    account, former = _identifiers(derivation, name)
    owner = clearing_owner(other_shard)
    return DerivedAccount(account, former, tenant, owner, asset, AccountKind.CLEARING)


@lru_cache(maxsize=8192)
def _of_system_owner(derivation: Derivation, tenant: int, owner: str, asset: str) -> DerivedAccount:
    name = _SYSTEM + b"%d %s %s" % (tenant, asset.encode(), owner.encode())
    account, former = _identifiers(derivation, name)
    return DerivedAccount(account, former, tenant, owner, asset, AccountKind.SYSTEM)


def _identifiers(derivation: Derivation, name: bytes) -> tuple[int, int]:
    keyed = hashlib.blake2b(name, digest_size=_DIGEST_BYTES, key=derivation.key).digest()
    former = hashlib.sha256(name).digest()[:_DIGEST_BYTES]
    return _identifier(derivation.shard, keyed), _identifier(derivation.shard, former)


def _identifier(shard: int, digest: bytes) -> int:
    return make_identifier(shard, 1 + int.from_bytes(digest, "big") % LOCAL_NUMBER_MAX)
