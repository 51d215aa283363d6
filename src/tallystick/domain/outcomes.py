"""Outcomes of commands: posted, or refused with a stable code. An outcome is a value, never an exception."""

from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

import msgspec

from tallystick.domain import limits
from tallystick.domain.commands import Kind


class RefusalCode(IntEnum):
    """The reasons to refuse a command, in order of precedence: of several reasons the lowest number is given.

    The numbers are stored and never change; a new code takes a free number. Clients never see
    `IDEMPOTENCY_KEY_CLAIMED`: the home shard of a key records it for a request that went to another shard.
    """

    IDEMPOTENCY_KEY_REUSED = 10
    IDEMPOTENCY_KEY_CLAIMED = 11
    SAME_ACCOUNT = 20
    AMOUNT_INVALID = 30
    TRANSACTION_NOT_FOUND = 40
    HOLD_NOT_FOUND = 41
    ACCOUNT_NOT_FOUND = 42
    PRECONDITION_FAILED = 43
    TRANSACTION_NOT_REVERSIBLE = 50
    HOLD_NOT_OPEN = 51
    HOLD_BUSY = 52
    ASSET_MISMATCH = 60
    ENTRIES_UNBALANCED = 61
    CROSSES_TOO_MANY_SHARDS = 62
    CAPTURE_EXCEEDS_HOLD = 63
    REVERSAL_EXCEEDS_ORIGINAL = 64
    IDENTIFIER_TAKEN = 65
    ACCOUNT_CLOSED = 70
    ACCOUNT_FROZEN = 71
    ACCOUNT_NOT_EMPTY = 72
    BOUNDS_INVALID = 73
    METADATA_TOO_LARGE = 74
    INSUFFICIENT_FUNDS = 80
    BALANCE_LIMIT_EXCEEDED = 81
    ATOMIC_BATCH_REFUSED = 90
    TRANSFER_CANCELLED = 91
    SHARD_UNAVAILABLE = 95
    RATE_LIMITED = 96

    @property
    def text(self) -> str:
        """The code as clients see it: `insufficient_funds`."""
        return self.name.lower()

    def __str__(self) -> str:
        """The same, wherever the code is printed or logged. The number is used in the log of a shard only."""
        return self.text

    def __format__(self, specification: str) -> str:
        """The same in an f-string."""
        return format(self.text, specification)


REFUSAL_DETAILS: Final[dict[RefusalCode, str]] = {
    RefusalCode.IDEMPOTENCY_KEY_REUSED: "This idempotency key was used with a different request. "
    "Send the first request again unchanged, or use a new key.",
    RefusalCode.IDEMPOTENCY_KEY_CLAIMED: "",
    RefusalCode.SAME_ACCOUNT: "An account may appear only once. Name different accounts.",
    RefusalCode.AMOUNT_INVALID: "The amount must be an integer of minor units from 1 to 9223372036854775807.",
    RefusalCode.TRANSACTION_NOT_FOUND: "There is no such transaction.",
    RefusalCode.HOLD_NOT_FOUND: "There is no such hold.",
    RefusalCode.ACCOUNT_NOT_FOUND: "There is no such account.",
    RefusalCode.PRECONDITION_FAILED: "It has changed since the version that If-Match names. Nothing was changed.",
    RefusalCode.TRANSACTION_NOT_REVERSIBLE: "Only a transaction that moved money can be reversed, "
    "and one of more than two entries only as a whole. To give back a payment to accounts on several other shards, "
    "make a transfer from each payee, each with a key of its own.",
    RefusalCode.HOLD_NOT_OPEN: "The hold is captured, voided or expired. Place a new hold.",
    RefusalCode.HOLD_BUSY: "A capture of this hold is on its way to another shard. "
    "Send the same request again in a moment, with the same key.",
    RefusalCode.ASSET_MISMATCH: "The account holds another asset.",
    RefusalCode.ENTRIES_UNBALANCED: "The amounts of the entries must sum to zero in each asset.",
    RefusalCode.CROSSES_TOO_MANY_SHARDS: "The accounts live on more shards than one transaction may touch. "
    "What works: one transaction with all payers on one shard and all payees on that one, or all on other shards; "
    "an `atomic` batch inside one shard; a new owner opened beside another (`near`); a system owner such as `@fees`; "
    "several transactions, each with a key of its own.",
    RefusalCode.CAPTURE_EXCEEDS_HOLD: "The amount is more than what is left of the hold.",
    RefusalCode.REVERSAL_EXCEEDS_ORIGINAL: "The amount is more than what is left of the original.",
    RefusalCode.IDENTIFIER_TAKEN: "The ledger cannot open an account that this needs, because "
    "another account has its identifier. Nothing was moved or set aside. Tell the operator.",
    RefusalCode.ACCOUNT_CLOSED: "The account is closed. Reopen it first.",
    RefusalCode.ACCOUNT_FROZEN: "The account is frozen: nothing new may go out. Unfreeze it first.",
    RefusalCode.ACCOUNT_NOT_EMPTY: "Only an account with no balance and nothing held can be closed.",
    RefusalCode.BOUNDS_INVALID: "min_balance must not be above max_balance.",
    RefusalCode.METADATA_TOO_LARGE: f"With these changes the metadata would have more than "
    f"{limits.METADATA_KEYS_MAX} keys, "
    f"or more than {limits.METADATA_BYTES_MAX} bytes as JSON.",
    RefusalCode.INSUFFICIENT_FUNDS: "The available balance would fall below the account's min_balance.",
    RefusalCode.BALANCE_LIMIT_EXCEEDED: "The balance would rise above the account's max_balance "
    "or above the highest possible balance.",
    RefusalCode.TRANSFER_CANCELLED: "The transfer was cancelled before the other shard had credited it; "
    "the money is available again.",
    RefusalCode.SHARD_UNAVAILABLE: "The shard of this account cannot be reached now. Nothing was reserved: "
    "send the request again, with the same key.",
    RefusalCode.RATE_LIMITED: "More requests of this tenant were refused lately than are kept. "
    "This one would be refused, too, and is not kept: its key is free.",
    RefusalCode.ATOMIC_BATCH_REFUSED: "Another transfer of this atomic batch was refused; nothing was posted.",
}


