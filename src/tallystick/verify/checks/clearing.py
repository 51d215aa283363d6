"""Clearing accounts: their terms, which follow from their shards, and whether those of two shards mirror each other.

The accounts of system owners are here too, because the ledger opens them by itself as well.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from tallystick.domain.accounts import DEFAULT_MIN_BALANCE, AccountKind, AccountStatus
from tallystick.domain.derived_accounts import Derivation, clearing_owner
from tallystick.domain.identifiers import Prefix, format_identifier, shard_of
from tallystick.domain.limits import SHARD_NUMBER_MAX, SHARD_NUMBER_MIN
from tallystick.domain.system_owners import is_system_owner
from tallystick.verify.crossing_rows import ClearingBalance
from tallystick.verify.problems import FoundProblem, ProblemKind
from tallystick.verify.rows import AccountChange

_DIGITS_MAX: Final = len(str(SHARD_NUMBER_MAX))


def other_shard_of(owner: str) -> int | None:
    """The other shard of a clearing account, from its owner; None if the owner names no shard."""
    digits = owner.rpartition(" ")[2][:_DIGITS_MAX]
    shard = int(digits) if digits.isdecimal() else 0
    return shard if SHARD_NUMBER_MIN <= shard <= SHARD_NUMBER_MAX and owner == clearing_owner(shard) else None


def wrong_clearing_terms(derivation: Derivation, change: AccountChange, *, opened: bool) -> Iterator[str]:
    """What is wrong with the terms of a clearing account. They are the same for all of them, and never change."""
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
    """What is wrong with the account of a system owner that was opened after the shard got its key."""
    right = derivation.of_system_owner(change.tenant, change.owner, change.asset)
    if not is_system_owner(change.owner):
        yield f"is of the owner {change.owner}, which is no name of a system owner"
    elif change.account not in (right.account, right.former) or change.kind != AccountKind.SYSTEM:
        yield (
            f"is not the account of {change.owner} in {change.asset}: "
            f"that is {format_identifier(Prefix.ACCOUNT, right.account)}, of kind system"
        )


NAMES_MAX: Final = 20

PairKey = tuple[int, int, int, str]
"""Two shards, the lower number first, a tenant and an asset."""


def pair_key(shard: int, other_shard: int, tenant: int, asset: str) -> PairKey:
    """The key of a pair of shards, the same for both of them."""
    return min(shard, other_shard), max(shard, other_shard), tenant, asset


class Pair(NamedTuple):
    """The two clearing accounts of a pair of shards, in minor units.

    `balances` are those of the clearing accounts of the first shard and of the second. `explained` is the difference
    from crossings that only one of the shards has posted so far: there are `crossing_count`, and `crossings` names
    the first.
    """

    shards: tuple[int, int]
    tenant: int
    asset: str
    balances: tuple[int, int]
    explained: int
    crossing_count: int
    crossings: tuple[int, ...]

    @property
    def difference(self) -> int:
        """The sum of the balances: zero if no transfer is on its way."""
        return sum(self.balances)

    @property
    def unexplained(self) -> int:
        """The difference that no crossing explains. It must be zero."""
        return self.difference - self.explained


class Pairs:
    """The balances of clearing accounts, and the crossings that explain their differences."""

    def __init__(self) -> None:
        self._balances: dict[PairKey, list[int]] = {}
        self._explained: dict[PairKey, int] = {}
        self._crossing_counts: dict[PairKey, int] = {}
        self._crossings: dict[PairKey, list[int]] = {}

    def balance(self, clearing: ClearingBalance) -> None:
        """Take the balance of a clearing account."""
        shard, other_shard = shard_of(clearing.account), other_shard_of(clearing.owner)
        if other_shard is not None:
            key = pair_key(shard, other_shard, clearing.tenant, clearing.asset)
            self._balances.setdefault(key, [0, 0])[shard > other_shard] += clearing.balance

    def explain(self, key: PairKey, crossing: int, amount: int) -> None:
        """Note that a crossing has moved only one of the two clearing accounts so far."""
        self._explained[key] = self._explained.get(key, 0) + amount
        self._crossing_counts[key] = self._crossing_counts.get(key, 0) + 1
        names = self._crossings.setdefault(key, [])
        if len(names) < NAMES_MAX:
            names.append(crossing)

    def all(self, shards: frozenset[int]) -> list[Pair]:
        """All pairs whose shards are both among these."""
        pairs = []
        for key in sorted(self._balances.keys() | self._explained.keys()):
            first, second, tenant, asset = key
            if {first, second} <= shards:
                one, other = self._balances.get(key, (0, 0))
                pairs.append(
                    Pair(
                        (first, second),
                        tenant,
                        asset,
                        (one, other),
                        self._explained.get(key, 0),
                        self._crossing_counts.get(key, 0),
                        tuple(self._crossings.get(key, ())),
                    )
                )
        return pairs


def clearing_accounts_mirror(
    pairs: Iterable[Pair], heads: Mapping[int, int]
) -> Iterator[tuple[int, FoundProblem]]:
    """The balances of two shards' clearing accounts sum to zero, except for transfers that only one has posted.

    Args:
        pairs: the clearing accounts of each two shards.
        heads: the position up to which each shard was read.

    Yields:
        The first shard of a pair, and the problem found at its head.
    """
    for pair in pairs:
        if pair.unexplained:
            first, second = pair.shards
            detail = (
                f"at the end of the log, what shards {first} and {second} clear in {pair.asset} of tenant "
                f"{pair.tenant} is {pair.balances[0]} and {pair.balances[1]}: {pair.difference} in sum, of "
                f"which {pair.explained} is on its way in {pair.crossing_count} transfers"
            )
            yield first, FoundProblem(ProblemKind.CLEARING_UNEXPLAINED, heads[first], detail)
