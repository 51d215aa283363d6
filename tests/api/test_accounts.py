"""Accounts: opened, listed, frozen, closed, and their bounds changed."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.api import absent
from tests.api.books import Books
from tests.api.client import PROBLEM_TYPE, Client, new_key
from tests.api.server import Installation

WAIT_SECONDS_MAX = 5.0


def test_a_wallet(client: Client) -> None:
    answer = client.post("/v1/accounts", {"owner": "alice", "asset": "USD", "metadata": {"tier": "gold"}})

    assert answer.status == 201
    account = answer.json
    identifier = account.pop("id")
    assert account == {
        "owner": "alice",
        "asset": "USD",
        "kind": "wallet",
        "status": "open",
        "min_balance": "0",
        "max_balance": None,
        "metadata": {"tier": "gold"},
        "balance": "0",
        "held": "0",
        "available": "0",
        "position": 0,
        "shard": 1,
    }
    assert client.get(f"/v1/accounts/{identifier}").body == answer.body


def test_a_system_account_has_no_bounds(client: Client) -> None:
    account = client.post("/v1/accounts", {"owner": "fees", "asset": "USD", "kind": "system"}).ok()
    assert (account["kind"], account["min_balance"], account["max_balance"]) == ("system", None, None)


def test_bounds_are_amounts(client: Client) -> None:
    body = {"owner": "alice", "asset": "USD", "min_balance": -500, "max_balance": str(2**63 - 1)}
    account = client.post("/v1/accounts", body).ok()
    assert (account["min_balance"], account["max_balance"]) == ("-500", "9223372036854775807")


def test_a_wallet_without_a_lower_bound(client: Client) -> None:
    account = client.post("/v1/accounts", {"owner": "alice", "asset": "USD", "min_balance": None}).ok()
    assert account["min_balance"] is None


def test_bounds_must_leave_room(client: Client, books: Books) -> None:
    body = {"owner": "alice", "asset": "USD", "max_balance": "-1"}
    assert client.post("/v1/accounts", body).refused() == (422, "bounds_invalid", "min_balance")
    books.open("alice  USD  0  max 100")
    assert books.change("alice", min_balance="101").refused() == (422, "bounds_invalid", "min_balance")
    assert books.account("alice")["min_balance"] == "0"


def test_what_is_available(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    hold = books.hold("alice", "bob", 30).ok()
    account = books.account("alice").ok()
    assert (account["balance"], account["held"], account["available"]) == ("100", "30", "70")
    assert account["position"] == hold["position"]
    balance = books.balance("alice").ok().json
    assert balance == {
        "account": books["alice"],
        "asset": "USD",
        "balance": "100",
        "held": "30",
        "available": "70",
        "position": hold["position"],
        "source": "database",
    }


def test_many_balances_in_one_call(books: Books, client: Client, stranger: Client) -> None:
    books.open("""
        alice  USD  100
        bob    USD    7
    """)
    asked = [books["bob"], books["alice"], books["bob"]]
    found = client.post("/v1/balances", {"accounts": asked}).ok().json
    assert [(one["account"], one["balance"]) for one in found["balances"]] == [
        (books["bob"], "7"),
        (books["alice"], "100"),
    ]
    assert found["not_found"] == []
    strange = stranger.post("/v1/balances", {"accounts": asked}).ok().json
    assert strange == {"balances": [], "not_found": asked[:2]}
    for accounts in ([], asked[:1] * 1001, ["acct_1"]):
        refused = client.post("/v1/balances", {"accounts": accounts})
        assert refused.refused() == (400, "parameter_invalid", "accounts")


def test_a_balance_at_least_as_new(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    seen = books.transfer("alice", "bob", 1).ok()["position"]
    for consistency in ("fast", "strong"):
        balance = books.balance("alice", min_position=seen, consistency=consistency).ok()
        assert balance["position"] >= seen
        assert balance["balance"] == "99"


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"consistency": "strong"},
        {"at": "2020-01-01T00:00:00Z"},
        {"effective_at": "2020-01-01T00:00:00Z"},
    ],
)
def test_no_balance_is_older_than_what_was_asked_for(
    client: Client, books: Books, installation: Installation, query: dict[str, str]
) -> None:
    """The log does not go so far: the caller is told so after a moment, and to ask again."""
    books.open("alice  USD  100")
    beyond = installation.head().position + 1000
    # Nor is there no such account as long as its opening may be among what is not there yet.
    for account in (books["alice"], absent.ACCOUNT):
        begun = time.monotonic()
        answer = client.get(f"/v1/accounts/{account}/balance", min_position=beyond, **query)
        assert time.monotonic() - begun < WAIT_SECONDS_MAX
        assert answer.refused() == (409, "position_not_reached", "min_position")
        assert int(answer.headers["retry-after"]) >= 1
        assert str(beyond) in answer["detail"]


def test_no_balance_of_many_is_older_than_what_was_asked_for(
    client: Client, books: Books, installation: Installation
) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    accounts = [books["alice"], books["bob"]]
    seen = books.transfer("alice", "bob", 1).ok()["position"]
    asked = {"accounts": accounts, "min_positions": {books["bob"]: seen}}
    found = client.post("/v1/balances", asked).ok()["balances"]
    assert [(one["balance"], one["position"]) for one in found] == [("99", seen), ("1", seen)]
    beyond = installation.head().position + 1000
    for consistency in ("fast", "strong"):
        asked = {
            "accounts": accounts,
            "min_positions": {books["alice"]: seen, books["bob"]: beyond},
            "consistency": consistency,
        }
        answer = client.post("/v1/balances", asked)
        assert answer.refused() == (409, "position_not_reached", "min_positions")
        assert int(answer.headers["retry-after"]) >= 1
    for wrong, param in (
        ({books["alice"]: seen}, "min_positions"),
        ({books["bob"]: -1}, f"min_positions.{books['bob']}"),
    ):
        answer = client.post("/v1/balances", {"accounts": [books["bob"]], "min_positions": wrong})
        assert answer.refused() == (400, "parameter_invalid", param)


def test_a_standby_where_there_is_none(client: Client, books: Books) -> None:
    """The primary does not answer in its place, nor where a standby cannot answer at all."""
    books.open("alice  USD  100")
    path = f"/v1/accounts/{books['alice']}/balance"
    many = {"accounts": [books["alice"]], "consistency": "standby"}
    for answer in (client.get(path, consistency="standby"), client.post("/v1/balances", many)):
        assert answer.refused() == (409, "no_standby", "consistency")
        assert "no standby of shard 1" in answer["detail"]
        assert "retry-after" not in answer.headers
    for name in ("at", "effective_at"):
        refused = client.get(path, **{name: "2020-01-01T00:00:00Z"}, consistency="standby").refused()
        assert refused == (400, "parameter_invalid", name)
    stream = client.request(
        "GET", path, query={"consistency": "standby"}, headers={"Accept": "text/event-stream"}
    )
    assert stream.refused() == (400, "parameter_invalid", "consistency")


def test_a_stream_does_not_begin_before_what_was_asked_for(
    client: Client, books: Books, installation: Installation
) -> None:
    books.open("alice  USD  100")
    beyond = installation.head().position + 1000
    address = f"{client.url}/v1/accounts/{books['alice']}/balance"
    headers = {"Authorization": f"Bearer {client.api_key}", "Accept": "text/event-stream"}
    query = {"min_position": str(beyond)}
    # One that begins all the same never ends: only its beginning is read.
    with requests.get(address, query, headers=headers, stream=True, timeout=WAIT_SECONDS_MAX) as answer:
        assert (answer.status_code, answer.headers["Content-Type"]) == (409, PROBLEM_TYPE)


def test_a_position_that_comes_in_a_moment_is_waited_for(books: Books, installation: Installation) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    coming = installation.head().position + 1
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(
            lambda: Books(books.client.another()).balance(books["alice"], min_position=coming)
        )
        time.sleep(0.2)
        assert books.transfer("alice", "bob", 1).ok()["position"] == coming
        found = asked.result().ok()
    assert (found["balance"], found["position"]) == ("99", coming)


def test_the_accounts_of_an_owner(client: Client, books: Books) -> None:
    owner = books.owner
    opened = [
        client.post("/v1/accounts", {"owner": owner, "asset": asset}).ok()["id"]
        for asset in ("USD", "EUR", "JPY", "USD", "CHF")
    ]
    books.open("somebody  USD  0")

    page = client.get("/v1/accounts", owner=owner).ok()
    assert page["next_cursor"] is None
    assert sorted(account["id"] for account in page["items"]) == sorted(opened)

    found: list[str] = []
    cursor: dict[str, str] = {}
    for size in (2, 2, 1):
        page = client.get("/v1/accounts", owner=owner, limit=2, **cursor).ok()
        assert len(page["items"]) == size
        found += [account["id"] for account in page["items"]]
        cursor = {"cursor": page["next_cursor"]}
    assert cursor == {"cursor": None}
    assert sorted(found) == sorted(opened)


def test_a_full_last_page_has_no_next_one(client: Client, books: Books) -> None:
    for _ in range(2):
        client.post("/v1/accounts", {"owner": books.owner, "asset": "USD"}).ok()
    page = client.get("/v1/accounts", owner=books.owner, limit=2).ok()
    assert len(page["items"]) == 2
    assert page["next_cursor"] is None


def test_the_accounts_of_nobody(client: Client) -> None:
    assert client.get("/v1/accounts", owner=new_key()).ok().json == {"items": [], "next_cursor": None}


@pytest.mark.parametrize(
    "owner", ["a", "owner/7", "Ünïcödé 😀", "a" * 255, "ß" * 255, "'; DROP TABLE accounts", "%"]
)
def test_owners_are_any_text(client: Client, owner: str) -> None:
    opened = client.post("/v1/accounts", {"owner": owner, "asset": "USD"}).ok()
    assert opened["owner"] == owner
    found = client.get("/v1/accounts", owner=owner, limit=500).ok()["items"]
    assert opened["id"] in [account["id"] for account in found]
    assert {account["owner"] for account in found} == {owner}


def test_a_frozen_account_lets_nothing_new_out_and_takes_money_in(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD  100
    """)
    reserved = books.hold("alice", "bob", 10).ok()["id"]
    paid = books.transfer("bob", "alice", 5).ok()["id"]
    assert books.change("alice", status="frozen").ok()["status"] == "frozen"

    assert books.transfer("alice", "bob", 1).refused() == (422, "account_frozen", "source")
    assert books.hold("alice", "bob", 1).refused() == (422, "account_frozen", "source")
    assert books.post("alice -1 \n bob 1").refused() == (422, "account_frozen", "entries[0].account")
    assert books.reverse(paid).refused() == (422, "account_frozen", "id")
    books.transfer("bob", "alice", 20).ok()
    books.capture(reserved, 4).ok()  # what was reserved before
    books.void(reserved).ok()
    books.check("""
        alice  USD  121
        bob    USD   79
    """)

    books.change("alice", status="open").ok()
    books.transfer("alice", "bob", 1).ok()


