"""The change feed: pages of the log by position, and what of it each caller may see."""

import json
from typing import Any

import pytest

from tests.api.books import Books
from tests.api.client import Client
from tests.api.server import Installation
from tests.api.streams import Stream

EVERYTHING = 10**15


def head_of(installation: Installation) -> int:
    return installation.head().position


def pages(client: Client, after: int, **query: Any) -> list[dict[str, Any]]:
    """All events after a position, page by page."""
    found: list[dict[str, Any]] = []
    while True:
        page = client.get("/v1/events", after=after, **query).ok().json
        found += page["items"]
        if page["next_after"] == after:
            return found
        assert page["next_after"] > after
        after = page["next_after"]


def test_an_event_is_one_transaction(books: Books, installation: Installation) -> None:
    before = head_of(installation)
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    posted = books.transfer("alice", "bob", 30, description="lunch", metadata={"a": "b"}).ok().json
    found = pages(books.client, before)
    assert [event["kind"] for event in found] == [
        "account_opened", "account_opened", "transfer", "account_opened", "transfer",
    ]  # fmt: skip
    assert [event["position"] for event in found] == list(range(before + 1, before + len(found) + 1))
    last = found[-1]
    assert last["transaction"] == posted["id"]
    for name in ("kind", "position", "recorded_at", "effective_at", "description", "metadata", "entries"):
        assert last[name] == posted[name]
    assert [entry["balance"] for entry in last["entries"]] == ["70", "30"]
    assert (last["account"], last["hold"], last["crossing"]) == (None, None, None)
    opened = found[0]
    assert opened["entries"] == []
    assert opened["account"]["id"] == books["alice"]
    assert opened["account"]["balance"] == "0"


def test_holds_and_changes_are_as_of_their_position(books: Books, installation: Installation) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    before = head_of(installation)
    hold = books.hold("alice", "bob", 50).ok().json["id"]
    books.capture(hold, 20).ok()
    books.void(hold).ok()
    books.change("alice", status="frozen").ok()
    books.change("alice", status="open").ok()
    found = pages(books.client, before)
    assert [event["kind"] for event in found] == [
        "hold_placed", "hold_captured", "hold_voided", "account_changed", "account_changed",
    ]  # fmt: skip
    states = [(event["hold"]["status"], event["hold"]["remaining"]) for event in found[:3]]
    assert states == [("open", "50"), ("open", "30"), ("voided", "0")]
    assert [event["account"]["status"] for event in found[3:]] == ["frozen", "open"]
    assert [event["refers_to"] for event in found[1:3]] == [hold, hold]


def test_a_full_page_is_the_same_for_ever(books: Books, installation: Installation) -> None:
    before = head_of(installation)
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    hold = books.hold("alice", "bob", 50).ok().json["id"]
    page = books.client.get("/v1/events", after=before, limit=4).ok()
    assert len(page.json["items"]) == 4
    books.capture(hold, 20).ok()
    books.change("bob", status="frozen").ok()
    assert books.client.get("/v1/events", after=before, limit=4).body == page.body
    one_by_one = [
        books.client.get("/v1/events", after=item["position"] - 1, limit=1).ok().json["items"][0]
        for item in page.json["items"]
    ]
    assert one_by_one == page.json["items"]


def test_positions_of_others_are_passed_over(
    books: Books, strange_books: Books, installation: Installation
) -> None:
    before = head_of(installation)
    for one in (books, strange_books, books, strange_books):
        one.open("somebody  USD  10")
    mine, theirs = pages(books.client, before), pages(strange_books.client, before)
    positions = sorted(event["position"] for event in (*mine, *theirs))
    assert positions == list(range(before + 1, head_of(installation) + 1))
    assert {event["position"] for event in mine}.isdisjoint(event["position"] for event in theirs)
    assert strange_books.owner not in json.dumps(mine)
    last = books.client.get("/v1/events", after=before).ok().json["next_after"]
    assert last == head_of(installation)


