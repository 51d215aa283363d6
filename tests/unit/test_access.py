"""What keys may do, and where callers are: the table, and the reading of addresses."""

from pathlib import Path

import pytest

from tallystick.api.operations import OPERATIONS
from tallystick.domain.access import SCOPE_NEEDED, Action, Scope
from tallystick.domain.networks import are_within, client_address, is_within, read_networks

PAGE = (Path(__file__).parents[2] / "docs" / "access.md").read_text(encoding="utf-8")


def test_every_action_takes_a_scope() -> None:
    assert set(SCOPE_NEEDED) == set(Action)


def test_the_page_has_the_table() -> None:
    for action, scope in SCOPE_NEEDED.items():
        assert f"| {action.value} | `{scope.value}` |" in PAGE
    for scope in Scope:
        assert f"`{scope.value}`" in PAGE


def test_only_what_changes_nothing_takes_the_scope_to_read() -> None:
    for operation in OPERATIONS:
        reads = operation.method == "GET" or operation.name == "getBalances"
        if operation.scope is Scope.READ:
            assert reads, operation.name
        elif reads:
            assert operation.scope in {Scope.WEBHOOKS, Scope.ADMIN}, operation.name


@pytest.mark.parametrize(
    ("peer", "said", "found"),
    [
        ("203.0.113.7", None, "203.0.113.7"),
        ("::ffff:203.0.113.7", None, "203.0.113.7"),
        ("203.0.113.7", "192.0.2.1", "203.0.113.7"),
        ("10.0.0.1", "192.0.2.1", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.66, 192.0.2.1", "192.0.2.1"),
        ("10.0.0.1", "192.0.2.1, 10.0.0.2", "192.0.2.1"),
        ("10.0.0.1", "10.0.0.3", "10.0.0.3"),
        ("10.0.0.1", "192.0.2.1:4711", "192.0.2.1"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", "192.0.2.1, unknown", None),
        ("10.0.0.1", None, "10.0.0.1"),
        (None, "192.0.2.1", None),
    ],
)
def test_the_address_of_a_client(peer: str | None, said: str | None, found: str | None) -> None:
    address = client_address(peer, said, read_networks(["10.0.0.0/8"]))
    assert (None if address is None else str(address)) == found


def test_networks() -> None:
    outer = read_networks(["10.0.0.0/8", "2001:db8::/32"])
    assert are_within(read_networks(["10.1.0.0/16", "2001:db8:1::/48", "10.0.0.1"]), outer)
    assert not are_within(read_networks(["10.1.0.0/16", "0.0.0.0/0"]), outer)
    assert not are_within(read_networks(["::/0"]), outer)
    assert not is_within(None, outer)
