"""Holds: money set aside, captured in parts, voided, expired."""

import time
from datetime import UTC, datetime

import pytest

from tests.api import absent
from tests.api.books import Books
from tests.api.client import Client
from tests.waiting import wait_for


def until_time(time: str) -> None:
    wait_for(lambda: datetime.now(UTC) > datetime.fromisoformat(time))


@pytest.fixture
def shop(books: Books) -> Books:
    books.open("""
        alice  USD  100
        shop   USD    0
    """)
    return books


def test_a_hold_sets_money_aside(shop: Books, client: Client) -> None:
    answer = shop.hold("alice", "shop", 60, expires_in=3600)
    assert answer.status == 201
    hold = answer.json
    assert (hold["status"], hold["source"], hold["destination"]) == ("open", shop["alice"], shop["shop"])
    assert (hold["amount"], hold["captured"], hold["remaining"]) == ("60", "0", "60")
    lifetime = datetime.fromisoformat(hold["expires_at"]) - datetime.now(UTC)
    assert 3590 < lifetime.total_seconds() <= 3600
    assert client.get(f"/v1/holds/{hold['id']}").body == answer.body
    shop.check("""
        alice  USD  100  held 60
        shop   USD    0
    """)


def test_no_more_than_is_available_can_be_held(shop: Books) -> None:
    shop.hold("alice", "shop", 60).ok()
    assert shop.hold("alice", "shop", 41).refused() == (422, "insufficient_funds", "source")
    shop.hold("alice", "shop", 40).ok()
    shop.check("alice  USD  100  held 100")


def test_several_captures_and_never_more_than_was_held(shop: Books, client: Client) -> None:
    hold = shop.hold("alice", "shop", 60).ok()["id"]

    first = shop.capture(hold, 20)
    assert first.status == 200
    assert (first["status"], first["captured"], first["remaining"]) == ("open", "20", "40")
    assert client.get(f"/v1/holds/{hold}").body == first.body
    shop.check("""
        alice  USD  80  held 40
        shop   USD  20
    """)

    assert shop.capture(hold, 41).refused() == (422, "capture_exceeds_hold", "amount")

    second = shop.capture(hold, 40).ok()
    assert (second["status"], second["captured"], second["remaining"]) == ("captured", "60", "0")
    assert shop.capture(hold, 1).refused() == (422, "hold_not_open", "id")
    shop.check("""
        alice  USD  40
        shop   USD  60
    """)


def test_without_an_amount_all_is_captured(shop: Books) -> None:
    hold = shop.hold("alice", "shop", 60).ok()["id"]
    shop.capture(hold, 10).ok()
    assert shop.capture(hold).ok()["status"] == "captured"
    shop.check("""
        alice  USD  40
        shop   USD  60
    """)


def test_a_final_capture_releases_the_rest(shop: Books) -> None:
    hold = shop.hold("alice", "shop", 60).ok()["id"]
    answer = shop.capture(hold, 15, final=True).ok()
    assert (answer["status"], answer["captured"], answer["remaining"]) == ("captured", "15", "0")
    assert shop.void(hold).refused() == (422, "hold_not_open", "id")
    shop.check("""
        alice  USD  85
        shop   USD  15
    """)


def test_a_void_releases_everything(shop: Books) -> None:
    hold = shop.hold("alice", "shop", 60).ok()["id"]
    shop.capture(hold, 10).ok()
    answer = shop.void(hold, description="out of stock")
    assert answer.status == 200
    assert (answer["status"], answer["captured"], answer["remaining"]) == ("voided", "10", "0")
    assert shop.capture(hold, 1).refused() == (422, "hold_not_open", "id")
    shop.check("""
        alice  USD  90
        shop   USD  10
    """)


def test_the_money_goes_where_the_hold_said(shop: Books, client: Client) -> None:
    hold = shop.hold("alice", "shop", 60).ok()["id"]
    answer = client.post(f"/v1/holds/{hold}/capture", {"amount": "1", "destination": shop["alice"]})
    assert answer.refused() == (400, "parameter_invalid", "destination")
    captured = client.get(f"/v1/transactions/{shop.capture(hold, 1).ok()['transaction']}").ok()
    assert captured["kind"] == "hold_captured"
    assert captured["refers_to"] == hold
    entries = [(entry["account"], entry["amount"], entry["held"]) for entry in captured["entries"]]
    assert entries == [(shop["alice"], "-1", "-1"), (shop["shop"], "1", "0")]


