"""Short stories of what crosses shards. Positions 1 to 5 open the accounts, as in the other stories."""

from typing import Final

from tests.oracle.scenarios import (
    ANN,
    BANK,
    BOB,
    DESK,
    EVE,
    FEES,
    FX,
    FX_EUROS,
    OTHERS_BANK,
    Batches,
    capture,
    hold,
    pay,
    post,
    reverse,
)
from tests.oracle.words import (
    LARGEST,
    Change,
    Confirm,
    Credit,
    Expire,
    Finalize,
    GiveUp,
    Group,
    Part,
    Promise,
    RefuseCredit,
    Release,
    Reverse,
    Revoke,
    Settle,
    Transfer,
    Void,
)

FAR: Final = 1_001  # dollars on another shard
FEE: Final = 1_002  # dollars on the same one
FAR_EUROS: Final = 1_003
FAR_FEES: Final = 1_901  # of @fees, on the same shard
STRANGER: Final = 1_004  # of another tenant
FARTHER: Final = 2_001  # dollars on a third shard
NOWHERE: Final = 3_001  # on a shard that is not configured
LOST: Final = 4_001  # on a shard that cannot be reached


def give_up(saga: int, code: str = "transfer_cancelled", param: str | None = None) -> GiveUp:
    return GiveUp(tenant=1, saga=saga, code=code, param=param)


def settle(saga: int) -> Settle:
    return Settle(tenant=1, saga=saga)


def promise(saga: int, *parts: tuple[int, int]) -> Promise:
    return Promise(**vars(credit(saga, *parts)))


def confirm(saga: int) -> Confirm:
    return Confirm(tenant=1, saga=saga)


def revoke(saga: int) -> Revoke:
    return Revoke(tenant=1, saga=saga)


def finalize(saga: int, counterpart: int | None = 70) -> Finalize:
    return Finalize(tenant=1, saga=saga, counterpart=counterpart)


def release(saga: int, code: str = "account_closed", param: str | None = "destination") -> Release:
    return Release(tenant=1, saga=saga, code=code, param=param)


def credit(saga: int, *parts: tuple[int, int], tenant: int = 1, asset: str = "USD") -> Credit:
    legs = tuple(Part(account, amount, asset, "destination") for account, amount in parts)
    return Credit(tenant=tenant, saga=saga, parts=legs)


def give_back(position: int, *payers: tuple[int, int], amount: int | None = None) -> Reverse:
    legs = tuple(Part(account, paid, "USD", "id") for account, paid in payers)
    return Reverse(tenant=1, id=position, amount=amount, payers=legs)


def _keyed(key: str, destination: int, amount: int) -> Transfer:
    return Transfer(tenant=1, key=key, source=ANN, destination=destination, amount=amount, asset="USD")


