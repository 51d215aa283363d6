"""Accounts: opened, frozen, closed, and their bounds."""

import pytest

from tallystick.domain.accounts import AccountStatus
from tallystick.domain.rules.accounts import IdentifierTakenError
from tests.unit.rules.notation import Ledger, change_account, open_account, posted, refused


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
