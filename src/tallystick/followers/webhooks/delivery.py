"""Delivers one shard's log to one endpoint: event by event, in order, each until the receiver has accepted it."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import structlog

from tallystick.background.alarms import Alarm, raise_alarm
from tallystick.background.pauses import Backoff, jittered
from tallystick.background.worker import Worker
from tallystick.domain import limits
from tallystick.domain.record import Record
from tallystick.domain.webhooks import WebhookEndpoint, retry_delay_seconds
from tallystick.followers.errors import SecretUnreadableError
from tallystick.followers.webhooks import metrics
from tallystick.followers.webhooks.events import event_message
from tallystick.followers.webhooks.messages import Attempt
from tallystick.followers.webhooks.secret_keys import SecretKeys
from tallystick.followers.webhooks.sending import Sender
from tallystick.ledger.crossing.earlier_credits import EarlierCredits
from tallystick.ledger.errors import NotTakenError
from tallystick.ledger.shard import Shard
from tallystick.store.errors import StoreError
from tallystick.store.webhooks import DeliveryState, EndpointSnapshot, WebhookStore

_log = structlog.get_logger(__name__)


class Delivery:
    """Delivers one shard's log to one endpoint, for as long as this process holds the lease."""

    def __init__(
        self,
        shard: Shard,
        sender: Sender,
        keys: SecretKeys,
        earlier_credits: EarlierCredits,
        *,
        turns: asyncio.Semaphore,
        first: EndpointSnapshot,
    ) -> None:
        """Begin. `turns` limits the queries of all deliveries, because others read the database, too."""
        self._shard = shard
        self._sender = sender
        self._keys = keys
        self._earlier_credits = earlier_credits
        self._turns = turns
        self._store = WebhookStore(shard.database)
        self._endpoint: WebhookEndpoint = first.endpoint
        self._state: DeliveryState | None = None
        self._head = 0
        self._next_at = 0.0
        self._backoff = Backoff(limits.WEBHOOK_RETRY_DELAY_SECONDS_MIN, limits.WEBHOOK_TROUBLE_SECONDS_MAX)
        self._unreadable: str | None = None
        self._undisturbed_at = 0.0
        self._worker = Worker(
            "delivery of a webhook",
            self._round,
            # Each update wakes it. Without updates it does nothing, because the lease may be lost.
            interval_seconds=limits.WEBHOOK_RETRY_DELAY_SECONDS_MAX,
            shard=shard.number,
            endpoint=first.endpoint.id,
        )
        self.update(first)
        self._worker.start()

    def update(self, snapshot: EndpointSnapshot) -> None:
        """Take the current state of the endpoint, and the end of the log."""
        if snapshot.state is None:
            return
        if self._state is None or self._state.generation != snapshot.state.generation:
            self._state = snapshot.state
            self._next_at = max(time.monotonic() + snapshot.state.wait_seconds, self._undisturbed_at)
        elif snapshot.endpoint.version != self._endpoint.version:
            # Perhaps the endpoint was corrected.
            self._next_at = 0.0
        self._endpoint = snapshot.endpoint
        self._head = snapshot.head
        labels = (str(self._shard.number), snapshot.endpoint.id)
        behind = max(snapshot.head - self._state.position, 0)
        metrics.PARKED.labels(*labels).set(self._state.parked)
        metrics.UNREADABLE.labels(*labels).set(self._unreadable is not None)
        metrics.LAG_POSITIONS.labels(*labels).set(behind)
        metrics.LAG_SECONDS.labels(*labels).set(snapshot.age_seconds if behind else 0.0)
        self._worker.wake()

    async def stop(self) -> None:
        """Stop, also in the middle of a message. The next process sends it again."""
        await self._worker.stop()
        metrics.forget(self._shard.number, self._endpoint.id)

    async def _round(self) -> None:
        try:
            while await self._go_on():
                self._backoff.reset()
        except (StoreError, NotTakenError) as error:
            # A later update shows whether the shard can be reached again.
            self._state = None
            self._pause()
            _log.debug(
                "a webhook waits for a shard",
                endpoint=self._endpoint.id,
                shard=self._shard.number,
                error=str(error),
            )
        except SecretUnreadableError as error:
            # Nothing was sent, and the receiver is not at fault. The delivery waits for the key.
            self._pause()
            if str(error) != self._unreadable:
                self._unreadable = str(error)
                raise_alarm(
                    _log,
                    Alarm.WEBHOOK_WAITS_FOR_KEY,
                    endpoint=self._endpoint.id,
                    shard=self._shard.number,
                    reason=str(error),
                )

    def _pause(self) -> None:
        """Wait, longer each time. Otherwise a message whose delivery cannot be recorded would be sent repeatedly."""
        self._undisturbed_at = time.monotonic() + self._backoff.next_seconds()
        self._next_at = self._undisturbed_at

    async def _go_on(self) -> bool:
        """Deliver the next part of the log, up to a limit. False if there is nothing to do now."""
        state, head = self._state, self._head
        if state is None or state.parked or time.monotonic() < self._next_at or state.position >= head:
            return False
        up_to = min(head, state.position + limits.WEBHOOK_POSITIONS_AT_A_TIME)
        row_count = limits.WEBHOOK_EVENTS_AT_A_TIME
        asked = state.generation, self._endpoint.version
        async with self._turns:
            positions = await self._store.events(self._endpoint, state.position, up_to, row_count)
            records = await self._records(positions)
            if not positions and up_to < head:
                up_to = await self._shard.reader.empty_through(up_to, head)
        for record in records:
            if not self._is_as(asked):
                # The endpoint was replayed or changed, so this page no longer fits.
                return True
            if not await self._deliver(record):
                return False
        if not self._is_as(asked):
            return True
        # Records that the endpoint does not want are skipped.
        return await self._advance(positions[-1] if len(positions) == row_count else up_to)

    async def _records(self, positions: Sequence[int]) -> list[Record]:
        """The records to deliver, among those that the endpoint may have asked for.

        Raises:
            UnavailableError: only a shard that does not answer knows what was asked for.
        """
        endpoint, number = self._endpoint, self._shard.number
        read = await self._shard.reader.records(positions) if positions else {}
        records = [read[position] for position in positions]
        if endpoint.stages:
            return records
        records = await self._earlier_credits.all_completed(number, records)
        return [record for record in records if endpoint.shows(number, record)]

    def _is_as(self, asked: tuple[int, int]) -> bool:
        """Whether the endpoint still has the generation and the version for which a page was read."""
        return self._state is not None and (self._state.generation, self._endpoint.version) == asked

    async def _deliver(self, record: Record) -> bool:
        """Send one event once. False if it must be tried again, or if another process has moved the endpoint."""
        state, endpoint = self._state, self._endpoint
        if state is None:
            return False
        message = event_message(endpoint, self._shard.number, record)
        secrets = self._keys.secrets(endpoint, datetime.now(UTC))
        self._unreadable = None
        attempt = await self._sender.send(endpoint.url, message, secrets)
        labels = (str(self._shard.number), endpoint.id)
        if attempt.error is None:
            metrics.DELIVERIES.labels(*labels).inc()
            return await self._advance(record.transaction.position, state)
        metrics.FAILURES.labels(*labels).inc()
        await self._fail(state, record.transaction.position, attempt, endpoint)
        return False

    async def _advance(self, position: int, state: DeliveryState | None = None) -> bool:
        """Record that everything up to a position is done. False if another process has moved the endpoint."""
        state = state or self._state
        if state is None or state is not self._state:
            return False
        if position > state.position:
            async with self._turns:
                moved = await self._store.advance(self._endpoint.id, state, position)
            if state is self._state:
                self._state = DeliveryState(state.generation, position, 0, False, 0.0) if moved else None
            return moved
        return True

    async def _fail(
        self, state: DeliveryState, position: int, attempt: Attempt, asked: WebhookEndpoint
    ) -> None:
        """Record a failed attempt, and the time of the next one. `asked` is the endpoint as of the attempt."""
        delay_seconds = attempt.retry_after_seconds or jittered(retry_delay_seconds(state.attempts + 1))
        park_seconds = 0.0 if attempt.gone else limits.WEBHOOK_RETRY_SECONDS_MAX
        async with self._turns:
            failed = await self._store.fail(asked, state, delay_seconds, park_seconds, attempt.error or "")
        if state is not self._state:
            return
        if failed is None:
            self._state = None
            return
        self._state = state._replace(attempts=failed.attempts, parked=failed.parked)
        if self._endpoint.version == asked.version:
            # An endpoint that was changed meanwhile is tried again at once, because it may be corrected.
            self._next_at = time.monotonic() + delay_seconds
        if failed.parked:
            raise_alarm(
                _log,
                Alarm.WEBHOOK_PARKED,
                endpoint=self._endpoint.id,
                shard=self._shard.number,
                position=position,
                attempts=failed.attempts,
                error=attempt.error,
            )
