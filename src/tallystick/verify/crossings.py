"""Verify what crossed between shards, while the system goes on moving. See `verify/crossing_streams.py`.

Every payer's shard was read first, then every payees' shard, and then the payers' again for what began in between.
So whatever the first reading says of a credit must be found in the second: a saga is finalized after it was credited,
and released after the refusal was recorded. And whatever the second reading shows had begun by the third.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.identifiers import shard_of
from tallystick.verify.checks.clearing import Pair, clearing_accounts_mirror
from tallystick.verify.checks.half_crossings import HalfCrossings
from tallystick.verify.checks.reversals import Payers, reversals_pay_those_who_paid
from tallystick.verify.checks.saga_crossings import OpenCrossing, SagaCrossings
from tallystick.verify.comparison import Comparison, Heads
from tallystick.verify.crossing_rows import (
    ClearingBalance,
    CrossingRecords,
    Telling,
    gather,
)
from tallystick.verify.crossing_streams import CrossingStreams, ShardLostError
from tallystick.verify.problems import LogProblem, ProblemKind


class CrossingsReport(NamedTuple):
    """What was compared between shards, and what was found.

    `problems` are the earliest of each shard, each with its number, and those of whole clearing accounts last;
    `counts` are all of them by kind. `sagas` and `halves` are how many sagas, and transactions that were posted on
    two shards together, were judged. `not_compared` says between which two shards how many could not be compared,
    because one of the two was not read; `lost` which shards could not be reached after all, and why.
    """

    shards: tuple[int, ...]
    sagas: int
    halves: int
    pairs: list[Pair]
    open_count: int
    open_sagas: list[OpenCrossing]
    problems: list[tuple[int, LogProblem]]
    counts: dict[ProblemKind, int]
    not_compared: dict[tuple[int, int], int]
    lost: dict[int, ShardLostError]

    @property
    def ok(self) -> bool:
        """Whether nothing that was compared is wrong."""
        return not self.counts

    @property
    def first_problem(self) -> tuple[int, LogProblem] | None:
        """The first saga that is wrong on the shard with the lowest number; failing that, clearing accounts."""
        return self.problems[0] if self.problems else None

    @property
    def problem_count(self) -> int:
        """How many problems there are."""
        return sum(self.counts.values())


def verify_crossings(dsns: Mapping[int, str]) -> CrossingsReport:
    """Compare what shards say about every saga between them, and their clearing accounts.

    Args:
        dsns: the database of each shard that is compared; any role that may read the logs will do. One that is lost
            on the way is left out, and the others are compared from the beginning.
    """
    left = dict(dsns)
    lost: dict[int, ShardLostError] = {}
    while True:
        try:
            return _compare(left, lost)
        except ShardLostError as error:
            lost[error.shard] = error
            del left[error.shard]


def _compare(dsns: Mapping[int, str], lost: Mapping[int, ShardLostError]) -> CrossingsReport:
    with CrossingStreams(dsns) as streams:
        streams.read_payers()
        streams.read_payees()
        streams.read_latest()
        return judge_crossings(streams, lost)


def judge_crossings(streams: CrossingStreams, lost: Mapping[int, ShardLostError]) -> CrossingsReport:
    """Judge what was read.

    Args:
        streams: the shards, with their moments chosen.
        lost: shards that could not be reached, and why.

    Raises:
        ShardLostError: a shard was lost on the way.
    """
    crossings = CrossingsChecks(streams.heads, streams.derivations)
    for crossing, tellings in streams.crossings():
        crossings.judge(crossing, tellings)
    for balance in streams.clearing_balances():
        crossings.balance(balance)
    pairs = crossings.finish()
    comparison, sagas = crossings.comparison, crossings.sagas
    counts: Counter[ProblemKind] = Counter()
    problems = []
    for shard, findings in sorted(comparison.findings.items()):
        problems += [(shard, problem) for problem in findings.earliest]
        counts.update(findings.counts)
    problems.sort(key=lambda found: found[1].kind == ProblemKind.CLEARING_UNEXPLAINED)
    return CrossingsReport(
        tuple(sorted(comparison.shards)),
        sagas.count,
        crossings.halves.count,
        pairs,
        sagas.open_count,
        sagas.open,
        problems,
        dict(counts),
        dict(comparison.not_compared),
        dict(lost),
    )


_NO_PAYERS: Final[Payers] = {}


class CrossingsChecks:
    """Judges crossing after crossing, in the order of their identifiers; keeps sums, whatever their number is."""

    def __init__(self, heads: Heads, derivations: Mapping[int, Derivation]) -> None:
        """Say how far each shard was read, and what its clearing accounts follow from; only these are compared."""
        self.comparison = Comparison(heads, derivations)
        self.sagas = SagaCrossings(self.comparison)
        self.halves = HalfCrossings(self.comparison)

    def judge(self, crossing: int, tellings: Iterable[Telling]) -> None:
        """Judge all that is said about a crossing."""
        told = gather(crossing, tellings)
        home, not_compared = shard_of(crossing), self.comparison.not_compared
        if home not in self.comparison.shards:
            came = (*told.credits, *told.promises, *told.received)
            not_compared.update((home, credit.shard) for credit in came)
            not_compared.update((home, refusal.shard) for refusal in told.refusals)
            return
        if told.record is not None or told.credits or told.promises or told.refusals:
            self.sagas.judge(told)
        if told.sent is not None or told.received:
            self.halves.judge(told)
        if payers := _payers(told):
            for reversal in told.reversals:
                self.comparison.findings[reversal.shard].take(reversals_pay_those_who_paid(reversal, payers))

    def balance(self, clearing: ClearingBalance) -> None:
        """Take the balance of a clearing account, as of the first moment of its shard."""
        self.comparison.pairs.balance(clearing)

    def finish(self) -> list[Pair]:
        """Judge the clearing accounts once all else is known; returns every pair that was compared."""
        pairs = self.comparison.pairs.all(self.comparison.shards)
        for shard, found in clearing_accounts_mirror(pairs, self.comparison.heads.payers):
            self.comparison.findings[shard].take((found,))
        return pairs


def _payers(told: CrossingRecords) -> Payers:
    if told.record is not None and told.record.terms is not None:
        return {leg.account: (leg.amount, leg.asset or "") for leg in told.record.terms.debits}
    if told.sent is not None:
        return {account: (-amount, asset) for account, amount, asset in told.sent.entries if amount < 0}
    return _NO_PAYERS
