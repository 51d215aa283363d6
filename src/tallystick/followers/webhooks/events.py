"""What an event of the log looks like in a message: made of rows that never change, so it is always the same."""

from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeAlias

import msgspec

from tallystick.domain.identifiers import Prefix, format_identifier, make_identifier
from tallystick.domain.parts import part_of
from tallystick.domain.record import Record
from tallystick.domain.times import time_of
from tallystick.domain.webhooks import WebhookEndpoint
from tallystick.followers.webhooks.messages import Message

EncodeEvent: TypeAlias = Callable[[int, Record, bool], bytes]
"""The JSON of a shard's transaction, as the change feed says it; with stages (True) or as a part of a payment."""

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
    # Each shard tells of its part of a payment: each is a message of its own.
    identifier = format_identifier(Prefix.TRANSACTION, make_identifier(shard, row.position))
    part = None if endpoint.stages else part_of(shard, record)
    kind = row.kind if part is None else part.kind
    data = msgspec.Raw(encode_event(shard, record, endpoint.stages))
    body = _encode(WebhookMessage(kind.text, time_of(row.recorded_at_us), data))
    return Message(f"{endpoint.id}-{identifier}", body)


def test_message(endpoint: WebhookEndpoint, name: str, now: datetime) -> Message:
    """A message that tells of nothing."""
    data = msgspec.Raw(_encode({"endpoint": endpoint.id}))
    return Message(f"{endpoint.id}-{name}", _encode(WebhookMessage(TEST_TYPE, now, data)))
