"""The rows of a shard's log, as they are appended. Times are microseconds since 1970."""

from typing import NamedTuple

from tallystick.domain.accounts import AccountState
from tallystick.domain.commands import KINDS, Kind
from tallystick.domain.holds import HoldState
from tallystick.domain.invariants import required
from tallystick.domain.outcomes import Asked, RefusalCode
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

    @property
    def reference(self) -> int:
        """`refers_to`, for a kind that refers to something; raises BrokenInvariantError if it is missing."""
        return required(self.refers_to, f"what position {self.position} ({self.kind.text}) refers to")


class EntryRow(NamedTuple):
    """One account's change. `bound` is the limit that the change was judged against, None if none applied.

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
    """The claim of one idempotency key and its result: a position, or a refusal and its batch.

    `param` and `detail` belong to a refusal; under the key of a credit they say what was asked for, if it was posted.
    """

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
    """All rows that one batch appends, in the order of the log."""

    transactions: list[TransactionRow]
    entries: list[EntryRow]
    accounts: list[AccountRow]
    holds: list[HoldState]
    sagas: list[SagaState]
    requests: list[RequestRow]


def written_asked(asked: Asked) -> tuple[str, str | None]:
    """What was asked for, as `param` and `detail` of a request."""
    return asked.kind.text, None if asked.refers_to is None else str(asked.refers_to)


def read_asked(param: str | None, detail: str | None) -> Asked | None:
    """What was asked for, from `param` and `detail` of a request; None if they do not say it."""
    return None if param is None else Asked(KINDS[param], None if detail is None else int(detail))
