"""Sagas with payees on several shards: each payees' shard has followed the decision of the payer's shard."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from tallystick.domain.commands import Kind
from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.identifiers import shard_of
from tallystick.domain.outcomes import RefusalCode, refuse
from tallystick.domain.sagas import SagaStatus, SagaTerms, Stage
from tallystick.verify.checks.terms import totals
from tallystick.verify.comparison import (
    Comparison,
    FoundOn,
    at_record,
    at_step,
    name,
    with_refusal,
    wrong_credit,
)
from tallystick.verify.crossing_rows import CreditRecord, CrossingRecords, RefusedCredit, SagaRecord
from tallystick.verify.problems import ProblemKind

_PAID: Final = frozenset({int(SagaStatus.FINALIZED), int(SagaStatus.SETTLED)})
_GIVEN_UP: Final = frozenset({int(SagaStatus.GIVEN_UP), int(SagaStatus.RELEASED)})
# The recorded reason if an operator gave a saga up.
_CANCELLED: Final = refuse(RefusalCode.TRANSFER_CANCELLED)


class _Side(NamedTuple):
    """The records of one payees' shard: its promise, the end of that, and refusals under its key."""

    shard: int
    promise: CreditRecord | None
    confirmation: CreditRecord | None
    revocation: CreditRecord | None
    refusals: Sequence[RefusedCredit]


def judge_split(
    comparison: Comparison, records: CrossingRecords, record: SagaRecord, terms: SagaTerms
) -> Stage | None:
    """Judge a saga with payees on several shards. Returns its stage; None if it has ended.

    It is finalized when all have promised, and settled when all have confirmed. It is given up before anything is
    revoked, and released when everything is. The payer's shard was read first, so its records must be found on the
    others.
    """
    home, shards = shard_of(records.crossing), comparison.shards
    problem_count = comparison.problem_count
    sides = [_side(records, there) for there in terms.payee_shards if there in shards]
    for there in terms.payee_shards:
        if there not in shards:
            comparison.not_compared[home, there] += 1
    comparison.take(split_steps_are_taken_once(records))
    comparison.take(split_steps_move_what_was_agreed(records, record, terms, comparison.derivations))
    comparison.take(split_steps_are_on_the_payees_shards(records, terms))
    for side in sides:
        comparison.take(split_steps_follow_the_decision(record, side))
    if len(sides) == len(terms.payee_shards):
        comparison.take(split_sagas_are_given_up_for_a_reason(record, sides))
    if comparison.problem_count == problem_count:
        for side in sides:
            _explain(comparison, record, terms, side)
    return _stage(record, sides)


def _side(records: CrossingRecords, there: int) -> _Side:
    """The records of one shard: the first step of each kind."""
    steps = {step.kind: step for step in reversed(records.promises) if step.shard == there}
    return _Side(
        there,
        steps.get(Kind.TRANSFER_PROMISED),
        steps.get(Kind.TRANSFER_CONFIRMED),
        steps.get(Kind.TRANSFER_REVOKED),
        [refusal for refusal in records.refusals if refusal.shard == there],
    )


# The checks.


def split_steps_are_taken_once(records: CrossingRecords) -> Iterator[FoundOn]:
    """Each payees' shard promises, confirms and revokes a saga at most once."""
    taken: dict[tuple[int, int], int] = {}
    for step in records.promises:
        position = taken.setdefault((step.shard, step.kind), step.position)
        if position != step.position:
            detail = f"does for saga {name(records.crossing)} what position {position} did"
            yield at_step(ProblemKind.CREDIT_REPEATED, step, detail)


def split_steps_move_what_was_agreed(
    records: CrossingRecords, record: SagaRecord, terms: SagaTerms, derivations: Mapping[int, Derivation]
) -> Iterator[FoundOn]:
    """A promise brings what the terms say to the payees of its shard, and a revocation takes the same back.

    A confirmation moves nothing. Its change of the held amount is judged on its shard.
    """
    for step in records.promises:
        if step.kind == Kind.TRANSFER_CONFIRMED or step.shard not in terms.payee_shards:
            continue
        sign = 1 if step.kind == Kind.TRANSFER_PROMISED else -1
        legs, derivation = terms.credits_on(step.shard), derivations[step.shard]
        for wrong in wrong_credit(step, record, legs, derivation, sign=sign):
            yield at_step(ProblemKind.CREDIT_WRONG, step, f"is of saga {name(record.crossing)}, {wrong}")


