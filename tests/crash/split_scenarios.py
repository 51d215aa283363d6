"""Transactions with payees on two other shards, in the ways that they can go."""

from collections.abc import Sequence
from typing import Final

import pytest

from tallystick import Ledger, views
from tallystick.domain.accounts import AccountStatus
from tallystick.domain.identifiers import Prefix, local_of, parse_identifier
from tallystick.domain.sagas import SagaState
from tallystick.ledger.crossing.saga.split import SplitJourney
from tests.crash.saga_scenarios import AMOUNT, REFUSED, START, Pair, Scenario, Subject, give_up, word
from tests.crash.two_shards import (
    AWAY,
    FURTHER,
    HOME,
    Funds,
    account_name,
    fund,
    key_at_home_on,
    open_accounts,
    set_status,
    shard_in,
)


async def pay(ledger: Ledger, subject: Subject) -> str:
    payees = (subject.payee, *subject.others)
    entries = [(account_name(subject.payer), -AMOUNT * len(payees))]
    entries += [(account_name(payee), AMOUNT) for payee in payees]
    return word(await ledger.post(entries, idempotency_key=subject.key))


async def prepare(ledger: Ledger, count: int) -> list[Subject]:
    payers = await open_accounts(ledger, HOME, count)
    payees = await open_accounts(ledger, AWAY, count)
    others = await open_accounts(ledger, FURTHER, count)
    await fund(ledger, HOME, payers, START)
    return [
        Subject(payer, payee, key_at_home_on(ledger, HOME, f"split {payer}"), others=(other,))
        for payer, payee, other in zip(payers, payees, others, strict=True)
    ]


async def prepare_refusal(ledger: Ledger, count: int) -> list[Subject]:
    subjects = await prepare(ledger, count)
    closed = [subject.others[0] for subject in subjects]
    await set_status(ledger, FURTHER, closed, AccountStatus.CLOSED)
    return subjects


async def prepare_promised(ledger: Ledger, count: int) -> list[Subject]:
    """Reserved, and promised by the first of the shards."""
    return [await _promised(ledger, subject) for subject in await prepare(ledger, count)]


async def _promised(ledger: Ledger, subject: Subject) -> Subject:
    saga, reference = await reserve_split(ledger, subject)
    journey = SplitJourney(HOME, saga, give_up=False)
    (answer,) = await shard_in(ledger, AWAY).batcher.submit([journey.command(AWAY)])
    assert answer.appended
    return subject._replace(reference=reference)


async def reserve_split(ledger: Ledger, subject: Subject) -> tuple[SagaState, str]:
    """Begin to pay, and go no further; the saga, and its identifier."""
    shard = shard_in(ledger, HOME)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger._engine.crossings.driver(shard), "begin", lambda *_, **__: None)
        payees = (subject.payee, *subject.others)
        entries = [(account_name(subject.payer), -AMOUNT * len(payees))]
        entries += [(account_name(payee), AMOUNT) for payee in payees]
        pending = await ledger.post(entries, idempotency_key=subject.key)
    assert isinstance(pending, views.Transaction)
    assert pending.state == views.PENDING
    position = local_of(parse_identifier(Prefix.TRANSACTION, pending.id))
    return (await shard.reader.sagas([position]))[position], pending.id


UNPAID: Final = Pair(Funds(START, 0), Funds(0, 0), (Funds(0, 0),))
PAID: Final = Pair(Funds(START - 2 * AMOUNT, 0), Funds(AMOUNT, 0), (Funds(AMOUNT, 0),))

SPLIT_SCENARIOS: Final[Sequence[Scenario]] = (
    Scenario("payees on two shards", prepare, pay, pay, UNPAID, PAID),
    Scenario(
        "payees on two shards, one of them closed",
        prepare_refusal,
        pay,
        pay,
        UNPAID,
        PAID,
        frozenset({REFUSED}),
    ),
    Scenario(
        "payees on two shards, given up",
        prepare_promised,
        give_up,
        pay,
        UNPAID,
        PAID,
        frozenset({views.POSTED, REFUSED}),
    ),
)
