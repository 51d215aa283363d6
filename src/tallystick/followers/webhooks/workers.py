"""The workers of webhooks.

For each shard, the one process with the lease delivers. When it ends, another takes over.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from tallystick.background.worker import Worker
from tallystick.domain import limits
from tallystick.followers.webhooks import metrics
from tallystick.followers.webhooks.delivery import Delivery
from tallystick.followers.webhooks.secret_keys import SecretKeys
from tallystick.followers.webhooks.sending import Sender
from tallystick.ledger.crossing.earlier_credits import EarlierCredits
from tallystick.ledger.errors import NotTakenError
from tallystick.ledger.shard import Shard
from tallystick.ledger.shard_workers import ShardWorkers
from tallystick.store.errors import StoreError
from tallystick.store.lease import Ask, leased
from tallystick.store.webhooks import WebhookStore, endpoint_snapshots

_LEASE: Final = "webhook_lease"


class ShardDeliveries:
    """Delivers one shard's log to all endpoints, while it holds the lease. Each endpoint has its own worker."""

    def __init__(
        self,
        shard: Shard,
        sender: Sender,
        keys: SecretKeys,
        earlier_credits: EarlierCredits,
    ) -> None:
        self._shard = shard
        self._earlier_credits = earlier_credits
        self._sender = sender
        self._keys = keys
        self._store = WebhookStore(shard.database)
        self._deliveries: dict[str, Delivery] = {}
        self._turns = asyncio.Semaphore(limits.WEBHOOK_QUERIES_AT_A_TIME)

    async def deliver(self) -> None:
        """Wait for the lease, and deliver until it is lost.

        Raises:
            StoreError, NotTakenError: the shard cannot be reached, or the lease is lost.
        """
        async with leased(self._shard.dsn, _LEASE, limits.WEBHOOK_LEASE_SECONDS) as ask:
            await self._hold(ask)

    async def _hold(self, ask: Ask) -> None:
        """Look for endpoints, until the session that holds the lease is lost or this is cancelled."""
        delivering = metrics.DELIVERING.labels(str(self._shard.number))
        delivering.set(1)
        try:
            while True:
                # Uses the session that holds the lease, so this ends when the lease is lost.
                await self._look(ask)
                await asyncio.sleep(limits.WEBHOOK_LOOK_SECONDS)
        finally:
            delivering.set(0)
            stopping = list(self._deliveries.values())
            self._deliveries.clear()
            await asyncio.gather(*(delivery.stop() for delivery in stopping))

    async def _look(self, ask: Ask) -> None:
        snapshots = {
            snapshot.endpoint.id: snapshot for snapshot in endpoint_snapshots(await ask("webhook_look"))
        }
        if new := [endpoint for endpoint, snapshot in snapshots.items() if snapshot.state is None]:
            await self._store.begin(new)
        for endpoint in self._deliveries.keys() - snapshots.keys():
            await self._deliveries.pop(endpoint).stop()
            metrics.forget_counts(self._shard.number, endpoint)
        for endpoint, snapshot in snapshots.items():
            if endpoint in self._deliveries:
                self._deliveries[endpoint].update(snapshot)
            elif snapshot.state is not None:
                metrics.begin_counts(self._shard.number, endpoint)
                self._deliveries[endpoint] = Delivery(
                    self._shard,
                    self._sender,
                    self._keys,
                    self._earlier_credits,
                    turns=self._turns,
                    first=snapshot,
                )


def webhook_workers(
    shards: Callable[[], Sequence[Shard]],
    sender: Sender,
    keys: SecretKeys,
    earlier_credits: EarlierCredits,
) -> ShardWorkers:
    """The workers that deliver webhooks: one for each shard, also for shards that are added later."""

    def worker(shard: Shard) -> Worker:
        return Worker(
            "webhooks",
            ShardDeliveries(shard, sender, keys, earlier_credits).deliver,
            interval_seconds=limits.WEBHOOK_LEASE_SECONDS,
            expected=(StoreError, NotTakenError),
            shard=shard.number,
        )

    return ShardWorkers("webhooks", shards, worker)
