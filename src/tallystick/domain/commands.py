"""Commands: what callers ask a shard to do. Times are microseconds since 1970 in UTC, amounts minor units."""

from enum import IntEnum

import msgspec

from tallystick.domain.accounts import AccountKind, AccountStatus


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

    @property
    def text(self) -> str:
        """The kind as clients see it: `hold_placed`."""
        return _KIND_TEXTS[self]


ACCOUNT_KINDS = frozenset({Kind.ACCOUNT_OPENED, Kind.ACCOUNT_CHANGED})
HOLD_KINDS = frozenset({Kind.HOLD_PLACED, Kind.HOLD_CAPTURED, Kind.HOLD_VOIDED, Kind.HOLD_EXPIRED})
_KIND_TEXTS = {kind: kind.name.lower() for kind in Kind}


class RequestKey(msgspec.Struct, frozen=True, gc=False):
    """The claim of one request: the hash of tenant and idempotency key, and what the request asked for."""

    key: bytes
    fingerprint: bytes


class Note(msgspec.Struct, frozen=True, gc=False):
    """What a caller writes beside a movement of money. `metadata` is canonical JSON."""

    description: str | None = None
    metadata: str | None = None
    effective_at_us: int | None = None


NO_NOTE = Note()


class Command(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What every command says: for which tenant, and under which key (None: the caller asked for no key)."""

    tenant: int
    request: RequestKey | None = None


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
    """Move an amount of one asset from source to destination."""

    source: int
    destination: int
    amount: int
    asset: str
    note: Note = NO_NOTE


class PostTransaction(Command, frozen=True, gc=False, kw_only=True):
    """Post several entries (account, signed amount) that sum to zero in each asset."""

    entries: tuple[tuple[int, int], ...]
    note: Note = NO_NOTE


class PlaceHold(Command, frozen=True, gc=False, kw_only=True):
    """Set an amount of the source's balance aside for the destination, for a time."""

    source: int
    destination: int
    amount: int
    asset: str
    expires_in_us: int
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
    """Post the opposite of a transaction, whole (None: all that is left of it) or in part."""

    transaction: int
    amount: int | None = None
    note: Note = NO_NOTE
