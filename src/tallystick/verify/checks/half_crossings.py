"""Transactions that were posted on two shards together: each half names the other, and both move the same.

The two commits follow from one decision, but happen one after the other, in either order. Neither log goes on before
its own commit. So a half may be missing only at a position that its shard had not reached when it was read.
"""

from typing import Final

from tallystick.domain.commands import RECEIVED_KINDS, SENT_KINDS
from tallystick.domain.identifiers import local_of, make_identifier, shard_of
from tallystick.verify.comparison import Comparison, name
from tallystick.verify.crossing_rows import CreditRecord, CrossingRecords, Moved, SentHalf
from tallystick.verify.problems import ProblemKind

# The kind of the received half, by the kind of the sent half.
_RECEIVED_OF: Final = {int(sent): int(RECEIVED_KINDS[operation]) for operation, sent in SENT_KINDS.items()}


class HalfCrossings:
    """What was posted on two shards together has two halves, which name each other and move the same."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison
        self.count = 0

    def judge(self, records: CrossingRecords) -> None:
        """Judge all records of one of them."""
        self.count += 1
        sent = records.sent
        home = shard_of(records.crossing)
        if sent is not None and shard_of(sent.other_half) not in self._comparison.shards:
            self._comparison.not_compared[home, shard_of(sent.other_half)] += 1
            return
        problem_count = self._comparison.problem_count
        received = None
        for half in records.received:
            if sent is None:
                self._judge_without_sent(records.crossing, half)
                received = half
            elif sent.other_half != make_identifier(half.shard, half.position):
                self._comparison.note(
                    ProblemKind.HALVES_DIFFER,
                    half.shard,
                    half.position,
                    f"is the other half of {name(records.crossing)}, which refers to {name(sent.other_half)}",
                )
            else:
                received = half
                self._compare(sent, half)
        if sent is not None and received is None:
            self._judge_without_received(sent)
        if self._comparison.problem_count == problem_count:
            self._explain(records.crossing, sent, received)

    def _judge_without_sent(self, crossing: int, half: CreditRecord) -> None:
        home = shard_of(crossing)
        if local_of(crossing) <= self._comparison.heads.latest[home]:
            self._comparison.note(
                ProblemKind.HALF_MISSING,
                half.shard,
                half.position,
                f"is half of a transaction, and the other half at position {local_of(crossing)} of shard {home} "
                f"is not there",
            )

    def _judge_without_received(self, sent: SentHalf) -> None:
        there, position = shard_of(sent.other_half), local_of(sent.other_half)
        if position <= self._comparison.heads.payees[there]:
            self._comparison.note(
                ProblemKind.HALF_MISSING,
                shard_of(sent.crossing),
                local_of(sent.crossing),
                f"is half of a transaction, and the other half at position {position} of shard {there} is not there",
            )

    def _compare(self, sent: SentHalf, half: CreditRecord) -> None:
        left, came = _left(sent.entries), _came(half.entries)
        if _RECEIVED_OF.get(sent.kind) != half.kind or sent.tenant != half.tenant or left != came:
            self._comparison.note(
                ProblemKind.HALVES_DIFFER,
                half.shard,
                half.position,
                f"receives {came} for tenant {half.tenant} as kind {half.kind}; {name(sent.crossing)} sent {left} "
                f"for tenant {sent.tenant} as kind {sent.kind}",
            )

    def _explain(self, crossing: int, sent: SentHalf | None, received: CreditRecord | None) -> None:
        heads = self._comparison.heads.payers
        left = sent is not None and not sent.latest
        came = received is not None and received.position <= heads[received.shard]
        there, tenant, totals = 0, 0, dict[str, int]()
        if sent is not None:
            there, tenant, totals = shard_of(sent.other_half), sent.tenant, _left(sent.entries)
        elif received is not None:
            there, tenant, totals = received.shard, received.tenant, _came(received.entries)
        self._comparison.explain(crossing, (shard_of(crossing), there), tenant, totals, left=left, came=came)


def _left(entries: Moved) -> dict[str, int]:
    """The amounts that leave the accounts of a half, in minor units by asset."""
    return _came(tuple((account, -amount, asset) for account, amount, asset in entries))


def _came(entries: Moved) -> dict[str, int]:
    """The amounts that come to the accounts of a half, in minor units by asset."""
    totals: dict[str, int] = {}
    for _, amount, asset in entries:
        if amount > 0:
            totals[asset] = totals.get(asset, 0) + amount
    return totals
