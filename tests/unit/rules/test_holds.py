"""Holds: an amount is set aside, and then captured, voided or expired."""

import pytest

from tallystick.domain.commands import Command
from tests.unit.rules.notation import (
    Ledger,
    capture_hold,
    expire_hold,
    place_hold,
    posted,
    refused,
    transfer,
    void_hold,
)

BEFORE = """
    alice   100 USD
    bob       0 USD
    """


def held() -> Ledger:
    """Alice has set aside 40 for bob, for 60 seconds. The hold has the number of its position: 1."""
    ledger = Ledger(BEFORE)
    assert ledger.do(place_hold("alice", "bob", 40, seconds=60)) == "posted"
    return ledger


def test_a_hold_sets_aside_and_moves_nothing() -> None:
    posted(
        BEFORE,
        place_hold("alice", "bob", 40),
        """
        alice   100 USD, 40 held
        bob       0 USD
        hold 1: 40 for bob, open
        """,
    )


def test_what_is_held_must_be_available() -> None:
    refused(BEFORE, place_hold("alice", "bob", 101), "insufficient_funds source")


def test_a_hold_is_judged_like_a_transfer() -> None:
    refused(BEFORE, place_hold("alice", "alice", 40), "same_account destination")
    refused(BEFORE, place_hold("alice", "bob", 0), "amount_invalid amount")
    refused(BEFORE, place_hold("alice", "carol", 40), "account_not_found destination")
    refused(BEFORE, place_hold("alice", "bob", 40, "EUR"), "asset_mismatch source")


def test_a_capture_pays_from_the_hold() -> None:
    ledger = held()
    assert ledger.do(capture_hold(1)) == "posted"
    ledger.shows(
        """
        alice    60 USD
        bob      40 USD
        hold 1: 40 for bob, 40 captured, captured
        """
    )


def test_a_hold_may_be_captured_in_parts() -> None:
    ledger = held()
    assert ledger.do(capture_hold(1, 10)) == "posted"
    ledger.shows(
        """
        alice    90 USD, 30 held
        bob      10 USD
        hold 1: 40 for bob, 10 captured, open
        """
    )
    assert ledger.do(capture_hold(1, 31)) == "capture_exceeds_hold amount"
    assert ledger.do(capture_hold(1, 30)) == "posted"
    assert ledger.do(capture_hold(1, 1)) == "hold_not_open id"


def test_a_final_capture_releases_the_rest() -> None:
    ledger = held()
    assert ledger.do(capture_hold(1, 10, final=True)) == "posted"
    ledger.shows(
        """
        alice    90 USD
        bob      10 USD
        hold 1: 40 for bob, 10 captured, captured
        """
    )


def test_a_capture_is_of_more_than_zero() -> None:
    assert held().do(capture_hold(1, 0)) == "amount_invalid amount"


def test_what_is_held_is_spent_by_its_hold_alone() -> None:
    ledger = held()
    assert ledger.do(transfer("alice", "bob", 61)) == "insufficient_funds source"
    assert ledger.do(transfer("alice", "bob", 60)) == "posted"
    assert ledger.do(capture_hold(1)) == "posted"
    ledger.shows(
        """
        alice     0 USD
        bob     100 USD
        hold 1: 40 for bob, 40 captured, captured
        """
    )


def test_a_void_releases_what_is_left() -> None:
    ledger = held()
    assert ledger.do(capture_hold(1, 10)) == "posted"
    assert ledger.do(void_hold(1)) == "posted"
    ledger.shows(
        """
        alice    90 USD
        bob      10 USD
        hold 1: 40 for bob, 10 captured, voided
        """
    )


def test_a_hold_expires_when_its_time_is_over_and_not_before() -> None:
    ledger = held()
    ledger.wait(seconds=59)
    assert ledger.do(expire_hold(1)) == "hold_not_open id"
    ledger.wait(seconds=1)
    assert ledger.do(expire_hold(1)) == "posted"
    ledger.shows(
        """
        alice   100 USD
        bob       0 USD
        hold 1: 40 for bob, expired
        """
    )


def test_time_counts_also_before_the_expiry_is_recorded() -> None:
    ledger = held()
    ledger.wait(seconds=60)
    assert ledger.do(capture_hold(1)) == "hold_not_open id"
    assert ledger.do(void_hold(1)) == "hold_not_open id"


@pytest.mark.parametrize("command", [capture_hold(2), void_hold(2), expire_hold(2)])
def test_there_must_be_such_a_hold(command: Command) -> None:
    assert held().do(command) == "hold_not_found id"
