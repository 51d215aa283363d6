"""Verify what crossed between shards, while the system goes on moving. See `verify/crossing_streams.py`."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from tallystick.verify.checks.crossings import Crossings
from tallystick.verify.checks.pairs import Pair
from tallystick.verify.checks.problems import Problem, ProblemKind
from tallystick.verify.checks.saga_crossings import OpenSaga
from tallystick.verify.crossing_streams import CrossingStreams, ShardLostError


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
    open_sagas: list[OpenSaga]
    problems: list[tuple[int, Problem]]
    counts: dict[ProblemKind, int]
    not_compared: dict[tuple[int, int], int]
    lost: dict[int, ShardLostError]

    @property
    def ok(self) -> bool:
        """Whether nothing that was compared is wrong."""
        return not self.counts

    @property
    def first_problem(self) -> tuple[int, Problem] | None:
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
    crossings = Crossings(streams.heads, streams.derivations)
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
