"""Holds, as callers see them."""

from datetime import datetime
from typing import Final, Literal

import msgspec

from tallystick.domain.holds import HoldState, HoldStatus
from tallystick.domain.identifiers import Prefix, format_identifier, make_identifier
from tallystick.domain.times import time_of
from tallystick.views.fields import AccountId, HoldId, MinorUnits, Position, TransactionId

_Status = Literal["open", "capturing", "captured", "voided", "expired"]

_STATUSES: Final[dict[HoldStatus, _Status]] = {
    HoldStatus.OPEN: "open",
    HoldStatus.CAPTURING: "capturing",
    HoldStatus.CAPTURED: "captured",
    HoldStatus.VOIDED: "voided",
    HoldStatus.EXPIRED: "expired",
}


class Hold(msgspec.Struct, frozen=True):
    """Money set aside. `transaction` is the newest change of the hold."""

    id: HoldId
    status: _Status
    source: AccountId
    destination: AccountId
    amount: MinorUnits
    captured: MinorUnits
    remaining: MinorUnits
    expires_at: datetime
    transaction: TransactionId
    position: Position


def hold_view(shard: int, hold: HoldState, payment: int | None = None) -> Hold:
    """A hold as callers see it. `payment` is the payment that its newest change belongs to."""
    return Hold(
        id=format_identifier(Prefix.HOLD, make_identifier(shard, hold.hold)),
        status=_STATUSES[hold.status],
        source=format_identifier(Prefix.ACCOUNT, hold.account),
        destination=format_identifier(Prefix.ACCOUNT, hold.destination),
        amount=MinorUnits(hold.amount),
        captured=MinorUnits(hold.captured),
        remaining=MinorUnits(hold.remaining),
        expires_at=time_of(hold.expires_at_us),
        transaction=format_identifier(Prefix.TRANSACTION, payment or make_identifier(shard, hold.position)),
        position=hold.position,
    )
