"""Transactions of several entries: debits are negative, credits positive, and each asset sums to zero."""

from tallystick.domain.limits import AMOUNT_MAX, ENTRIES_PER_TRANSACTION_MAX
from tests.unit.rules.notation import entries, entries_of, posted, refused

BEFORE = """
    alice   100 USD
    bob       0 USD
    carol     0 USD
    """


def test_one_payer_may_pay_several() -> None:
    posted(
        BEFORE,
        entries(alice=-30, bob=20, carol=10),
        """
        alice    70 USD
        bob      20 USD
        carol    10 USD
        """,
    )


def test_entries_sum_to_zero() -> None:
    refused(BEFORE, entries(alice=-30, bob=20), "entries_unbalanced entries")


def test_entries_sum_to_zero_in_each_asset() -> None:
    before = """
        alice     100 USD
        bob         0 USD
        alice-eur   0 EUR
        bob-eur   100 EUR
        """
    refused(before, entries_of([("alice", -30), ("bob-eur", 30)]), "entries_unbalanced entries")
    # An exchange: each asset sums to zero by itself.
    posted(
        before,
        entries_of([("alice", -30), ("bob", 30), ("bob-eur", -25), ("alice-eur", 25)]),
        """
        alice      70 USD
        bob        30 USD
        alice-eur  25 EUR
        bob-eur    75 EUR
        """,
    )


def test_an_account_appears_once() -> None:
    refused(
        BEFORE,
        entries_of([("alice", -30), ("bob", 20), ("bob", 10)]),
        "same_account entries[2].account",
    )


def test_no_entry_is_zero_or_too_large() -> None:
    refused(BEFORE, entries(alice=-30, bob=30, carol=0), "amount_invalid entries[2].amount")
    refused(BEFORE, entries(alice=-AMOUNT_MAX - 1, bob=1), "amount_invalid entries[0].amount")


def test_each_account_must_exist() -> None:
    refused("alice 100 USD", entries(alice=-30, bob=30), "account_not_found entries[1].account")


def test_a_transaction_has_two_to_a_hundred_entries() -> None:
    refused(BEFORE, entries_of([]), "entries_unbalanced entries")
    names = [f"a{number}" for number in range(ENTRIES_PER_TRANSACTION_MAX)]
    refused(
        "\n".join(["alice 100 USD", *(f"{name} 0 USD" for name in names)]),
        entries_of([("alice", -len(names)), *((name, 1) for name in names)]),
        "entries_unbalanced entries",
    )


def test_each_payer_needs_the_money() -> None:
    refused(BEFORE, entries(alice=-30, bob=-10, carol=40), "insufficient_funds entries[1].account")
