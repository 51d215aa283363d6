"""The worker that releases holds whose time is over.

It only finds them: whether a hold's time is over is judged inside the shard, by the server's clock. Any number
of these workers at once do no harm.
"""

import asyncio

import structlog

from tallystick.domain import limits
from tallystick.domain.commands import ExpireHold
from tallystick.domain.outcomes import Posted
from tallystick.ledger import metrics
from tallystick.ledger.errors import FaultyCommandError, NotTakenError
from tallystick.ledger.shard import Shard
from tallystick.store.errors import StoreError
from tallystick.store.reads import HoldToExpire

_log = structlog.get_logger(__name__)


class ExpiryWorker:
    """Follows the holds of one shard in the order in which they expire."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._after_us = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look, once a second."""
        self._task = asyncio.create_task(self._run(), name=f"expiry on shard {self._shard.number}")

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self.expire_due()
            except (StoreError, NotTakenError, FaultyCommandError) as error:
                _log.warning("holds could not be expired now", shard=self._shard.number, reason=str(error))
            await asyncio.sleep(limits.EXPIRY_INTERVAL_SECONDS)

    async def expire_due(self) -> None:
        """Release every hold whose time is over."""
        after = (self._after_us, 0)
        while due := await self._shard.reader.holds_to_expire(*after, limits.EXPIRY_HOLDS_PER_ROUND_MAX):
            if still_open := [hold for hold in due if hold.open]:
                await self._expire(still_open)
            after = (due[-1].expires_at_us, due[-1].hold)
        # A hold may be committed a while after it was decided, so the next round looks back that far.
        lookback_us = limits.EXPIRY_LOOKBACK_SECONDS * 1_000_000
        self._after_us = max(self._after_us, after[0] - lookback_us)

    async def _expire(self, due: list[HoldToExpire]) -> None:
        commands = [ExpireHold(tenant=hold.tenant, hold=self._shard.identifier(hold.hold)) for hold in due]
        answers = await self._shard.batcher.submit(commands)
        expired = sum(isinstance(answer.outcome, Posted) for answer in answers)
        metrics.HOLDS_EXPIRED.labels(str(self._shard.number)).inc(expired)
