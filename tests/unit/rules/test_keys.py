"""Idempotency keys and atomic groups: what is recorded, and what stands or falls together."""

from tallystick.domain.decide import Deciding
from tallystick.domain.derived_accounts import Derivation
from tests.oracle.store import Store
from tests.unit.rules.notation import Ledger, atomic, claim_key, transfer, with_key

BEFORE = """
    alice   100 USD
    bob       0 USD
    """


def test_the_same_request_with_the_same_key_is_carried_out_once() -> None:
    ledger = Ledger(BEFORE)
    request = with_key("order-1", transfer("alice", "bob", 30))
    assert ledger.do(request) == "posted"
    assert ledger.do(request) == "posted before"
    ledger.shows(
        """
        alice    70 USD
        bob      30 USD
        """
    )


def test_another_request_with_the_same_key_is_refused() -> None:
    ledger = Ledger(BEFORE)
    assert ledger.do(with_key("order-1", transfer("alice", "bob", 30))) == "posted"
    assert ledger.do(with_key("order-1", transfer("alice", "bob", 31))) == "idempotency_key_reused amount"


def test_a_refusal_is_the_answer_for_ever() -> None:
    ledger = Ledger(BEFORE)
    request = with_key("order-1", transfer("bob", "alice", 30))
    assert ledger.do(request) == "insufficient_funds source"
    assert ledger.do(transfer("alice", "bob", 30)) == "posted"
    assert ledger.do(request) == "insufficient_funds source"


def test_a_refusal_beyond_the_tenants_budget_is_not_recorded() -> None:
    ledger = Ledger(BEFORE)
    request = with_key("order-1", transfer("bob", "alice", 30), keeps_refusal=False)
    assert ledger.do(request) == "rate_limited source"
    assert ledger.do(transfer("alice", "bob", 30)) == "posted"
    assert ledger.do(request) == "posted"


def test_the_home_of_a_key_records_that_a_request_went_to_another_shard() -> None:
    ledger = Ledger(BEFORE)
    assert ledger.do(claim_key("order-1", shard=2)) == "idempotency_key_claimed 2"
    assert ledger.do(with_key("order-1", transfer("alice", "bob", 30))) == "idempotency_key_reused source"


def test_a_refused_command_leaves_its_neighbours_alone() -> None:
    ledger = Ledger(BEFORE)
    batch = [transfer("alice", "bob", 60), transfer("alice", "bob", 60), transfer("alice", "bob", 40)]
    assert ledger.do_all(*batch) == ["posted", "insufficient_funds source", "posted"]


def test_an_atomic_group_is_posted_together() -> None:
    ledger = Ledger(BEFORE)
    group = atomic(transfer("alice", "bob", 60), transfer("bob", "alice", 50))
    assert ledger.do_all(group) == ["posted", "posted"]
    ledger.shows(
        """
        alice    90 USD
        bob      10 USD
        """
    )


def test_or_nothing_of_an_atomic_group_is_posted() -> None:
    ledger = Ledger(BEFORE)
    group = atomic(transfer("alice", "bob", 60), transfer("alice", "bob", 60))
    assert ledger.do_all(group) == ["atomic_batch_refused", "insufficient_funds source"]
    ledger.shows(BEFORE)


def test_an_atomic_group_is_decided_in_steps() -> None:
    """One of any size must not hold up what needs nothing of it."""
    store = Store(Derivation(1, bytes(32)))
    group = atomic(*[transfer("alice", "bob", 1)] * 10)
    deciding = Deciding(store.snapshot([group], remembers_accounts=True), 0)
    # Ten are refused, and then refused together.
    assert sum(1 for _ in deciding.steps([group, *group.commands], 4)) == 2 + 2 + 2
    assert len(deciding.decision().outcomes) == 20


def test_an_atomic_group_stays_on_its_shard() -> None:
    ledger = Ledger(BEFORE)
    group = atomic(transfer("alice", "bob", 60), transfer("alice", "carol/2", 10))
    assert ledger.do_all(group) == ["atomic_batch_refused", "crosses_too_many_shards destination"]
    ledger.shows(BEFORE)
