"""Sagas on both of their shards: what the payer's shard records must be found on the payees' shard."""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.identifiers import shard_of
from tallystick.domain.sagas import SagaStatus, SagaTerms, Stage
from tallystick.verify.checks.lost_crossings import LostCrossings
from tallystick.verify.checks.split_crossings import judge_split
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
from tallystick.verify.crossing_rows import CreditRecord, CrossingRecords, SagaRecord
from tallystick.verify.problems import ProblemKind

OPEN_SAGAS_LISTED_MAX: Final = 100


class OpenCrossing(NamedTuple):
    """A saga that has not ended: its stage, and the amounts that it moves, in minor units by asset."""

    saga: int
    payee_shards: tuple[int, ...]
    tenant: int
    stage: Stage
    amounts: dict[str, int]


class SagaCrossings:
    """Judges all records of each saga. Keeps the number of open sagas, and the first of them."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison
        self.lost = LostCrossings(comparison)
        self.count = 0
        self.open_count = 0
        self.open: list[OpenCrossing] = []

    def judge(self, records: CrossingRecords) -> None:
        """Judge all records of a saga."""
        self.count += 1
        record = records.record
        if record is None:
            if not self.lost.lost_debit(records):
                self._comparison.take(credits_are_of_a_saga(records))
        elif record.terms is not None:
            # The verification of the shard itself finds terms that cannot be read.
            if record.terms.is_split:
                stage = judge_split(self._comparison, records, record, record.terms)
            else:
                stage = judge_plain(self._comparison, records, record, record.terms, self.lost)
            if stage is not None and not record.latest:
                self._note_open(record, record.terms, stage)

    def _note_open(self, record: SagaRecord, terms: SagaTerms, stage: Stage) -> None:
        self.open_count += 1
        if len(self.open) < OPEN_SAGAS_LISTED_MAX:
            amounts = totals(terms.debits)
            self.open.append(OpenCrossing(record.crossing, terms.payee_shards, record.tenant, stage, amounts))


def judge_plain(
    comparison: Comparison,
    records: CrossingRecords,
    record: SagaRecord,
    terms: SagaTerms,
    lost: LostCrossings,
) -> Stage | None:
    """Judge a saga between two shards. Returns its stage; None if it has ended or cannot be compared."""
    home, there = shard_of(records.crossing), terms.other_shard
    problem_count = comparison.problem_count
    comparison.take(plain_sagas_promise_nothing(records))
    comparison.take(credits_move_what_was_agreed(records, record, terms, comparison.derivations))
    if there not in comparison.shards:
        comparison.not_compared[home, there] += 1
        return None
    credit = _credit_of(records, record, there)
    comparison.take(refusals_stand_alone(records, there, credit))
    if lost.lost_credit(record, terms, credit):
        return None
    comparison.take(ends_rest_on_the_payees_shard(records, record, there, credit))
    if comparison.problem_count == problem_count:
        comparison.explain(
            record.crossing,
            (home, there),
            record.tenant,
            totals(terms.debits),
            left=record.status == SagaStatus.FINALIZED and not record.latest,
            came=credit is not None and credit.position <= comparison.heads.payers[there],
        )
    if record.status != SagaStatus.RESERVED:
        return None
    return Stage.CREDITED if credit else Stage.REFUSED if records.refusals else Stage.RESERVED


def _credit_of(records: CrossingRecords, record: SagaRecord, there: int) -> CreditRecord | None:
    """The valid credit: if there are several on the right shard, the one that the payer's shard names."""
    found = [credit for credit in records.credits if credit.shard == there]
    return min(found, key=lambda credit: credit.position != record.counterpart, default=None)


# The checks.


