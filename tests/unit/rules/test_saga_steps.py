"""Sagas: transfers to another shard. The payer's shard reserves, the payee's credits, the payer's finalizes."""

import pytest

from tallystick.domain.commands import Reach
from tallystick.domain.rules.saga_steps import SagaConflictError
from tests.unit.rules.notation import (
    Ledger,
    Saga,
    capture_hold,
    credit,
    entries,
    finalize,
    place_hold,
    posted,
    refuse_credit,
    refused,
    release,
    reverse,
    transfer,
    void_hold,
)


def reserved() -> tuple[Ledger, Ledger, Saga]:
    """The payer's shard, on which 30 of alice are reserved for carol, the payee's shard, and the saga."""
    payer = Ledger("alice 100 USD")
    payee = Ledger("carol/2 0 USD", shard=2)
    assert payer.do(transfer("alice", "carol/2", 30)) == "posted"
    return payer, payee, payer.saga(1)


def test_a_transfer_to_another_shard_reserves_the_amount() -> None:
    posted(
        "alice 100 USD",
        transfer("alice", "carol/2", 30),
        """
        alice   100 USD, 30 held
        saga 1: reserved
        """,
    )


def test_the_payer_is_judged_when_the_amount_is_reserved() -> None:
    refused("alice 20 USD", transfer("alice", "carol/2", 30), "insufficient_funds source")


def test_nothing_is_reserved_for_a_shard_that_cannot_be_reached() -> None:
    for reach in (Reach.UNREACHABLE, Reach.NOT_CONFIGURED):
        unreachable = transfer("alice", "carol/2", 30, reach=reach)
        refused("alice 100 USD", unreachable, "shard_unavailable destination")


def test_the_credit_pays_the_payee_from_the_clearing_account() -> None:
    _, payee, saga = reserved()
    assert payee.do(credit(saga)) == "posted"
    payee.shows(
        """
        clearing/1  -30 USD
        carol/2      30 USD
        """
    )


def test_the_reservation_then_leaves_to_the_clearing_account() -> None:
    payer, payee, saga = reserved()
    assert payee.do(credit(saga)) == "posted"
    assert payer.do(finalize(saga, counterpart=payee.position)) == "posted"
    # The clearing accounts of both shards sum to zero.
    payer.shows(
        """
        alice        70 USD
        clearing/2   30 USD
        saga 1: finalized
        """
    )


def test_a_refused_credit_gives_the_reservation_back() -> None:
    payer = Ledger("alice 100 USD")
    payee = Ledger("carol/2 0 USD, closed", shard=2)
    assert payer.do(transfer("alice", "carol/2", 30)) == "posted"
    saga = payer.saga(1)
    assert payee.do(credit(saga)) == "account_closed destination"
    assert payer.do(release(saga)) == "posted"
    payer.shows(
        """
        alice       100 USD
        saga 1: released
        """
    )


def test_each_step_is_taken_once() -> None:
    payer, payee, saga = reserved()
    assert [payee.do(credit(saga)), payee.do(credit(saga))] == ["posted", "posted before"]
    assert [payer.do(finalize(saga)), payer.do(finalize(saga))] == ["posted", "posted before"]


def test_a_credit_that_comes_late_finds_the_refusal() -> None:
    _, payee, saga = reserved()
    assert payee.do(refuse_credit(saga)) == "transfer_cancelled"
    assert payee.do(credit(saga)) == "transfer_cancelled"
    payee.shows("carol/2 0 USD")


def test_a_credit_that_was_posted_cannot_be_refused_any_more() -> None:
    _, payee, saga = reserved()
    assert payee.do(credit(saga)) == "posted"
    assert payee.do(refuse_credit(saga)) == "posted before"


def test_a_saga_ends_once() -> None:
    payer, _, saga = reserved()
    assert payer.do(finalize(saga)) == "posted"
    with pytest.raises(SagaConflictError):  # a bug of the program that drives it, never an answer
        payer.do(release(saga))


