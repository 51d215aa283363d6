"""What a command came to: posted, or a refusal with a stable code. An outcome is a value, never an exception."""

from enum import IntEnum, StrEnum
from typing import Final

import msgspec


class RefusalCode(IntEnum):
    """Why a command was refused, in order of precedence: of several reasons the first is given.

    The numbers are stored: they never change, and a new code takes a free number.
    """

    IDEMPOTENCY_KEY_REUSED = 10
    SAME_ACCOUNT = 20
    AMOUNT_INVALID = 30
    TRANSACTION_NOT_FOUND = 40
    HOLD_NOT_FOUND = 41
    ACCOUNT_NOT_FOUND = 42
    TRANSACTION_NOT_REVERSIBLE = 50
    HOLD_NOT_OPEN = 51
    HOLD_BUSY = 52
    ASSET_MISMATCH = 60
    ENTRIES_UNBALANCED = 61
    CROSSES_TOO_MANY_SHARDS = 62
    CAPTURE_EXCEEDS_HOLD = 63
    REVERSAL_EXCEEDS_ORIGINAL = 64
    ACCOUNT_CLOSED = 70
    ACCOUNT_FROZEN = 71
    ACCOUNT_NOT_EMPTY = 72
    BOUNDS_INVALID = 73
    INSUFFICIENT_FUNDS = 80
    BALANCE_LIMIT_EXCEEDED = 81
    ATOMIC_BATCH_REFUSED = 90
    TRANSFER_CANCELLED = 91
    SHARD_UNAVAILABLE = 95

    @property
    def text(self) -> str:
        """The code as clients see it: `insufficient_funds`."""
        return self.name.lower()


REFUSAL_DETAILS: Final[dict[RefusalCode, str]] = {
    RefusalCode.IDEMPOTENCY_KEY_REUSED: "This idempotency key was used with a different request. "
    "Send the first request again unchanged, or use a new key.",
    RefusalCode.SAME_ACCOUNT: "An account may appear only once. Name different accounts.",
    RefusalCode.AMOUNT_INVALID: "The amount must be an integer of minor units from 1 to 9223372036854775807.",
    RefusalCode.TRANSACTION_NOT_FOUND: "There is no such transaction.",
    RefusalCode.HOLD_NOT_FOUND: "There is no such hold.",
    RefusalCode.ACCOUNT_NOT_FOUND: "There is no such account.",
    RefusalCode.TRANSACTION_NOT_REVERSIBLE: "Only a transaction that moved money can be reversed, "
    "and one of more than two entries only as a whole.",
    RefusalCode.HOLD_NOT_OPEN: "The hold is captured, voided or expired. Place a new hold.",
    RefusalCode.HOLD_BUSY: "A capture of this hold is on its way to another shard. "
    "Send the request again in a moment.",
    RefusalCode.ASSET_MISMATCH: "The account holds another asset.",
    RefusalCode.ENTRIES_UNBALANCED: "The amounts of the entries must sum to zero in each asset.",
    RefusalCode.CROSSES_TOO_MANY_SHARDS: "The accounts live on more shards than one transaction may touch.",
    RefusalCode.CAPTURE_EXCEEDS_HOLD: "The amount is more than what is left of the hold.",
    RefusalCode.REVERSAL_EXCEEDS_ORIGINAL: "The amount is more than what is left of the original.",
    RefusalCode.ACCOUNT_CLOSED: "The account is closed. Reopen it first.",
    RefusalCode.ACCOUNT_FROZEN: "The account is frozen: nothing new may go out. Unfreeze it first.",
    RefusalCode.ACCOUNT_NOT_EMPTY: "Only an account with no balance and nothing held can be closed.",
    RefusalCode.BOUNDS_INVALID: "min_balance must not be above max_balance.",
    RefusalCode.INSUFFICIENT_FUNDS: "The available balance would fall below the account's min_balance.",
    RefusalCode.BALANCE_LIMIT_EXCEEDED: "The balance would rise above the account's max_balance "
    "or above what a balance can be.",
    RefusalCode.TRANSFER_CANCELLED: "The transfer was cancelled before the other shard had credited it; "
    "the money is available again.",
    RefusalCode.SHARD_UNAVAILABLE: "The shard of this account cannot be reached now. Nothing was reserved: "
    "send the request again, with the same key.",
    RefusalCode.ATOMIC_BATCH_REFUSED: "Another transfer of this atomic batch was refused; nothing was posted.",
}


class Posted(msgspec.Struct, frozen=True, gc=False):
    """The command was written to the log at this position. `replayed`: by an earlier request with its key."""

    position: int
    replayed: bool = False


class Refused(msgspec.Struct, frozen=True, gc=False):
    """The command was refused and changed nothing.

    `param` names the field of the request that the reason is about; `detail` is for people. All three are
    kept under the idempotency key and are the answer for ever (but for `idempotency_key_reused`, which belongs
    to the later request, and `hold_busy` and `shard_unavailable`, which pass: these are never kept).
    """

    code: RefusalCode
    param: str | None
    detail: str
    replayed: bool = False


Outcome = Posted | Refused


def refuse(code: RefusalCode, param: str | None = None) -> Refused:
    """A refusal with the standing text of its code."""
    return Refused(code, param, REFUSAL_DETAILS[code])


class Unserved(StrEnum):
    """Why a request could not be taken at all; it burned no key, and may be sent again."""

    OVERLOADED = "overloaded"
    SHARD_UNAVAILABLE = "shard_unavailable"
