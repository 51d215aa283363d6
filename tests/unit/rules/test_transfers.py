"""Transfers: move an amount from one account to another."""

import pytest

from tallystick.domain.limits import AMOUNT_MAX
from tests.unit.rules.notation import posted, refused, transfer


def test_a_transfer_moves_an_amount() -> None:
    posted(
        """
        alice   100 USD
        bob       0 USD
        """,
        transfer("alice", "bob", 30),
        """
        alice    70 USD
        bob      30 USD
        """,
    )


def test_an_account_cannot_pay_itself() -> None:
    refused("alice 100 USD", transfer("alice", "alice", 30), "same_account destination")


@pytest.mark.parametrize("amount", [0, -1, AMOUNT_MAX + 1])
def test_an_amount_is_more_than_zero_and_not_too_large(amount: int) -> None:
    refused(
        """
        alice   100 USD
        bob       0 USD
        """,
        transfer("alice", "bob", amount),
        "amount_invalid amount",
    )


def test_both_accounts_must_exist() -> None:
    refused("bob 0 USD", transfer("alice", "bob", 30), "account_not_found source")
    refused("alice 100 USD", transfer("alice", "bob", 30), "account_not_found destination")


def test_the_account_of_another_tenant_does_not_exist() -> None:
    refused(
        """
        alice   100 USD
        bob       0 USD, tenant 2
        """,
        transfer("alice", "bob", 30),
        "account_not_found destination",
    )


def test_both_accounts_hold_the_asset_of_the_transfer() -> None:
    refused(
        """
        alice   100 USD
        bob       0 EUR
        """,
        transfer("alice", "bob", 30, "USD"),
        "asset_mismatch destination",
    )


def test_a_wallet_cannot_be_overdrawn() -> None:
    before = """
        alice   100 USD
        bob       0 USD
        """
    posted(
        before,
        transfer("alice", "bob", 100),
        """
        alice     0 USD
        bob     100 USD
        """,
    )
    refused(before, transfer("alice", "bob", 101), "insufficient_funds source")


def test_what_is_held_cannot_be_spent() -> None:
    refused(
        """
        alice   100 USD, 80 held
        bob       0 USD
        """,
        transfer("alice", "bob", 30),
        "insufficient_funds source",
    )


def test_min_balance_allows_an_overdraft() -> None:
    posted(
        """
        alice   100 USD, min -50
        bob       0 USD
        """,
        transfer("alice", "bob", 150),
        """
        alice   -50 USD, min -50
        bob     150 USD
        """,
    )


def test_an_account_below_its_min_balance_may_receive() -> None:
    # The bound was raised after the money had left: it blocks only what lowers the balance further.
    posted(
        """
        alice   100 USD
        bob      10 USD, min 50
        """,
        transfer("alice", "bob", 30),
        """
        alice    70 USD
        bob      40 USD, min 50
        """,
    )


def test_max_balance_bounds_what_an_account_may_receive() -> None:
    refused(
        """
        alice   100 USD
        bob      80 USD, max 100
        """,
        transfer("alice", "bob", 30),
        "balance_limit_exceeded destination",
    )


def test_an_account_above_its_max_balance_may_pay() -> None:
    posted(
        """
        alice   100 USD, max 50
        bob       0 USD
        """,
        transfer("alice", "bob", 30),
        """
        alice    70 USD, max 50
        bob      30 USD
        """,
    )


def test_a_balance_is_never_more_than_64_bits_can_hold() -> None:
    refused(
        f"""
        alice   100 USD
        bob     {AMOUNT_MAX} USD
        """,
        transfer("alice", "bob", 1),
        "balance_limit_exceeded destination",
    )


def test_a_frozen_account_receives_and_does_not_pay() -> None:
    before = """
        alice   100 USD
        bob      50 USD, frozen
        """
    posted(
        before,
        transfer("alice", "bob", 30),
        """
        alice    70 USD
        bob      80 USD, frozen
        """,
    )
    refused(before, transfer("bob", "alice", 30), "account_frozen source")


def test_a_closed_account_neither_pays_nor_receives() -> None:
    before = """
        alice   100 USD
        bob       0 USD, closed
        """
    refused(before, transfer("alice", "bob", 30), "account_closed destination")
    refused(before, transfer("bob", "alice", 30), "account_closed source")


def test_of_several_reasons_the_first_in_order_of_precedence_is_given() -> None:
    # The numbers of RefusalCode are that order: an account that is closed comes before a lack of money.
    refused(
        """
        alice    10 USD
        bob       0 USD, closed
        """,
        transfer("alice", "bob", 30),
        "account_closed destination",
    )
