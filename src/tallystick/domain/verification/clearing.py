"""Clearing accounts: which they are, and what was agreed about them when they were opened."""

from collections.abc import Iterator
from typing import Final

from tallystick.domain.accounts import DEFAULT_MIN_BALANCE, AccountKind, AccountStatus
from tallystick.domain.identifiers import Prefix, format_identifier
from tallystick.domain.limits import SHARD_NUMBER_MAX, SHARD_NUMBER_MIN
from tallystick.domain.sagas import clearing_account, clearing_owner
from tallystick.domain.verification.rows import AccountChange

_DIGITS_MAX: Final = len(str(SHARD_NUMBER_MAX))


def other_shard_of(owner: str) -> int | None:
    """Which shard a clearing account is kept for, from its owner; None when that names none."""
    digits = owner.rpartition(" ")[2][:_DIGITS_MAX]
    shard = int(digits) if digits.isdecimal() else 0
    return shard if SHARD_NUMBER_MIN <= shard <= SHARD_NUMBER_MAX and owner == clearing_owner(shard) else None


def wrong_clearing_terms(shard: int, change: AccountChange, *, opened: bool) -> Iterator[str]:
    """What is wrong with the terms of a clearing account of a shard: they are the same for all, for ever."""
    other_shard = other_shard_of(change.owner)
    if other_shard is None or other_shard == shard:
        yield "is a clearing account of no other shard"
    else:
        right = clearing_account(shard, other_shard, change.tenant, change.asset)
        if change.account != right:
            yield (
                f"is not the clearing account with shard {other_shard}: "
                f"that is {format_identifier(Prefix.ACCOUNT, right)}"
            )
    bounds = (change.min_balance, change.max_balance)
    agreed = (
        bounds == (DEFAULT_MIN_BALANCE[AccountKind.CLEARING], None) and change.status == AccountStatus.OPEN
    )
    if not (opened and agreed):
        yield "is a clearing account, whose terms never change"
