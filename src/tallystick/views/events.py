"""Events: the transactions of the log, as the change feed, streams and webhooks show them."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from tallystick.domain.commands import Kind
from tallystick.domain.identifiers import Prefix, format_identifier, make_identifier
from tallystick.domain.outcomes import RefusalCode, Refused
from tallystick.domain.parts import own_entries, part_of
from tallystick.domain.record import Record
from tallystick.domain.sagas import SagaState
from tallystick.views.accounts import Account, Balance, account_view
from tallystick.views.fields import AccountId, AssetCode, Metadata, MinorUnits, Position, TransactionId
from tallystick.views.holds import Hold, hold_view
from tallystick.views.transactions import PENDING, POSTED, REFUSED, Entry, State, reference, transaction_view

_CROSSING_STATES: Final[dict[Kind, State]] = {
    Kind.TRANSFER_RESERVED: PENDING,
    Kind.TRANSFER_FINALIZED: POSTED,
    Kind.TRANSFER_RELEASED: REFUSED,
    Kind.TRANSFER_GIVEN_UP: PENDING,
    Kind.TRANSFER_SETTLED: POSTED,
}
# Clients never see it: the home of a key records it for a request to another shard.
_REFUSAL_CODES: Final = [code.text for code in RefusalCode if code is not RefusalCode.IDEMPOTENCY_KEY_CLAIMED]


class Refusal(msgspec.Struct, frozen=True):
    """Why one transfer of a batch was refused."""

    code_text: Annotated[str, Meta(extra_json_schema={"enum": _REFUSAL_CODES})] = msgspec.field(name="code")
    param: str | None
    detail: str

    @property
    def code(self) -> RefusalCode:
        """The code as `Refused` has it."""
        return RefusalCode[self.code_text.upper()]


class CrossingEntry(msgspec.Struct, frozen=True):
    """One account's part in a transfer between shards: debits are negative."""

    account: AccountId
    asset: AssetCode
    amount: MinorUnits

    def __iter__(self) -> Iterator[str | int]:
        """Unpack it: `account, asset, amount = entry`."""
        return iter((self.account, self.asset, self.amount))


class Crossing(msgspec.Struct, frozen=True):
    """A transfer between shards, as of this position.

    `transaction` is its identifier, `kind` the kind that was asked for, `state` its state as of this position.
    `counterpart` is the transaction on the other shard, `refusal` the reason why nothing moved.
    """

    transaction: TransactionId
    kind: str
    state: State
    entries: list[CrossingEntry]
    counterpart: TransactionId | None
    refusal: Refusal | None


class Event(msgspec.Struct, frozen=True):
    """One transaction of a shard's log, as of its position. It never changes.

    A payment between shards has an event on each shard, for the accounts there, with the payment's `transaction` and
    `kind`. `account` or `hold` is the one that it opened or changed, as of this position.
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
    entries: list[Entry]
    account: Account | None
    hold: Hold | None
    crossing: Crossing | None


class Events(msgspec.Struct, frozen=True):
    """Some events in the order of the log. Up to `position` no other events match the request."""

    items: list[Event]
    position: Annotated[
        int, Meta(description="`after` of the next page: everything up to this position was returned.")
    ] = msgspec.field(name="next_after")


class BalanceChanges(msgspec.Struct, frozen=True):
    """One account's balances in the order of the log. Up to `position` there are no other changes."""

    items: list[Balance]
    position: int


def refusal_view(refused: Refused) -> Refusal:
    """A refusal as callers see it."""
    return Refusal(refused.code.text, refused.param, refused.detail)


def event_view(shard: int, record: Record, *, stages: bool) -> Event:
    """One transaction of the log as of its position: as a part of a payment, or as it is in the log."""
    part = None if stages else part_of(shard, record)
    if part is not None:
        record = record._replace(entries=tuple(own_entries(record)))
    # Without the result on the other shard.
    plain = transaction_view(shard, record._replace(saga=None, other_half=None))
    crossing = None if record.saga is None else _crossing(shard, record, record.saga)
    refers_to = plain.refers_to if part is None else reference(part.kind, part.refers_to)
    if part is None and record.transaction.kind is Kind.TRANSFER_RESERVED:
        refers_to = transaction_view(shard, record).refers_to
    payment = None if part is None else part.payment
    return Event(
        shard=shard,
        position=plain.position,
        transaction=plain.id if payment is None else format_identifier(Prefix.TRANSACTION, payment),
        kind=plain.kind if part is None else part.kind.text,
        recorded_at=plain.recorded_at,
        effective_at=plain.effective_at,
        refers_to=refers_to,
        description=plain.description,
        metadata=plain.metadata,
        entries=plain.entries,
        account=None if record.account is None else account_view(record.account),
        hold=None if record.hold is None else hold_view(shard, record.hold, payment),
        crossing=crossing,
    )


def _crossing(shard: int, record: Record, saga: SagaState) -> Crossing:
    # The saga may have ended since. Only the event of its end shows that.
    reserving = record.transaction.kind is Kind.TRANSFER_RESERVED
    terms = saga.terms
    counterpart = None
    if saga.counterpart is not None and not reserving:
        other = make_identifier(terms.other_shard, saga.counterpart)
        counterpart = format_identifier(Prefix.TRANSACTION, other)
    legs = [*((leg, -leg.amount) for leg in terms.debits), *((leg, leg.amount) for leg in terms.credits)]
    return Crossing(
        transaction=format_identifier(Prefix.TRANSACTION, make_identifier(shard, saga.saga)),
        kind=terms.operation.text,
        state=_CROSSING_STATES[record.transaction.kind],
        entries=[
            CrossingEntry(format_identifier(Prefix.ACCOUNT, leg.account), leg.known_asset, MinorUnits(amount))
            for leg, amount in legs
        ],
        counterpart=counterpart,
        refusal=None if reserving or saga.refusal is None else refusal_view(saga.refusal),
    )
