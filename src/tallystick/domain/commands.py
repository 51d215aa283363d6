"""Commands: what callers ask a shard to do. Times are microseconds since 1970 in UTC, amounts are minor units."""

from collections.abc import Mapping
from enum import IntEnum

import msgspec

from tallystick.domain.accounts import AccountKind, AccountStatus
from tallystick.domain.invariants import required
from tallystick.domain.system_owners import SystemAccount


class Kind(IntEnum):
    """The kinds of transactions in the log. The numbers are stored and never change."""

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
# The steps of a split saga on the shard of a payee.
PROMISE_KINDS = frozenset({Kind.TRANSFER_PROMISED, Kind.TRANSFER_CONFIRMED, Kind.TRANSFER_REVOKED})
# The two halves of a two-phase commit, by the kind that the caller asked for.
SENT_KINDS = {Kind.TRANSFER: Kind.TRANSFER_SENT, Kind.TRANSACTION: Kind.TRANSACTION_SENT}
RECEIVED_KINDS = {Kind.TRANSFER: Kind.TRANSFER_RECEIVED, Kind.TRANSACTION: Kind.TRANSACTION_RECEIVED}
_KIND_TEXTS = {kind: kind.name.lower() for kind in Kind}
KINDS = {text: kind for kind, text in _KIND_TEXTS.items()}
"""The kinds as clients name them."""


class Reach(IntEnum):
    """Whether the shard of a destination can be reached, as far as is known before anything is reserved."""

    REACHABLE = 1
    UNREACHABLE = 2
    NOT_CONFIGURED = 3


class RequestKey(msgspec.Struct, frozen=True, gc=False):
    """The claim of one request: the hash of tenant and idempotency key, and the fingerprint of the request.

    `keeps_refusal`: whether a refusal is recorded. It is not when the tenant has used up its budget of refusals.
    """

    key: bytes
    fingerprint: bytes
    keeps_refusal: bool = True


class Note(msgspec.Struct, frozen=True, gc=False):
    """A caller's description, metadata (canonical JSON) and effective time of a transaction."""

    description: str | None = None
    metadata: str | None = None
    effective_at_us: int | None = None


NO_NOTE = Note()


class Leg(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One account's part in a transfer between shards: an amount that is debited or credited, always more than zero.

    `param` names the field of the request, for a refusal. `asset` is None if the account does not exist.
    """

    account: int
    amount: int
    asset: str | None
    param: str

    @property
    def known_asset(self) -> str:
        """The asset of a leg that was judged; raises BrokenInvariantError if there is none."""
        return required(self.asset, f"the asset of a leg of account {self.account}")


class Command(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The fields of every command: the tenant, and the idempotency key (None: there is none).

    `opens`: the accounts of system owners that the command moves. Those of this shard are opened if they do not
    exist.
    """

    tenant: int
    request: RequestKey | None = None
    opens: tuple[SystemAccount, ...] = ()


class ClaimKey(Command, frozen=True, gc=False, kw_only=True):
    """Record, on the home shard of a key, that the request with this key goes to another shard."""

    shard: int


class OpenAccount(Command, frozen=True, gc=False, kw_only=True):
    """Open an account. The caller chooses its identifier at random."""

    account: int
    owner: str
    asset: str
    kind: AccountKind
    min_balance: int | None
    max_balance: int | None
    metadata: str | None = None


class ChangeAccount(Command, frozen=True, gc=False, kw_only=True):
    """Freeze, unfreeze, close, reopen, or change bounds or metadata. UNSET leaves a term as it is.

    `metadata_changes` sets single keys of the metadata; None removes a key. `tags`: the change is made only if the
    account has one of these tags (None: in any case).
    """

    account: int
    status: AccountStatus | msgspec.UnsetType = msgspec.UNSET
    min_balance: int | None | msgspec.UnsetType = msgspec.UNSET
    max_balance: int | None | msgspec.UnsetType = msgspec.UNSET
    metadata: str | None | msgspec.UnsetType = msgspec.UNSET
    metadata_changes: Mapping[str, str | None] = {}
    tags: frozenset[str] | None = None


class Transfer(Command, frozen=True, gc=False, kw_only=True):
    """Move an amount of one asset from source to destination. `reach` is that of the destination's shard."""

    source: int
    destination: int
    amount: int
    asset: str
    note: Note = NO_NOTE
    reach: Reach = Reach.REACHABLE


class PostTransaction(Command, frozen=True, gc=False, kw_only=True):
    """Post several entries (account, signed amount) that sum to zero in each asset.

    `foreign_assets`: the assets of accounts on other shards, which never change; None: the account does not exist.
    """

    entries: tuple[tuple[int, int], ...]
    foreign_assets: Mapping[int, str | None] = {}
    note: Note = NO_NOTE


class PlaceHold(Command, frozen=True, gc=False, kw_only=True):
    """Hold an amount of the source's balance for the destination, for a time."""

    source: int
    destination: int
    amount: int
    asset: str
    expires_in_us: int
    foreign_assets: Mapping[int, str | None] = {}
    note: Note = NO_NOTE


class CaptureHold(Command, frozen=True, gc=False, kw_only=True):
    """Pay an amount from a hold (None: all that is left). `final` releases the rest."""

    hold: int
    amount: int | None = None
    final: bool = False
    note: Note = NO_NOTE


class VoidHold(Command, frozen=True, gc=False, kw_only=True):
    """Release the rest of a hold."""

    hold: int
    note: Note = NO_NOTE


class ExpireHold(Command, frozen=True, gc=False, kw_only=True):
    """Release a hold that has expired. Before its time it is refused as `hold_not_open`."""

    hold: int


class Reverse(Command, frozen=True, gc=False, kw_only=True):
    """Reverse a transaction: an amount, or all that is not reversed yet (None).

    For the credit of a transfer between shards, `payers` are the accounts on the other shard that get the money back.
    """

    transaction: int
    amount: int | None = None
    payers: tuple[Leg, ...] = ()
    note: Note = NO_NOTE