def credits_are_of_a_saga(records: CrossingRecords) -> Iterator[FoundOn]:
    """A shard credits, promises or refuses only what another shard has reserved."""
    detail = f"saga {name(records.crossing)}, which shard {shard_of(records.crossing)} never reserved"
    kind = ProblemKind.CREDIT_OF_NO_SAGA
    for credit in (*records.credits, *records.promises):
        yield at_step(kind, credit, f"credits {detail}")
    for refusal in records.refusals:
        yield with_refusal(kind, refusal, f"refuses to credit {detail}")


def plain_sagas_promise_nothing(records: CrossingRecords) -> Iterator[FoundOn]:
    """A saga with payees on one shard is credited there at once, and never promised."""
    for promise in records.promises:
        detail = f"promises something for saga {name(records.crossing)}, which only credits"
        yield at_step(ProblemKind.CREDIT_MISPLACED, promise, detail)


def credits_move_what_was_agreed(
    records: CrossingRecords, record: SagaRecord, terms: SagaTerms, derivations: Mapping[int, Derivation]
) -> Iterator[FoundOn]:
    """A saga is credited once, on the shard that its terms name, for its tenant, with the entries that they say."""
    counted = _credit_of(records, record, terms.other_shard)
    detail = f"credits saga {name(records.crossing)}"
    for credit in records.credits:
        if credit.shard != terms.other_shard:
            wrong = f"{detail}, which crosses to shard {terms.other_shard}"
            yield at_step(ProblemKind.CREDIT_MISPLACED, credit, wrong)
        elif counted is not None and credit is not counted:
            wrong = f"{detail}, which position {counted.position} credits as well"
            yield at_step(ProblemKind.CREDIT_REPEATED, credit, wrong)
        else:
            for wrong in wrong_credit(credit, record, terms.credits, derivations[credit.shard]):
                yield at_step(ProblemKind.CREDIT_WRONG, credit, f"{detail}, {wrong}")


def refusals_stand_alone(
    records: CrossingRecords, there: int, credit: CreditRecord | None
) -> Iterator[FoundOn]:
    """A saga that is refused is not credited, and the shard that was to credit it has refused it."""
    detail = f"refuses to credit saga {name(records.crossing)}, which"
    for refusal in records.refusals:
        if refusal.shard != there:
            yield with_refusal(ProblemKind.CREDIT_MISPLACED, refusal, f"{detail} crosses to shard {there}")
        elif credit is not None:
            wrong = f"{detail} position {credit.position} credits"
            yield with_refusal(ProblemKind.CREDIT_REFUSED, refusal, wrong)


def ends_rest_on_the_payees_shard(
    records: CrossingRecords, record: SagaRecord, there: int, credit: CreditRecord | None
) -> Iterator[FoundOn]:
    """A saga is finalized because of its credit, or released because of its refusal, with the same reason.

    If it ended after the payees' shard was read, its credit or refusal may have been written there since.
    """
    if record.status == SagaStatus.FINALIZED:
        if credit is not None and credit.position != record.counterpart:
            detail = (
                f"is finalized for position {record.counterpart} of shard {there}, "
                f"which credited it at position {credit.position}"
            )
            yield at_record(ProblemKind.COUNTERPART_WRONG, record, detail)
        if credit is None and not record.latest:
            detail = f"is finalized, and shard {there} never credited it"
            yield at_record(ProblemKind.CREDIT_MISSING, record, detail)
    elif record.status == SagaStatus.RELEASED:
        reasons = [refusal[-3:] for refusal in records.refusals if refusal.shard == there]
        if credit is not None:
            detail = f"is released, although position {credit.position} of shard {there} credits it"
            yield at_record(ProblemKind.CREDIT_RELEASED, record, detail)
        elif not reasons and not record.latest:
            detail = f"is released, and shard {there} has no refusal under the key of its credit"
            yield at_record(ProblemKind.REFUSAL_MISSING, record, detail)
        if reasons and (record.code, record.param, record.detail) not in reasons:
            detail = f"is released for another reason than shard {there} refused it for, {reasons[0]}"
            yield at_record(ProblemKind.REFUSAL_WRONG, record, detail)
