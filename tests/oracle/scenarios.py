"""Short stories that chance tells too rarely. Each is a list of batches; every batch is one microsecond later."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tests.oracle import words
from tests.oracle.crossing import conflicts
from tests.oracle.harness import Comparison
from tests.oracle.store import check_log
from tests.oracle.words import (
    LARGEST,
    SMALLEST,
    Capture,
    Change,
    Command,
    Expire,
    Group,
    Hold,
    Open,
    Reverse,
    Transaction,
    Transfer,
    Void,
)

Batches = Sequence[Sequence[words.Unit]]

BANK: Final = 1  # may go below zero
ANN: Final = 2
BOB: Final = 3
DESK: Final = 4  # holds euros, may go below zero
EVE: Final = 5  # holds euros
FEES: Final = 901  # of @fees, in dollars
FX: Final = 902  # of @fx, in dollars
FX_EUROS: Final = 903

# Positions 1 to 5.
_ACCOUNTS: Final[list[words.Unit]] = [
    Open(
        tenant=1, account=BANK, owner="bank", asset="USD", kind="system", min_balance=None, max_balance=None
    ),
    Open(tenant=1, account=ANN, owner="ann", asset="USD", kind="wallet", min_balance=0, max_balance=None),
    Open(tenant=1, account=BOB, owner="bob", asset="USD", kind="wallet", min_balance=0, max_balance=None),
    Open(
        tenant=1, account=DESK, owner="desk", asset="EUR", kind="system", min_balance=None, max_balance=None
    ),
    Open(tenant=1, account=EVE, owner="eve", asset="EUR", kind="wallet", min_balance=0, max_balance=None),
]

OTHERS_BANK: Final = Open(
    tenant=2, account=6, owner="bank", asset="USD", kind="system", min_balance=None, max_balance=None
)


def pay(source: int, destination: int, amount: int) -> Transfer:
    return Transfer(tenant=1, source=source, destination=destination, amount=amount, asset="USD")


def hold(source: int, destination: int, amount: int, expires_in: int = 100) -> Hold:
    return Hold(
        tenant=1, source=source, destination=destination, amount=amount, asset="USD", expires_in=expires_in
    )


def capture(position: int, amount: int | None = None, *, final: bool = False) -> Capture:
    return Capture(tenant=1, id=position, amount=amount, final=final)


def reverse(position: int, amount: int | None = None) -> Reverse:
    return Reverse(tenant=1, id=position, amount=amount)


def post(*entries: tuple[int, int]) -> Transaction:
    return Transaction(tenant=1, entries=entries)


def _keyed(key: str, amount: int) -> Transfer:
    return replace(pay(ANN, BOB, amount), key=key)


_WIDE: Final = post((BANK, -30), (ANN, 10), (BOB, 20))
_EXCHANGE: Final = post((ANN, -10), (BANK, 10), (DESK, -9), (EVE, 9))
_MANY: Final = [
    Open(
        tenant=1,
        account=account,
        owner="many",
        asset="USD",
        kind="system",
        min_balance=None,
        max_balance=None,
    )
    for account in range(100, 201)
]


def _entries(count: int) -> Transaction:
    amounts = [(account, 1) for account in range(101, 100 + count)]
    return post((100, 1 - count), *amounts)


SCENARIOS: Final[dict[str, Batches]] = {
    "a system owner's account is opened by what first needs it, if that is not refused": [
        [pay(ANN, FEES, 1), pay(BANK, ANN, 50), pay(ANN, FEES, 51), reverse(7)],
        [pay(ANN, FEES, 1), pay(ANN, FEES, 1)],  # position 7 opens, 8 and 9 pay
        [pay(FEES, ANN, 70), hold(ANN, FEES, 5), reverse(8), pay(FEES, FEES, 1)],
        [Change(tenant=1, id=FEES, status="closed"), pay(ANN, FEES, 1)],
        [replace(pay(ANN, FEES, 1), tenant=2), post((ANN, -5), (FX, 5), (FX_EUROS, -4), (EVE, 4))],
        [post((BANK, -5), (FX, 4)), Group((pay(BANK, FX, 5), pay(BOB, ANN, 999)))],
    ],
    "a group that is refused opens nothing": [
        [Group((pay(BANK, FEES, 5), pay(BOB, ANN, 999))), pay(BANK, BOB, 1)],
        [Group((pay(BANK, FEES, 5), pay(FEES, BOB, 999)))],
    ],
    "parts of a reversal add up": [
        [pay(BANK, ANN, 10)],  # position 6
        [reverse(6, 4), reverse(6, 4), reverse(6, 4), reverse(6, 2), reverse(6, 1), reverse(6)],
        [reverse(6), reverse(6, 1)],
        [pay(BANK, ANN, 10), reverse(10, 11), reverse(10), reverse(10)],
    ],
    "a part of a reversal in each batch": [
        [pay(BANK, ANN, 10)],
        *([[reverse(6, 4)]] * 3),
        [reverse(6), reverse(7), reverse(1)],
    ],
    "a wide transaction is reversed whole, once": [
        [_WIDE],  # position 6
        [reverse(6, 29), reverse(6, 31), reverse(6, 10)],
        [reverse(6, 30), reverse(6, 30), reverse(6), reverse(6, 1)],
    ],
    "an exchange is reversed only while both can pay back": [
        [pay(BANK, ANN, 10), _EXCHANGE],  # positions 6 and 7
        [Transaction(tenant=1, entries=((EVE, -5), (DESK, 5)))],
        [reverse(7)],
        [Transaction(tenant=1, entries=((EVE, 5), (DESK, -5)))],
        [reverse(7)],
    ],
    "assets do not make up for each other": [
        [pay(BANK, ANN, 10)],
        [post((ANN, -5), (EVE, 5)), post((ANN, -5), (BANK, 4), (EVE, 1)), post((ANN, -5), (BANK, 5))],
    ],
    "nothing is undone with money that was spent": [
        [pay(BANK, ANN, 10), pay(ANN, BOB, 6)],
        [reverse(6), reverse(6, 5), reverse(6, 4)],
        [hold(BOB, ANN, 5), reverse(7, 2), reverse(7, 1)],
    ],
    "captures in parts": [
        [pay(BANK, ANN, 100), hold(ANN, BOB, 60)],  # position 7
        [capture(7, 20), capture(7, 41), capture(7, 0), capture(7, 20)],
        [capture(7, 20), capture(7), Void(tenant=1, id=7)],
        [hold(ANN, BOB, 30), capture(11, 10, final=True), capture(11)],
        [hold(ANN, BOB, 30), capture(13)],
        [hold(ANN, BOB, 5), Void(tenant=1, id=15), capture(15)],
        [pay(ANN, BOB, 1)],
        [reverse(10), reverse(12, 3), reverse(7), reverse(12)],
    ],
    "a hold ends on the microsecond": [
        [pay(BANK, ANN, 100)],
        [hold(ANN, BOB, 10, 1), hold(ANN, BOB, 10, 2), hold(ANN, BOB, 10, 3), Expire(tenant=1, id=7)],
        [capture(7, 1), Void(tenant=1, id=7), Expire(tenant=1, id=7), Expire(tenant=1, id=8), capture(8, 1)],
        [capture(8), Expire(tenant=1, id=8), Expire(tenant=1, id=8), capture(9, 10)],
        [Expire(tenant=1, id=9), pay(ANN, BOB, 89), pay(ANN, BOB, 1)],
    ],
    "bounds tightened later block nothing reserved before": [
        [pay(BANK, ANN, 100), hold(ANN, BOB, 60)],
        [Change(tenant=1, id=ANN, min_balance=80, max_balance=90), Change(tenant=1, id=BOB, max_balance=30)],
        [capture(7, 30), capture(7, 1), pay(ANN, BANK, 1), pay(BANK, ANN, 20), pay(BANK, ANN, 21)],
        [Change(tenant=1, id=BOB, max_balance=20), pay(BOB, BANK, 5), pay(BANK, BOB, 1), pay(BOB, ANN, 25)],
        [Change(tenant=1, id=BOB, max_balance=-1), Change(tenant=1, id=ANN, min_balance=91)],
    ],
    "who has more than the limit may pay": [
        [pay(BANK, BOB, 30), Change(tenant=1, id=BOB, max_balance=10)],
        [post((BOB, -5), (BANK, 5)), pay(BOB, BANK, 5), hold(BOB, BANK, 5), pay(BANK, BOB, 1)],
    ],
    "numbers end at int64": [
        [pay(BANK, ANN, LARGEST), pay(BANK, BOB, 1), pay(BANK, BOB, 1)],
        [pay(BANK, ANN, 1), pay(BOB, ANN, 1), pay(ANN, BOB, LARGEST)],
        [Change(tenant=1, id=BOB, min_balance=None)],
        [hold(BOB, ANN, LARGEST), hold(BOB, ANN, 1), hold(BOB, BANK, LARGEST)],
        [pay(BOB, BANK, 1), pay(BOB, BANK, 2), hold(BOB, BANK, LARGEST)],
        [Change(tenant=1, id=ANN, min_balance=SMALLEST), hold(ANN, BANK, LARGEST), hold(ANN, BANK, LARGEST)],
        [hold(ANN, BANK, 1), pay(ANN, BANK, 2), capture(11, 1), reverse(6)],
    ],
    "frozen and closed": [
        [pay(BANK, ANN, 50), hold(ANN, BOB, 20), pay(ANN, BANK, 5)],  # positions 6 to 8
        [Change(tenant=1, id=ANN, status="frozen")],
        [pay(ANN, BOB, 1), hold(ANN, BOB, 1), reverse(6), post((ANN, -1), (BOB, 1)), pay(BANK, ANN, 1)],
        [capture(7, 5), reverse(8), hold(BANK, ANN, 1), capture(7, 5, final=True)],
        [Change(tenant=1, id=ANN, status="closed"), Change(tenant=1, id=BOB, status="closed")],
        [Change(tenant=1, id=ANN, status="open"), pay(ANN, BANK, 41), pay(BOB, BANK, 10)],
        [Change(tenant=1, id=ANN, status="closed"), Change(tenant=1, id=ANN, status="closed")],
        [pay(BANK, ANN, 1), pay(ANN, BANK, 1), hold(BANK, ANN, 1), post((ANN, 1), (BANK, -1)), reverse(6)],
        [
            Change(tenant=1, id=ANN, status="open"),
            pay(BANK, ANN, 1),
            Change(tenant=1, id=BOB, status="closed"),
        ],
    ],
    "who receives a hold is closed meanwhile": [
        [pay(BANK, ANN, 50), hold(ANN, BOB, 20), Change(tenant=1, id=BOB, status="closed")],
        [capture(7), capture(7, 0), capture(7, 21), Void(tenant=1, id=7)],
        [hold(BANK, ANN, 5), Change(tenant=1, id=BANK, status="closed")],
    ],
    "an account with something held is not closed": [
        [pay(BANK, ANN, 0), Change(tenant=1, id=ANN, min_balance=-5), hold(ANN, BOB, 5)],
        [Change(tenant=1, id=ANN, status="closed"), Void(tenant=1, id=7)],
        [Change(tenant=1, id=ANN, status="closed")],
    ],
    "other tenants see nothing": [
        [pay(BANK, ANN, 50), hold(ANN, BOB, 20)],
        [
            Capture(tenant=2, id=7),
            Void(tenant=2, id=7),
            Expire(tenant=2, id=7),
            Reverse(tenant=2, id=6),
            Reverse(tenant=2, id=7),
            Change(tenant=2, id=ANN, status="frozen"),
            Transfer(tenant=2, source=ANN, destination=BOB, amount=1, asset="USD"),
            Hold(tenant=2, source=ANN, destination=BOB, amount=1, asset="USD", expires_in=5),
            Transaction(tenant=2, entries=((ANN, -1), (BOB, 1))),
        ],
    ],
    "two tenants do not pay each other": [
        [OTHERS_BANK],
        [pay(BANK, OTHERS_BANK.account, 5), pay(OTHERS_BANK.account, ANN, 5)],
        [
            replace(pay(BANK, OTHERS_BANK.account, 5), tenant=2),
            replace(pay(OTHERS_BANK.account, ANN, 5), tenant=2),
        ],
    ],
    "from 2 to 100 entries": [
        _MANY,
        [_entries(2), _entries(100), _entries(101), post(), post((BANK, 5))],
        [reverse(108), reverse(107)],
    ],
    "the first reason in order of precedence, of the first account": [
        [post((99, 0)), post((99, 5)), post((BANK, 0), (BANK, 0)), post((99, 5), (98, 1))],
        [Reverse(tenant=1, id=99, amount=0), Reverse(tenant=1, id=1, amount=-1), Reverse(tenant=1, id=1)],
        [
            pay(98, 98, 0),
            pay(98, 99, 0),
            pay(98, 99, 1),
            pay(ANN, EVE, 1),
            pay(EVE, DESK, 1),
            pay(EVE, 98, 1),
        ],
        [
            post((ANN, -1), (BOB, -1), (BANK, 2)),
            post((BANK, 2), (BOB, -1), (ANN, -1)),
            post((ANN, -1), (BOB, 2)),
        ],
        [Change(tenant=1, id=BOB, max_balance=0), post((BOB, 1), (ANN, -1)), pay(BANK, BOB, 1)],
    ],
    "a group stands or falls": [
        [pay(BANK, ANN, 50), hold(ANN, BOB, 20)],
        [
            Group((capture(7, 5), reverse(6, 1), pay(ANN, BOB, 999), reverse(6, 1))),
            capture(7, 20),
            reverse(6, 30),
        ],
        [Group((pay(BANK, ANN, 5), hold(ANN, BOB, 5), capture(11), reverse(12, 2))), Group(())],
    ],
    "what a refused group reversed is left to reverse": [
        [pay(BANK, ANN, 50)],
        [Group((reverse(6, 20), pay(ANN, BOB, 999))), reverse(6, 50)],
    ],
    "keys in a group": [
        [pay(BANK, ANN, 50), _keyed("a", 5), _keyed("r", 500)],
        [Group((_keyed("a", 5), _keyed("b", 5), _keyed("b", 5)))],
        [Group((_keyed("a", 5), _keyed("c", 5), _keyed("c", 5), _keyed("d", 500), _keyed("d", 501)))],
        [Group((_keyed("e", 5), _keyed("r", 500), _keyed("a", 6)))],
        [*(_keyed(key, 5) for key in "abcde"), _keyed("d", 500), _keyed("r", 500)],
    ],
}


def play(comparison: Comparison, batches: Batches) -> None:
    """Carry out a story, comparing after every batch. What no driver of sagas may ask stands in a batch alone."""
    comparison.post(_ACCOUNTS, 1_000)
    for later, units in enumerate(batches, start=1):
        (first, *rest) = units
        if not rest and isinstance(first, Command) and conflicts(comparison.model.history, first):
            comparison.conflict(first, 1_000 + later)
            continue
        comparison.post(units, 1_000 + later, remembers_accounts=later % 2 == 0)
        check_log(comparison.store)
