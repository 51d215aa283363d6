"""Clearing accounts of two shards, which mirror each other but for what is on its way between them."""

from typing import Final, NamedTuple

from tallystick.domain.identifiers import shard_of
from tallystick.verify.checks.clearing import other_shard_of
from tallystick.verify.checks.crossing_rows import ClearingBalance

NAMES_MAX: Final = 20

PairKey = tuple[int, int, int, str]
"""Two shards, the lower number first, a tenant and an asset."""


def pair_key(shard: int, other_shard: int, tenant: int, asset: str) -> PairKey:
    """What two shards clear with each other, whichever of them is asked."""
    return min(shard, other_shard), max(shard, other_shard), tenant, asset


class Pair(NamedTuple):
    """What two shards say about what they clear, in minor units.

    `balances` are of the clearing accounts of the first shard and of the second. `explained` is what they differ by
    because of crossings that only one of the shards has posted so far: `crossing_count` of them, the first named.
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
        """What the balances sum to: zero while nothing is on its way."""
        return sum(self.balances)

    @property
    def unexplained(self) -> int:
        """What no crossing accounts for: always zero."""
        return self.difference - self.explained


class Pairs:
    """The balances of clearing accounts, and the crossings that they differ by."""

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
        """Note that a crossing has moved one of the two clearing accounts, and not yet the other."""
        self._explained[key] = self._explained.get(key, 0) + amount
        self._crossing_counts[key] = self._crossing_counts.get(key, 0) + 1
        names = self._crossings.setdefault(key, [])
        if len(names) < NAMES_MAX:
            names.append(crossing)

    def all(self, shards: frozenset[int]) -> list[Pair]:
        """All pairs of which both shards are among these."""
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
