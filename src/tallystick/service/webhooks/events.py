"""What an event of the log looks like in a message: made of rows that never change, so it is always the same."""

from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeAlias

import msgspec

from tallystick.domain.identifiers import Prefix, format_identifier, make_identifier
from tallystick.domain.record import Record
from tallystick.domain.webhooks import WebhookEndpoint
from tallystick.service import views
from tallystick.service.webhooks.sending import Message

EncodeEvent: TypeAlias = Callable[[int, Record], bytes]
"""The JSON of a shard's transaction, as the change feed says it."""

TEST_TYPE: Final = "webhook.test"
_encode: Final = msgspec.json.Encoder().encode


class WebhookMessage(msgspec.Struct, frozen=True):
    """The body of a message, with the three fields that Standard Webhooks recommends."""

    type: str
    timestamp: datetime
    data: msgspec.Raw


def event_message(
    endpoint: WebhookEndpoint, shard: int, record: Record, encode_event: EncodeEvent
) -> Message:
    """The message that tells an endpoint of a transaction."""
    row = record.transaction
    identifier = format_identifier(Prefix.TRANSACTION, make_identifier(shard, row.position))
    data = msgspec.Raw(encode_event(shard, record))
    body = _encode(WebhookMessage(row.kind.text, views.time_of(row.recorded_at_us), data))
    return Message(f"{endpoint.id}-{identifier}", body)


def test_message(endpoint: WebhookEndpoint, name: str, now: datetime) -> Message:
    """A message that tells of nothing."""
    data = msgspec.Raw(_encode({"endpoint": endpoint.id}))
    return Message(f"{endpoint.id}-{name}", _encode(WebhookMessage(TEST_TYPE, now, data)))
