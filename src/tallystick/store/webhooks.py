"""Webhooks in one shard's database: the events of endpoints, and the progress of each."""

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import structlog

from tallystick.domain import limits
from tallystick.domain.commands import Kind
from tallystick.domain.webhooks import StoredSecret, WebhookEndpoint
from tallystick.store.connection import Database, Rows

_log = structlog.get_logger(__name__)


class DeliveryState(NamedTuple):
    """The progress of an endpoint: everything up to `position` is delivered.

    `wait_seconds`: until the next attempt.
    """

    generation: int
    position: int
    attempts: int
    parked: bool
    wait_seconds: float


class EndpointSnapshot(NamedTuple):
    """An active endpoint at one moment. `age_seconds`: of the first transaction that was not delivered to it."""

    endpoint: WebhookEndpoint
    state: DeliveryState | None
    head: int
    age_seconds: float


class Failed(NamedTuple):
    """The state of an event after a failed attempt."""

    attempts: int
    parked: bool


class Progress(NamedTuple):
    """The progress of an endpoint on one shard, for people."""

    endpoint: str
    position: int
    head: int
    attempts: int
    failing_since: datetime | None
    next_attempt_at: datetime | None
    parked_at: datetime | None
    last_error: str | None


class WebhookStore:
    """The delivery state of one shard. Every method raises what the database's `rows` and `write` raise."""

    def __init__(self, database: Database) -> None:
        self._rows = database.rows
        self._write = database.write

    async def begin(self, endpoints: Collection[str]) -> None:
        """Begin to deliver to new endpoints of this shard."""
        await self._rows("webhook_begin", list(endpoints))

    async def events(self, endpoint: WebhookEndpoint, after: int, up_to: int, row_count: int) -> list[int]:
        """The first positions that an endpoint may have asked for, after a position and up to another."""
        kinds = [int(kind) for kind in endpoint.stored_kinds]
        rows = await self._rows(
            "webhook_events", after, up_to, endpoint.tenant, kinds, endpoint.owner, row_count
        )
        return [row[0] for row in rows]

    async def advance(self, endpoint: str, state: DeliveryState, position: int) -> bool:
        """Record that everything up to a position is delivered. False if another process has moved the state."""
        return bool(await self._rows("webhook_advance", endpoint, state.generation, state.position, position))

    async def fail(
        self,
        endpoint: WebhookEndpoint,
        state: DeliveryState,
        delay_seconds: float,
        park_seconds: float,
        error: str,
    ) -> Failed | None:
        """Record a failed attempt; park an event that failed for long. None if another process has moved the state.

        `endpoint`: as it was at the attempt. If it was changed since, it neither waits nor is parked.
        """
        rows = await self._rows(
            "webhook_fail",
            endpoint.id,
            state.generation,
            state.position,
            delay_seconds,
            park_seconds,
            error,
            endpoint.version,
        )
        return Failed(*rows[0]) if rows else None

    async def replay(self, endpoint: str, after: int) -> bool:
        """Deliver everything after a position, again. False if there is no such endpoint here."""
        return bool(await self._write("webhook_replay", endpoint, after))

    async def progress(self, endpoints: Collection[str]) -> list[Progress]:
        """The progress of endpoints."""
        return [Progress(*row) for row in await self._rows("webhook_progress", list(endpoints))]


def endpoint_snapshots(rows: Rows) -> list[EndpointSnapshot]:
    """The answer of `webhook_look`, without endpoints of a newer version whose kinds this version does not know."""
    return [_snapshot(tuple(row)) for row in rows if is_known(row[7:])]


def is_known(row: Sequence[Any]) -> bool:
    """Whether this version knows all kinds of an endpoint, from its columns. If not, that is logged."""
    return _are_known(row[0], tuple(row[3]))


@lru_cache(limits.WEBHOOK_KINDS_REMEMBERED_MAX)
def _are_known(endpoint: str, kinds: tuple[int, ...]) -> bool:
    # Remembered, so that it is logged once and not at each look.
    unknown = set(kinds) - set(Kind)
    if unknown:
        _log.error("a webhook is left out: update this server", endpoint=endpoint, kinds=sorted(unknown))
    return not unknown


def _snapshot(row: Sequence[Any]) -> EndpointSnapshot:
    head, age_seconds, *state = row[:7]
    known = None if state[0] is None else DeliveryState(*state)
    if known is not None:
        # PostgreSQL's clock may have been set back meanwhile.
        wait_seconds = min(known.wait_seconds, limits.WEBHOOK_RETRY_DELAY_SECONDS_MAX)
        known = known._replace(wait_seconds=wait_seconds)
    return EndpointSnapshot(endpoint_of(row[7:]), known, head, age_seconds if known else 0.0)


def endpoint_of(row: Sequence[Any]) -> WebhookEndpoint:
    """An endpoint from its columns."""
    endpoint, tenant, url, kinds, owner, state, secret, key_name, previous, previous_key_name, *rest = row
    return WebhookEndpoint(
        endpoint,
        tenant,
        url,
        tuple(Kind(kind) for kind in kinds),
        owner,
        state,
        StoredSecret(secret, key_name),
        None if previous is None else StoredSecret(previous, previous_key_name),
        *rest,
    )


def endpoint_parameters(endpoint: WebhookEndpoint) -> list[Any]:
    """The columns of an endpoint."""
    previous = endpoint.previous_secret or (None, None)
    return [
        *endpoint[:3],
        [int(kind) for kind in endpoint.kinds],
        *endpoint[4:6],
        *endpoint.secret,
        *previous,
        *endpoint[8:],
    ]
