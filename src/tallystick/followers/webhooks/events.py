"""The message of an event. It is made from rows that never change, so it is always the same."""

from datetime import datetime

from tallystick.domain.identifiers import Prefix, format_identifier, make_identifier
from tallystick.domain.parts import part_of
from tallystick.domain.record import Record
from tallystick.domain.times import time_of
from tallystick.domain.webhooks import WebhookEndpoint
from tallystick.followers.webhooks.messages import Message
from tallystick.views import EventMessage, TestData, TestMessage, event_view
from tallystick.views.encoding import encode


def event_message(endpoint: WebhookEndpoint, shard: int, record: Record) -> Message:
    """The message to an endpoint about a transaction."""
    row = record.transaction
    # Each shard sends its part of a payment as a separate message.
    identifier = format_identifier(Prefix.TRANSACTION, make_identifier(shard, row.position))
    part = None if endpoint.stages else part_of(shard, record)
    kind = row.kind if part is None else part.kind
    event = event_view(shard, record, stages=endpoint.stages)
    body = encode(EventMessage(kind.text, time_of(row.recorded_at_us), event))
    return Message(f"{endpoint.id}-{identifier}", body)


def test_message(endpoint: WebhookEndpoint, name: str, now: datetime) -> Message:
    """A test message, which stands for no event."""
    body = encode(TestMessage("webhook.test", now, TestData(endpoint.id)))
    return Message(f"{endpoint.id}-{name}", body)
