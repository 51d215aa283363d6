"""What comparing shards works with: how far each was read, what is wrong, what could not be compared."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.identifiers import Prefix, format_identifier
from tallystick.verify.checks.pairs import Pairs, pair_key
from tallystick.verify.checks.problems import Findings, ProblemKind


class Heads(NamedTuple):
    """The position of each shard's head at each of the three moments at which it is read."""

    payers: Mapping[int, int]
    payees: Mapping[int, int]
    latest: Mapping[int, int]


class Comparison:
    """Takes what is found, and accounts for what only one of two shards had posted at its first moment."""

    def __init__(self, heads: Heads, derivations: Mapping[int, Derivation]) -> None:
        self.heads = heads
        self.derivations = derivations
        self.findings = {shard: Findings() for shard in heads.payers}
        self.pairs = Pairs()
        self.not_compared: Counter[tuple[int, int]] = Counter()

    @property
    def shards(self) -> frozenset[int]:
        """The shards that are compared."""
        return frozenset(self.findings)

    @property
    def problem_count(self) -> int:
        """How many problems were found so far."""
        return sum(findings.counts.total() for findings in self.findings.values())

    def note(self, kind: ProblemKind, shard: int, position: int, detail: str) -> None:
        """Note what is wrong at a position of a shard."""
        self.findings[shard].at_position(kind, position, detail)

    def explain(
        self,
        crossing: int,
        shards: tuple[int, int],
        tenant: int,
        totals: Mapping[str, int],
        *,
        left: bool,
        came: bool,
    ) -> None:
        """Account for a crossing of which only one shard had posted its part when the balances were read.

        Args:
            crossing: its identifier.
            shards: the payer's shard and the payees'.
            tenant: whose it is.
            totals: what crosses, minor units by asset.
            left: whether the payer's clearing account had moved.
            came: whether the payees' had.
        """
        if left != came:
            for asset, total in totals.items():
                self.pairs.explain(pair_key(*shards, tenant, asset), crossing, total if left else -total)


def name(crossing: int) -> str:
    """A crossing's identifier as people know it: that of the transaction which reserved or sent."""
    return format_identifier(Prefix.TRANSACTION, crossing)