def test_the_life_of_a_hold_is_in_the_log(shop: Books) -> None:
    hold = shop.hold("alice", "shop", 60, description="reserved").ok()["id"]
    shop.capture(hold, 20, description="shipped").ok()
    shop.void(hold, metadata={"why": "lost"}).ok()
    # amount, balance, held, held after
    assert [
        (
            line["kind"],
            *(int(line[name]) for name in ("amount", "balance", "held", "held_after")),
            line["description"],
            line["metadata"],
        )
        for line in shop.history("alice", limit=3).ok()["items"]
    ] == [
        ("hold_voided", 0, 80, -40, 0, None, {"why": "lost"}),
        ("hold_captured", -20, 80, -20, 40, "shipped", {}),
        ("hold_placed", 0, 100, 60, 60, "reserved", {}),
    ]
    assert {line["refers_to"] for line in shop.history("alice", limit=2)["items"]} == {hold}


def test_a_capture_respects_the_bound_of_the_destination(books: Books) -> None:
    books.open("""
        alice  USD  100
        shop   USD    0  max 50
    """)
    hold = books.hold("alice", "shop", 60).ok()["id"]
    assert books.capture(hold).refused() == (422, "balance_limit_exceeded", "id")
    books.capture(hold, 50).ok()
    books.check("""
        alice  USD   50  held 10
        shop   USD   50
    """)


def test_who_and_what_a_hold_is_for(books: Books) -> None:
    books.open("""
        alice  USD  100
        shop   EUR    0
    """)
    assert books.hold("alice", "alice", 1).refused() == (422, "same_account", "destination")
    assert books.hold("alice", "shop", 1).refused() == (422, "asset_mismatch", "destination")
    assert books.hold("alice", absent.ACCOUNT, 1).refused() == (422, "account_not_found", "destination")
    books.check("alice  USD  100")


def test_there_is_no_such_hold(books: Books, client: Client) -> None:
    nothing = absent.HOLD
    assert books.capture(nothing).refused() == (422, "hold_not_found", "id")
    assert books.void(nothing).refused() == (422, "hold_not_found", "id")
    assert client.get(f"/v1/holds/{nothing}").refused() == (404, "hold_not_found", "id")


def test_only_what_placed_a_hold_is_one(shop: Books, client: Client) -> None:
    paid = shop.transfer("alice", "shop", 1).ok()["id"]
    as_hold = paid.replace("txn_", "hold_")
    assert client.get(f"/v1/holds/{as_hold}").refused() == (404, "hold_not_found", "id")
    assert shop.void(as_hold).refused() == (422, "hold_not_found", "id")


def test_the_worker_releases_what_expired(shop: Books, client: Client) -> None:
    # It may be over before the capture comes: then there is more time.
    for seconds in (1, 5, 25):
        hold = shop.hold("alice", "shop", 60, expires_in=seconds).ok()["id"]
        captured = shop.capture(hold, 10)
        wait_for(lambda hold=hold: client.get(f"/v1/holds/{hold}").ok()["status"] == "expired")  # type: ignore[misc]  # of a default in a lambda
        if captured.status == 200:
            break
    shop.check("""
        alice  USD  90
        shop   USD  10
    """)
    assert shop.history("alice", limit=1)["items"][0]["kind"] == "hold_expired"
    assert shop.capture(hold, 1).refused() == (422, "hold_not_open", "id")


def test_the_clock_counts_and_not_the_worker(shop: Books, client: Client) -> None:
    """A hold whose time is over is not captured, whether or not the worker has come by."""

    def worker_was_late() -> bool:
        holds = []
        for _ in range(6):
            holds.append(shop.hold("alice", "shop", 10, expires_in=1).ok().json)
            time.sleep(0.15)  # spread over the second in which the worker comes by once
        late = 0
        for hold in holds:
            until_time(hold["expires_at"])
            assert shop.capture(hold["id"]).refused() == (422, "hold_not_open", "id")
            assert shop.void(hold["id"]).refused() == (422, "hold_not_open", "id")
            late += client.get(f"/v1/holds/{hold['id']}").ok()["status"] == "open"
        wait_for(lambda: all(client.get(f"/v1/holds/{hold['id']}")["status"] == "expired" for hold in holds))
        return late > 0

    assert any(worker_was_late() for _ in range(5)), "the worker was always there first: this proved nothing"
    shop.check("""
        alice  USD  100
        shop   USD    0
    """)
