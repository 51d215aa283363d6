"""Split sagas: payees on several shards. Each shard promises before the payer's finalizes, and confirms after."""

import pytest

from tallystick.domain.rules.saga_steps import SagaConflictError
from tests.unit.rules.notation import (
    Ledger,
    Saga,
    confirm,
    entries,
    finalize,
    give_up,
    place_hold,
    promise,
    refuse_credit,
    release,
    revoke,
    settle,
)


def reserved() -> tuple[Ledger, Ledger, Ledger, Saga]:
    """The payer's shard, on which 30 are reserved for carol of shard 2 and dave of shard 3; these two; the saga."""
    payer = Ledger("alice 100 USD")
    second = Ledger("carol/2 0 USD", shard=2)
    third = Ledger("dave/3 0 USD", shard=3)
    assert payer.do(entries(alice=-30, carol_2=20, dave_3=10)) == "posted"
    payer.shows(
        """
        alice   100 USD, 30 held
        saga 1: reserved
        """
    )
    return payer, second, third, payer.saga(1)


def test_a_promise_brings_the_money_and_holds_it() -> None:
    _, second, _, saga = reserved()
    assert second.do(promise(saga)) == "posted"
    second.shows(
        """
        clearing/1  -20 USD
        carol/2      20 USD, 20 held
        """
    )
    assert second.do(place_hold("carol/2", "alice", 1)) == "insufficient_funds source"


def test_all_promises_are_finalized_confirmed_and_settled() -> None:
    payer, second, third, saga = reserved()
    assert [second.do(promise(saga)), third.do(promise(saga))] == ["posted", "posted"]
    assert payer.do(finalize(saga)) == "posted"
    payer.shows(
        """
        alice        70 USD
        clearing/2   20 USD
        clearing/3   10 USD
        saga 1: finalized
        """
    )
    assert [second.do(confirm(saga)), third.do(confirm(saga))] == ["posted", "posted"]
    second.shows(
        """
        clearing/1  -20 USD
        carol/2      20 USD
        """
    )
    assert payer.do(settle(saga)) == "posted"
    payer.shows(
        """
        alice        70 USD
        clearing/2   20 USD
        clearing/3   10 USD
        saga 1: settled
        """
    )


def test_a_saga_that_one_shard_refuses_is_given_up_revoked_and_released() -> None:
    payer, second, third, saga = reserved()
    assert second.do(promise(saga)) == "posted"
    assert third.do(refuse_credit(saga)) == "transfer_cancelled"
    assert payer.do(give_up(saga)) == "posted"
    assert second.do(revoke(saga)) == "posted"
    second.shows(
        """
        clearing/1    0 USD
        carol/2       0 USD
        """
    )
    assert payer.do(release(saga)) == "posted"
    payer.shows(
        """
        alice       100 USD
        saga 1: released
        """
    )


def test_it_is_finalized_or_given_up_and_never_both() -> None:
    payer, _, _, saga = reserved()
    assert payer.do(give_up(saga)) == "posted"
    assert payer.do(finalize(saga)) == "transfer_cancelled"

    payer, _, _, saga = reserved()
    assert payer.do(finalize(saga)) == "posted"
    assert payer.do(give_up(saga)) == "transaction_not_reversible"


def test_nothing_is_released_that_was_not_given_up() -> None:
    payer, _, _, saga = reserved()
    with pytest.raises(SagaConflictError):
        payer.do(release(saga))


def test_a_promise_is_confirmed_once() -> None:
    _, second, _, saga = reserved()
    assert second.do(promise(saga)) == "posted"
    assert second.do(confirm(saga)) == "posted"
    assert second.do(confirm(saga)) == "posted before"


def test_what_was_not_promised_cannot_be_confirmed() -> None:
    _, second, _, saga = reserved()
    with pytest.raises(SagaConflictError):
        second.do(confirm(saga))


def test_a_promise_that_is_confirmed_cannot_be_revoked() -> None:
    _, second, _, saga = reserved()
    assert second.do(promise(saga)) == "posted"
    assert second.do(confirm(saga)) == "posted"
    assert second.do(revoke(saga)) == "idempotency_key_reused path"


def test_a_promise_that_is_revoked_cannot_be_confirmed() -> None:
    _, second, _, saga = reserved()
    assert second.do(promise(saga)) == "posted"
    assert second.do(revoke(saga)) == "posted"
    assert second.do(confirm(saga)) == "idempotency_key_reused path"
