"""The state of a shard that a batch is decided against."""

from collections.abc import Mapping

import msgspec

from tallystick.domain.accounts import AccountState
from tallystick.domain.commands import Kind
from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.holds import HoldState
from tallystick.domain.outcomes import Outcome
from tallystick.domain.sagas import SagaState


class Head(msgspec.Struct, frozen=True, gc=False):
    """The end of a shard's log: the newest batch, its last position, time and hash."""

    number: int
    last_position: int
    recorded_at_us: int
    hash: bytes


class Original(msgspec.Struct, frozen=True, gc=False):
    """A transaction that may be reversed: its entries (account, amount), and the amount that is reversed already.

    `refers_to` is the identifier of the payment, if the transaction is its credit from another shard.
    """

    position: int
    tenant: int
    kind: Kind
    entries: tuple[tuple[int, int], ...]
    reversed_amount: int = 0
    refers_to: int | None = None


class RecordedRequest(msgspec.Struct, frozen=True, gc=False):
    """The fingerprint and the outcome of an earlier request with the same key."""

    fingerprint: bytes
    outcome: Outcome


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """All that the commands of a batch may need. What is missing here does not exist."""

    derivation: Derivation
    head: Head
    accounts: Mapping[int, AccountState]
    holds: Mapping[int, HoldState]
    sagas: Mapping[int, SagaState]
    originals: Mapping[int, Original]
    requests: Mapping[bytes, RecordedRequest]

    @property
    def shard(self) -> int:
        """The shard's number."""
        return self.derivation.shard
