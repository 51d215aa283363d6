"""The rows of a shard's log, as they are appended. Section 4 of the design; times are microseconds since 1970."""

from typing import NamedTuple

from tallystick.domain.accounts import AccountState
from tallystick.domain.commands import Kind
from tallystick.domain.holds import HoldState
from tallystick.domain.outcomes import RefusalCode
from tallystick.domain.sagas import SagaState


class TransactionRow(NamedTuple):
    """One event in the log. `refers_to` is the position of the hold or transaction that it is about."""

    position: int
    recorded_at_us: int
    tenant: int
    kind: Kind
    effective_at_us: int | None
    refers_to: int | None
    description: str | None
    metadata: str | None


class EntryRow(NamedTuple):
    """One account's change. `bound` is the limit that the change was judged against, None where none applied.

    A change that lowers the available balance is judged against min_balance, one that raises the balance
    against max_balance; no change does both.
    """

    account: int
    position: int
    amount: int
    balance: int
    held: int
    held_after: int
    bound: int | None
    asset: str


class AccountRow(NamedTuple):
    """An account's new terms as of a position. Only `state.terms` is stored: balances are read from entries."""

    position: int
    state: AccountState


class RequestRow(NamedTuple):
    """The claim of one idempotency key and what came of it: a position, or a refusal and its batch."""

    key: bytes
    position: int | None
    batch: int | None
    code: RefusalCode | None
    param: str | None
    detail: str | None
    fingerprint: bytes


class BatchRow(NamedTuple):
    """One write to the log. The newest is the shard's head."""

    number: int
    last_position: int
    recorded_at_us: int
    previous_hash: bytes
    hash: bytes


class Appended(NamedTuple):
    """All that one batch appends, in the order of the log."""

    transactions: list[TransactionRow]
    entries: list[EntryRow]
    accounts: list[AccountRow]
    holds: list[HoldState]
    sagas: list[SagaState]
    requests: list[RequestRow]
