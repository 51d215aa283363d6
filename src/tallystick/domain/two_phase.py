"""Decides transfers between two shards while the logs of both are held."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from tallystick.domain.books import Books
from tallystick.domain.commands import Command, Note, PostTransaction, Transfer
from tallystick.domain.decide import Deciding, Decision, Rule
from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.identifiers import shard_of
from tallystick.domain.needs import Needs
from tallystick.domain.outcomes import Outcome
from tallystick.domain.rules.system_accounts import with_opened
from tallystick.domain.rules.transfers import Cross, post_transaction, transfer
from tallystick.domain.rules.two_phase import exchange
from tallystick.domain.sagas import SagaTerms
from tallystick.domain.snapshot import Snapshot

_RULES: Final[dict[type[Command], Callable[[Books, Any, Cross], Outcome]]] = {
    Transfer: transfer,
    PostTransaction: post_transaction,
}


class CrossingCommand(NamedTuple):
    """A transfer or a transaction of several entries between two shards, and the number of the payer's shard."""

    home: int
    command: Transfer | PostTransaction


class PairDecision(NamedTuple):
    """One outcome for each command, in order, and the decision of each of the two shards."""

    outcomes: list[Outcome]
    shards: dict[int, Decision]

    def other(self, shard: int) -> Decision:
        """The decision of the other shard."""
        return next(decision for number, decision in self.shards.items() if number != shard)


def decide_pair(
    first: Snapshot, second: Snapshot, crossings: Sequence[CrossingCommand], now_us: Sequence[int]
) -> PairDecision:
    """Answer commands between two shards, in either direction, in order.

    Args:
        first: the head of one log, and all that the commands refer to on its shard.
        second: the same of the other shard.
        crossings: the commands. Their keys belong to the payer's shard.
        now_us: the clock of each shard, in microseconds since 1970 in UTC; not earlier than its head.
    """
    snapshots = (first, second)
    sides = {
        snapshot.shard: Deciding(snapshot, clock_us)
        for snapshot, clock_us in zip(snapshots, now_us, strict=True)
    }
    first_side, second_side = sides.values()
    rules = {first.shard: _rule(second_side.books), second.shard: _rule(first_side.books)}
    outcomes = [sides[home].answer(command, rules[home]) for home, command in crossings]
    return PairDecision(outcomes, {number: side.decision() for number, side in sides.items()})


def _rule(there: Books) -> Rule:
    """The rule of a payer's shard for commands that cross to the other shard."""

    def cross(here: Books, tenant: int, terms: SagaTerms, note: Note) -> Outcome:
        return with_opened(there, tenant, terms.opens, lambda: exchange(here, there, tenant, terms, note))

    return lambda here, command: _RULES[type(command)](here, command, cross)


def needs_of(crossings: Iterable[CrossingCommand], derivation: Derivation, other_shard: int) -> Needs:
    """What must be read on one of the two shards: the keys of payers, accounts, and clearing accounts."""
    needs, shard = Needs(), derivation.shard
    for home, command in crossings:
        if home == shard and command.request is not None:
            needs.requests.add(command.request.key)
        accounts, assets = _parts(command)
        needs.accounts.update(account for account in accounts if shard_of(account) == shard)
        needs.derived.update(
            derivation.clearing(other_shard, command.tenant, asset) for asset in assets if asset is not None
        )
    needs.look_for({})
    return needs


def _parts(command: Transfer | PostTransaction) -> tuple[Iterable[int], Iterable[str | None]]:
    """The accounts of a command, and the assets of those that are on the other shard."""
    if isinstance(command, Transfer):
        return (command.source, command.destination), (command.asset,)
    return (account for account, _ in command.entries), set(command.foreign_assets.values())
