"""Commands: what callers ask a shard to do. Times are microseconds since 1970 in UTC, amounts minor units."""

from collections.abc import Mapping
from enum import IntEnum

import msgspec

from tallystick.domain.accounts import AccountKind, AccountStatus
from tallystick.domain.system_owners import SystemAccount


class Kind(IntEnum):
    """What a transaction in the log is. The numbers are stored: they never change."""

    ACCOUNT_OPENED = 1
    ACCOUNT_CHANGED = 2
    TRANSFER = 10
    TRANSACTION = 11
    REVERSAL = 12
    HOLD_PLACED = 20
    HOLD_CAPTURED = 21
    HOLD_VOIDED = 22
    HOLD_EXPIRED = 23
    TRANSFER_RESERVED = 30
    TRANSFER_CREDITED = 31
    TRANSFER_FINALIZED = 32
    TRANSFER_RELEASED = 33
    TRANSFER_PROMISED = 34
    TRANSFER_CONFIRMED = 35
    TRANSFER_REVOKED = 36
    TRANSFER_GIVEN_UP = 37
    TRANSFER_SETTLED = 38
    TRANSFER_SENT = 40
    TRANSFER_RECEIVED = 41
    TRANSACTION_SENT = 42
    TRANSACTION_RECEIVED = 43

    @property
    def text(self) -> str:
        """The kind as clients see it: `hold_placed`."""
        return _KIND_TEXTS[self]


ACCOUNT_KINDS = frozenset({Kind.ACCOUNT_OPENED, Kind.ACCOUNT_CHANGED})
HOLD_KINDS = frozenset({Kind.HOLD_PLACED, Kind.HOLD_CAPTURED, Kind.HOLD_VOIDED, Kind.HOLD_EXPIRED})
SAGA_KINDS = frozenset(
    {
        Kind.TRANSFER_RESERVED,
        Kind.TRANSFER_FINALIZED,
        Kind.TRANSFER_RELEASED,
        Kind.TRANSFER_GIVEN_UP,
        Kind.TRANSFER_SETTLED,
    }
)
# The steps of a saga on each of several payees' shards.
PROMISE_KINDS = frozenset({Kind.TRANSFER_PROMISED, Kind.TRANSFER_CONFIRMED, Kind.TRANSFER_REVOKED})
# The two halves of what crosses shards by two-phase commit, by what the caller asked for.
SENT_KINDS = {Kind.TRANSFER: Kind.TRANSFER_SENT, Kind.TRANSACTION: Kind.TRANSACTION_SENT}
RECEIVED_KINDS = {Kind.TRANSFER: Kind.TRANSFER_RECEIVED, Kind.TRANSACTION: Kind.TRANSACTION_RECEIVED}
_KIND_TEXTS = {kind: kind.name.lower() for kind in Kind}
KINDS = {text: kind for kind, text in _KIND_TEXTS.items()}
"""The kinds as clients name them."""


class Reach(IntEnum):
    """What is known of the shard of a destination before anything is reserved for it."""

    REACHABLE = 1
    UNREACHABLE = 2
    NOT_CONFIGURED = 3


class RequestKey(msgspec.Struct, frozen=True, gc=False):
    """The claim of one request: the hash of tenant and idempotency key, and what the request asked for.

    `keeps_refusal`: whether it is remembered that the request was refused. It is not when the tenant had too many.
    """

    key: bytes
    fingerprint: bytes
    keeps_refusal: bool = True


class Note(msgspec.Struct, frozen=True, gc=False):
    """What a caller writes beside a movement of money. `metadata` is canonical JSON."""

    description: str | None = None
    metadata: str | None = None
    effective_at_us: int | None = None


NO_NOTE = Note()


class Leg(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One account's part in what crosses shards: an amount that leaves it or comes to it, always more than zero.

    `param` names the field of the request that brought it, for a refusal. An asset of None: there is no such account.
    """

    account: int
    amount: int
    asset: str | None
    param: str


class Command(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What every command says: for which tenant, and under which key (None: the caller asked for no key).

    `opens` are the system owners' accounts that it moves: those of this shard are opened if they are not yet.
    """

    tenant: int
    request: RequestKey | None = None
    opens: tuple[SystemAccount, ...] = ()


class ClaimKey(Command, frozen=True, gc=False, kw_only=True):
    """Record in the log of a key's home that a request with this key goes to another shard."""

    shard: int


class OpenAccount(Command, frozen=True, gc=False, kw_only=True):
    """Open an account whose identifier the caller drew at random."""

    account: int
    owner: str
    asset: str
    kind: AccountKind
    min_balance: int | None
    max_balance: int | None
    metadata: str | None = None


class ChangeAccount(Command, frozen=True, gc=False, kw_only=True):
    """Freeze, unfreeze, close, reopen, or change bounds or metadata. UNSET leaves a term as it is."""

    account: int
    status: AccountStatus | msgspec.UnsetType = msgspec.UNSET
    min_balance: int | None | msgspec.UnsetType = msgspec.UNSET
    max_balance: int | None | msgspec.UnsetType = msgspec.UNSET
    metadata: str | None | msgspec.UnsetType = msgspec.UNSET


class Transfer(Command, frozen=True, gc=False, kw_only=True):
    """Move an amount of one asset from source to destination, whose shard can be reached or not."""

    source: int
    destination: int
    amount: int
    asset: str
    note: Note = NO_NOTE
    reach: Reach = Reach.REACHABLE


class PostTransaction(Command, frozen=True, gc=False, kw_only=True):
    """Post several entries (account, signed amount) that sum to zero in each asset.

    `foreign_assets` tells the assets of accounts on another shard, which never change; None: no such account.
    """

    entries: tuple[tuple[int, int], ...]
    foreign_assets: Mapping[int, str | None] = {}
    note: Note = NO_NOTE


class PlaceHold(Command, frozen=True, gc=False, kw_only=True):
    """Set an amount of the source's balance aside for the destination, for a time."""

    source: int
    destination: int
    amount: int
    asset: str
    expires_in_us: int
    foreign_assets: Mapping[int, str | None] = {}
    note: Note = NO_NOTE


class CaptureHold(Command, frozen=True, gc=False, kw_only=True):
    """Pay from a hold: an amount (None: all that is left). `final` releases whatever then remains."""

    hold: int
    amount: int | None = None
    final: bool = False
    note: Note = NO_NOTE


class VoidHold(Command, frozen=True, gc=False, kw_only=True):
    """Release what is left of a hold."""

    hold: int
    note: Note = NO_NOTE


class ExpireHold(Command, frozen=True, gc=False, kw_only=True):
    """Release a hold whose time is over; refused as `hold_not_open` before that."""

    hold: int


class Reverse(Command, frozen=True, gc=False, kw_only=True):
    """Post the opposite of a transaction, whole (None: all that is left of it) or in part.

    For the credit of a transfer that crossed shards, `payers` says whom the money goes back to on the other one.
    """

    transaction: int
    amount: int | None = None
    payers: tuple[Leg, ...] = ()
    note: Note = NO_NOTE
