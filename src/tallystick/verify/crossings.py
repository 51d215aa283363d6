"""Verify transfers between shards while servers run. See `verify/crossing_streams.py`.

Every payer's shard is read first, then every payees' shard, and then the payers' shards again for sagas that began in
between. A saga is finalized after it was credited, and released after the refusal was recorded. So a credit or
refusal that the first reading relies on must be found in the second. And each credit of the second reading has begun
by the third.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.identifiers import shard_of
from tallystick.verify.checks.clearing import Pair, clearing_accounts_mirror
from tallystick.verify.checks.half_crossings import HalfCrossings
from tallystick.verify.checks.lost_crossings import LostCrossing
from tallystick.verify.checks.reversals import Payers, reversals_pay_those_who_paid
from tallystick.verify.checks.saga_crossings import OpenCrossing, SagaCrossings
from tallystick.verify.comparison import Comparison, Heads
from tallystick.verify.crossing_rows import (
    ClearingBalance,
    CrossingRecord,
    CrossingRecords,
    gather,
)
from tallystick.verify.crossing_streams import CrossingStreams, ShardLostError
from tallystick.verify.problems import LogProblem, ProblemKind


class CrossingsReport(NamedTuple):
    """The result of comparing shards.

    `problems` are the earliest of each shard, with the number of the shard; those of clearing accounts come last.
    `counts` counts all problems by kind. `sagas` and `halves` are the numbers of judged sagas, and of transactions
    that were posted on two shards together. `not_compared` counts, by pair of shards, transfers that could not be
    compared because one of the shards was not read. `lost` has the shards that could not be reached, and why.
    `lost_crossings` are the first transfers of which a shard lost its part before it was restored.
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
    lost_crossing_count: int
    lost_crossings: list[LostCrossing]

    @property
    def ok(self) -> bool:
        """Whether no problem was found."""
        return not self.counts

    @property
    def first_problem(self) -> tuple[int, LogProblem] | None:
        """The first problem of a saga, on the shard with the lowest number; or the first of a clearing account."""
        return self.problems[0] if self.problems else None

    @property
    def problem_count(self) -> int:
        """The number of problems."""
        return sum(self.counts.values())


def verify_crossings(dsns: Mapping[int, str]) -> CrossingsReport:
    """Compare the records of shards about every saga between them, and their clearing accounts.

    Args:
        dsns: the database of each shard that is compared. The role needs only the right to read. A shard that is lost
            meanwhile is left out, and the others are compared again from the beginning.
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
    """Judge the records that were read.

    Args:
        streams: the shards, with their moments chosen.
        lost: shards that could not be reached, and why.

    Raises:
        ShardLostError: a shard was lost meanwhile.
    """
    crossings = CrossingsChecks(streams.heads, streams.derivations)
    for crossing, rows in streams.crossings():
        crossings.judge(crossing, rows)
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
        sagas.lost.count,
        sagas.lost.listed,
    )


_NO_PAYERS: Final[Payers] = {}


class CrossingsChecks:
    """Judges crossings in the order of their identifiers.

    Keeps only sums, so memory does not grow with their number.
    """

    def __init__(self, heads: Heads, derivations: Mapping[int, Derivation]) -> None:
        """`heads`: how far each shard was read.

        `derivations`: the inputs of its clearing accounts. Only these shards are compared.
        """
        self.comparison = Comparison(heads, derivations)
        self.sagas = SagaCrossings(self.comparison)
        self.halves = HalfCrossings(self.comparison)

    def judge(self, crossing: int, rows: Iterable[CrossingRecord]) -> None:
        """Judge all records of a crossing."""
        records = gather(crossing, rows)
        home, not_compared = shard_of(crossing), self.comparison.not_compared
        if home not in self.comparison.shards:
            came = (*records.credits, *records.promises, *records.received)
            not_compared.update((home, credit.shard) for credit in came)
            not_compared.update((home, refusal.shard) for refusal in records.refusals)
            return
        if records.record is not None or records.credits or records.promises or records.refusals:
            self.sagas.judge(records)
        if records.sent is not None or records.received:
            self.halves.judge(records)
        if payers := _payers(records):
            for reversal in records.reversals:
                self.comparison.findings[reversal.shard].take(reversals_pay_those_who_paid(reversal, payers))

    def balance(self, clearing: ClearingBalance) -> None:
        """Take the balance of a clearing account, as of the first moment of its shard."""
        self.comparison.pairs.balance(clearing)

    def finish(self) -> list[Pair]:
        """Judge the clearing accounts at the end. Returns every pair that was compared."""
        pairs = self.comparison.pairs.all(self.comparison.shards)
        for shard, found in clearing_accounts_mirror(pairs, self.comparison.heads.payers):
            self.comparison.findings[shard].take((found,))
        return pairs


def _payers(records: CrossingRecords) -> Payers:
    if records.record is not None and records.record.terms is not None:
        return {leg.account: (leg.amount, leg.asset or "") for leg in records.record.terms.debits}
    if records.sent is not None:
        return {account: (-amount, asset) for account, amount, asset in records.sent.entries if amount < 0}
    return _NO_PAYERS
