"""The chain of batches: gapless numbers, times that never go back, each hash recomputed from all that it covers."""

from tallystick.domain.canonical import EncodedBatch, chain_hash, genesis_hash
from tallystick.domain.rows import BatchRow
from tallystick.verify.problems import Findings, ProblemKind


class Chain:
    """Batches have gapless numbers, times that never go back, and hashes that follow from all that they cover.

    It keeps the newest batch that was judged; before the first batch, the beginning of the shard.
    """

    def __init__(self, shard: int, findings: Findings) -> None:
        self._findings = findings
        self.number = 0
        self.last_position = 0
        self.recorded_at_us = 0
        self.hash = genesis_hash(shard)

    def judge(self, batch: BatchRow) -> None:
        """Judge a batch's row against the one before it."""
        if batch.number > self.number + 1:
            missing = (
                f"batch {self.number + 1} is"
                if batch.number == self.number + 2
                else (f"batches {self.number + 1} to {batch.number - 1} are")
            )
            self._findings.with_batch(
                ProblemKind.BATCH_MISSING, self.number + 1, self.last_position, f"{missing} missing"
            )
        elif batch.number <= self.number:
            self._note(ProblemKind.BATCH_REPEATED, batch, "there is a batch of this number where none may be")
        if batch.last_position < self.last_position:
            self._note(
                ProblemKind.BATCH_POSITION,
                batch,
                f"ends at position {batch.last_position}, the batch before it at {self.last_position}",
            )
        if batch.recorded_at_us < self.recorded_at_us:
            self._note(ProblemKind.BATCH_TIME, batch, "was recorded before the batch before it")
        if batch.previous_hash != self.hash:
            detail = "previous_hash is not the hash of the batch before it"
            self._note(ProblemKind.BATCH_PREVIOUS_HASH, batch, detail)

    def judge_hash(self, batch: BatchRow, rows: EncodedBatch) -> None:
        """Recompute a batch's hash from its canonical rows and the hash before it."""
        computed = chain_hash(self.hash, batch.number, batch.last_position, batch.recorded_at_us, rows)
        if computed != batch.hash:
            self._note(
                ProblemKind.BATCH_HASH,
                batch,
                f"its rows and the hash before it give {computed.hex()}, its row says {batch.hash.hex()}: "
                f"something that it wrote was changed, removed or added",
            )

    def note_oversized(self, batch: BatchRow) -> None:
        """Note a batch with more positions than can be written at once; its hash is not computed."""
        span = batch.last_position - self.last_position
        self._note(ProblemKind.BATCH_POSITION, batch, f"has {span} positions, more than one batch can have")

    def follow(self, batch: BatchRow) -> None:
        """Take this batch as the newest one."""
        self.number = batch.number
        self.last_position = max(self.last_position, batch.last_position)
        self.recorded_at_us = batch.recorded_at_us
        self.hash = batch.hash

    def _note(self, kind: ProblemKind, batch: BatchRow, detail: str) -> None:
        self._findings.with_batch(kind, batch.number, max(self.last_position, batch.last_position), detail)
