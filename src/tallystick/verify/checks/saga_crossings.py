"""The steps of each saga on both of its shards."""

from typing import Final, NamedTuple

from tallystick.domain.identifiers import shard_of
from tallystick.domain.sagas import SagaStatus, SagaTerms, Stage
from tallystick.verify.checks.split_crossings import SplitCrossings
from tallystick.verify.checks.terms import totals
from tallystick.verify.comparison import Comparison, name, wrong_credit
from tallystick.verify.crossing_rows import Credit, RefusedCredit, SagaRecord, Told
from tallystick.verify.problems import ProblemKind

OPEN_SAGAS_LISTED_MAX: Final = 100


class OpenSaga(NamedTuple):
    """A saga that has not ended: how far it was found to be, and what it moves, minor units by asset."""

    saga: int
    payee_shards: tuple[int, ...]
    tenant: int
    stage: Stage
    amounts: dict[str, int]


class SagaCrossings:
    """Judges what two shards say about each saga; keeps the first of those that are open, and their number."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison
        self._split = SplitCrossings(comparison)
        self.count = 0
        self.open_count = 0
        self.open: list[OpenSaga] = []

    def judge(self, told: Told) -> None:
        """Judge all that is said about a saga."""
        self.count += 1
        record = told.record
        if record is None:
            self._note_unknown(told)
            return
        if record.terms is None:
            # What cannot be read is told by the shard's own verification.
            return
        if record.terms.is_split:
            stage = self._split.judge(told, record, record.terms)
            if stage is not None and not record.latest:
                self._note_open(record, record.terms, stage)
            return
        there = record.terms.other_shard
        problem_count = self._comparison.problem_count
        for promise in told.promises:
            detail = f"promises something for saga {name(told.crossing)}, which only credits"
            self._comparison.note(ProblemKind.CREDIT_MISPLACED, promise.shard, promise.position, detail)
        credit = self._credit(told, record, record.terms)
        if there not in self._comparison.shards:
            self._comparison.not_compared[shard_of(told.crossing), there] += 1
            return
        self._judge_refusals(told, there, credit)
        self._judge_end(told, record, there, credit)
        if record.status == SagaStatus.RESERVED and not record.latest:
            stage = Stage.CREDITED if credit else Stage.REFUSED if told.refusals else Stage.RESERVED
            self._note_open(record, record.terms, stage)
        if self._comparison.problem_count == problem_count:
            self._explain(record, record.terms, credit)

    def _note_unknown(self, told: Told) -> None:
        detail = f"saga {name(told.crossing)}, which shard {shard_of(told.crossing)} never reserved"
        kind = ProblemKind.CREDIT_OF_NO_SAGA
        for credit in (*told.credits, *told.promises):
            self._comparison.note(kind, credit.shard, credit.position, f"credits {detail}")
        for refusal in told.refusals:
            self._note_refusal(kind, refusal, f"refuses to credit {detail}")

    def _note_refusal(self, kind: ProblemKind, refusal: RefusedCredit, detail: str) -> None:
        findings = self._comparison.findings[refusal.shard]
        findings.with_batch(kind, refusal.batch, refusal.last_position, detail)

    def _credit(self, told: Told, record: SagaRecord, terms: SagaTerms) -> Credit | None:
        """Judge a saga's credits against its terms; returns the one that counts."""
        found: Credit | None = None
        # Of several the right one is where the payer's shard says.
        for credit in sorted(told.credits, key=lambda one: one.position != record.counterpart):
            kind, detail = None, f"credits saga {name(told.crossing)}"
            if credit.shard != terms.other_shard:
                kind = ProblemKind.CREDIT_MISPLACED
                detail = f"{detail}, which crosses to shard {terms.other_shard}"
            elif found is not None:
                kind = ProblemKind.CREDIT_REPEATED
                detail = f"{detail}, which position {found.position} credits as well"
            if kind is not None:
                self._comparison.note(kind, credit.shard, credit.position, detail)
                continue
            found = credit
            derivation = self._comparison.derivations[credit.shard]
            for wrong in wrong_credit(credit, record, terms.credits, derivation):
                self._comparison.note(
                    ProblemKind.CREDIT_WRONG, credit.shard, credit.position, f"{detail}, {wrong}"
                )
        return found

    def _judge_refusals(self, told: Told, there: int, credit: Credit | None) -> None:
        """Judge refusals that stand where none may be: on another shard, or beside the credit."""
        detail = f"refuses to credit saga {name(told.crossing)}, which"
        for refusal in told.refusals:
            if refusal.shard != there:
                wrong = f"{detail} crosses to shard {there}"
                self._note_refusal(ProblemKind.CREDIT_MISPLACED, refusal, wrong)
            elif credit is not None:
                wrong = f"{detail} position {credit.position} credits"
                self._note_refusal(ProblemKind.CREDIT_REFUSED, refusal, wrong)

    def _judge_end(self, told: Told, record: SagaRecord, there: int, credit: Credit | None) -> None:
        """Judge a saga's end against what the other shard says.

        One that ended after the payees' shard was read may rest on what was written there since.
        """
        if record.status == SagaStatus.FINALIZED:
            if credit is not None and credit.position != record.counterpart:
                self._note_end(
                    ProblemKind.COUNTERPART_WRONG,
                    record,
                    f"is finalized for position {record.counterpart} of shard {there}, "
                    f"which credited it at position {credit.position}",
                )
            if credit is None and not record.latest:
                detail = f"is finalized, and shard {there} never credited it"
                self._note_end(ProblemKind.CREDIT_MISSING, record, detail)
        elif record.status == SagaStatus.RELEASED:
            reasons = [refusal[-3:] for refusal in told.refusals if refusal.shard == there]
            if credit is not None:
                detail = f"is released, although position {credit.position} of shard {there} credits it"
                self._note_end(ProblemKind.CREDIT_RELEASED, record, detail)
            elif not reasons and not record.latest:
                detail = f"is released, and shard {there} has no refusal under the key of its credit"
                self._note_end(ProblemKind.REFUSAL_MISSING, record, detail)
            if reasons and (record.code, record.param, record.detail) not in reasons:
                detail = f"is released for another reason than shard {there} refused it for, {reasons[0]}"
                self._note_end(ProblemKind.REFUSAL_WRONG, record, detail)

    def _note_end(self, kind: ProblemKind, record: SagaRecord, detail: str) -> None:
        home = shard_of(record.crossing)
        self._comparison.note(kind, home, record.position or 0, f"saga {name(record.crossing)} {detail}")

    def _note_open(self, record: SagaRecord, terms: SagaTerms, stage: Stage) -> None:
        self.open_count += 1
        if len(self.open) < OPEN_SAGAS_LISTED_MAX:
            amounts = totals(terms.debits)
            self.open.append(OpenSaga(record.crossing, terms.payee_shards, record.tenant, stage, amounts))

    def _explain(self, record: SagaRecord, terms: SagaTerms, credit: Credit | None) -> None:
        heads = self._comparison.heads.payers
        self._comparison.explain(
            record.crossing,
            (shard_of(record.crossing), terms.other_shard),
            record.tenant,
            totals(terms.debits),
            left=record.status == SagaStatus.FINALIZED and not record.latest,
            came=credit is not None and credit.position <= heads[credit.shard],
        )
