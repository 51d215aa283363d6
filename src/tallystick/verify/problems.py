"""Problems of a log, with their kinds, texts and order."""

from bisect import insort
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

PROBLEMS_LISTED_MAX: Final = 100


class ProblemKind(StrEnum):
    """The kind of a problem."""

    POSITION_MISSING = "position_missing"
    POSITION_REPEATED = "position_repeated"
    BEYOND_HEAD = "beyond_head"
    ROW_WITHOUT_TRANSACTION = "row_without_transaction"

    BATCH_MISSING = "batch_missing"
    BATCH_REPEATED = "batch_repeated"
    BATCH_POSITION = "batch_position"
    BATCH_TIME = "batch_time"
    BATCH_PREVIOUS_HASH = "batch_previous_hash"
    BATCH_HASH = "batch_hash"

    TRANSACTION_TIME = "transaction_time"
    TRANSACTION_KIND = "transaction_kind"
    TRANSACTION_SHAPE = "transaction_shape"
    TRANSACTION_UNBALANCED = "transaction_unbalanced"

    ACCOUNT_UNKNOWN = "account_unknown"
    ACCOUNT_TERMS = "account_terms"
    ACCOUNT_STATUS = "account_status"
    TENANT_MISMATCH = "tenant_mismatch"
    ASSET_MISMATCH = "asset_mismatch"
    BALANCE_WRONG = "balance_wrong"
    HELD_WRONG = "held_wrong"
    BOUND_WRONG = "bound_wrong"
    BOUND_BROKEN = "bound_broken"

    HOLD_WRONG = "hold_wrong"
    HOLD_STUCK = "hold_stuck"
    SAGA_WRONG = "saga_wrong"
    SAGA_STUCK = "saga_stuck"
    HALF_WRONG = "half_wrong"
    CLEARING_WRONG = "clearing_wrong"
    REVERSAL_WRONG = "reversal_wrong"
    REQUEST_WRONG = "request_wrong"
    REQUEST_CONTRADICTED = "request_contradicted"
    SHARD_UNBALANCED = "shard_unbalanced"

    # Problems between two shards.
    CREDIT_MISSING = "credit_missing"
    CREDIT_WRONG = "credit_wrong"
    CREDIT_REPEATED = "credit_repeated"
    CREDIT_MISPLACED = "credit_misplaced"
    CREDIT_OF_NO_SAGA = "credit_of_no_saga"
    CREDIT_REFUSED = "credit_refused"
    CREDIT_RELEASED = "credit_released"
    COUNTERPART_WRONG = "counterpart_wrong"
    REFUSAL_MISSING = "refusal_missing"
    REFUSAL_WRONG = "refusal_wrong"
    HALF_MISSING = "half_missing"
    HALVES_DIFFER = "halves_differ"
    REVERSAL_ELSEWHERE = "reversal_elsewhere"
    CLEARING_UNEXPLAINED = "clearing_unexplained"


class LogProblem(NamedTuple):
    """One problem, at a position or with a batch. Problems sort in the order of the log."""

    order: tuple[int, int, int]
    kind: ProblemKind
    detail: str
    position: int | None
    batch: int | None


class FoundProblem(NamedTuple):
    """A problem that a check finds at a position."""

    kind: ProblemKind
    position: int
    detail: str


class Findings:
    """The counts of all problems by kind, and the earliest problems."""

    def __init__(self) -> None:
        self.counts: Counter[ProblemKind] = Counter()
        self.earliest: list[LogProblem] = []

    def take(self, found: Iterable[FoundProblem]) -> None:
        """Note the problems that a check finds."""
        for kind, position, detail in found:
            self.at_position(kind, position, detail)

    def at_position(self, kind: ProblemKind, position: int, detail: str) -> None:
        """Note a problem at a position."""
        self._add(LogProblem((position, 0, 0), kind, detail, position, None))

    def with_batch(self, kind: ProblemKind, number: int, last_position: int, detail: str) -> None:
        """Note a problem with a batch as a whole. It sorts after problems at its positions."""
        self._add(LogProblem((last_position, 1, number), kind, detail, None, number))

    def _add(self, problem: LogProblem) -> None:
        self.counts[problem.kind] += 1
        insort(self.earliest, problem, key=_order)
        del self.earliest[PROBLEMS_LISTED_MAX:]


def _order(problem: LogProblem) -> tuple[int, int, int]:
    return problem.order
