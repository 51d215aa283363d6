"""Who delivers: for each shard one process of all, the one that holds the lease; another takes over when it ends."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from tallystick.domain import limits
from tallystick.followers.webhooks import metrics
from tallystick.followers.webhooks.delivery import Delivery
from tallystick.followers.webhooks.secret_keys import SecretKeys
from tallystick.followers.webhooks.sending import Sender
from tallystick.ledger.crossing.earlier_credits import EarlierCredits
from tallystick.ledger.errors import NotTakenError
from tallystick.ledger.shard import Shard
from tallystick.store.errors import StoreError
from tallystick.store.lease import Ask, leased
from tallystick.store.webhooks import WebhookStore, seen_of

_log = structlog.get_logger(__name__)

_LEASE: Final = "webhook_lease"


class ShardWorker:
    """Delivers one shard's log to all endpoints, while it holds the lease; each endpoint by a task of its own."""

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
        self._task = asyncio.create_task(self._run(), name=f"webhooks of shard {shard.number}")

    async def stop(self) -> None:
        """Stop, and let another process go on."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                async with leased(self._shard.dsn, _LEASE, limits.WEBHOOK_LEASE_SECONDS) as ask:
                    await self._hold(ask)
            except (StoreError, NotTakenError) as error:
                _log.debug("webhooks wait for a shard", shard=self._shard.number, error=str(error))
            except Exception as error:  # noqa: BLE001 - a bug must not end the delivery for ever
                _log.error("ALARM: a bug", shard=self._shard.number, exc_info=error)
            await asyncio.sleep(limits.WEBHOOK_LEASE_SECONDS)

    async def _hold(self, ask: Ask) -> None:
        delivering = metrics.DELIVERING.labels(str(self._shard.number))
        delivering.set(1)
        try:
            while True:
                # Over the session that holds the lease: when that is lost, this ends.
                await self._look(ask)
                await asyncio.sleep(limits.WEBHOOK_LOOK_SECONDS)
        finally:
            delivering.set(0)
            stopping = list(self._deliveries.values())
            self._deliveries.clear()
            await asyncio.gather(*(delivery.stop() for delivery in stopping))

    async def _look(self, ask: Ask) -> None:
        found = {one.endpoint.id: one for one in seen_of(await ask("webhook_look"))}
        if strange := [endpoint for endpoint, one in found.items() if one.state is None]:
            await self._store.begin(strange)
        for endpoint in self._deliveries.keys() - found.keys():
            await self._deliveries.pop(endpoint).stop()
            metrics.forget_counts(self._shard.number, endpoint)
        for endpoint, seen in found.items():
            if endpoint in self._deliveries:
                self._deliveries[endpoint].see(seen)
            elif seen.state is not None:
                self._deliveries[endpoint] = Delivery(
                    self._shard,
                    self._sender,
                    self._keys,
                    self._earlier_credits,
                    turns=self._turns,
                    first=seen,
                )


class WebhookWorkers:
    """A worker for each shard, also for those that are added later."""

    def __init__(
        self,
        shards: Callable[[], Sequence[Shard]],
        sender: Sender,
        keys: SecretKeys,
        earlier_credits: EarlierCredits,
    ) -> None:
        self._shards = shards
        self._sender = sender
        self._keys = keys
        self._earlier_credits = earlier_credits
        self._workers: dict[int, ShardWorker] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to try for the leases."""
        self._task = asyncio.create_task(self._run(), name="webhooks")

    async def stop(self) -> None:
        """Stop delivering; other processes go on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.gather(*(worker.stop() for worker in self._workers.values()))
        self._workers.clear()

    async def _run(self) -> None:
        while True:
            for shard in self._shards():
                if shard.number not in self._workers:
                    self._workers[shard.number] = ShardWorker(
                        shard, self._sender, self._keys, self._earlier_credits
                    )
            await asyncio.sleep(limits.WEBHOOK_LEASE_SECONDS)
