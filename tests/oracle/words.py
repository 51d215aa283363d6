"""The words of the naive model: what is asked, what is answered, and what happened.

Positions name transactions, holds and sagas. Accounts are numbers: those below 1,000 live on the shard that is
modelled, 1,000 to 1,999 on the first of the others, and so on; a saga of another shard is numbered in the same way.
"""

from dataclasses import dataclass, field
from typing import Final, Literal

LARGEST: Final = 9_223_372_036_854_775_807
SMALLEST: Final = -9_223_372_036_854_775_808

PRECEDENCE: Final = (
    "idempotency_key_reused",
    "idempotency_key_claimed",
    "same_account",
    "amount_invalid",
    "transaction_not_found",
    "hold_not_found",
    # Nothing is asked of a payer while the payee cannot be reached.
    "shard_unavailable",
    "account_not_found",
    "precondition_failed",
    "transaction_not_reversible",
    "hold_not_open",
    "hold_busy",
    "asset_mismatch",
    "entries_unbalanced",
    "crosses_too_many_shards",
    "capture_exceeds_hold",
    "reversal_exceeds_original",
    "account_closed",
    "account_frozen",
    "account_not_empty",
    "bounds_invalid",
    "metadata_too_large",
    "insufficient_funds",
    "balance_limit_exceeded",
    "atomic_batch_refused",
    "transfer_cancelled",
)

# What is refused for a reason that passes is not kept under its key.
PASSING: Final = ("hold_busy", "shard_unavailable", "precondition_failed")

REVERSIBLE: Final = ("transfer", "transaction", "hold_captured", "transfer_credited")

SEVERAL: Final = -1
"""Stands for the other shard of what pays on several."""

_SHARD_SIZE: Final = 1_000
SHARD_NOT_CONFIGURED: Final = 3
SHARD_NOT_REACHABLE: Final = 4

# What lives on other shards, as far as this one is told: account, tenant, asset.
ELSEWHERE: Final = (
    (1_001, 1, "USD"),
    (1_002, 1, "USD"),
    (1_003, 1, "EUR"),
    (2_001, 1, "USD"),
    (1_004, 2, "USD"),
    (1_901, 1, "USD"),
)

# System owners, whose accounts are opened by what first names them: number on each shard, tenant, owner, asset.
SYSTEM_OWNERS: Final = (
    (901, 1, "@fees", "USD"),
    (902, 1, "@fx", "USD"),
    (903, 1, "@fx", "EUR"),
    (904, 2, "@fees", "USD"),
)

Status = Literal["open", "frozen", "closed"]
KEEP: Final = "keep"
Keep = Literal["keep"]
Complaint = tuple[str, str | None]


def shard_of(number: int) -> int:
    """Where an account or a saga lives: 0 is here. Clearing accounts have negative numbers and are here."""
    return max(0, number) // _SHARD_SIZE


def asset_elsewhere(account: int, tenant: int) -> str | None:
    """What an account of another shard holds, if this tenant has such an account there."""
    return next((asset for one, owner, asset in ELSEWHERE if (one, owner) == (account, tenant)), None)


def system_owner(account: int) -> tuple[int, str, str] | None:
    """Whose account of a system owner it is, open or not: tenant, owner, asset."""
    number = max(0, account) % _SHARD_SIZE
    return next((one[1:] for one in SYSTEM_OWNERS if one[0] == number), None)


# Commands. The compared fields after `tenant` and `key` are what the request asks for, in the order in which a
# difference between two requests is named.


@dataclass(frozen=True, kw_only=True)
class Command:
    tenant: int
    key: str | None = None


@dataclass(frozen=True, kw_only=True)
class Noted(Command):
    description: str | None = None
    metadata: str | None = None
    effective_at: int | None = None


@dataclass(frozen=True, kw_only=True)
class Open(Command):
    # Drawn by the server, so two requests that differ in it alone are the same request.
    account: int = field(compare=False)
    owner: str
    asset: str
    kind: Literal["wallet", "system"]
    min_balance: int | None
    max_balance: int | None
    metadata: str | None = None
    near: str | None = None


@dataclass(frozen=True, kw_only=True)
class Change(Command):
    id: int
    status: Status | Keep = KEEP
    min_balance: int | None | Keep = KEEP
    max_balance: int | None | Keep = KEEP
    metadata: str | None | Keep = KEEP
    # Whether the account is as the caller saw it. Requests that differ in it alone are the same request.
    fits: bool = field(default=True, compare=False)


@dataclass(frozen=True, kw_only=True)
class Transfer(Noted):
    source: int
    destination: int
    amount: int
    asset: str


@dataclass(frozen=True, kw_only=True)
class Transaction(Noted):
    entries: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Hold(Noted):
    source: int
    destination: int
    amount: int
    asset: str
    expires_in: int


