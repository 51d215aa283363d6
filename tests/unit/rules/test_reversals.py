"""Reversals: post the opposite of a transaction, never more than the whole in total."""

from tests.unit.rules.notation import Ledger, change_account, entries, reverse, transfer


def paid() -> Ledger:
    """Alice paid bob 30, at position 1."""
    ledger = Ledger(
        """
        alice   100 USD
        bob       0 USD
        """
    )
    assert ledger.do(transfer("alice", "bob", 30)) == "posted"
    return ledger


def test_a_reversal_gives_everything_back() -> None:
    ledger = paid()
    assert ledger.do(reverse(1)) == "posted"
    ledger.shows(
        """
        alice   100 USD
        bob       0 USD
        """
    )


def test_a_reversal_may_give_back_a_part() -> None:
    ledger = paid()
    assert ledger.do(reverse(1, 10)) == "posted"
    ledger.shows(
        """
        alice    80 USD
        bob      20 USD
        """
    )


def test_parts_never_come_to_more_than_the_whole() -> None:
    ledger = paid()
    assert ledger.do(reverse(1, 20)) == "posted"
    assert ledger.do(reverse(1, 11)) == "reversal_exceeds_original amount"
    assert ledger.do(reverse(1, 10)) == "posted"
    assert ledger.do(reverse(1)) == "reversal_exceeds_original amount"


def test_also_not_in_one_batch() -> None:
    ledger = paid()
    assert ledger.do_all(reverse(1, 20), reverse(1, 20)) == ["posted", "reversal_exceeds_original amount"]


def test_the_amount_is_more_than_zero() -> None:
    assert paid().do(reverse(1, 0)) == "amount_invalid amount"


def test_there_must_be_such_a_transaction() -> None:
    assert paid().do(reverse(2)) == "transaction_not_found id"


def test_only_what_moved_money_is_reversed() -> None:
    ledger = paid()
    assert ledger.do(change_account("bob", max_balance=50)) == "posted"
    assert ledger.do(reverse(2)) == "transaction_not_reversible id"


def test_a_reversal_is_not_reversed() -> None:
    ledger = paid()
    assert ledger.do(reverse(1)) == "posted"
    assert ledger.do(reverse(2)) == "transaction_not_reversible id"


def test_who_was_paid_must_still_have_the_money() -> None:
    ledger = paid()
    assert ledger.do(transfer("bob", "alice", 20)) == "posted"
    assert ledger.do(reverse(1)) == "insufficient_funds id"


def test_more_than_two_entries_are_reversed_as_a_whole() -> None:
    ledger = Ledger(
        """
        alice   100 USD
        bob       0 USD
        carol     0 USD
        """
    )
    assert ledger.do(entries(alice=-30, bob=20, carol=10)) == "posted"
    assert ledger.do(reverse(1, 10)) == "transaction_not_reversible amount"
    assert ledger.do(reverse(1)) == "posted"
    ledger.shows(
        """
        alice   100 USD
        bob       0 USD
        carol     0 USD
        """
    )
