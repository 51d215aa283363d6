"""Holds: each is placed once, captured in part any number of times, and ended once; its entries say the same."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from tallystick.domain.commands import Kind
from tallystick.domain.holds import HoldStatus
from tallystick.domain.rows import EntryRow
from tallystick.domain.verification.accounts import Accounts, name
from tallystick.domain.verification.problems import Findings, ProblemKind
from tallystick.domain.verification.rows import HoldChange, TransactionHead

# The statuses that each kind of transaction may leave a hold in.
_STATUSES_AFTER: Final[dict[int, frozenset[int]]] = {
    Kind.HOLD_PLACED: frozenset({HoldStatus.OPEN}),
    Kind.HOLD_CAPTURED: frozenset({HoldStatus.OPEN, HoldStatus.CAPTURED}),
    Kind.HOLD_VOIDED: frozenset({HoldStatus.VOIDED}),
    Kind.HOLD_EXPIRED: frozenset({HoldStatus.EXPIRED}),
}


class Holds:
    """The holds that are open as of the last position that was judged; those that ended are forgotten."""

    def __init__(self, accounts: Accounts, findings: Findings) -> None:
        self._accounts = accounts
        self._findings = findings
        self._open: dict[int, HoldChange] = {}

    def change(self, transaction: TransactionHead, change: HoldChange, entries: Sequence[EntryRow]) -> None:
        """Judge one event of a hold: its row against the row before it, its entries against both."""
        if transaction.kind == Kind.HOLD_PLACED:
            details = list(self._wrong_placing(change))
            expected = {change.account: (0, change.amount)}
        else:
            before = self._open.pop(change.hold, None)
            if before is None:
                self._note(change, "is not open: it was never placed, or it ended before")
                return
            details = list(_wrong_following(transaction, before, change))
            expected = _expected_entries(transaction, before, change)
        if change.status not in _STATUSES_AFTER.get(transaction.kind, ()):
            details.append(f"has status {change.status} after an event of kind {transaction.kind}")
        moved = {entry.account: (entry.amount, entry.held) for entry in entries}
        if moved != expected:
            details.append(f"says {_in_words(expected)}; its entries say {_in_words(moved)}")
        for detail in details:
            self._note(change, detail)
        if change.status == HoldStatus.OPEN:
            self._open[change.hold] = change

    def finish(self, last_position: int) -> None:
        """Judge the end of the log: what is held of each account is what is left of its open holds."""
        remaining: Counter[int] = Counter()
        for hold in self._open.values():
            remaining[hold.account] += hold.amount - hold.captured
        for account, held in self._accounts.held():
            if held != remaining[account]:
                self._findings.at_position(
                    ProblemKind.HELD_WRONG,
                    last_position,
                    f"account {name(account)} has {held} held at the end of the log, "
                    f"but {remaining[account]} is left of its open holds",
                )

    def _wrong_placing(self, change: HoldChange) -> Iterator[str]:
        source = self._accounts.terms(change.account)
        destination = self._accounts.terms(change.destination)
        if change.hold != change.position:
            yield f"is placed at position {change.position}, and must have its number"
        if change.hold in self._open:
            yield "is placed a second time"
        if change.captured:
            yield f"has {change.captured} captured when it is placed"
        if change.amount <= 0:
            yield f"is of {change.amount}, which is not more than zero"
        if change.account == change.destination:
            yield "has one account as source and destination"
        if destination is None:
            yield f"pays account {name(change.destination)}, which was never opened"
        elif source is not None and (source.tenant, source.asset) != (destination.tenant, destination.asset):
            yield "pays an account of another tenant or asset"

    def _note(self, change: HoldChange, detail: str) -> None:
        self._findings.at_position(
            ProblemKind.HOLD_WRONG, change.position, f"the hold of position {change.hold} {detail}"
        )


def _wrong_following(transaction: TransactionHead, before: HoldChange, change: HoldChange) -> Iterator[str]:
    if transaction.refers_to != change.hold:
        yield f"changes in a transaction that refers to {transaction.refers_to}"
    if _fixed(change) != _fixed(before):
        yield "changed its account, destination, amount or expiry, which never change"
    newly_captured = change.captured - before.captured
    if transaction.kind == Kind.HOLD_CAPTURED:
        if newly_captured <= 0 or change.captured > change.amount:
            yield f"of {change.amount} has {change.captured} captured after {before.captured}"
        if change.status == HoldStatus.OPEN and change.captured >= change.amount:
            yield "is open, although nothing is left of it"
    elif newly_captured:
        yield f"is released, but its captured amount changes from {before.captured} to {change.captured}"
    expired = transaction.recorded_at_us >= before.expires_at_us
    if expired != (transaction.kind == Kind.HOLD_EXPIRED):
        yield "expires before its time" if not expired else "is captured or voided after its time"


def _fixed(change: HoldChange) -> tuple[int, int, int, int]:
    return change.account, change.destination, change.amount, change.expires_at_us


def _expected_entries(
    transaction: TransactionHead, before: HoldChange, change: HoldChange
) -> dict[int, tuple[int, int]]:
    """What an event must do to each account: amount and held."""
    left_before = before.amount - before.captured
    left_after = change.amount - change.captured if change.status == HoldStatus.OPEN else 0
    released = left_before - left_after
    if transaction.kind != Kind.HOLD_CAPTURED:
        return {before.account: (0, -released)}
    captured = change.captured - before.captured
    return {before.account: (-captured, -released), before.destination: (captured, 0)}


def _in_words(changes: dict[int, tuple[int, int]]) -> str:
    return ", ".join(
        f"{amount} and {held} held for account {name(account)}"
        for account, (amount, held) in sorted(changes.items())
    )
