"""What the cache holds: balances and, for each shard, a mark. Both are short texts.

A **mark** says how far the log was passed: `<generation> <position>`. While it is there, every balance of its
generation is at least as new as that position. When it is lost, nothing that is cached counts: a new mark begins
another generation.

A **cached balance** is `<generation> <position> <balance> <held> <tenant> <asset>`.
"""

from typing import NamedTuple

from tallystick.domain.accounts import AccountState

_MARK_FIELDS = 2
_BALANCE_FIELDS = 6


class Mark(NamedTuple):
    """How far a shard's log was passed, in which generation; `text` is the mark as it stands in the cache."""

    generation: bytes
    position: int
    text: bytes


class CachedBalance(NamedTuple):
    """An account's balance after its newest entry, which is at `position`."""

    account: int
    position: int
    balance: int
    held: int
    tenant: int
    asset: str


def write_mark(generation: str, position: int) -> str:
    """The text of a mark."""
    return f"{generation} {position}"


def read_mark(text: bytes | None) -> Mark | None:
    """A mark, or None when there is none or it cannot be read."""
    fields = (text or b"").split(b" ")
    if len(fields) != _MARK_FIELDS or not fields[1].isdigit():
        return None
    return Mark(fields[0], int(fields[1]), text or b"")


def balance_text(position: int, balance: int, held: int, tenant: int, asset: str) -> str:
    """The text of a balance, without its generation, which is added where the mark is."""
    return f"{position} {balance} {held} {tenant} {asset}"


def write_balance(balance: CachedBalance) -> str:
    """The text of a balance that was read."""
    return balance_text(*balance[1:])


def write_state(state: AccountState) -> str:
    """The text of an account's balance."""
    terms = state.terms
    return balance_text(state.position, state.balance, state.held, terms.tenant, terms.asset)


def read_balance(account: int, generation: bytes, text: bytes) -> CachedBalance | None:
    """A balance of this generation; None when it is of another one.

    Raises:
        ValueError: this is no balance.
    """
    fields = text.split(b" ")
    if len(fields) != _BALANCE_FIELDS:
        raise ValueError("not a balance")
    if fields[0] != generation:
        return None
    _, position, balance, held, tenant, asset = fields
    return CachedBalance(account, int(position), int(balance), int(held), int(tenant), asset.decode("ascii"))


def cached_balance(state: AccountState) -> CachedBalance:
    """What to cache of an account."""
    terms = state.terms
    return CachedBalance(terms.account, state.position, state.balance, state.held, terms.tenant, terms.asset)
