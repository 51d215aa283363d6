"""What crosses shards, in the ways there are: each prepared many times over, on accounts that nobody else uses."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from tallystick import Ledger, Refused, views
from tallystick.domain.accounts import AccountStatus
from tallystick.domain.identifiers import Prefix, format_identifier, local_of, parse_identifier
from tests.crash.two_shards import (
    AWAY,
    HOME,
    Funds,
    account_name,
    fund,
    key_at_home_on,
    open_accounts,
    reserve,
    set_status,
    shard_in,
)

START: Final = 1_000
AMOUNT: Final = 100
REFUSED: Final = "refused"
_SAGA_WAIT_SECONDS: Final = 5.0


class Subject(NamedTuple):
    """One payer and one payee, the key of the request between them, and what the request is about; further payees."""

    payer: int
    payee: int
    key: str
    reference: str = ""
    others: tuple[int, ...] = ()


class Pair(NamedTuple):
    """What payer and payee have, and further payees."""

    payer: Funds
    payee: Funds
    others: tuple[Funds, ...] = ()


class Scenario(NamedTuple):
    """One way to cross.

    `call` is what crashes; `ask` is the request of the caller, again and again with the same key. Both say in a word
    what they were answered. `undone` and `done` are what the books may say.
    """

    name: str
    prepare: Callable[[Ledger, int], Awaitable[list[Subject]]]
    call: Callable[[Ledger, Subject], Awaitable[str]]
    ask: Callable[[Ledger, Subject], Awaitable[str]]
    undone: Pair
    done: Pair
    ends: frozenset[str] = frozenset({views.POSTED})


def word(answer: views.Transaction | views.Hold | Refused) -> str:
    """An answer in a word."""
    if isinstance(answer, Refused):
        return REFUSED
    if isinstance(answer, views.Hold):
        return views.POSTED if answer.status == "captured" else views.PENDING
    return answer.state


async def transfer(ledger: Ledger, subject: Subject) -> str:
    return word(
        await ledger.transfer(
            account_name(subject.payer),
            account_name(subject.payee),
            AMOUNT,
            "USD",
            idempotency_key=subject.key,
        )
    )


async def capture(ledger: Ledger, subject: Subject) -> str:
    return word(await ledger.capture(subject.reference, final=True, idempotency_key=subject.key))


async def reverse(ledger: Ledger, subject: Subject) -> str:
    return word(await ledger.reverse(subject.reference, idempotency_key=subject.key))


async def give_up(ledger: Ledger, subject: Subject) -> str:
    """As an operator does who wants a transfer off the table."""
    shard = shard_in(ledger, HOME)
    saga = local_of(parse_identifier(Prefix.TRANSACTION, subject.reference))
    states = await shard.reader.sagas([saga])
    driver = ledger._engine.crossings.driver(shard)
    (state,) = (await driver.drive(list(states.values()), _SAGA_WAIT_SECONDS, give_up=True)).values()
    ends = {"FINALIZED": views.POSTED, "SETTLED": views.POSTED, "RELEASED": REFUSED}
    return ends.get(state.status.name, views.PENDING)


async def prepare_transfer(ledger: Ledger, count: int, *, key_home: int = HOME) -> list[Subject]:
    payers = await open_accounts(ledger, HOME, count)
    payees = await open_accounts(ledger, AWAY, count)
    await fund(ledger, HOME, payers, START)
    return [
        Subject(payer, payee, key_at_home_on(ledger, key_home, f"pay {payer}"))
        for payer, payee in zip(payers, payees, strict=True)
    ]


async def prepare_claimed(ledger: Ledger, count: int) -> list[Subject]:
    return await prepare_transfer(ledger, count, key_home=AWAY)


async def prepare_refusal(ledger: Ledger, count: int) -> list[Subject]:
    subjects = await prepare_transfer(ledger, count)
    await set_status(ledger, AWAY, [subject.payee for subject in subjects], AccountStatus.CLOSED)
    return subjects


async def prepare_capture(ledger: Ledger, count: int) -> list[Subject]:
    subjects = await prepare_transfer(ledger, count)
    return [subject._replace(reference=await _hold(ledger, subject)) for subject in subjects]


async def _hold(ledger: Ledger, subject: Subject) -> str:
    held = await ledger.hold(
        account_name(subject.payer),
        account_name(subject.payee),
        AMOUNT,
        "USD",
        idempotency_key=f"hold {subject.payer}",
    )
    assert isinstance(held, views.Hold)
    return held.id


async def prepare_reversal(ledger: Ledger, count: int) -> list[Subject]:
    subjects = await prepare_transfer(ledger, count)
    paid = []
    for subject in subjects:
        answer = await ledger.transfer(
            account_name(subject.payer),
            account_name(subject.payee),
            AMOUNT,
            "USD",
            idempotency_key=subject.key,
        )
        assert isinstance(answer, views.Transaction)
        key = key_at_home_on(ledger, HOME, f"reverse {subject.payer}")
        paid.append(subject._replace(key=key, reference=answer.id))
    return paid


async def prepare_reserved(ledger: Ledger, count: int) -> list[Subject]:
    subjects = await prepare_transfer(ledger, count)
    sagas = await reserve(ledger, [(subject.payer, subject.payee) for subject in subjects], AMOUNT, "pay")
    shard = shard_in(ledger, HOME)
    return [
        subject._replace(
            key=f"pay {subject.payer}",
            reference=format_identifier(Prefix.TRANSACTION, shard.identifier(saga.saga)),
        )
        for subject, saga in zip(subjects, sagas, strict=True)
    ]


_UNPAID: Final = Pair(Funds(START, 0), Funds(0, 0))
_HELD: Final = Pair(Funds(START, AMOUNT), Funds(0, 0))
_PAID: Final = Pair(Funds(START - AMOUNT, 0), Funds(AMOUNT, 0))

SCENARIOS: Final[Sequence[Scenario]] = (
    Scenario("transfer", prepare_transfer, transfer, transfer, _UNPAID, _PAID),
    Scenario("transfer whose key is claimed", prepare_claimed, transfer, transfer, _UNPAID, _PAID),
    Scenario(
        "transfer to a closed account",
        prepare_refusal,
        transfer,
        transfer,
        _UNPAID,
        _PAID,
        frozenset({REFUSED}),
    ),
    Scenario("last capture", prepare_capture, capture, capture, _HELD, _PAID),
    Scenario("reversal", prepare_reversal, reverse, reverse, _PAID, _UNPAID),
    Scenario(
        "transfer that is given up",
        prepare_reserved,
        give_up,
        transfer,
        _UNPAID,
        _PAID,
        frozenset({views.POSTED, REFUSED}),
    ),
)
