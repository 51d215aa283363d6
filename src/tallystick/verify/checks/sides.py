"""The side of a transfer between shards that one shard posts: what leaves it, comes to it, or is promised.

The comparison of shards judges whether the other shard agrees.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from tallystick.domain.accounts import AccountKind
from tallystick.domain.commands import RECEIVED_KINDS, SENT_KINDS, Kind, Leg
from tallystick.domain.identifiers import shard_of
from tallystick.domain.limits import SHARD_NUMBER_MAX, SHARD_NUMBER_MIN
from tallystick.domain.rows import EntryRow
from tallystick.verify.checks.accounts import Accounts, name
from tallystick.verify.checks.holds import in_words
from tallystick.verify.checks.terms import totals
from tallystick.verify.problems import Findings, ProblemKind
from tallystick.verify.rows import TransactionHead

# The kinds of money from another shard, by saga or two-phase commit.
CREDIT_KINDS: Final = frozenset({int(Kind.TRANSFER_CREDITED), *map(int, RECEIVED_KINDS.values())})
# The kinds that were posted on both shards together. Each half refers to the other.
SENT: Final = frozenset(map(int, SENT_KINDS.values()))
# The kinds that move clearing accounts.
CLEARING_KINDS: Final = (
    CREDIT_KINDS
    | SENT
    | {int(Kind.TRANSFER_FINALIZED), int(Kind.TRANSFER_PROMISED), int(Kind.TRANSFER_REVOKED)}
)

Moves = dict[int, tuple[int, int]]
"""The changes of each account: amount and held."""


class Sides:
    """What is sent to another shard or comes from one moves the right clearing accounts by the same amount."""

    def __init__(self, shard: int, accounts: Accounts, findings: Findings) -> None:
        self._shard = shard
        self._accounts = accounts
        self._findings = findings

    def judge(self, transaction: TransactionHead, entries: Sequence[EntryRow]) -> None:
        """Judge a transaction that was sent to another shard or came from one, without a reservation before."""
        position, other = transaction.position, transaction.refers_to or 0
        other_shard = shard_of(other)
        kind = (
            ProblemKind.SAGA_WRONG if transaction.kind == Kind.TRANSFER_CREDITED else ProblemKind.HALF_WRONG
        )
        if not SHARD_NUMBER_MIN <= other_shard <= SHARD_NUMBER_MAX or other_shard == self._shard:
            self._findings.at_position(kind, position, f"crosses between shard {other_shard} and this one")
            return
        sign = 1 if transaction.kind in SENT else -1
        legs = [Leg(entry.account, -sign * entry.amount, entry.asset, "") for entry in entries]
        legs = [leg for leg in legs if leg.amount > 0]
        sides = {leg.account: (-sign * leg.amount, 0) for leg in legs}
        clearings = self.clearings(other_shard, transaction.tenant, legs, sign)
        for detail in self.wrong_entries(entries, sides, clearings):
            self._findings.at_position(kind, position, f"what crosses between shards {detail}")

    def clearings(self, other_shard: int, tenant: int, legs: Sequence[Leg], sign: int) -> Moves:
        """The changes of the clearing accounts when legs leave (sign 1) for another shard or come (-1) from there."""
        if not SHARD_NUMBER_MIN <= other_shard <= SHARD_NUMBER_MAX:
            return {}
        return {
            self._accounts.clearing(other_shard, tenant, asset): (sign * total, 0)
            for asset, total in totals(legs).items()
        }

    def wrong_entries(self, entries: Sequence[EntryRow], sides: Moves, clearings: Moves) -> Iterator[str]:
        """What is wrong with entries, given the expected changes of the shard's accounts and clearing accounts."""
        expected = sides | clearings
        moved = {entry.account: (entry.amount, entry.held) for entry in entries}
        if moved != expected or len(moved) != len(entries):
            yield f"says {in_words(expected)}; its entries say {in_words(moved)}"
        for account in expected:
            terms = self._accounts.terms(account)
            if terms is not None and (terms.kind == AccountKind.CLEARING) != (account in clearings):
                yield f"moves account {name(account)}, which is of kind {terms.kind}"


class OpenPromise(NamedTuple):
    """A promise that a shard has neither confirmed nor revoked."""

    tenant: int
    legs: tuple[Leg, ...]


class Promises:
    """A promise is made once, then confirmed or revoked once, and its end moves what the promise brought.

    It keeps the open promises as of the last position that was judged, and forgets those that ended.
    """

    def __init__(self, shard: int, sides: Sides, findings: Findings) -> None:
        self._shard = shard
        self._sides = sides
        self._findings = findings
        self._open: dict[int, OpenPromise] = {}

    def set_aside(self) -> Iterator[tuple[int, int]]:
        """The amounts that each open promise holds, by account."""
        for promise in self._open.values():
            for leg in promise.legs:
                yield leg.account, leg.amount

    def judge(self, transaction: TransactionHead, entries: Sequence[EntryRow]) -> None:
        """Judge a promise, or its end."""
        saga = transaction.refers_to or 0
        for detail in self._wrong(transaction, saga, entries):
            self._findings.at_position(ProblemKind.SAGA_WRONG, transaction.position, f"a promise {detail}")

    def _wrong(self, transaction: TransactionHead, saga: int, entries: Sequence[EntryRow]) -> Iterator[str]:
        home = shard_of(saga)
        if not SHARD_NUMBER_MIN <= home <= SHARD_NUMBER_MAX or home == self._shard:
            yield f"crosses between shard {home} and this one"
            return
        if transaction.kind == Kind.TRANSFER_PROMISED:
            if saga in self._open:
                yield "is made a second time"
            legs = tuple(Leg(one.account, one.amount, one.asset, "") for one in entries if one.amount > 0)
            promise = self._open[saga] = OpenPromise(transaction.tenant, legs)
        else:
            ended = self._open.pop(saga, None)
            if ended is None:
                yield "ends that was never made, or that ended before"
                return
            promise = ended
        if transaction.tenant != promise.tenant:
            yield f"is of tenant {promise.tenant}, its end of tenant {transaction.tenant}"
        sides, sign = _expected(transaction.kind, promise.legs)
        clearings: Moves = {}
        if sign:
            clearings = self._sides.clearings(home, promise.tenant, promise.legs, sign)
        yield from self._sides.wrong_entries(entries, sides, clearings)


def _expected(kind: int, legs: Sequence[Leg]) -> tuple[Moves, int]:
    """The changes of the payees, and the sign of those of the clearing accounts (0: no change)."""
    if kind == Kind.TRANSFER_PROMISED:
        return {leg.account: (leg.amount, leg.amount) for leg in legs}, -1
    if kind == Kind.TRANSFER_CONFIRMED:
        return {leg.account: (0, -leg.amount) for leg in legs}, 0
    return {leg.account: (-leg.amount, -leg.amount) for leg in legs}, 1
