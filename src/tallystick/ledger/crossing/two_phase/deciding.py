"""Decides transfers between two shards while the logs of both are held: pure functions, as in `domain`.

Both halves of a transaction are posted together, or neither. Each half is judged by its own books, and each names the
other: both positions are known before either is written.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from tallystick.domain.books import Books, Movement, judge
from tallystick.domain.commands import (
    RECEIVED_KINDS,
    SENT_KINDS,
    Command,
    Leg,
    Note,
    PostTransaction,
    Transfer,
)
from tallystick.domain.decide import Deciding, Decision, Rule
from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.identifiers import make_identifier, shard_of
from tallystick.domain.needs import Needs
from tallystick.domain.outcomes import Outcome, RefusalCode, Refused, refuse
from tallystick.domain.rules.saga_steps import clearing_movements, clearing_state, taken_clearing, totals_of
from tallystick.domain.rules.system_accounts import with_opened
from tallystick.domain.rules.transfers import Cross, post_transaction, transfer
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


def exchange(payer: Books, payees: Books, tenant: int, terms: SagaTerms, note: Note) -> Outcome:
    """Post the debits on one shard and the credits on the other, each against the other's clearing account.

    The refusal is the one with the highest precedence of both sides, and of equal ones the payer's.
    """
    debits = [Movement(leg.account, -leg.amount, 0, leg.param) for leg in terms.debits]
    payments = [Movement(leg.account, leg.amount, 0, leg.param) for leg in terms.credits]
    taken = taken_clearing(payer, payees.shard, tenant, terms.debits) or taken_clearing(
        payees, payer.shard, tenant, terms.credits
    )
    refusals = (
        payer.first_refusal(tenant, debits, _one_asset(terms.debits)),
        payees.first_refusal(tenant, payments, _one_asset(terms.credits)),
        taken or _clearing_refusal(payer, payees, tenant, terms),
    )
    if found := [refusal for refusal in refusals if refusal is not None]:
        return min(found, key=lambda refusal: refusal.code)
    totals = totals_of(terms.debits)
    sent_clearings = clearing_movements(payer, payees.shard, tenant, totals, 1)
    received_clearings = clearing_movements(payees, payer.shard, tenant, totals, -1)
    # Each half refers to the other by its identifier.
    sent = make_identifier(payer.shard, payer.position + 1)
    received = make_identifier(payees.shard, payees.position + 1)
    payees.append(tenant, RECEIVED_KINDS[terms.operation], note, refers_to=sent)
    for movement in (*received_clearings, *payments):
        payees.append_entry(movement)
    posted = payer.append(tenant, SENT_KINDS[terms.operation], note, refers_to=received)
    for movement in (*debits, *sent_clearings):
        payer.append_entry(movement)
    return posted


def _clearing_refusal(payer: Books, payees: Books, tenant: int, terms: SagaTerms) -> Refused | None:
    """The refusal if the clearing accounts cannot carry the amounts; None if they can."""
    for asset, total in totals_of(terms.debits).items():
        sent = judge(clearing_state(payer, payees.shard, tenant, asset), total, 0)
        received = judge(clearing_state(payees, payer.shard, tenant, asset), -total, 0)
        if sent is not None or received is not None:
            return refuse(RefusalCode.BALANCE_LIMIT_EXCEEDED, terms.credits[0].param)
    return None


def _one_asset(legs: tuple[Leg, ...]) -> str | None:
    """The asset that all of these accounts must hold; None if there are several, which were looked up before."""
    assets = {leg.asset for leg in legs}
    return assets.pop() if len(assets) == 1 else None
