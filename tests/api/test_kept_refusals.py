"""Refusals cost no money and are kept for ever: how many of a tenant are kept is bounded."""

from collections.abc import Iterator

import psycopg
import pytest

from tallystick.service.configuration import read_configuration
from tallystick.service.rate_limits import Rates
from tallystick.views.api_keys import NewApiKey
from tests.api.books import Books
from tests.api.client import Client, new_key
from tests.api.conftest import NothingWritten
from tests.api.server import Installation, Server
from tests.api.test_rate_limits import limited

KEPT_MAX = 5
FLOOD_TRANSFERS = 1_000
TOO_MANY = (429, "rate_limited")
NO_MONEY = (422, "insufficient_funds")


@pytest.fixture(scope="module")
def server(installation: Installation) -> Iterator[Server]:
    made = limited(installation, "few refusals", limits=Rates(refusals=f"{KEPT_MAX}/hour"))
    with Server(made, "few refusals") as running:
        yield running


@pytest.fixture
def key(installation: Installation, request: pytest.FixtureRequest) -> NewApiKey:
    """The key of a tenant that was refused nothing yet."""
    return installation.make_key(request.node.name)


@pytest.fixture
def shop(server: Server, key: NewApiKey) -> Iterator[Books]:
    with Client(server.url, key.key) as caller:
        books = Books(caller)
        books.open("alice  USD  100\nshop  USD  0")
        yield books


def spend(shop: Books) -> list[str]:
    """Have as many refusals kept as may be; their keys."""
    keys = [new_key() for _ in range(KEPT_MAX)]
    for key in keys:
        assert shop.transfer("alice", "shop", 101, key=key).refused()[:2] == NO_MONEY
    return keys


def flood(shop: Books) -> dict[str, object]:
    payments = [
        {**shop.payment("alice", "shop", 101), "idempotency_key": new_key()} for _ in range(FLOOD_TRANSFERS)
    ]
    return {"transfers": payments}


def kept_refusals(installation: Installation) -> int:
    with psycopg.connect(
        next(iter(read_configuration(installation.configuration_path).dsns.values()))
    ) as one:
        row = one.execute("SELECT count(*) FROM requests WHERE code IS NOT NULL").fetchone()
    assert row is not None
    return int(row[0])


def test_refusals_beyond_the_budget_are_not_kept(shop: Books, nothing_written: NothingWritten) -> None:
    spend(shop)
    with nothing_written():
        for _ in range(20):
            answer = shop.transfer("alice", "shop", 101)
            assert answer.refused()[:2] == TOO_MANY
    assert "insufficient_funds" in answer["detail"]
    assert answer.headers["ratelimit-policy"] == f'"tenant-refusals";q={KEPT_MAX};w=3600'
    assert 1 <= int(answer.headers["retry-after"]) <= 3_600


def test_a_refusal_that_was_kept_stays_so(shop: Books, nothing_written: NothingWritten) -> None:
    kept = spend(shop)
    with nothing_written():
        for key in kept:
            assert shop.transfer("alice", "shop", 101, key=key).refused()[:2] == NO_MONEY
        # And a key that is taken is taken.
        other = shop.transfer("alice", "shop", 102, key=kept[0])
        assert other.refused()[:2] == (422, "idempotency_key_reused")


def test_a_refusal_that_was_not_kept_burns_no_key(shop: Books) -> None:
    spend(shop)
    key = new_key()
    assert shop.transfer("alice", "shop", 101, key=key).refused()[:2] == TOO_MANY
    # Whatever is not refused is done, also under that key and with another amount.
    assert shop.transfer("alice", "shop", 100, key=key).status == 201
    assert shop.transfer("alice", "shop", 100, key=key).status == 201
    assert int(shop.balance("shop").ok()["balance"]) == 100


def test_floods_of_refusals_in_batches_are_bounded(installation: Installation, shop: Books) -> None:
    before = kept_refusals(installation)
    outcomes = [
        outcome
        for _ in range(5)
        for outcome in shop.client.post("/v1/transfers/batch", flood(shop)).ok()["outcomes"]
    ]
    kept = kept_refusals(installation) - before
    # What was under way when the budget was spent is kept, and paid back before anything else is.
    assert kept <= KEPT_MAX + FLOOD_TRANSFERS
    codes = [outcome["refusal"]["code"] for outcome in outcomes]
    assert codes.count("insufficient_funds") == kept
    assert codes.count("rate_limited") == len(codes) - kept
    batch = flood(shop) | {"atomic": True}
    groups = shop.client.post("/v1/transfers/batch", batch).ok()["outcomes"]
    assert {outcome["refusal"]["code"] for outcome in groups} == {"rate_limited"}
    assert kept_refusals(installation) - before == kept


def test_another_tenants_refusals_are_kept(installation: Installation, server: Server, shop: Books) -> None:
    spend(shop)
    with Client(server.url, installation.make_key("another, who is refused").key) as caller:
        others = Books(caller)
        others.open("alice  USD  100\nshop  USD  0")
        spend(others)
