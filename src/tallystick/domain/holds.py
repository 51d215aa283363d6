"""Holds: a part of an account's balance that is set aside, to be captured, voided or expired."""

from enum import IntEnum
from typing import Final

import msgspec


class HoldStatus(IntEnum):
    """A hold is open, is being captured to another shard, or has ended in one of three ways."""

    OPEN = 1
    CAPTURED = 2
    VOIDED = 3
    EXPIRED = 4
    CAPTURING = 5


class HoldEvent(IntEnum):
    """What can happen to a hold after it was placed."""

    CAPTURE = 1
    CAPTURE_FINAL = 2
    VOID = 3
    EXPIRE = 4
    RESERVE_CAPTURE = 5
    END_CAPTURE = 6
    END_CAPTURE_FINAL = 7
    END_CAPTURE_LATE = 8


# The statuses in which a hold still sets money aside.
HOLDING: Final = (HoldStatus.OPEN, HoldStatus.CAPTURING)

# The whole state machine. Any other event is refused as hold_not_open, or as hold_busy while a capture to another
# shard is in progress. The other shard decides how that capture ends. If the hold's time is over by then, it expires.
HOLD_TRANSITIONS: Final[dict[tuple[HoldStatus, HoldEvent], HoldStatus]] = {
    (HoldStatus.OPEN, HoldEvent.CAPTURE): HoldStatus.OPEN,
    (HoldStatus.OPEN, HoldEvent.CAPTURE_FINAL): HoldStatus.CAPTURED,
    (HoldStatus.OPEN, HoldEvent.RESERVE_CAPTURE): HoldStatus.CAPTURING,
    (HoldStatus.CAPTURING, HoldEvent.END_CAPTURE): HoldStatus.OPEN,
    (HoldStatus.CAPTURING, HoldEvent.END_CAPTURE_FINAL): HoldStatus.CAPTURED,
    (HoldStatus.CAPTURING, HoldEvent.END_CAPTURE_LATE): HoldStatus.EXPIRED,
    (HoldStatus.OPEN, HoldEvent.VOID): HoldStatus.VOIDED,
    (HoldStatus.OPEN, HoldEvent.EXPIRE): HoldStatus.EXPIRED,
}


class HoldState(msgspec.Struct, frozen=True, gc=False):
    """A hold as of its newest row. `hold` is the position that placed it, `position` that of its newest change.

    `account` is the account whose money is held, `destination` the account that is paid. Amounts are minor units,
    times are microseconds since 1970 in UTC.
    """

    hold: int
    position: int
    account: int
    destination: int
    amount: int
    captured: int
    status: HoldStatus
    expires_at_us: int

    @property
    def remaining(self) -> int:
        """The amount that is still set aside: 0 once the hold has ended."""
        return self.amount - self.captured if self.status in HOLDING else 0