@dataclass(frozen=True, kw_only=True)
class Capture(Noted):
    id: int
    amount: int | None = None
    final: bool = False


@dataclass(frozen=True, kw_only=True)
class Void(Noted):
    id: int


@dataclass(frozen=True, kw_only=True)
class Expire(Command):
    id: int


@dataclass(frozen=True)
class Part:
    """One account's part in what crosses shards: what leaves it or comes to it, and which field brought it."""

    account: int
    amount: int
    asset: str
    param: str


@dataclass(frozen=True, kw_only=True)
class Reverse(Noted):
    id: int
    amount: int | None = None
    # Known to the server: who paid, on another shard, what the transaction credited here.
    payers: tuple[Part, ...] = field(default=(), compare=False)


@dataclass(frozen=True, kw_only=True)
class Credit(Noted):
    """What another shard has reserved is paid here."""

    saga: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, kw_only=True)
class Promise(Credit):
    """The same of a saga that pays on several shards: no payee can spend it yet."""


@dataclass(frozen=True, kw_only=True)
class Confirm(Noted):
    """What was promised here may be spent."""

    saga: int


@dataclass(frozen=True, kw_only=True)
class Revoke(Noted):
    """What was promised here goes back."""

    saga: int


@dataclass(frozen=True, kw_only=True)
class RefuseCredit(Command):
    saga: int


@dataclass(frozen=True, kw_only=True)
class Finalize(Command):
    """What was reserved here leaves. `counterpart` is where the other shard credited it."""

    saga: int
    counterpart: int | None


@dataclass(frozen=True, kw_only=True)
class GiveUp(Command):
    """What was reserved here for several shards will not leave, for this reason."""

    saga: int
    code: str
    param: str | None


@dataclass(frozen=True, kw_only=True)
class Settle(Command):
    """All shards have confirmed what left."""

    saga: int


@dataclass(frozen=True, kw_only=True)
class Release(Command):
    """What was reserved here is given back, for the reason that the other shard recorded."""

    saga: int
    code: str
    param: str | None


@dataclass(frozen=True, kw_only=True)
class ClaimKey(Command):
    """What is asked of another shard, under this key, is asked under it for ever."""

    asked: Command
    shard: int


@dataclass(frozen=True)
class Group:
    """Commands that stand or fall together."""

    commands: tuple[Command, ...]


Unit = Command | Group


# Outcomes.


@dataclass(frozen=True)
class Posted:
    position: int
    replayed: bool = False


@dataclass(frozen=True)
class Refused:
    code: str
    param: str | None
    replayed: bool = False


Outcome = Posted | Refused


class ConflictError(Exception):
    """Somebody asks a saga to end otherwise than it did, or one that never began: that is no command at all."""


# What happened.


@dataclass(frozen=True)
class Terms:
    account: int
    tenant: int
    owner: str
    asset: str
    kind: str
    status: Status
    min_balance: int | None
    max_balance: int | None
    metadata: str | None


@dataclass(frozen=True)
class Reservation:
    payer: int
    payee: int
    amount: int
    expires_at: int


@dataclass(frozen=True)
class Crossing:
    """What was reserved for another shard. `about` is the hold that is captured or the transaction reversed."""

    operation: Literal["transfer", "transaction", "hold_captured", "reversal"]
    other_shard: int
    debits: tuple[Part, ...]
    credits: tuple[Part, ...]
    about: int | None = None
    final: bool = False


@dataclass(frozen=True)
class Event:
    """One transaction of the log.

    `hold` is the hold that it changes, where that is not the one it places; `ends_hold` how that hold ends with it.
    """

    position: int
    recorded_at: int
    tenant: int
    kind: str
    entries: tuple[tuple[int, int], ...] = ()
    refers_to: int | None = None
    terms: Terms | None = None
    reservation: Reservation | None = None
    hold: int | None = None
    ends_hold: Literal["captured", "voided", "expired"] | None = None
    crossing: Crossing | None = None
    counterpart: int | None = None
    refusal: Refused | None = None
    description: str | None = None
    metadata: str | None = None
    effective_at: int | None = None


@dataclass(frozen=True)
class Claim:
    """An idempotency key that was used: by which command, with what outcome, recorded in which batch."""

    command: Command
    outcome: Outcome
    batch: int


@dataclass(frozen=True)
class EntryView:
    """One account's change by one event, worked out from the history before and after it."""

    account: int
    position: int
    amount: int
    balance: int
    held: int
    held_after: int
    bound: int | None
    asset: str


@dataclass(frozen=True)
class HoldView:
    """A hold as it was after an event that touched it."""

    hold: int
    position: int
    payer: int
    payee: int
    amount: int
    captured: int
    status: str
    expires_at: int
