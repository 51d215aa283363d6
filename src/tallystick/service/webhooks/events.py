"""What an event of the log looks like in a message: made of rows that never change, so it is always the same."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from tallystick.domain.record import Record
from tallystick.domain.webhooks import WebhookEndpoint
from tallystick.service import views
from tallystick.service.webhooks.sending import Message

_encode = msgspec.json.Encoder().encode


class EventEntry(msgspec.Struct, frozen=True):
    """One account's change: minor units, debits are negative."""

    account: str
    asset: str
    amount: str
    balance: str | None
    held: str
    held_after: str | None


class EventAccount(msgspec.Struct, frozen=True):
    """An account as it was opened or changed."""

    id: str
    owner: str
    asset: str
    kind: str
    status: str
    min_balance: str | None
    max_balance: str | None
    metadata: Mapping[str, str]


class EventData(msgspec.Struct, frozen=True):
    """One transaction of a shard's log, as it is written there."""

    shard: int
    position: int
    transaction: str
    kind: str
    recorded_at: datetime
    effective_at: datetime
    refers_to: str | None
    description: str | None
    metadata: Mapping[str, str]
    entries: list[EventEntry]
    account: EventAccount | None


class Event(msgspec.Struct, frozen=True):
    """The body of a message, with the three fields that Standard Webhooks recommends."""

    type: str
    timestamp: datetime
    data: EventData


class TestEvent(msgspec.Struct, frozen=True):
    """The body of a message that only shows that messages arrive."""

    type: str
    timestamp: datetime
    data: dict[str, str]


TEST_TYPE = "webhook.test"


def event_message(endpoint: WebhookEndpoint, shard: int, record: Record) -> Message:
    """The message that tells an endpoint of a transaction."""
    # As this shard wrote it: what became of it on another one since then is another event.
    row = views.transaction_view(shard, record._replace(saga=None, other_half=None))
    event = Event(
        row.kind,
        row.recorded_at,
        EventData(
            shard=shard,
            position=row.position,
            transaction=row.id,
            kind=row.kind,
            recorded_at=row.recorded_at,
            effective_at=row.effective_at,
            refers_to=row.refers_to,
            description=row.description,
            metadata=row.metadata,
            entries=[
                EventEntry(
                    entry.account,
                    entry.asset,
                    str(entry.amount),
                    _text(entry.balance),
                    str(entry.held),
                    _text(entry.held_after),
                )
                for entry in row.entries
            ],
            account=_account(record),
        ),
    )
    return Message(f"{endpoint.id}-{row.id}", _encode(event))


def test_message(endpoint: WebhookEndpoint, name: str, now: datetime) -> Message:
    """A message that tells of nothing."""
    return Message(f"{endpoint.id}-{name}", _encode(TestEvent(TEST_TYPE, now, {"endpoint": endpoint.id})))


def _account(record: Record) -> EventAccount | None:
    if record.account is None:
        return None
    view = views.account_view(record.account)
    return EventAccount(
        id=view.id,
        owner=view.owner,
        asset=view.asset,
        kind=view.kind,
        status=view.status,
        min_balance=_text(view.min_balance),
        max_balance=_text(view.max_balance),
        metadata=view.metadata,
    )


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)
