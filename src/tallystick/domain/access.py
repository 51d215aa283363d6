"""What an API key may do: its scopes, and the scope that each action needs. This is the only table of it."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple


class Scope(StrEnum):
    """What a key was given. No scope contains another: a key has a list of them."""

    READ = "read"
    POST = "post"
    ADMIN = "admin"
    WEBHOOKS = "webhooks"
    METRICS = "metrics"


ALL_SCOPES: Final = tuple(Scope)
LEAST_SCOPES: Final = (Scope.READ,)
"""What a key has if nothing else is asked for."""


class Action(StrEnum):
    """What an operation does, in the words of the documentation."""

    READ_BOOKS = "read accounts, balances, transactions, holds, events, assets, statements and reports"
    MOVE_MONEY = "transfer, post, hold, capture, void and reverse"
    OPEN_ACCOUNT = "open an ordinary account whose balance cannot fall below zero"
    CHANGE_ACCOUNT = "freeze, unfreeze, close and reopen an account, and change its metadata"
    OPEN_WITHOUT_BOUNDS = "open a system account, or one whose balance may fall below zero"
    CHANGE_BOUNDS = "change the bounds of an account"
    DEFINE_ASSETS = "define an asset"
    MANAGE_KEYS = "make, list, change, rotate and revoke API keys"
    MANAGE_WEBHOOKS = "make, list, change, test, replay and remove webhook endpoints"


SCOPE_NEEDED: Final[dict[Action, Scope]] = {
    Action.READ_BOOKS: Scope.READ,
    Action.MOVE_MONEY: Scope.POST,
    Action.OPEN_ACCOUNT: Scope.POST,
    Action.CHANGE_ACCOUNT: Scope.POST,
    Action.OPEN_WITHOUT_BOUNDS: Scope.ADMIN,
    Action.CHANGE_BOUNDS: Scope.ADMIN,
    Action.DEFINE_ASSETS: Scope.ADMIN,
    Action.MANAGE_KEYS: Scope.ADMIN,
    Action.MANAGE_WEBHOOKS: Scope.WEBHOOKS,
}


class StoredKey(NamedTuple):
    """An API key as it is stored: never the key itself.

    `previous_hash`: that of the secret before the last rotation, which is valid until `previous_until`. `networks`:
    the key is valid for callers of these networks; none: for all. Of several versions the highest is in force.
    """

    id: str
    tenant: int
    name: str
    hash: bytes
    scopes: tuple[Scope, ...]
    networks: tuple[str, ...]
    expires_at: datetime | None
    previous_hash: bytes | None
    previous_until: datetime | None
    version: int
    created_at: datetime
    changed_at: datetime
    revoked_at: datetime | None


def known_scopes(names: Iterable[str]) -> tuple[Scope, ...]:
    """Scopes by name, in the order of the table. Those of a newer version of the ledger are left out."""
    given = set(names)
    return tuple(scope for scope in Scope if scope.value in given)


def in_words(scopes: Sequence[Scope]) -> str:
    """Scopes as OAuth writes them: with spaces between."""
    return " ".join(scopes)
