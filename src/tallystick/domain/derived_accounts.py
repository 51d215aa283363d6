"""Accounts that the ledger opens by itself when they are first needed: clearing accounts, and those of system owners.

The identifier of such an account is derived from its purpose. So no lookup is needed, and two servers that open it at
the same time open the same account. The identifier is also derived from a secret key of the shard: callers choose the
names of assets and system owners, and must not be able to choose two names that lead to one identifier.
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
    """A derived account, whether it is open or not.

    `former` is its identifier if it was opened before shards had keys. `former` is derived from names alone, so
    another account may have it.
    """

    account: int
    former: int
    tenant: int
    owner: str
    asset: str
    kind: AccountKind

    def among(self, account: Callable[[int], AccountState | None]) -> AccountState | None:
        """The state of the account, found by its identifier; None if it is not open."""
        for identifier in (self.account, self.former):
            state = account(identifier)
            if state is not None and self.is_described_by(state.terms):
                return state
        return None

    def is_described_by(self, terms: AccountTerms) -> bool:
        """Whether these are the terms of this account."""
        return (terms.tenant, terms.owner, terms.asset, terms.kind) == (
            self.tenant,
            self.owner,
            self.asset,
            self.kind,
        )

    def terms(self) -> AccountTerms:
        """Its terms when it is opened."""
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
    """The inputs of the derivation on one shard: its number, and its key, which is in use since a position."""

    shard: int
    key: bytes
    since_position: int = 0

    def clearing(self, other_shard: int, tenant: int, asset: str) -> DerivedAccount:
        """The clearing account of a tenant with another shard."""
        return _clearing(self, other_shard, tenant, asset)

    def of_system_owner(self, tenant: int, owner: str, asset: str) -> DerivedAccount:
        """The account of a tenant's system owner."""
        return _of_system_owner(self, tenant, owner, asset)


def clearing_owner(other_shard: int) -> str:
    """The name of the owner of a clearing account."""
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
