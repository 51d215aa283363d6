"""The worker that releases expired holds.

It only finds them. The shard decides whether a hold has expired, by the clock of its server. Several of these workers
at once are harmless.
"""

from tallystick.background.worker import Worker
from tallystick.domain import limits
from tallystick.domain.commands import ExpireHold
from tallystick.domain.outcomes import Posted
from tallystick.ledger import metrics
from tallystick.ledger.errors import FaultyCommandError, NotTakenError
from tallystick.ledger.shard import Shard
from tallystick.store.errors import StoreError
from tallystick.store.reads import HoldToExpire


def expiry_worker(shard: Shard) -> Worker:
    """The worker that follows the holds of one shard."""
    return Worker(
        "expiry of holds",
        Expiry(shard).expire_due,
        interval_seconds=limits.EXPIRY_INTERVAL_SECONDS,
        expected=(StoreError, NotTakenError, FaultyCommandError),
        shard=shard.number,
    )


class Expiry:
    """Follows the holds of one shard in the order in which they expire."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._after_us = 0

    async def expire_due(self) -> None:
        """Release every expired hold."""
        after = (self._after_us, 0)
        while due := await self._shard.reader.holds_to_expire(*after, limits.EXPIRY_HOLDS_PER_ROUND_MAX):
            if still_open := [hold for hold in due if hold.open]:
                await self._expire(still_open)
            after = (due[-1].expires_at_us, due[-1].hold)
        # A hold may be committed some time after it was decided, so the next round looks back that far.
        lookback_us = limits.EXPIRY_LOOKBACK_SECONDS * 1_000_000
        self._after_us = max(self._after_us, after[0] - lookback_us)

    async def _expire(self, due: list[HoldToExpire]) -> None:
        commands = [ExpireHold(tenant=hold.tenant, hold=self._shard.identifier(hold.hold)) for hold in due]
        answers = await self._shard.batcher.submit(commands)
        expired = sum(isinstance(answer.outcome, Posted) for answer in answers)
        metrics.HOLDS_EXPIRED.labels(str(self._shard.number)).inc(expired)