CROSSING_SCENARIOS: Final[dict[str, Batches]] = {
    "system owners on both sides of what crosses": [
        [pay(BANK, ANN, 50), post((ANN, -20), (FAR, 18), (FAR_FEES, 2))],  # position 7 reserves
        [finalize(7), post((ANN, -10), (FX_EUROS, -9), (FAR, 10), (FAR_EUROS, 9)), finalize(11)],
        [credit(1_007, (BOB, 5), (FEES, 1)), credit(1_007, (BOB, 5), (FEES, 1)), credit(1_008, (FEES, 1))],
        [Change(tenant=1, id=BOB, status="closed"), credit(1_009, (FX, 5), (BOB, 1)), credit(2_001, (FX, 1))],
    ],
    "a transfer crosses": [
        [pay(BANK, ANN, 50), pay(ANN, FAR, 20), pay(ANN, BOB, 31)],  # position 7 reserves
        [finalize(7, 70), finalize(7, 70), pay(ANN, BOB, 31), pay(ANN, BOB, 30)],
        [finalize(7, 70)],
        [release(7)],
        [reverse(7), reverse(9), finalize(7, 70)],
    ],
    "a transfer is refused elsewhere": [
        [pay(BANK, ANN, 50), pay(ANN, FAR, 50)],  # position 7
        [pay(ANN, BOB, 1), release(7), release(7), pay(ANN, BOB, 1)],
        [release(7, "transfer_cancelled", None)],
        [finalize(7)],
        [finalize(6)],
        [release(99)],
    ],
    "the clearing account is opened once, for each shard, asset and tenant": [
        [
            pay(BANK, ANN, 50),
            pay(ANN, FAR, 5),
            pay(ANN, FARTHER, 5),
            pay(ANN, FAR, 5),
            post((DESK, -5), (EVE, 5)),
        ],
        [finalize(7), finalize(9), finalize(8)],
        [credit(1_007, (BOB, 5)), credit(2_007, (BOB, 5)), credit(1_008, (EVE, 3), asset="EUR")],
        [post((ANN, -2), (EVE, -1), (FAR, 2), (FAR_EUROS, 1)), pay(BOB, FAR, 8)],
        [finalize(20), finalize(21)],
    ],
    "clearing accounts are nobody's": [
        [pay(BANK, ANN, 50), pay(ANN, FAR, 5)],
        [finalize(7)],  # position 8 opens the clearing account: -8
        [pay(-8, ANN, 1), pay(ANN, -8, 1), post((ANN, -1), (-8, 1)), post((ANN, -1), (-8, 2))],
        [post((-8, -1), (FAR, 1)), hold(ANN, -8, 1), hold(-8, ANN, 1), pay(-8, FAR, 1), reverse(8)],
        [
            Change(tenant=1, id=-8, status="frozen"),
            Change(tenant=1, id=-8, max_balance=0),
            credit(1_009, (-8, 5)),
        ],
    ],
    "a credit is posted once, or refused once": [
        [credit(1_007, (ANN, 10)), credit(1_007, (ANN, 10)), RefuseCredit(tenant=1, saga=1_007)],
        [RefuseCredit(tenant=1, saga=1_007), credit(1_007, (ANN, 10))],
        [RefuseCredit(tenant=1, saga=1_008), credit(1_008, (ANN, 10)), RefuseCredit(tenant=1, saga=1_008)],
        [credit(1_008, (ANN, 10)), credit(2_008, (ANN, 10)), reverse(7)],
        [Change(tenant=1, id=BOB, status="closed"), credit(1_009, (BOB, 1))],
        [Change(tenant=1, id=BOB, status="open"), credit(1_009, (BOB, 1)), credit(1_010, (BOB, 1))],
    ],
    "a credit meets the payee's rules": [
        [Change(tenant=1, id=ANN, status="frozen"), Change(tenant=1, id=BOB, max_balance=10)],
        [
            credit(1_001, (ANN, 5)),
            credit(1_002, (BOB, 11)),
            credit(1_003, (BOB, 10)),
            credit(1_004, (EVE, 1)),
        ],
        [credit(1_005, (99, 1)), credit(1_006, (ANN, 1), tenant=2), credit(1_007, (ANN, 1), (BOB, 1))],
        [credit(1_008, (ANN, LARGEST - 5)), credit(1_009, (ANN, 1)), credit(1_010, (BANK, LARGEST))],
        [pay(BANK, EVE, 1), credit(1_011, (BANK, 1)), credit(1_012, (BOB, 0))],
    ],
    "an entry of a clearing account ends at int64 wherever the account is": [
        [pay(BANK, FAR, 10)],
        [finalize(6)],
        [credit(1_001, (BANK, LARGEST), (ANN, 3)), credit(1_002, (BANK, LARGEST - 3), (ANN, 3))],
    ],
    "a clearing account ends at int64": [
        [credit(1_001, (BANK, LARGEST)), pay(BANK, ANN, LARGEST)],
        [credit(1_002, (BANK, 1)), credit(2_002, (BANK, 1)), credit(1_003, (BANK, LARGEST))],
        [pay(ANN, FAR, 5)],
        [finalize(11), credit(1_004, (BANK, 6)), credit(1_005, (BANK, 5))],
    ],
    "what crosses meets the payer's rules": [
        [pay(BANK, ANN, 50), pay(ANN, FAR, 51), pay(ANN, 1_999, 5), pay(ANN, STRANGER, 5), pay(ANN, FAR, 0)],
        [release(7), release(8, "account_not_found")],
        [pay(ANN, NOWHERE, 5), pay(ANN, NOWHERE, 51), pay(99, NOWHERE, 5), pay(ANN, NOWHERE, 0)],
        [pay(ANN, LOST, 51), pay(99, LOST, 5), pay(ANN, LOST, 0)],
        [_keyed("l", LOST, 1), _keyed("l", LOST, 1), _keyed("l", BOB, 1), _keyed("l", LOST, 1)],
        [pay(EVE, FAR, 1), pay(99, FAR, 1), pay(99, 1_999, 1), hold(ANN, FAR_EUROS, 1), hold(ANN, 1_999, 60)],
        [hold(ANN, FAR, 60), hold(EVE, FAR, 1), hold(99, STRANGER, 1), hold(ANN, FAR, LARGEST + 1)],
        [Change(tenant=1, id=ANN, status="frozen"), pay(ANN, FAR, 1), hold(ANN, FAR, 1), pay(ANN, 1_999, 1)],
        [Change(tenant=1, id=ANN, status="open", min_balance=45), pay(ANN, FAR, 5), pay(ANN, FAR, 4)],
        [
            Change(tenant=1, id=ANN, min_balance=50),
            Change(tenant=1, id=ANN, status="closed"),
            pay(ANN, FAR, 1),
        ],
        [Change(tenant=1, id=ANN, status="frozen"), finalize(14)],
    ],
    "a payment with a fee crosses": [
        [pay(BANK, ANN, 50), post((ANN, -23), (FAR, 20), (FEE, 3)), post((FAR, 5), (ANN, -5))],
        [post((ANN, -3), (BANK, -20), (FAR, 23)), post((ANN, -20), (BOB, -5), (FAR, 25))],
        [finalize(7), finalize(9), release(8)],
    ],
    "an exchange crosses": [
        [pay(BANK, ANN, 50), post((DESK, -9), (EVE, 9))],
        [post((ANN, -10), (EVE, -9), (FAR, 10), (FAR_EUROS, 9)), post((ANN, -10), (FAR, 10), (FAR_EUROS, 1))],
        [finalize(8), post((ANN, -10), (FAR_EUROS, 10)), post((ANN, -1), (EVE, -1), (FAR, 2))],
    ],
    "what pays several shards leaves, or is given up": [
        [
            pay(BANK, ANN, 50),
            post((ANN, -5), (FAR, 4), (FARTHER, 1)),
            post((ANN, -9), (FAR, 4), (FARTHER, 5)),
        ],
        [pay(ANN, BOB, 37), finalize(7, None), finalize(7, None), give_up(7)],
        [settle(7), settle(7), finalize(7, None), give_up(7)],
        [
            give_up(8, "account_closed", "entries[1].account"),
            give_up(8),
            finalize(8, None),
            pay(ANN, BOB, 37),
        ],
        [
            release(8, "transfer_cancelled", None),
            release(8),
            give_up(8),
            finalize(8, None),
            pay(ANN, BOB, 37),
        ],
    ],
    "what pays several shards cannot end in any other way": [
        [
            pay(BANK, ANN, 50),
            post((ANN, -5), (FAR, 4), (FARTHER, 1)),
            post((ANN, -5), (FAR, 4), (FARTHER, 1)),
        ],
        [release(7)],
        [settle(7)],
        [finalize(7, None), give_up(8)],
        [release(7)],
        [settle(8)],
    ],
    "two assets leave for several shards": [
        [pay(BANK, ANN, 50), post((DESK, -9), (EVE, 9))],
        [post((ANN, -10), (EVE, -3), (FAR, 6), (FARTHER, 4), (FAR_EUROS, 3)), pay(ANN, FAR, 1)],
        [finalize(8, None), finalize(9), settle(8)],
    ],
    "what is promised is there, and cannot be spent": [
        [promise(1_007, (BOB, 10)), pay(BOB, ANN, 1), RefuseCredit(tenant=1, saga=1_007)],
        [promise(1_007, (BOB, 10)), Change(tenant=1, id=BOB, status="closed")],
        [Change(tenant=1, id=BOB, status="frozen", max_balance=5), promise(1_008, (ANN, 1), (BOB, 1))],
        [confirm(1_007), confirm(1_007), Change(tenant=1, id=BOB, status="open"), pay(BOB, ANN, 10)],
        [promise(1_009, (ANN, 5)), pay(ANN, BOB, 11), revoke(1_009), revoke(1_009), pay(ANN, BOB, 5)],
        [RefuseCredit(tenant=1, saga=1_010), promise(1_010, (BOB, 1)), RefuseCredit(tenant=1, saga=1_009)],
        [promise(1_011, (FEES, 1)), Change(tenant=1, id=ANN, status="frozen"), promise(1_012, (ANN, 1))],
        [revoke(1_012), promise(1_013, (ANN, LARGEST)), reverse(7)],
    ],
    "only what was promised is confirmed or revoked": [
        [confirm(1_009)],
        [revoke(1_009)],
        [RefuseCredit(tenant=1, saga=1_009)],
        [confirm(1_009)],
        [revoke(1_009)],
        [credit(1_007, (BOB, 10))],
    ],
    "what is wider is refused": [
        [pay(BANK, ANN, 50), post((ANN, -5), (FAR, 4), (FARTHER, 1)), post((ANN, -5), (FAR, 4), (BOB, 1))],
        [post((ANN, -5), (FAR, -1), (FARTHER, 6)), post((FAR, -5), (ANN, 5)), post((FAR, -5), (FEE, 5))],
        [post((FAR, -5), (ANN, -5), (BOB, 10)), post((ANN, -5), (1_999, 5)), post((ANN, -5), (STRANGER, 5))],
        [post((ANN, -99), (FAR, 90), (FARTHER, 9)), post((ANN, -5), (FAR, 4), (FARTHER, 2))],
    ],
    "more than a clearing account can carry is refused": [
        [pay(BANK, ANN, LARGEST), Change(tenant=1, id=BOB, min_balance=None)],
        [post((ANN, -LARGEST), (BOB, -1), (FAR, LARGEST), (FEE, 1))],
        [
            Change(tenant=1, id=BOB, status="closed"),
            post((ANN, -LARGEST), (BOB, -1), (FAR, LARGEST), (FEE, 1)),
        ],
        [post((ANN, 1 - LARGEST), (BANK, -1), (FAR, LARGEST))],
    ],
    "a hold is captured elsewhere, in parts": [
        [pay(BANK, ANN, 50), hold(ANN, FAR, 40, 1_000)],  # position 7
        [capture(7, 15), capture(7, 15), Void(tenant=1, id=7), Expire(tenant=1, id=7), pay(ANN, BOB, 11)],
        [finalize(8), capture(7, 26), capture(7, 10)],  # 9 opens, 10 finalizes, 11 reserves
        [release(11), capture(7, 5, final=True), capture(7)],  # 12, 13
        [finalize(13), finalize(13), pay(ANN, BOB, 30), capture(7)],
        [release(13)],
    ],
    "a capture of all that is left is final": [
        [pay(BANK, ANN, 50), hold(ANN, FAR, 40, 1_000)],
        [capture(7, 10)],
        [finalize(8), capture(7)],
        [release(11)],
        [capture(7, 30)],
        [finalize(13), Void(tenant=1, id=7)],
    ],
    "a hold is busy for a moment, and that is not kept": [
        [pay(BANK, ANN, 50), hold(ANN, FAR, 40, 1_000), capture(7, 5)],
        [Void(tenant=1, key="v", id=7), Void(tenant=1, key="v", id=7)],
        [release(8)],
        [Void(tenant=1, key="v", id=7), Void(tenant=1, key="v", id=7)],
    ],
    "a hold's time is over while it is captured": [
        [pay(BANK, ANN, 100)],
        [hold(ANN, FAR, 10, 2), hold(ANN, FAR, 20, 2), hold(ANN, FAR, 30, 2)],  # 7, 8, 9
        [capture(7, 4), capture(8, 4), capture(9)],  # 10, 11, 12
        [Expire(tenant=1, id=7), capture(7), Void(tenant=1, id=9)],
        [finalize(10), release(11), finalize(12)],
        [Expire(tenant=1, id=7), Expire(tenant=1, id=8), pay(ANN, BOB, 66), pay(ANN, BOB, 1)],
    ],
    "a hold's time is over on the microsecond on which its capture ends": [
        [pay(BANK, ANN, 100)],
        [hold(ANN, FAR, 10, 2), hold(ANN, FAR, 20, 2), hold(ANN, FAR, 10, 3)],  # 7, 8, 9
        [capture(7, 4), capture(8, 4), capture(9, 4)],  # 10, 11, 12
        [finalize(10), release(11), finalize(12)],
        [Expire(tenant=1, id=7), Expire(tenant=1, id=9), pay(ANN, BOB, 92)],
    ],
    "a capture lives through bounds and a freeze": [
        [pay(BANK, ANN, 50), hold(ANN, FAR, 40, 1_000), hold(ANN, FAR, 10, 1_000)],
        [Change(tenant=1, id=ANN, status="frozen", min_balance=20, max_balance=30), capture(7, 5)],
        [finalize(10), capture(7, 5, final=True), capture(8)],
        [release(13), finalize(14)],
    ],
    "a credit is given back": [
        [
            credit(1_007, (ANN, 20)),
            reverse(7),
            give_back(7, (FAR, 20), amount=21),
            give_back(7, (FAR, 20), amount=8),
        ],
        [give_back(7, (FAR, 20), amount=13), give_back(7, (FAR, 20), amount=12), give_back(7, (FAR, 20))],
        [release(8), give_back(7, (FAR, 20), amount=9), give_back(7, (FAR, 20)), finalize(9)],
        [give_back(7, (FAR, 20), amount=1), release(11), give_back(7, (FAR, 20), amount=9)],
        [give_back(7, (FAR, 20), amount=8), pay(ANN, BOB, 1), reverse(9), reverse(10)],
    ],
    "what is released is left to reverse in the same batch": [
        [credit(1_007, (ANN, 20)), give_back(7, (FAR, 20), amount=15)],
        [give_back(7, (FAR, 20), amount=6), release(8), give_back(7, (FAR, 20), amount=20)],
        [give_back(7, (FAR, 20), amount=1), finalize(10)],
    ],
    "a credit from two payers is given back whole": [
        [
            credit(1_007, (ANN, 20)),
            give_back(7, (FAR, 15), (FEE, 5), amount=8),
            give_back(7, (FAR, 15), (FEE, 5)),
        ],
        [finalize(8), credit(1_008, (ANN, 5), (BOB, 6)), give_back(11, (FAR, 11), amount=5)],
        [give_back(11, (FAR, 11)), give_back(11, (FAR, 11))],
        [release(12)],
        [pay(ANN, BOB, 5), give_back(11, (FAR, 11))],
    ],
    "a reversal that crosses needs the money": [
        [
            credit(1_007, (ANN, 20)),
            pay(ANN, BOB, 5),
            give_back(7, (FAR, 20)),
            give_back(7, (FAR, 20), amount=16),
        ],
        [Change(tenant=1, id=ANN, status="frozen"), give_back(7, (FAR, 20), amount=1)],
    ],
    "other tenants see nothing of what crosses": [
        [credit(1_007, (ANN, 20)), hold(ANN, FAR, 5, 1_000)],
        [
            Reverse(tenant=2, id=7, payers=(Part(STRANGER, 20, "USD", "id"),)),
            Transfer(tenant=2, source=ANN, destination=STRANGER, amount=1, asset="USD"),
            credit(1_008, (ANN, 5), tenant=2),
        ],
    ],
    "each tenant has clearing accounts of its own": [
        [OTHERS_BANK],
        [
            credit(1_007, (ANN, 20)),
            credit(1_008, (OTHERS_BANK.account, 5), tenant=2),
            credit(1_009, (ANN, 1)),
        ],
    ],
    "a group does not cross": [
        [pay(BANK, ANN, 50), _keyed("a", FAR, 5), _keyed("r", FAR, 500)],
        [Group((pay(ANN, BOB, 1), pay(ANN, FAR, 1))), Group((pay(ANN, BOB, 1), _keyed("b", FAR, 1)))],
        [Group((pay(ANN, BOB, 1), _keyed("a", FAR, 5))), Group((_keyed("a", FAR, 6), _keyed("c", BOB, 1)))],
        [_keyed("b", FAR, 1), _keyed("c", BOB, 1), _keyed("r", FAR, 500), Group((_keyed("r", FAR, 500),))],
    ],
    "keys of what crosses": [
        [
            pay(BANK, ANN, 50),
            _keyed("a", FAR, 5),
            _keyed("a", FAR, 5),
            _keyed("a", FAR, 6),
            _keyed("r", FAR, 500),
        ],
        [finalize(7), _keyed("a", FAR, 5), _keyed("r", FAR, 500), pay(BANK, ANN, 600), _keyed("r", FAR, 500)],
    ],
}