def test_only_sagas_move_a_clearing_account() -> None:
    payer, _, saga = reserved()
    assert payer.do(finalize(saga)) == "posted"
    assert payer.do(transfer("clearing/2", "alice", 30)) == "account_not_found source"


def test_nothing_is_reserved_when_the_clearing_account_cannot_be_opened() -> None:
    refused(
        """
        alice   100 USD
        mallory   0 USD, identifier of clearing/2
        """,
        transfer("alice", "carol/2", 30),
        "identifier_taken source",
    )


def test_all_payers_are_on_one_shard_and_all_payees_on_others() -> None:
    before = """
        alice   100 USD
        bob       0 USD
        """
    posted(
        before,
        entries(alice=-30, carol_2=30),
        """
        alice   100 USD, 30 held
        bob       0 USD
        saga 1: reserved
        """,
    )
    refused(before, entries(alice=-30, bob=10, carol_2=20), "crosses_too_many_shards entries")
    refused(before, entries(alice=30, carol_2=-30), "crosses_too_many_shards entries")


# Holds for a payee of another shard.


def capturing() -> tuple[Ledger, Saga]:
    """Alice has set aside 40 for carol of shard 2; a capture of 10 is on its way."""
    ledger = Ledger("alice 100 USD")
    assert ledger.do(place_hold("alice", "carol/2", 40)) == "posted"
    assert ledger.do(capture_hold(1, 10)) == "posted"
    return ledger, ledger.saga(2)


def test_a_capture_for_another_shard_is_a_saga() -> None:
    ledger, _ = capturing()
    ledger.shows(
        """
        alice       100 USD, 40 held
        hold 1: 40 for carol/2, capturing
        saga 2: reserved
        """
    )


def test_the_hold_goes_on_when_the_capture_is_finalized() -> None:
    ledger, saga = capturing()
    assert ledger.do(finalize(saga)) == "posted"
    ledger.shows(
        """
        alice        90 USD, 30 held
        clearing/2   10 USD
        hold 1: 40 for carol/2, 10 captured, open
        saga 2: finalized
        """
    )


def test_the_hold_is_as_before_when_the_capture_is_refused() -> None:
    ledger, saga = capturing()
    assert ledger.do(release(saga)) == "posted"
    ledger.shows(
        """
        alice       100 USD, 40 held
        hold 1: 40 for carol/2, open
        saga 2: released
        """
    )


def test_a_hold_whose_time_is_over_expires_when_its_capture_ends() -> None:
    ledger, saga = capturing()
    ledger.wait(seconds=60)
    assert ledger.do(release(saga)) == "posted"
    ledger.shows(
        """
        alice       100 USD
        hold 1: 40 for carol/2, expired
        saga 2: released
        """
    )


def test_nothing_else_happens_to_a_hold_meanwhile() -> None:
    ledger, _ = capturing()
    assert ledger.do(capture_hold(1, 10)) == "hold_busy id"
    assert ledger.do(void_hold(1)) == "hold_busy id"


# Reversals of what came from another shard.


def test_a_reversal_begins_where_the_money_is() -> None:
    # Carol of shard 2 paid alice 30: here is the credit, at position 2, after the clearing account at position 1.
    ledger = Ledger("alice 0 USD")
    other = Ledger("carol/2 100 USD", shard=2)
    assert other.do(transfer("carol/2", "alice", 30)) == "posted"
    assert ledger.do(credit(other.saga(1))) == "posted"
    assert ledger.do(reverse(2, payers={"carol/2": 30})) == "posted"
    ledger.shows(
        """
        alice        30 USD, 30 held
        clearing/2  -30 USD
        saga 3: reserved
        """
    )
    assert ledger.do(reverse(2, payers={"carol/2": 30})) == "reversal_exceeds_original amount"
    # The other shard refuses: the money is available again, and may be given back later.
    assert ledger.do(release(ledger.saga(3))) == "posted"
    assert ledger.do(reverse(2, payers={"carol/2": 30})) == "posted"
