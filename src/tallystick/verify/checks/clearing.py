"""Accounts that the ledger opens by itself: which they are, and what was agreed about them when they were opened."""

from collections.abc import Iterator
from typing import Final

from tallystick.domain.accounts import DEFAULT_MIN_BALANCE, AccountKind, AccountStatus
from tallystick.domain.derived_accounts import Derivation, clearing_owner
from tallystick.domain.identifiers import Prefix, format_identifier
from tallystick.domain.limits import SHARD_NUMBER_MAX, SHARD_NUMBER_MIN
from tallystick.domain.system_owners import is_system_owner
from tallystick.verify.checks.rows import AccountChange

_DIGITS_MAX: Final = len(str(SHARD_NUMBER_MAX))


def other_shard_of(owner: str) -> int | None:
    """Which shard a clearing account is kept for, from its owner; None when that names none."""
    digits = owner.rpartition(" ")[2][:_DIGITS_MAX]
    shard = int(digits) if digits.isdecimal() else 0
    return shard if SHARD_NUMBER_MIN <= shard <= SHARD_NUMBER_MAX and owner == clearing_owner(shard) else None


def wrong_clearing_terms(derivation: Derivation, change: AccountChange, *, opened: bool) -> Iterator[str]:
    """What is wrong with the terms of a clearing account of a shard: they are the same for all, for ever."""
    other_shard = other_shard_of(change.owner)
    if other_shard is None or other_shard == derivation.shard:
        yield "is a clearing account of no other shard"
    else:
        right = derivation.clearing(other_shard, change.tenant, change.asset)
        if change.account not in (right.account, right.former):
            yield (
                f"is not the clearing account with shard {other_shard}: "
                f"that is {format_identifier(Prefix.ACCOUNT, right.account)}"
            )
    bounds = (change.min_balance, change.max_balance)
    agreed = (
        bounds == (DEFAULT_MIN_BALANCE[AccountKind.CLEARING], None) and change.status == AccountStatus.OPEN
    )
    if not (opened and agreed):
        yield "is a clearing account, whose terms never change"


def wrong_system_account(derivation: Derivation, change: AccountChange) -> Iterator[str]:
    """What is wrong with an account that was opened for a system owner since the shard has its key."""
    right = derivation.of_system_owner(change.tenant, change.owner, change.asset)
    if not is_system_owner(change.owner):
        yield f"is of the owner {change.owner}, which is no name of a system owner"
    elif change.account not in (right.account, right.former) or change.kind != AccountKind.SYSTEM:
        yield (
            f"is not the account of {change.owner} in {change.asset}: "
            f"that is {format_identifier(Prefix.ACCOUNT, right.account)}, of kind system"
        )
