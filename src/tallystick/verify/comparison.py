"""The state of a comparison of shards: how far each was read, the problems, and what could not be compared."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tallystick.domain.commands import Leg
from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.identifiers import Prefix, format_identifier, local_of, shard_of
from tallystick.verify.checks.clearing import Pairs, pair_key
from tallystick.verify.checks.terms import totals
from tallystick.verify.crossing_rows import CreditRecord, RefusedCredit, SagaRecord
from tallystick.verify.problems import Findings, ProblemKind


class Heads(NamedTuple):
    """The position of each shard's head at each of the three moments at which it is read.

    `lost` are the positions that a shard lost before it was restored, as of the last moment.
    """

    payers: Mapping[int, int]
    payees: Mapping[int, int]
    latest: Mapping[int, int]
    lost: Mapping[int, Sequence[range]]


class FoundOn(NamedTuple):
    """A problem that a check finds on a shard: at a position, or with a whole batch that ends at `position`."""

    shard: int
    kind: ProblemKind
    position: int
    detail: str
    batch: int | None = None


class Comparison:
    """Collects problems, and explains differences by transfers that one shard had not posted yet."""

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

    def was_lost(self, shard: int, position: int) -> bool:
        """Whether a shard lost a position before it was restored."""
        return any(position in lost for lost in self.heads.lost.get(shard, ()))

    @property
    def problem_count(self) -> int:
        """How many problems were found so far."""
        return sum(findings.counts.total() for findings in self.findings.values())

    def take(self, found: Iterable[FoundOn]) -> None:
        """Note the problems that a check finds."""
        for shard, kind, position, detail, batch in found:
            if batch is None:
                self.findings[shard].at_position(kind, position, detail)
            else:
                self.findings[shard].with_batch(kind, batch, position, detail)

    def note(self, kind: ProblemKind, shard: int, position: int, detail: str) -> None:
        """Note a problem at a position of a shard."""
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
        """Explain a crossing of which only one shard had posted its part when the balances were read.

        Args:
            crossing: its identifier.
            shards: the payer's shard and the payees'.
            tenant: its tenant.
            totals: the amounts, in minor units by asset.
            left: whether the payer's clearing account had moved.
            came: whether the payees' had.
        """
        if left != came:
            for asset, total in totals.items():
                self.pairs.explain(pair_key(*shards, tenant, asset), crossing, total if left else -total)


def name(crossing: int) -> str:
    """A crossing's identifier as text: that of the transaction that reserved or sent."""
    return format_identifier(Prefix.TRANSACTION, crossing)


def at_step(kind: ProblemKind, step: CreditRecord, detail: str) -> FoundOn:
    """A problem with a step of a payees' shard."""
    return FoundOn(step.shard, kind, step.position, detail)


def with_refusal(kind: ProblemKind, refusal: RefusedCredit, detail: str) -> FoundOn:
    """A problem with a refusal of a payees' shard."""
    return FoundOn(refusal.shard, kind, refusal.last_position, detail, refusal.batch)


def at_record(kind: ProblemKind, record: SagaRecord, detail: str) -> FoundOn:
    """A problem with a saga, at its newest change on the payer's shard."""
    position = record.position or local_of(record.crossing)
    return FoundOn(shard_of(record.crossing), kind, position, f"saga {name(record.crossing)} {detail}")


def wrong_credit(
    credit: CreditRecord, record: SagaRecord, legs: Sequence[Leg], derivation: Derivation, *, sign: int = 1
) -> Iterator[str]:
    """What is wrong with a credit, compared with its saga's legs on this shard (sign -1: it was taken back)."""
    if credit.tenant != record.tenant:
        yield f"which is of tenant {record.tenant}, for tenant {credit.tenant}"
    moved = {account: (amount, asset) for account, amount, asset in credit.entries}
    expected = {leg.account: (sign * leg.amount, leg.asset or "") for leg in legs}
    for asset, total in totals(legs).items():
        clearing = derivation.clearing(shard_of(record.crossing), record.tenant, asset)
        # The verification of the shard itself finds which of the two is wrong.
        account = clearing.former if clearing.former in moved else clearing.account
        expected[account] = (-sign * total, asset)
    if moved != expected or len(moved) != len(credit.entries):
        yield f"whose terms say {_in_words(expected)}; its entries say {_in_words(moved)}"


def _in_words(moves: Mapping[int, tuple[int, str]]) -> str:
    return ", ".join(
        f"{amount} {asset} for account {format_identifier(Prefix.ACCOUNT, account)}"
        for account, (amount, asset) in sorted(moves.items())
    )
