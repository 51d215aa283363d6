"""Crossing in one step: both halves of a transaction are posted together, or neither.

The caller holds the locks of both shards. So each half is judged by its own books, and each names the other: both
positions are known before either is written.
"""

from tallystick.domain.books import Books, Movement, judge
from tallystick.domain.commands import RECEIVED_KINDS, SENT_KINDS, Leg, Note
from tallystick.domain.identifiers import make_identifier
from tallystick.domain.outcomes import Outcome, RefusalCode, Refused, refuse
from tallystick.domain.rules.saga_steps import clearing_movements, clearing_state, taken_clearing, totals_of
from tallystick.domain.sagas import SagaTerms


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
