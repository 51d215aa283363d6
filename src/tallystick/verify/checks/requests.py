"""Requests: each claims one position that exists, or a refusal with a known code in a batch that exists."""

from collections.abc import Iterable, Mapping
from typing import Final

from tallystick.domain.commands import Kind
from tallystick.domain.outcomes import RefusalCode
from tallystick.domain.rows import BatchRow
from tallystick.domain.sagas import Step, credit_request, promise_end_request
from tallystick.verify.checks.fingerprints import Posting, contradiction
from tallystick.verify.checks.problems import Findings, ProblemKind
from tallystick.verify.checks.rows import Claim, TransactionHead

# A key that was reused is refused to the later request; a hold that is busy, and a limit, pass: none is recorded.
RECORDED_CODES: Final = frozenset(map(int, RefusalCode)) - {
    int(RefusalCode.IDEMPOTENCY_KEY_REUSED),
    int(RefusalCode.HOLD_BUSY),
    int(RefusalCode.RATE_LIMITED),
}

# The steps of a saga on the payees' shards, which stand under keys that are derived from it.
_STEP_KINDS: Final[dict[int, str]] = {
    Kind.TRANSFER_CREDITED: "the credit",
    Kind.TRANSFER_PROMISED: "the promise",
    Kind.TRANSFER_CONFIRMED: "the confirmation",
    Kind.TRANSFER_REVOKED: "the revocation",
}
_PROMISE_ENDS: Final[dict[int, Step]] = {
    Kind.TRANSFER_CONFIRMED: Step.CONFIRM,
    Kind.TRANSFER_REVOKED: Step.REVOKE,
}


class Requests:
    """Follows the claims in the order of the log."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._last_position = 0

    def judge_posted(self, claims: Iterable[Claim], postings: Mapping[int, Posting]) -> None:
        """Judge the claims of a slice's positions."""
        step_keys = {
            position: key
            for position, posting in postings.items()
            if posting.transaction.kind in _STEP_KINDS
            and (key := _key_of_step(posting.transaction)) is not None
        }
        for key, position, batch, code, fingerprint in claims:
            if position is None:
                continue
            if repeated := position == self._last_position:
                self._note_position(position, "two requests claim this position")
            posting = postings.get(position)
            if posting is None:
                self._note_position(position, "a request claims this position, and no transaction is there")
            elif posting.transaction.kind in _STEP_KINDS:
                if key != step_keys.pop(position, key):
                    self._note_position(
                        position, f"{_step(posting)} of a saga is claimed by another key than the saga's"
                    )
            elif not repeated and (wrong := contradiction(fingerprint, posting)) is not None:
                self._findings.at_position(ProblemKind.REQUEST_CONTRADICTED, position, wrong)
            if batch is not None or code is not None:
                self._note_position(position, "the request that claims this position was refused as well")
            self._last_position = position
        for position in step_keys:
            step = _step(postings[position])
            self._note_position(position, f"{step} of a saga is not claimed by the saga's key")

    def judge_refused(self, claims: Iterable[Claim], batch: BatchRow) -> None:
        """Judge the refusals that a batch recorded."""
        for claim in claims:
            if claim.batch != batch.number:
                self.judge_lost((claim,), batch.last_position)
            if claim.code not in RECORDED_CODES:
                self._findings.with_batch(
                    ProblemKind.REQUEST_WRONG,
                    batch.number,
                    batch.last_position,
                    f"a request was refused with the code {claim.code}, which is none",
                )

    def judge_lost(self, claims: Iterable[Claim], last_position: int) -> None:
        """Judge refusals of batches that do not exist."""
        for claim in claims:
            detail = "a request was refused in this batch, and there is no such batch"
            self._findings.with_batch(ProblemKind.REQUEST_WRONG, claim.batch or 0, last_position, detail)

    def _note_position(self, position: int, detail: str) -> None:
        self._findings.at_position(ProblemKind.REQUEST_WRONG, position, detail)


def _key_of_step(transaction: TransactionHead) -> bytes | None:
    """The key under which a step of a saga must stand; None: the reference names no saga, which its shape tells."""
    saga, step = transaction.refers_to, _PROMISE_ENDS.get(transaction.kind)
    if saga is None or saga < 0:
        return None
    return credit_request(saga).key if step is None else promise_end_request(saga, step).key


def _step(posting: Posting) -> str:
    return _STEP_KINDS[posting.transaction.kind]
