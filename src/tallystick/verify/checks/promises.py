"""Promises of payees' shards: each is confirmed or revoked once, and its entries do what it brought.

Whether the payer's shard says the same is judged where shards are compared.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tallystick.domain.commands import Kind, Leg
from tallystick.domain.identifiers import shard_of
from tallystick.domain.limits import SHARD_NUMBER_MAX, SHARD_NUMBER_MIN
from tallystick.domain.rows import EntryRow
from tallystick.verify.checks.problems import Findings, ProblemKind
from tallystick.verify.checks.rows import TransactionHead
from tallystick.verify.checks.sides import Moves, Sides


class OpenPromise(NamedTuple):
    """What a shard promised and has neither confirmed nor revoked."""

    tenant: int
    legs: tuple[Leg, ...]


class Promises:
    """The promises that are open as of the last position that was judged; those that ended are forgotten."""

    def __init__(self, shard: int, sides: Sides, findings: Findings) -> None:
        self._shard = shard
        self._sides = sides
        self._findings = findings
        self._open: dict[int, OpenPromise] = {}

    def set_aside(self) -> Iterator[tuple[int, int]]:
        """What each open promise holds, account by account."""
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
    """What must happen to the payees, and which way the clearing accounts go (0: they stay)."""
    if kind == Kind.TRANSFER_PROMISED:
        return {leg.account: (leg.amount, leg.amount) for leg in legs}, -1
    if kind == Kind.TRANSFER_CONFIRMED:
        return {leg.account: (0, -leg.amount) for leg in legs}, 0
    return {leg.account: (-leg.amount, -leg.amount) for leg in legs}, 1
