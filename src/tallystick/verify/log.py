"""Verify a shard's log from its tables alone, as of one moment, while servers write to it.

One thing cannot be found: rows that are missing at the very end of the log, together with their batches and requests.
Only a signed checkpoint that is kept elsewhere could show it, and there is none yet.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tallystick.domain import limits
from tallystick.domain.rows import BatchRow
from tallystick.store.made import Difference
from tallystick.store.migrate import schema_differences
from tallystick.verify.checks.chain import Chain
from tallystick.verify.checks.requests import Requests
from tallystick.verify.checks.reversals import reversals_give_back_no_more
from tallystick.verify.checks.state import END_CHECKS, LogState
from tallystick.verify.checks.transactions import SLICE_CHECKS, Rows, nothing_stands_beyond_the_head, slice_of
from tallystick.verify.problems import Findings, LogProblem, ProblemKind
from tallystick.verify.rows import (
    read_account,
    read_entry,
    read_hold,
    read_request,
    read_saga,
    read_transaction,
)
from tallystick.verify.streams import LogStreams, RawSlice

Progress = Callable[[int, int], None]


class LostPositions(NamedTuple):
    """Positions that a shard lost before it was restored, from `first` to `last`, and the batch that covers them."""

    batch: int
    first: int
    last: int
    restored_at_us: int
    reason: str


class ShardReport(NamedTuple):
    """The result of verifying a shard.

    `problems` are the earliest in the order of the log; `counts` counts all of them by kind. `schema` has the
    differences from what the migrations made: in checks of the database, and in rights to write to it. `lost` are
    positions that are not used again since a restore.
    """

    shard: int
    positions: int
    batches: int
    accounts: int
    head_hash: bytes
    problems: list[LogProblem]
    counts: dict[ProblemKind, int]
    schema: list[Difference]
    lost: list[LostPositions]

    @property
    def ok(self) -> bool:
        """Whether no problem and no difference was found."""
        return not self.problems and not self.schema

    @property
    def first_problem(self) -> LogProblem | None:
        """The first problem in the order of the log."""
        return self.problems[0] if self.problems else None

    @property
    def problem_count(self) -> int:
        """The number of problems."""
        return sum(self.counts.values())


def verify_shard(dsn: str, shard: int, on_progress: Progress | None = None) -> ShardReport:
    """Recompute everything that must be true of a shard's log.

    Args:
        dsn: the shard's database. The role needs only the right to read.
        shard: the shard's number. The chain begins with it.
        on_progress: called after each batch with the position reached and the position of the head.

    Raises:
        ShardUnavailableError: PostgreSQL cannot be reached, or was lost meanwhile.
        SchemaError: the database belongs to another shard, or has another version.
    """
    schema = schema_differences(dsn, shard)
    with LogStreams(dsn) as log:
        verification = _Verification(shard, log)
        for batch in log.batches():
            verification.judge_batch(batch)
            if on_progress is not None:
                on_progress(batch.last_position, log.head_position)
        verification.finish()
        return verification.report(schema)


class _Verification:
    """One pass over one shard's log."""

    def __init__(self, shard: int, log: LogStreams) -> None:
        self._shard = shard
        self._log = log
        self._findings = Findings()
        self._chain = Chain(shard, self._findings)
        self._state = LogState(log.derivation(shard), self._findings)
        self._judged_position = 0
        self._requests = Requests(self._findings)
        self._batch_count = 0
        self._lost_ranges = log.lost_ranges()
        self._lost: list[LostPositions] = []

    def judge_batch(self, batch: BatchRow) -> None:
        """Judge all rows that one batch wrote, and their hash."""
        self._batch_count += 1
        self._chain.judge(batch)
        span = batch.last_position - self._chain.last_position
        if batch.number in self._lost_ranges:
            self._judge_lost_positions(batch)
        elif span <= limits.VERIFY_POSITIONS_PER_SLICE:
            rows = self._log.take(batch.last_position, batch.number)
            self._judge_rows(batch, batch.last_position, rows)
            self._chain.judge_hash(batch, rows.encoded())
        else:
            self._chain.note_oversized(batch)
            for through in _slice_ends(self._chain.last_position, batch.last_position):
                self._judge_rows(batch, through, self._log.take(through, batch.number))
        self._chain.follow(batch)

    def _judge_lost_positions(self, batch: BatchRow) -> None:
        """Judge a batch that covers positions which were lost before a restore: it has no rows at all."""
        reason = self._lost_ranges[batch.number].reason
        first = self._chain.last_position + 1
        self._lost.append(
            LostPositions(batch.number, first, batch.last_position, batch.recorded_at_us, reason)
        )
        # No position is expected: the checks name each row that is there all the same.
        self._judged_position = max(self._judged_position, batch.last_position)
        rows = self._log.take(batch.last_position, batch.number)
        self._judge_rows(batch, batch.last_position, rows)
        self._chain.judge_hash(batch, rows.encoded())

    def finish(self) -> None:
        """Judge what depends on the whole log."""
        head_position = self._chain.last_position
        self._judge_rows_beyond_head(head_position)
        for check in END_CHECKS:
            self._findings.take(check(self._state, head_position))
        self._findings.take(reversals_give_back_no_more(self._log.reversals()))

    def report(self, schema: list[Difference]) -> ShardReport:
        """The result."""
        return ShardReport(
            self._shard,
            self._chain.last_position,
            self._batch_count,
            len(self._state.accounts),
            self._chain.hash,
            self._findings.earliest,
            dict(self._findings.counts),
            schema,
            self._lost,
        )

    def _judge_rows(self, batch: BatchRow, through: int, raw: RawSlice) -> None:
        rows = Rows(
            [read_transaction(row) for row in raw.transactions],
            [read_entry(row) for row in raw.entries],
            [read_account(row) for row in raw.accounts],
            [read_hold(row) for row in raw.holds],
            [read_saga(row) for row in raw.sagas],
        )
        part = slice_of(batch, self._judged_position, through, rows)
        self._judged_position = max(self._judged_position, through)
        for check in SLICE_CHECKS:
            self._findings.take(check(part))
        for posting in part.postings:
            self._state.judge(posting)
        postings = {posting.transaction.position: posting for posting in part.postings}
        self._requests.judge_posted((read_request(row) for row in raw.posted), postings)
        self._requests.judge_refused((read_request(row) for row in raw.refused), batch)

    def _judge_rows_beyond_head(self, head_position: int) -> None:
        log = self._log
        for table, stream in (
            ("transactions", log.transactions),
            ("entries", log.entries),
            ("accounts", log.accounts),
            ("holds", log.holds),
            ("sagas", log.sagas),
        ):
            self._findings.take(nothing_stands_beyond_the_head(table, stream.places(), head_position))
        self._requests.judge_posted((read_request(row) for row in log.posted), {})
        self._requests.judge_lost((read_request(row) for row in log.refused), head_position)


def _slice_ends(after: int, through: int) -> Iterator[int]:
    """The ends of the slices of the positions after one and up to another."""
    yield from range(after + limits.VERIFY_POSITIONS_PER_SLICE, through, limits.VERIFY_POSITIONS_PER_SLICE)
    yield through
