"""The steps of each saga with payees on several shards, on all of its shards."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from tallystick.domain.commands import Kind
from tallystick.domain.identifiers import local_of, shard_of
from tallystick.domain.outcomes import RefusalCode, refuse
from tallystick.domain.sagas import SagaStatus, SagaTerms, Stage
from tallystick.verify.checks.terms import totals
from tallystick.verify.comparison import Comparison, name, wrong_credit
from tallystick.verify.crossing_rows import Credit, RefusedCredit, SagaRecord, Told
from tallystick.verify.problems import ProblemKind

_PAID: Final = frozenset({int(SagaStatus.FINALIZED), int(SagaStatus.SETTLED)})
_GIVEN_UP: Final = frozenset({int(SagaStatus.GIVEN_UP), int(SagaStatus.RELEASED)})
# What an operator's giving up is recorded with.
_CANCELLED: Final = refuse(RefusalCode.TRANSFER_CANCELLED)


class _Side(NamedTuple):
    """What one payees' shard says: its promise, how that ended, and refusals under the key of it."""

    shard: int
    promise: Credit | None
    confirmation: Credit | None
    revocation: Credit | None
    refusals: Sequence[RefusedCredit]


class SplitCrossings:
    """Judges what several shards say about a saga whose payees they have.

    It is finalized when all have promised and settled when all have confirmed; given up before anything is revoked,
    and released when everything is. What the payer's shard was read to say first must be found on the others.
    """

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison

    def judge(self, told: Told, record: SagaRecord, terms: SagaTerms) -> Stage | None:
        """Judge all that is said about a saga; returns how far it is, None when it has ended."""
        home, shards = shard_of(told.crossing), self._comparison.shards
        problem_count = self._comparison.problem_count
        sides = [self._side(told, record, terms, there) for there in terms.payee_shards if there in shards]
        for there in terms.payee_shards:
            if there not in shards:
                self._comparison.not_compared[home, there] += 1
        self._judge_misplaced(told, terms)
        for side in sides:
            self._judge_side(record, side)
        self._judge_reason(record, sides, all_known=len(sides) == len(terms.payee_shards))
        if self._comparison.problem_count == problem_count:
            for side in sides:
                self._explain(record, terms, side)
        return _stage(record, sides)

    def _side(self, told: Told, record: SagaRecord, terms: SagaTerms, there: int) -> _Side:
        """Gather what a shard says, and judge each of its steps against the terms."""
        steps: dict[int, Credit] = {}
        for step in told.promises:
            if step.shard != there:
                continue
            if step.kind in steps:
                detail = f"does for saga {name(told.crossing)} what position {steps[step.kind].position} did"
                self._comparison.note(ProblemKind.CREDIT_REPEATED, there, step.position, detail)
                continue
            steps[step.kind] = step
            self._judge_entries(step, record, terms)
        return _Side(
            there,
            steps.get(Kind.TRANSFER_PROMISED),
            steps.get(Kind.TRANSFER_CONFIRMED),
            steps.get(Kind.TRANSFER_REVOKED),
            [refusal for refusal in told.refusals if refusal.shard == there],
        )

    def _judge_entries(self, step: Credit, record: SagaRecord, terms: SagaTerms) -> None:
        if step.kind == Kind.TRANSFER_CONFIRMED:
            # It moves nothing; what it holds no more is judged on its shard.
            return
        sign = 1 if step.kind == Kind.TRANSFER_PROMISED else -1
        derivation = self._comparison.derivations[step.shard]
        for wrong in wrong_credit(step, record, terms.credits_on(step.shard), derivation, sign=sign):
            detail = f"is of saga {name(record.crossing)}, {wrong}"
            self._comparison.note(ProblemKind.CREDIT_WRONG, step.shard, step.position, detail)

    def _judge_misplaced(self, told: Told, terms: SagaTerms) -> None:
        """Judge what stands where the saga does not go, or is not what it does."""
        detail = (
            f"saga {name(told.crossing)}, which crosses to shards {', '.join(map(str, terms.payee_shards))}"
        )
        kind = ProblemKind.CREDIT_MISPLACED
        for step in told.promises:
            if step.shard not in terms.payee_shards:
                self._comparison.note(kind, step.shard, step.position, f"is of {detail}")
        for credit in told.credits:
            self._comparison.note(
                kind, credit.shard, credit.position, f"credits, and does not promise, {detail}"
            )
        for refusal in told.refusals:
            if refusal.shard not in terms.payee_shards:
                self._note_refusal(kind, refusal, f"refuses to promise {detail}")

    def _judge_side(self, record: SagaRecord, side: _Side) -> None:
        """Judge what one shard did against what the payer's shard decided."""
        there = side.shard
        if side.promise is not None:
            for refusal in side.refusals:
                detail = (
                    f"refuses saga {name(record.crossing)}, which position {side.promise.position} promises"
                )
                self._note_refusal(ProblemKind.CREDIT_REFUSED, refusal, detail)
        if record.status in _PAID:
            if side.revocation is not None:
                self._note_end(
                    record, ProblemKind.CREDIT_MISSING, f"is finalized, and shard {there} revoked it"
                )
            elif side.promise is None and not record.latest:
                self._note_end(
                    record, ProblemKind.CREDIT_MISSING, f"is finalized, and shard {there} never promised it"
                )
            elif side.confirmation is None and record.status == SagaStatus.SETTLED and not record.latest:
                self._note_end(
                    record, ProblemKind.CREDIT_MISSING, f"is settled, and shard {there} never confirmed it"
                )
        elif record.status in _GIVEN_UP:
            if side.confirmation is not None:
                self._note_end(
                    record, ProblemKind.CREDIT_RELEASED, f"is given up, and shard {there} confirmed it"
                )
            elif record.status == SagaStatus.RELEASED and not record.latest:
                self._judge_release(record, side)
        elif side.confirmation is not None and side.revocation is not None:
            detail = f"is confirmed and revoked by shard {there}"
            self._note_end(record, ProblemKind.CREDIT_RELEASED, detail)

    def _judge_release(self, record: SagaRecord, side: _Side) -> None:
        if side.promise is not None and side.revocation is None:
            detail = (
                f"is released, although position {side.promise.position} of shard {side.shard} promises it"
            )
            self._note_end(record, ProblemKind.CREDIT_RELEASED, detail)
        elif side.promise is None and not side.refusals:
            detail = f"is released, and shard {side.shard} has no refusal under the key of its promise"
            self._note_end(record, ProblemKind.REFUSAL_MISSING, detail)

    def _judge_reason(self, record: SagaRecord, sides: Sequence[_Side], *, all_known: bool) -> None:
        """Judge why it was given up: because a shard refused it, or because an operator asked for the money back."""
        if record.status not in _GIVEN_UP or record.latest or not all_known:
            return
        reasons = [refusal[-3:] for side in sides for refusal in side.refusals]
        cancelled = (int(_CANCELLED.code), _CANCELLED.param, _CANCELLED.detail)
        if (record.code, record.param, record.detail) not in [*reasons, cancelled]:
            detail = f"is given up for a reason that no shard refused it for, {record.code}"
            self._note_end(record, ProblemKind.REFUSAL_WRONG, detail)

    def _explain(self, record: SagaRecord, terms: SagaTerms, side: _Side) -> None:
        head = self._comparison.heads.payers[side.shard]
        came = side.promise is not None and side.promise.position <= head
        went = side.revocation is not None and side.revocation.position <= head
        self._comparison.explain(
            record.crossing,
            (shard_of(record.crossing), side.shard),
            record.tenant,
            totals(terms.credits_on(side.shard)),
            left=record.status in _PAID and not record.latest,
            came=came and not went,
        )

    def _note_end(self, record: SagaRecord, kind: ProblemKind, detail: str) -> None:
        home = shard_of(record.crossing)
        position = record.position or local_of(record.crossing)
        self._comparison.note(kind, home, position, f"saga {name(record.crossing)} {detail}")

    def _note_refusal(self, kind: ProblemKind, refusal: RefusedCredit, detail: str) -> None:
        findings = self._comparison.findings[refusal.shard]
        findings.with_batch(kind, refusal.batch, refusal.last_position, detail)


def _stage(record: SagaRecord, sides: Sequence[_Side]) -> Stage | None:
    """How far a saga is, by what its shards say; None when it has ended."""
    match record.status:
        case SagaStatus.SETTLED | SagaStatus.RELEASED:
            return None
        case SagaStatus.FINALIZED:
            return Stage.CONFIRMED if all(side.confirmation for side in sides) else Stage.FINALIZED
        case SagaStatus.GIVEN_UP:
            undone = all(side.revocation or side.refusals for side in sides)
            return Stage.REVOKED if undone else Stage.GIVEN_UP
    if any(side.refusals for side in sides):
        return Stage.REFUSED
    return Stage.PROMISED if all(side.promise for side in sides) else Stage.RESERVED