def test_filters(books: Books, strange_books: Books, installation: Installation) -> None:
    before = head_of(installation)
    books.open("""
        alice  USD  100
        bob    USD  100
        carol  USD    0
    """)
    strange_books.open("alice  USD  5")
    books.transfer("alice", "bob", 1).ok()
    books.transfer("bob", "carol", 2).ok()
    books.hold("carol", "alice", 1).ok()
    everything = pages(books.client, before)

    def involved(event: dict[str, Any]) -> set[str]:
        changed = {event["account"]["id"]} if event["account"] else set()
        return changed | {entry["account"] for entry in event["entries"]}

    def same(expected: list[dict[str, Any]], **query: Any) -> None:
        assert expected
        assert pages(books.client, before, **query) == expected
        assert pages(books.client, before, limit=1, **query) == expected

    alice, bob = books["alice"], books["bob"]
    same([event for event in everything if alice in involved(event)], account=alice)
    either = [event for event in everything if {alice, bob} & involved(event)]
    same(either, account=f"{alice},{bob}")
    same(either, account=[alice, bob])
    same([event for event in everything if bob in involved(event)], owner=f"{books.owner}/bob")
    same([event for event in everything if event["kind"] == "transfer"], kind="transfer")
    same(
        [event for event in everything if event["kind"] in {"transfer", "hold_placed"}],
        kind=["transfer", "hold_placed"],
    )
    same(
        [event for event in either if event["kind"] in {"transfer", "account_opened"}],
        account=[alice, bob],
        kind="transfer,account_opened",
    )
    assert pages(books.client, before, account=strange_books["alice"]) == []
    assert pages(books.client, before, owner=f"{strange_books.owner}/alice") == []


def test_at_the_head_there_is_nothing(client: Client, installation: Installation) -> None:
    head = head_of(installation)
    page = client.get("/v1/events", after=head).ok().json
    assert page == {"items": [], "next_after": head}


@pytest.mark.parametrize("ahead", [1, EVERYTHING])
def test_beyond_the_head_is_refused(books: Books, installation: Installation, ahead: int) -> None:
    """Whoever waited for it would get another history than the one they have seen the end of."""
    books.open("alice  USD  1")
    balance = f"/v1/accounts/{books['alice']}/balance"
    after = str(head_of(installation) + ahead)
    stream = {"Accept": "text/event-stream"}
    for headers in ({}, stream):
        answer = books.client.request("GET", "/v1/events", query={"after": after}, headers=headers)
        assert answer.refused() == (400, "parameter_invalid", "after")
        assert "where the log ends" in answer.json["detail"]
    for path in ("/v1/events", balance):
        answer = books.client.request("GET", path, headers={**stream, "Last-Event-ID": after})
        assert answer.refused() == (400, "parameter_invalid", "Last-Event-ID")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"after": "-1"}, "after"),
        ({"after": "first"}, "after"),
        ({"after": "1.5"}, "after"),
        ({"after": ""}, "after"),
        ({"after": str(2**64)}, "after"),
        ({"after": ["1", "2"]}, "after"),
        ({"limit": "0"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"shard": "2"}, "shard"),
        ({"shard": "one"}, "shard"),
        ({"kind": "nonsense"}, "kind"),
        ({"kind": "transfer,"}, "kind"),
        ({"account": "acct_1"}, "account"),
        ({"owner": ""}, "owner"),
        ({"before": "1"}, "before"),
    ],
)
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_bad_input(client: Client, query: dict[str, Any], param: str, accept: str) -> None:
    if accept != "application/json" and param == "limit":
        pytest.skip("a stream has no pages")
    answer = client.request("GET", "/v1/events", query=query, headers={"Accept": accept})
    assert answer.refused() == (400, "parameter_invalid", param)


def test_account_and_owner_together_are_refused(books: Books) -> None:
    books.open("alice  USD  0")
    answer = books.client.get("/v1/events", account=books["alice"], owner=books.owner)
    assert answer.refused() == (400, "parameter_invalid", "owner")


@pytest.mark.parametrize(
    "value", ["-1", "last", "1.5", str(2**64), f"{'0' * 20}{'9' * 30}", f"{'0' * 20}{'9' * 5000}"]
)
def test_bad_last_event_id(client: Client, value: str) -> None:
    headers = {"Accept": "text/event-stream", "Last-Event-ID": value}
    answer = client.request("GET", "/v1/events", headers=headers)
    assert answer.refused() == (400, "parameter_invalid", "Last-Event-ID")


def test_a_stream_says_the_same_as_pages(books: Books, installation: Installation) -> None:
    before = head_of(installation)
    with Stream(books.client, after=before) as stream:
        books.open("""
            alice  USD  100
            bob    USD    0
        """)
        hold = books.hold("alice", "bob", 50).ok().json["id"]
        books.capture(hold, 20).ok()
        books.change("alice", status="frozen").ok()
        count = head_of(installation) - before
        live = [event.data for event in stream.take(count)]
    with Stream(books.client, last_id=before) as stream:
        assert [event.data for event in stream.take(count)] == live
    for data in live:
        position = json.loads(data)["position"]
        page = books.client.get("/v1/events", after=position - 1, limit=1).ok()
        assert page.body == b'{"items":[%b],"next_after":%d}' % (data, position)
