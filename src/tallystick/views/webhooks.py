"""Webhook endpoints, as callers see them, and the messages that are sent to them."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tallystick.domain.commands import KINDS
from tallystick.domain.webhooks import State, WebhookEndpoint
from tallystick.views.events import Event
from tallystick.views.fields import Position, WebhookId

DeliveryState = Literal["delivering", "retrying", "paused", "parked"]


class Webhook(msgspec.Struct, frozen=True):
    """An endpoint, without its secrets.

    `previous_secret_until`: the time until which the previous secret is valid.
    """

    id: WebhookId
    url: str
    kinds: list[str]
    owner: str | None
    state: State
    created_at: datetime
    changed_at: datetime
    previous_secret_until: datetime | None
    version: Annotated[int, Meta(description="It is counted up by each change.")]

    @property
    def tag(self) -> str:
        """The tag of this version, for `If-Match`."""
        return str(self.version)


class NewSecret(msgspec.Struct, frozen=True):
    """An endpoint, and its new secret. Keep the secret now: it is not shown again."""

    webhook: Webhook
    secret: Annotated[
        str, Meta(description="`whsec_` and base 64, as libraries for Standard Webhooks take it.")
    ]


class WebhookProgress(msgspec.Struct, frozen=True):
    """The progress of an endpoint on one shard: everything up to `position` was delivered.

    `head` is the end of the log.
    """

    shard: int
    position: Position
    head: Position
    state: Annotated[
        DeliveryState,
        Meta(description="`parked`: it failed for too long, and waits for a replay, also when it is paused."),
    ]
    attempts: int
    failing_since: datetime | None
    next_attempt_at: datetime | None
    parked_at: datetime | None
    last_error: str | None


class Told(msgspec.Struct, frozen=True):
    """The progress of an endpoint on each shard, except for shards that could not be asked."""

    deliveries: list[WebhookProgress]
    unreachable_shards: list[int]


class EventMessage(msgspec.Struct, frozen=True):
    """A message to an endpoint. `type` is the event's kind, `timestamp` the time at which it was recorded."""

    type: Annotated[str, Meta(extra_json_schema={"enum": list(KINDS)})]
    timestamp: datetime
    data: Event


class TestData(msgspec.Struct, frozen=True):
    """The endpoint that is tested."""

    endpoint: WebhookId


class TestMessage(msgspec.Struct, frozen=True):
    """A test message to an endpoint, sent at `timestamp`. It stands for no event."""

    type: Literal["webhook.test"]
    timestamp: datetime
    data: TestData


def webhook_view(endpoint: WebhookEndpoint) -> Webhook:
    """An endpoint as callers see it."""
    return Webhook(
        id=endpoint.id,
        url=endpoint.url,
        kinds=[kind.text for kind in endpoint.kinds],
        owner=endpoint.owner,
        state=endpoint.state,
        created_at=endpoint.created_at,
        changed_at=endpoint.changed_at,
        previous_secret_until=endpoint.previous_secret_until,
        version=endpoint.version,
    )