def test_an_account_is_closed_at_zero_only(books: Books) -> None:
    books.open("""
        alice  USD   10
        bob    USD    0
        debtor USD  -10  min -10
    """)
    assert books.change("alice", status="closed").refused() == (422, "account_not_empty", "status")
    assert books.change("debtor", status="closed").refused() == (422, "account_not_empty", "status")
    books.transfer("alice", "bob", 10).ok()
    assert books.change("alice", status="closed").ok()["status"] == "closed"


def test_an_account_with_something_held_is_not_closed(books: Books) -> None:
    books.open("""
        alice  USD  0  min -10
        bob    USD  0
    """)
    hold = books.hold("alice", "bob", 10).ok()["id"]
    assert books.change("alice", status="closed").refused() == (422, "account_not_empty", "status")
    books.void(hold).ok()
    books.change("alice", status="closed").ok()


def test_nothing_moves_on_a_closed_account_until_it_is_reopened(books: Books) -> None:
    books.open("""
        alice  USD    0
        bob    USD  100
    """)
    hold = books.hold("bob", "alice", 30).ok()["id"]
    books.change("alice", status="closed").ok()

    assert books.transfer("bob", "alice", 1).refused() == (422, "account_closed", "destination")
    assert books.transfer("alice", "bob", 1).refused() == (422, "account_closed", "source")
    assert books.hold("bob", "alice", 1).refused() == (422, "account_closed", "destination")
    assert books.capture(hold).refused() == (422, "account_closed", "id")
    books.check("""
        alice  USD    0
        bob    USD  100  held 30
    """)

    assert books.change("alice", status="open").ok()["status"] == "open"
    books.capture(hold).ok()
    books.check("""
        alice  USD   30
        bob    USD   70
    """)


