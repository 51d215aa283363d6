"""Accounts as the rules see them: their terms, and their state after the newest entry."""

from enum import IntEnum
from typing import Final

import msgspec

from tallystick.domain.limits import INT64_MAX, INT64_MIN


class AccountKind(IntEnum):
    """A wallet may not be overdrawn by default; a system account (fees, funding) may.

    A clearing account carries the other side of transfers to and from one other shard. Only sagas move it.
    """

    WALLET = 1
    SYSTEM = 2
    CLEARING = 3


class AccountStatus(IntEnum):
    """Open; frozen (nothing new goes out, money may come in); closed (nothing moves)."""

    OPEN = 1
    FROZEN = 2
    CLOSED = 3


DEFAULT_MIN_BALANCE: Final[dict[AccountKind, int | None]] = {
    AccountKind.WALLET: 0,  # no overdraft
    AccountKind.SYSTEM: None,
    # The other shard's account has the opposite balance: neither may reach a value that the other cannot.
    AccountKind.CLEARING: -INT64_MAX,
}


class AccountTerms(msgspec.Struct, frozen=True, gc=False):
    """The terms of an account. They change when new terms are appended; the newest are in force.

    `min_balance` bounds the available balance from below, `max_balance` the balance from above; None is no bound.
    `metadata` is canonical JSON.
    """

    account: int
    tenant: int
    owner: str
    asset: str
    kind: AccountKind
    status: AccountStatus
    min_balance: int | None
    max_balance: int | None
    metadata: str | None = None


class AccountState(msgspec.Struct, frozen=True, gc=False):
    """An account after its newest entry: its terms, its balance, the held part, and the entry's position."""

    terms: AccountTerms
    balance: int = 0
    held: int = 0
    position: int = 0

    @property
    def available(self) -> int:
        """The amount that may be spent: the balance less what is held."""
        return self.balance - self.held


def bounds_are_valid(min_balance: int | None, max_balance: int | None) -> bool:
    """Whether a balance between the bounds can exist."""
    lower = INT64_MIN if min_balance is None else min_balance
    upper = INT64_MAX if max_balance is None else max_balance
    return lower <= upper
