"""What the change feed says: the types of its events, and how the service's views become them."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from tallystick.api import answers
from tallystick.api.fields import AccountId, AmountOut, AssetCode, Metadata, Position, TransactionId
from tallystick.api.streams import Message, Part, Parts
from tallystick.domain import limits
from tallystick.domain.record import Record
from tallystick.service import events
from tallystick.service.remembered import Remembered

_encode = msgspec.json.Encoder().encode
_texts: Final[Remembered[bytes]] = Remembered(limits.FEED_EVENTS_REMEMBERED_MAX)


class CrossingEntry(Struct):
    """One account's part in a transfer between shards: debits are negative."""

    account: AccountId
    asset: AssetCode
    amount: AmountOut


class Crossing(Struct):
    """What of a transfer between shards this position wrote.

    `transaction` is what the caller was answered with, `kind` what they asked for, `state` how far it was as of
    here. `counterpart` is the transaction on the other shard, `refusal` why nothing moved.
    """

    transaction: TransactionId
    kind: str
    state: Literal["pending", "posted", "refused"]
    entries: list[CrossingEntry]
    counterpart: TransactionId | None
    refusal: answers.Refusal | None


class Event(Struct):
    """One transaction of a shard's log as its position wrote it; it stays like this for ever.

    Of a payment that crosses shards each shard tells its accounts' part, with the payment's `transaction` and `kind`.
    `account` or `hold` is what it opened or changed, as of here.
    """

    shard: int
    position: Position
    transaction: TransactionId
    kind: str
    recorded_at: datetime
    effective_at: datetime
    refers_to: str | None
    description: str | None
    metadata: Metadata
    entries: list[answers.Entry]
    account: answers.Account | None
    hold: answers.Hold | None
    crossing: Crossing | None


class EventList(Struct):
    """Events in the order of the log. A page that is full is the same for ever."""

    items: list[Event]
    next_after: Annotated[int, Meta(description="`after` of the next page: all up to there has been said.")]


def event(view: events.Event) -> Event:
    """An event's JSON."""
    return Event(
        shard=view.shard,
        position=view.position,
        transaction=view.transaction,
        kind=view.kind,
        recorded_at=view.recorded_at,
        effective_at=view.effective_at,
        refers_to=view.refers_to,
        description=view.description,
        metadata=view.metadata,
        entries=[answers.entry(one) for one in view.entries],
        account=None if view.account is None else answers.account(view.account),
        hold=None if view.hold is None else answers.hold(view.hold),
        crossing=None if view.crossing is None else _crossing(view.crossing),
    )


def event_json(view: events.Event) -> bytes:
    """An event as all who are told of it get it: callers of the feed, its streams, and webhooks."""
    return _encode(event(view))


def record_json(shard: int, record: Record, stages: bool) -> bytes:
    """The event of one transaction of a shard's log."""
    return event_json(events.event_view(shard, record, stages=stages))


async def event_parts(found: AsyncGenerator[events.Events, None]) -> Parts:
    """A feed as parts of a stream."""
    async with aclosing(found):
        async for one in found:
            yield Part([Message(item.position, _json_once(item)) for item in one.items], one.position)


def _json_once(view: events.Event) -> bytes:
    """An event's JSON, which all its listeners have in common."""
    return _texts.of(view, lambda: event_json(view))


async def balance_parts(found: AsyncGenerator[events.BalanceChanges, None]) -> Parts:
    """One account's balances as parts of a stream."""
    async with aclosing(found):
        async for one in found:
            yield Part(
                [Message(item.position, _encode(answers.balance(item))) for item in one.items], one.position
            )


def _crossing(view: events.Crossing) -> Crossing:
    refusal = None
    if view.refusal is not None:
        refusal = answers.Refusal(view.refusal.code.text, view.refusal.param, view.refusal.detail)
    return Crossing(
        transaction=view.transaction,
        kind=view.kind,
        state=view.state,  # type: ignore[arg-type]  # one of the words above
        entries=[CrossingEntry(account, asset, str(amount)) for account, asset, amount in view.entries],
        counterpart=view.counterpart,
        refusal=refusal,
    )