def test_every_change_is_an_event_in_the_log(books: Books, installation: Installation) -> None:
    books.open("alice  USD  0")
    for change in ({"status": "frozen"}, {"status": "open"}, {"max_balance": "5"}, {"metadata": {"a": "b"}}):
        before = installation.head()
        books.change("alice", **change).ok()
        after = installation.head()
        assert (after.position, after.batches) == (before.position + 1, before.batches + 1)


def test_what_is_not_named_stays(books: Books) -> None:
    books.open("alice  USD  0  min -5  max 100")
    books.change("alice", metadata={"a": "1"}).ok()
    books.change("alice", max_balance="200").ok()
    books.change("alice", status="frozen").ok()
    account = books.account("alice")
    assert (account["min_balance"], account["max_balance"]) == ("-5", "200")
    assert (account["metadata"], account["status"]) == ({"a": "1"}, "frozen")
    books.change("alice", metadata=None, max_balance=None).ok()
    account = books.account("alice")
    assert (account["min_balance"], account["max_balance"]) == ("-5", None)
    assert (account["metadata"], account["status"]) == ({}, "frozen")


def test_a_bound_that_was_tightened_judges_only_what_moves_towards_it(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD  100
    """)
    books.change("alice", min_balance="150").ok()  # above what it has
    books.change("bob", max_balance="50").ok()  # below what it has

    assert books.transfer("alice", "bob", 1).refused() == (422, "insufficient_funds", "source")
    books.transfer("bob", "alice", 20).ok()
    books.check("""
        alice  USD  120
        bob    USD   80
    """)


def test_a_bound_that_was_tightened_does_not_block_a_capture(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    hold = books.hold("alice", "bob", 60).ok()["id"]
    books.change("alice", min_balance="90").ok()

    assert books.transfer("alice", "bob", 1).refused() == (422, "insufficient_funds", "source")
    books.capture(hold, 20).ok()
    books.capture(hold, 30, final=True).ok()
    books.check("""
        alice  USD   50
        bob    USD   50
    """)


def test_nobodys_account_is_not_changed(client: Client) -> None:
    answer = client.patch(f"/v1/accounts/{absent.ACCOUNT}", {"status": "frozen"})
    assert answer.refused() == (422, "account_not_found", "id")
