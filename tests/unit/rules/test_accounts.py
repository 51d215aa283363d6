"""Accounts: opened, frozen, closed, and their bounds."""

import pytest

from tallystick.domain import limits
from tallystick.domain.account_tags import tag_of
from tallystick.domain.accounts import AccountStatus
from tallystick.domain.rules.accounts import IdentifierTakenError
from tests.unit.rules.notation import Ledger, change_account, open_account, posted, refused, transfer


def test_an_account_is_opened_empty() -> None:
    posted("", open_account("alice"), "alice 0 USD")


def test_an_account_may_have_bounds() -> None:
    posted("", open_account("alice", min_balance=-50, max_balance=500), "alice 0 USD, min -50, max 500")


def test_min_balance_is_not_above_max_balance() -> None:
    refused("", open_account("alice", min_balance=10, max_balance=5), "bounds_invalid min_balance")
    refused("alice 0 USD, max 5", change_account("alice", min_balance=10), "bounds_invalid min_balance")


def test_an_identifier_that_is_in_use_is_not_used_again() -> None:
    # Not a refusal: the service draws another random identifier, and the caller sees nothing of it.
    with pytest.raises(IdentifierTakenError):
        Ledger("alice 0 USD").do(open_account("alice"))


def test_a_change_leaves_alone_what_it_does_not_name() -> None:
    posted(
        "alice 100 USD, min -50, max 500",
        change_account("alice", max_balance=None),
        "alice 100 USD, min -50",
    )


def test_a_bound_may_be_tighter_than_the_balance() -> None:
    # Nothing moves. From now on the account may only go towards its bounds.
    posted("alice 100 USD", change_account("alice", max_balance=50), "alice 100 USD, max 50")


def test_an_account_is_frozen_and_unfrozen() -> None:
    posted("alice 100 USD", change_account("alice", status=AccountStatus.FROZEN), "alice 100 USD, frozen")
    posted("alice 100 USD, frozen", change_account("alice", status=AccountStatus.OPEN), "alice 100 USD")


def test_only_an_empty_account_is_closed() -> None:
    closed = change_account("alice", status=AccountStatus.CLOSED)
    posted("alice 0 USD", closed, "alice 0 USD, closed")
    refused("alice 1 USD", closed, "account_not_empty status")
    refused("alice 0 USD, 10 held", closed, "account_not_empty status")


def test_a_closed_account_is_reopened() -> None:
    posted("alice 0 USD, closed", change_account("alice", status=AccountStatus.OPEN), "alice 0 USD")


def test_the_account_of_another_tenant_is_not_changed() -> None:
    refused("alice 0 USD, tenant 2", change_account("alice", max_balance=5), "account_not_found id")


def tag(ledger: Ledger) -> str:
    """The tag of alice's account as it is now."""
    return tag_of(ledger.state("alice"))


def test_a_change_of_another_version_is_refused() -> None:
    frozen = AccountStatus.FROZEN
    never = change_account("alice", status=frozen, tags=["of another version"])
    refused("alice 100 USD", never, "precondition_failed If-Match")
    refused("alice 100 USD", change_account("alice", status=frozen, tags=[]), "precondition_failed If-Match")
    # Before anything else that can be said against it, but that there is no such account.
    closing = change_account("alice", status=AccountStatus.CLOSED, tags=["x"])
    refused("alice 100 USD", closing, "precondition_failed If-Match")
    refused("", closing, "account_not_found id")


def test_each_change_of_an_account_is_another_version() -> None:
    ledger = Ledger("alice 100 USD \n bob 0 USD")
    seen = [tag(ledger)]
    for command in (
        transfer("alice", "bob", 1),
        change_account("alice", status=AccountStatus.FROZEN),
        change_account("alice", max_balance=500),
        change_account("alice", min_balance=-5),
        change_account("alice", metadata={"a": "b"}),
    ):
        assert ledger.do(command) == "posted"
        seen.append(tag(ledger))
    assert len(set(seen)) == len(seen)
    for stale in seen[:-1]:
        late = change_account("alice", max_balance=1000, tags=[stale])
        assert ledger.do(late) == "precondition_failed If-Match"
    assert ledger.do(change_account("alice", max_balance=1000, tags=["x", seen[-1]])) == "posted"


def test_of_two_changes_of_one_version_in_one_batch_the_second_is_refused() -> None:
    ledger = Ledger("alice 100 USD")
    seen = tag(ledger)
    first = change_account("alice", max_balance=500, tags=[seen])
    second = change_account("alice", max_balance=600, tags=[seen])
    assert ledger.do_all(first, second) == ["posted", "precondition_failed If-Match"]


def test_single_keys_of_metadata_are_changed() -> None:
    ledger = Ledger("alice 0 USD")
    for changes, expected in (
        ({"a": "1", "b": "2"}, '{"a":"1","b":"2"}'),
        ({"b": None, "c": "3"}, '{"a":"1","c":"3"}'),
        ({"nothing": None}, '{"a":"1","c":"3"}'),
        ({"a": None, "c": None}, None),
    ):
        assert ledger.do(change_account("alice", metadata=changes)) == "posted"
        assert ledger.state("alice").terms.metadata == expected


def test_metadata_have_bounds() -> None:
    ledger = Ledger("alice 0 USD")
    for number in range(limits.METADATA_KEYS_MAX):
        assert ledger.do(change_account("alice", metadata={f"key {number}": "1"})) == "posted"
    one_more = change_account("alice", metadata={"one more": "1"})
    assert ledger.do(one_more) == "metadata_too_large metadata"
    in_its_place = change_account("alice", metadata={"one more": "1", "key 0": None})
    assert ledger.do(in_its_place) == "posted"
    long = {"one more": "x" * (limits.METADATA_BYTES_MAX - 100)}
    assert ledger.do(change_account("alice", metadata=long)) == "metadata_too_large metadata"
