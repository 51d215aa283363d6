"""How far back something may be said to have been effective."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from tallystick.domain import limits
from tallystick.service.configuration import read_configuration, write_configuration
from tests.api.books import Books
from tests.api.client import Client, new_key
from tests.api.conftest import NothingWritten
from tests.api.server import Installation, Server
from tests.api.test_bad_input import call_with_note

INVALID = "parameter_invalid"


def days_ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


@pytest.fixture
def shop(books: Books) -> Books:
    books.open("alice  USD  100\nshop  USD  0")
    return books


@pytest.fixture(scope="module")
def importer(installation: Installation) -> Iterator[Server]:
    """A server of the same books that takes what is older."""
    path = installation.configuration_path
    before = read_configuration(path)
    write_configuration(path, msgspec.structs.replace(before, effective_at_max_days_back=36_525))
    try:
        with Server(installation, "importer") as running:
            write_configuration(path, before)
            yield running
    finally:
        write_configuration(path, before)


@pytest.mark.parametrize(
    "call", ["transfers", "holds", "transactions", "reverse", "capture", "void", "batch"]
)
def test_nothing_reaches_back_beyond_the_bound(
    client: Client, shop: Books, call: str, nothing_written: NothingWritten
) -> None:
    days_max = limits.EFFECTIVE_AT_DAYS_BACK_DEFAULT
    for time in ("1900-01-02T00:00:00Z", days_ago(days_max + 1)):
        path, body, prefix = call_with_note(shop, call, effective_at=time)
        with nothing_written():
            answer = client.post(path, body)
            assert answer.refused() == (400, INVALID, f"{prefix}effective_at")
        assert f"at most {days_max} days ago" in answer["detail"]


def test_what_is_within_the_bound_is_taken_and_the_key_stays_free(client: Client, shop: Books) -> None:
    key = new_key()
    assert shop.transfer("alice", "shop", 1, key=key, effective_at="1900-01-02T00:00:00Z").refused()[0] == 400
    within = days_ago(limits.EFFECTIVE_AT_DAYS_BACK_DEFAULT - 1)
    assert shop.transfer("alice", "shop", 1, key=key, effective_at=within).status == 201


def test_what_was_answered_before_has_the_same_answer_still(
    client: Client, shop: Books, importer: Server
) -> None:
    """The bound was lowered since, or the days have passed: old rows stay, and so do the answers under their keys."""
    old = {**shop.payment("alice", "shop", 1), "effective_at": "1950-01-01T00:00:00Z"}
    key, key_of_batch = new_key(), new_key()
    batch = {"transfers": [{**old, "idempotency_key": key_of_batch}]}
    with Client(importer.url, client.api_key) as caller:
        first = caller.post("/v1/transfers", old, key=key).ok()
        outcomes = caller.post("/v1/transfers/batch", batch).ok().json
    again = client.post("/v1/transfers", old, key=key).ok()
    assert again.json == first.json
    assert client.post("/v1/transfers/batch", batch).ok().json == outcomes
    assert client.post("/v1/transfers", old).refused() == (400, INVALID, "effective_at")
    read = client.get(f"/v1/transactions/{first['id']}").ok()
    assert read["effective_at"] == "1950-01-01T00:00:00Z"
