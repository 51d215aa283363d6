"""Holds: each is placed once, captured in part any number of times, and ended once; its entries say the same."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from tallystick.domain.commands import Kind
from tallystick.domain.holds import HoldStatus
from tallystick.domain.identifiers import shard_of
from tallystick.domain.limits import SHARD_NUMBER_MAX, SHARD_NUMBER_MIN
from tallystick.domain.rows import EntryRow
from tallystick.domain.sagas import SagaTerms
from tallystick.verify.checks.accounts import Accounts, name
from tallystick.verify.problems import Findings, ProblemKind
from tallystick.verify.rows import HoldChange, TransactionHead

# The status of a hold before each kind of transaction, and its possible statuses afterwards.
_STATUS_BEFORE: Final[dict[int, int]] = {
    Kind.HOLD_CAPTURED: HoldStatus.OPEN,
    Kind.HOLD_VOIDED: HoldStatus.OPEN,
    Kind.HOLD_EXPIRED: HoldStatus.OPEN,
    Kind.TRANSFER_RESERVED: HoldStatus.OPEN,
    Kind.TRANSFER_FINALIZED: HoldStatus.CAPTURING,
    Kind.TRANSFER_RELEASED: HoldStatus.CAPTURING,
}
_STATUSES_AFTER: Final[dict[int, frozenset[int]]] = {
    Kind.HOLD_PLACED: frozenset({HoldStatus.OPEN}),
    Kind.HOLD_CAPTURED: frozenset({HoldStatus.OPEN, HoldStatus.CAPTURED}),
    Kind.HOLD_VOIDED: frozenset({HoldStatus.VOIDED}),
    Kind.HOLD_EXPIRED: frozenset({HoldStatus.EXPIRED}),
    Kind.TRANSFER_RESERVED: frozenset({HoldStatus.CAPTURING}),
    Kind.TRANSFER_FINALIZED: frozenset({HoldStatus.OPEN, HoldStatus.CAPTURED, HoldStatus.EXPIRED}),
    Kind.TRANSFER_RELEASED: frozenset({HoldStatus.OPEN, HoldStatus.EXPIRED}),
}
_HOLDING: Final = frozenset({int(HoldStatus.OPEN), int(HoldStatus.CAPTURING)})


class Holds:
    """A hold is placed once, captured in part any number of times and ended once, and its entries do just that.

    It keeps the open holds as of the last position that was judged, and forgets those that ended.
    """

    def __init__(self, shard: int, accounts: Accounts, findings: Findings) -> None:
        self._shard = shard
        self._accounts = accounts
        self._findings = findings
        self._holding: dict[int, HoldChange] = {}

    def set_aside(self) -> Iterator[tuple[int, int]]:
        """The rest of each hold, with its account."""
        for hold in self._holding.values():
            yield hold.account, _left(hold)

    def is_capturing(self, hold: int) -> bool:
        """Whether a capture of the hold to another shard is in progress."""
        found = self._holding.get(hold)
        return found is not None and found.status == HoldStatus.CAPTURING

    def stuck(self, captured: Collection[int]) -> Iterator[str]:
        """The holds that cannot end: a capture is in progress, and no open saga captures them."""
        for hold in self._holding.values():
            if hold.status == HoldStatus.CAPTURING and hold.hold not in captured:
                yield f"the hold of position {hold.hold} is being captured by no saga: it cannot end"

    def change(self, transaction: TransactionHead, change: HoldChange, entries: Sequence[EntryRow]) -> None:
        """Judge one event of a hold: its row against the previous row, and its entries against both."""
        if transaction.kind == Kind.HOLD_PLACED:
            details = list(self._wrong_placing(change))
            if change.status != HoldStatus.OPEN:
                details.append(_wrong_status(transaction, change))
            expected = {change.account: (0, change.amount)}
        else:
            before = self._before(change)
            if before is None:
                return
            details = list(_wrong_following(transaction, before, change))
            expected = _expected_entries(transaction, before, change)
        moved = {entry.account: (entry.amount, entry.held) for entry in entries}
        if moved != expected:
            details.append(f"says {in_words(expected)}; its entries say {in_words(moved)}")
        self._go_on(change, details)

    def capture_elsewhere(self, transaction: TransactionHead, terms: SagaTerms, change: HoldChange) -> int:
        """Judge the effect of a step of a saga on the hold that it captures.

        Returns:
            How much less the hold sets aside, in minor units.
        """
        before = self._before(change)
        if before is None:
            return 0
        self._go_on(
            change,
            [
                *_wrong_following(transaction, before, change),
                *_wrong_capture(transaction, terms, before, change),
            ],
        )
        return _left(before) - _left(change)

    def _before(self, change: HoldChange) -> HoldChange | None:
        before = self._holding.pop(change.hold, None)
        if before is None:
            self._note(change, "is not open: it was never placed, or it ended before")
        return before

    def _go_on(self, change: HoldChange, details: Sequence[str]) -> None:
        for detail in details:
            self._note(change, detail)
        if change.status in _HOLDING:
            self._holding[change.hold] = change

    def _wrong_placing(self, change: HoldChange) -> Iterator[str]:
        source = self._accounts.terms(change.account)
        destination = self._accounts.terms(change.destination)
        if change.hold != change.position:
            yield f"is placed at position {change.position}, and must have its number"
        if change.hold in self._holding:
            yield "is placed a second time"
        if change.captured:
            yield f"has {change.captured} captured when it is placed"
        if change.amount <= 0:
            yield f"is of {change.amount}, which is not more than zero"
        if change.account == change.destination:
            yield "has one account as source and destination"
        if destination is None:
            # A destination on another shard is judged there, when it is paid.
            other_shard = shard_of(change.destination)
            if other_shard == self._shard or not SHARD_NUMBER_MIN <= other_shard <= SHARD_NUMBER_MAX:
                yield f"pays account {name(change.destination)}, which was never opened"
        elif source is not None and (source.tenant, source.asset) != (destination.tenant, destination.asset):
            yield "pays an account of another tenant or asset"

    def _note(self, change: HoldChange, detail: str) -> None:
        self._findings.at_position(
            ProblemKind.HOLD_WRONG, change.position, f"the hold of position {change.hold} {detail}"
        )


def _wrong_following(transaction: TransactionHead, before: HoldChange, change: HoldChange) -> Iterator[str]:
    kind = transaction.kind
    if kind in (Kind.HOLD_CAPTURED, Kind.HOLD_VOIDED, Kind.HOLD_EXPIRED, Kind.TRANSFER_RESERVED) and (
        transaction.refers_to != change.hold
    ):
        yield f"changes in a transaction that refers to {transaction.refers_to}"
    if _fixed(change) != _fixed(before):
        yield "changed its account, destination, amount or expiry, which never change"
    if before.status != _STATUS_BEFORE.get(kind):
        yield f"has status {before.status} before an event of kind {kind}"
    if change.status not in _STATUSES_AFTER.get(kind, ()):
        yield _wrong_status(transaction, change)
    newly_captured = change.captured - before.captured
    if kind in (Kind.HOLD_CAPTURED, Kind.TRANSFER_FINALIZED):
        if newly_captured <= 0 or change.captured > change.amount:
            yield f"of {change.amount} has {change.captured} captured after {before.captured}"
        if change.status == HoldStatus.OPEN and change.captured >= change.amount:
            yield "is open, although nothing is left of it"
    elif newly_captured:
        yield f"is released, but its captured amount changes from {before.captured} to {change.captured}"
    expired = transaction.recorded_at_us >= before.expires_at_us
    # If the hold expires during a capture to another shard, that shard decides how the capture ends.
    if before.status == HoldStatus.OPEN and expired != (kind == Kind.HOLD_EXPIRED):
        yield "expires before its time" if not expired else "is captured or voided after its time"


def _wrong_capture(
    transaction: TransactionHead, terms: SagaTerms, before: HoldChange, change: HoldChange
) -> Iterator[str]:
    """What is wrong with a hold's change, compared with the terms of the saga that captures it."""
    amount = sum(leg.amount for leg in terms.debits)
    accounts = [leg.account for leg in (*terms.debits, *terms.credits)]
    if terms.refers_to != change.hold or accounts != [change.account, change.destination]:
        yield "is captured by a saga that is not about it"
    if transaction.kind == Kind.TRANSFER_RESERVED:
        if amount > _left(before):
            yield f"has {_left(before)} left, and {amount} of it is captured"
        if amount == _left(before) and not terms.final:
            yield "is captured whole, but not for the last time"
        return
    finalized = transaction.kind == Kind.TRANSFER_FINALIZED
    if finalized and change.captured - before.captured != amount:
        yield f"has {change.captured} captured after {before.captured}, by a saga of {amount}"
    if finalized and terms.final:
        right = HoldStatus.CAPTURED
    elif transaction.recorded_at_us >= before.expires_at_us:
        right = HoldStatus.EXPIRED
    else:
        right = HoldStatus.OPEN
    if change.status != right and change.status in _STATUSES_AFTER[transaction.kind]:
        yield f"has status {change.status} when its capture ends, and must have status {right.value}"


def _wrong_status(transaction: TransactionHead, change: HoldChange) -> str:
    return f"has status {change.status} after an event of kind {transaction.kind}"


def _fixed(change: HoldChange) -> tuple[int, int, int, int]:
    return change.account, change.destination, change.amount, change.expires_at_us


def _left(hold: HoldChange) -> int:
    return hold.amount - hold.captured if hold.status in _HOLDING else 0


def _expected_entries(
    transaction: TransactionHead, before: HoldChange, change: HoldChange
) -> dict[int, tuple[int, int]]:
    """The amount and the held amount by which an event must change each account."""
    released = before.amount - before.captured - _left(change)
    if transaction.kind != Kind.HOLD_CAPTURED:
        return {before.account: (0, -released)}
    captured = change.captured - before.captured
    return {before.account: (-captured, -released), before.destination: (captured, 0)}


def in_words(changes: dict[int, tuple[int, int]]) -> str:
    """The changes of each account, amount and held, in words."""
    return (
        ", ".join(
            f"{amount} and {held} held for account {name(account)}"
            for account, (amount, held) in sorted(changes.items())
        )
        or "nothing"
    )
