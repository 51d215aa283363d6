"""Requests: each claims one position that exists, or a refusal with a known code in a batch that exists."""

from collections.abc import Iterable
from typing import Final

from tallystick.domain.commands import Kind
from tallystick.domain.outcomes import RefusalCode
from tallystick.domain.rows import BatchRow
from tallystick.domain.sagas import credit_request
from tallystick.domain.verification.problems import Findings, ProblemKind
from tallystick.domain.verification.rows import Claim, TransactionHead

# A key that was reused is refused to the later request, and a hold that is busy for a moment: neither is recorded.
RECORDED_CODES: Final = frozenset(map(int, RefusalCode)) - {
    int(RefusalCode.IDEMPOTENCY_KEY_REUSED),
    int(RefusalCode.HOLD_BUSY),
}


class Requests:
    """Follows the claims in the order of the log."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._last_position = 0

    def judge_posted(self, claims: Iterable[Claim], transactions: Iterable[TransactionHead]) -> None:
        """Judge the claims of a slice's positions."""
        keys = {
            transaction.position: _key_of_credit(transaction.refers_to)
            if transaction.kind == Kind.TRANSFER_CREDITED
            else None
            for transaction in transactions
        }
        for key, position, batch, code in claims:
            if position is None:
                continue
            if position not in keys:
                self._note_position(position, "a request claims this position, and no transaction is there")
            elif (expected := keys[position]) is not None:
                keys[position] = None
                if key != expected:
                    self._note_position(
                        position, "the credit of a saga is claimed by another key than the saga's"
                    )
            if position == self._last_position:
                self._note_position(position, "two requests claim this position")
            if batch is not None or code is not None:
                self._note_position(position, "the request that claims this position was refused as well")
            self._last_position = position
        for position, expected in keys.items():
            if expected is not None:
                self._note_position(position, "the credit of a saga is not claimed by the saga's key")

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


def _key_of_credit(saga: int | None) -> bytes | None:
    """The key under which the credit of a saga must stand; None: the reference names none, which its shape tells."""
    return None if saga is None or saga < 0 else credit_request(saga).key