def split_steps_are_on_the_payees_shards(records: CrossingRecords, terms: SagaTerms) -> Iterator[FoundOn]:
    """Only the shards that a split saga crosses to say something about it, and none credits it without a promise."""
    crosses = f"which crosses to shards {', '.join(map(str, terms.payee_shards))}"
    detail, kind = f"saga {name(records.crossing)}, {crosses}", ProblemKind.CREDIT_MISPLACED
    for step in records.promises:
        if step.shard not in terms.payee_shards:
            yield at_step(kind, step, f"is of {detail}")
    for credit in records.credits:
        yield at_step(kind, credit, f"credits, and does not promise, {detail}")
    for refusal in records.refusals:
        if refusal.shard not in terms.payee_shards:
            yield with_refusal(kind, refusal, f"refuses to promise {detail}")


def split_steps_follow_the_decision(record: SagaRecord, side: _Side) -> Iterator[FoundOn]:
    """What is finalized was promised and is confirmed; what is given up was revoked or refused; never both."""
    there = side.shard
    if side.promise is not None:
        for refusal in side.refusals:
            detail = f"refuses saga {name(record.crossing)}, which position {side.promise.position} promises"
            yield with_refusal(ProblemKind.CREDIT_REFUSED, refusal, detail)
    if record.status in _PAID:
        missing = None
        if side.revocation is not None:
            missing = f"is finalized, and shard {there} revoked it"
        elif side.promise is None and not record.latest:
            missing = f"is finalized, and shard {there} never promised it"
        elif side.confirmation is None and record.status == SagaStatus.SETTLED and not record.latest:
            missing = f"is settled, and shard {there} never confirmed it"
        if missing is not None:
            yield at_record(ProblemKind.CREDIT_MISSING, record, missing)
    elif record.status in _GIVEN_UP:
        if side.confirmation is not None:
            detail = f"is given up, and shard {there} confirmed it"
            yield at_record(ProblemKind.CREDIT_RELEASED, record, detail)
        elif record.status == SagaStatus.RELEASED and not record.latest:
            yield from _wrong_release(record, side)
    elif side.confirmation is not None and side.revocation is not None:
        detail = f"is confirmed and revoked by shard {there}"
        yield at_record(ProblemKind.CREDIT_RELEASED, record, detail)


def _wrong_release(record: SagaRecord, side: _Side) -> Iterator[FoundOn]:
    if side.promise is not None and side.revocation is None:
        detail = f"is released, although position {side.promise.position} of shard {side.shard} promises it"
        yield at_record(ProblemKind.CREDIT_RELEASED, record, detail)
    elif side.promise is None and not side.refusals:
        detail = f"is released, and shard {side.shard} has no refusal under the key of its promise"
        yield at_record(ProblemKind.REFUSAL_MISSING, record, detail)


def split_sagas_are_given_up_for_a_reason(record: SagaRecord, sides: Sequence[_Side]) -> Iterator[FoundOn]:
    """A split saga is given up because a shard refused it, or because an operator asked for the money back."""
    if record.status not in _GIVEN_UP or record.latest:
        return
    reasons = [refusal[-3:] for side in sides for refusal in side.refusals]
    cancelled = (int(_CANCELLED.code), _CANCELLED.param, _CANCELLED.detail)
    if (record.code, record.param, record.detail) not in [*reasons, cancelled]:
        detail = f"is given up for a reason that no shard refused it for, {record.code}"
        yield at_record(ProblemKind.REFUSAL_WRONG, record, detail)


def _explain(comparison: Comparison, record: SagaRecord, terms: SagaTerms, side: _Side) -> None:
    head = comparison.heads.payers[side.shard]
    came = side.promise is not None and side.promise.position <= head
    went = side.revocation is not None and side.revocation.position <= head
    comparison.explain(
        record.crossing,
        (shard_of(record.crossing), side.shard),
        record.tenant,
        totals(terms.credits_on(side.shard)),
        left=record.status in _PAID and not record.latest,
        came=came and not went,
    )


def _stage(record: SagaRecord, sides: Sequence[_Side]) -> Stage | None:
    """The stage of a saga, by the records of its shards; None if it has ended."""
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
