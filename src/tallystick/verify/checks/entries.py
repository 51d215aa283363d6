"""Entries: each continues from the previous entry of its account, and the terms in force allow it.

Each check returns what is wrong with one entry, or None. There are many millions of entries. So `Accounts.enter`
first tests one condition, which is true if none of these checks finds anything, and calls them only if it is false.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from tallystick.domain.accounts import AccountKind, AccountStatus
from tallystick.domain.rows import EntryRow
from tallystick.verify.problems import ProblemKind

OPEN: Final = int(AccountStatus.OPEN)
CLOSED: Final = int(AccountStatus.CLOSED)
CLEARING: Final = int(AccountKind.CLEARING)
STATUSES: Final = {int(status): status.name.lower() for status in AccountStatus}


class Terms(NamedTuple):
    """The terms that an entry is judged by."""

    tenant: int
    kind: int
    asset: str
    status: int
    min_balance: int | None
    max_balance: int | None


class Judged(NamedTuple):
    """An entry, with what it is judged by: `balance` and `held` of its account before it, in minor units.

    `tenant` is that of its transaction; `clears`: the transaction belongs to a transfer between shards.
    """

    tenant: int
    entry: EntryRow
    terms: Terms
    balance: int
    held: int
    clears: bool

    @property
    def lowers(self) -> bool:
        """Whether less is available after the entry."""
        return self.entry.amount < self.entry.held

    @property
    def side(self) -> str:
        """The bound of the account that the entry must respect."""
        return "min_balance" if self.lowers else "max_balance" if self.entry.amount > 0 else "bound"

    @property
    def bound(self) -> int | None:
        """The value of that bound; None if there is none."""
        if self.lowers:
            return self.terms.min_balance
        return self.terms.max_balance if self.entry.amount > 0 else None


def tenant_is_that_of_the_account(judged: Judged) -> str | None:
    """A transaction moves the accounts of its own tenant."""
    owner = judged.terms.tenant
    return (
        None if judged.tenant == owner else f"is of tenant {owner}, the transaction of tenant {judged.tenant}"
    )


def asset_is_that_of_the_account(judged: Judged) -> str | None:
    """An entry is in the asset that its account holds."""
    held, said = judged.terms.asset, judged.entry.asset
    return None if said == held else f"holds {held}, the entry says {said}"


def balance_goes_on(judged: Judged) -> str | None:
    """The balance after an entry is the balance before it, and its amount."""
    entry, balance = judged.entry, judged.balance + judged.entry.amount
    if entry.balance == balance:
        return None
    return (
        f"had {judged.balance}, the entry adds {entry.amount}: the balance must be {balance}, "
        f"the entry says {entry.balance}"
    )


def held_goes_on(judged: Judged) -> str | None:
    """What is held after an entry is what was held before it, and what the entry sets aside; never less than zero."""
    entry, held = judged.entry, judged.held + judged.entry.held
    if entry.held_after == held >= 0:
        return None
    return (
        f"had {judged.held} held, the entry adds {entry.held}: held_after must be {held} "
        f"and not below zero, the entry says {entry.held_after}"
    )


def bound_is_that_of_the_account(judged: Judged) -> str | None:
    """The bound that stands in an entry is the one that its account had at this position."""
    said, bound = judged.entry.bound, judged.bound
    if said == bound:
        return None
    return f"has the {judged.side} {_written(bound)} at this position, the entry says {_written(said)}"


def bound_is_kept(judged: Judged) -> str | None:
    """What is available is never below `min_balance` after it was lowered, nor a balance above `max_balance`."""
    entry, bound = judged.entry, judged.bound
    if bound is None:
        return None
    available = entry.balance - entry.held_after
    if judged.lowers:
        broken = available < bound
        found = f"{available} available"
    else:
        broken = entry.balance > bound
        found = f"a balance of {entry.balance}"
    return f"has {found}, against its {judged.side} of {bound}" if broken else None


def status_allows(judged: Judged) -> str | None:
    """Nothing is taken from a frozen account, and nothing at all moves a closed one."""
    status = judged.terms.status
    barred = status != OPEN if judged.lowers else status == CLOSED
    return f"is {STATUSES.get(status, status)} and takes no such entry" if barred else None


def only_crossings_move_clearing_accounts(judged: Judged) -> str | None:
    """A clearing account is moved by what crosses shards, and by nothing else."""
    if judged.terms.kind != CLEARING or judged.clears:
        return None
    return "is a clearing account, which only what crosses shards may move"


ENTRY_CHECKS: Final[tuple[tuple[Callable[[Judged], str | None], ProblemKind], ...]] = (
    (tenant_is_that_of_the_account, ProblemKind.TENANT_MISMATCH),
    (asset_is_that_of_the_account, ProblemKind.ASSET_MISMATCH),
    (balance_goes_on, ProblemKind.BALANCE_WRONG),
    (held_goes_on, ProblemKind.HELD_WRONG),
    (bound_is_that_of_the_account, ProblemKind.BOUND_WRONG),
    (bound_is_kept, ProblemKind.BOUND_BROKEN),
    (status_allows, ProblemKind.ACCOUNT_STATUS),
    (only_crossings_move_clearing_accounts, ProblemKind.CLEARING_WRONG),
)


def _written(bound: int | None) -> str:
    return "none" if bound is None else str(bound)