class Asked(NamedTuple):
    """The payment that a caller asked for. A credit is one stage of it.

    `refers_to` is the identifier of the captured hold, or of the reversed payment.
    """

    kind: Kind
    refers_to: int | None


class Posted(msgspec.Struct, frozen=True, gc=False):
    """The command was written to the log at this position. `replayed`: an earlier request with its key did it.

    `asked` is recorded under the key of a credit: the payment that the credit is a stage of.
    """

    position: int
    replayed: bool = False
    asked: Asked | None = None


class Refused(msgspec.Struct, frozen=True, gc=False):
    """The command was refused and changed nothing.

    `param` names the field of the request that caused the refusal; `detail` is a text for people. The refusal is
    recorded under the idempotency key and is the answer for ever. Exceptions: `idempotency_key_reused` belongs to the
    later request; `hold_busy`, `shard_unavailable`, `precondition_failed` and `rate_limited` are never recorded.
    """

    code: RefusalCode
    param: str | None
    detail: str
    replayed: bool = False


Outcome = Posted | Refused


def refuse(code: RefusalCode, param: str | None = None) -> Refused:
    """A refusal with the standard text of its code."""
    return Refused(code, param, REFUSAL_DETAILS[code])


def not_kept(refused: Refused) -> Refused:
    """The answer in place of a refusal that is not recorded, because the tenant's budget of refusals is used up."""
    detail = f"{REFUSAL_DETAILS[RefusalCode.RATE_LIMITED]} Why it would be ({refused.code}): {refused.detail}"
    return Refused(RefusalCode.RATE_LIMITED, refused.param, detail)


def not_tried() -> Refused:
    """The answer when a request would record a claim on another shard, and the tenant's budget is used up."""
    return Refused(RefusalCode.RATE_LIMITED, None, _NOT_TRIED_DETAIL)


_NOT_TRIED_DETAIL: Final = (
    "More requests of this tenant were refused lately than are kept. This one was not tried. "
    "Send it again later, with the same key."
)
NOT_CONFIGURED_DETAIL: Final = (
    "This ledger does not know shard {}. Add its database to the configuration, "
    "then send the request again, with the same key."
)


def not_configured(shard: int, param: str) -> Refused:
    """The refusal of a request that names a shard that is not configured.

    Like all `shard_unavailable`, it is not recorded.
    """
    return Refused(RefusalCode.SHARD_UNAVAILABLE, param, NOT_CONFIGURED_DETAIL.format(shard))


class Unserved(StrEnum):
    """The reasons why a request was not accepted at all. Its key was not used; it may be sent again."""

    OVERLOADED = "overloaded"
    SHARD_UNAVAILABLE = "shard_unavailable"
