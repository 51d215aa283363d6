"""A webhook's `data` is the event of the change feed, byte for byte, whatever happened and whatever came after."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from standardwebhooks import Webhook

from tallystick.domain import limits
from tallystick.domain.commands import KINDS, Kind
from tallystick.domain.identifiers import (
    Prefix,
    format_identifier,
    make_identifier,
    parse_identifier,
    shard_of,
)
from tallystick.domain.parts import STAGE_KINDS
from tests.api.books import Books
from tests.api.client import Client
from tests.crash.api_server import ApiServer
from tests.crash.databases import one_value
from tests.crash.two_shards import TwoShards
from tests.waiting import wait_for
from tests.webhooks.conftest import INSIDE, api_server
from tests.webhooks.receiver import Received, Receiver

WALLETS = 12
ALWAYS = {
    Kind.ACCOUNT_OPENED, Kind.ACCOUNT_CHANGED, Kind.TRANSFER, Kind.TRANSACTION, Kind.REVERSAL, Kind.HOLD_PLACED,
    Kind.HOLD_CAPTURED, Kind.HOLD_VOIDED, Kind.HOLD_EXPIRED, Kind.TRANSFER_RESERVED, Kind.TRANSFER_CREDITED,
    Kind.TRANSFER_FINALIZED,
}  # fmt: skip
ALSO = {
    "saga": {Kind.TRANSFER_RELEASED},
    "two_phase": {
        Kind.TRANSFER_SENT, Kind.TRANSFER_RECEIVED, Kind.TRANSACTION_SENT, Kind.TRANSACTION_RECEIVED,
    },
}  # fmt: skip


class Page(msgspec.Struct):
    items: list[msgspec.Raw]
    next_after: int


class Body(msgspec.Struct):
    type: str
    timestamp: str
    data: msgspec.Raw


@pytest.fixture(params=list(ALSO))
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(shards: TwoShards, way: str, tmp_path: Path) -> Iterator[ApiServer]:
    settings = {**INSIDE, "cross_shard": way, "saga_wait_seconds": limits.SAGA_WAIT_SECONDS_MAX}
    with api_server(ApiServer(tmp_path, *shards, settings=settings)) as running:
        yield running


def feed_of(client: Client, shard: int, stages: str) -> dict[str, bytes]:
    """The JSON of each event of a shard's log, by the identifier of what stands at its position."""
    found: dict[str, bytes] = {}
    after = 0
    while True:
        answer = client.get("/v1/events", shard=shard, after=after, limit=100, stages=stages).ok()
        page = msgspec.json.decode(answer.body, type=Page)
        for item in page.items:
            position = make_identifier(shard, msgspec.json.decode(item)["position"])
            found[format_identifier(Prefix.TRANSACTION, position)] = bytes(item)
        if page.next_after == after:
            return found
        after = page.next_after


def log_of(client: Client, stages: str) -> dict[str, bytes]:
    """The events of both shards."""
    return feed_of(client, 1, stages) | feed_of(client, 2, stages)


def kinds_of(client: Client, stages: str) -> set[str]:
    """The kinds of all events of both shards."""
    return {msgspec.json.decode(one)["kind"] for one in log_of(client, stages).values()}


@pytest.mark.slow
def test_the_same_bytes_for_every_kind(
    client: Client, receiver: Receiver, shards: TwoShards, way: str
) -> None:
    """Of an endpoint that asks for stages, and of one that ignores shards."""
    body: dict[str, Any] = {"url": receiver.url}
    made = {
        "false": client.send("POST", "/v1/webhooks", body).ok().json,
        "true": client.send("POST", "/v1/webhooks", body | {"kinds": list(KINDS)}).ok().json,
    }
    books = Books(client)
    first, second, far = wallets(books)
    everything(books, first, second)
    everything_across(books, first, far)
    wanted = {kind.text for kind in ALWAYS | ALSO[way]}
    asked_for = {text for text in wanted if KINDS[text] not in STAGE_KINDS}
    wait_for(
        lambda: not shards.open_sagas() and kinds_of(client, "true") == wanted, "everything has happened"
    )
    feeds = {stages: log_of(client, stages) for stages in made}
    heads = [one_value(one.owner_dsn, "SELECT max(last_position) FROM batches") for one in shards]
    assert len(feeds["true"]) == sum(heads)
    assert kinds_of(client, "false") == asked_for
    count = sum(map(len, feeds.values()))
    receiver.wait(lambda: len(receiver.accepted()) >= count, "both logs, twice")
    for stages, feed in feeds.items():
        hook = made[stages]["webhook"]["id"]
        told = {}
        for one in _accepted(receiver, hook):
            Webhook(made[stages]["secret"]).verify(one.body, one.headers)
            message = msgspec.json.decode(one.body, type=Body)
            event: dict[str, Any] = msgspec.json.decode(message.data)
            assert (message.type, message.timestamp) == (event["kind"], event["recorded_at"])
            told[one.id.removeprefix(f"{hook}-")] = bytes(message.data)
        assert told == feed
    assert {stages: log_of(client, stages) for stages in made} == feeds
    # Again, after all of it has ended: what was on its way to another shard is told as it was then.
    before = {one.id: one.body for one in receiver.accepted()}
    assert len(before) == count
    with receiver.lock:
        receiver.received.clear()
    for hook in made.values():
        for shard in (1, 2):
            path = f"/v1/webhooks/{hook['webhook']['id']}/replay"
            client.send("POST", path, {"shard": shard, "position": 1}).ok()
    receiver.wait(lambda: len(receiver.accepted()) >= count, "both logs again")
    assert {one.id: one.body for one in receiver.accepted()} == before


def _accepted(receiver: Receiver, hook: str) -> list[Received]:
    return [one for one in receiver.accepted() if one.id.startswith(f"{hook}-")]


def wallets(books: Books) -> tuple[str, str, str]:
    """Two wallets on one shard, and one on the other."""
    found: dict[int, list[str]] = {}
    for number in range(WALLETS):
        name = f"wallet{number}"
        books.open(f"{name} USD 1000")
        found.setdefault(shard_of(parse_identifier(Prefix.ACCOUNT, books[name])), []).append(name)
    few, many = sorted(found.values(), key=len)
    return many[0], many[1], few[0]


def everything(books: Books, first: str, second: str) -> None:
    """Whatever can be done on one shard."""
    paid = books.transfer(first, second, 7, description="lunch", metadata={"table": "4"}).ok()
    books.post(f"{first} -5\n {second} 5", metadata={"ö": "ü"}).ok()
    books.reverse(paid["id"], 3).ok()
    placed = books.hold(first, second, 50).ok()["id"]
    books.capture(placed, 20, final=False).ok()
    books.capture(placed, 10, final=True).ok()
    books.void(books.hold(first, second, 5).ok()["id"]).ok()
    books.hold(first, second, 6, expires_in=1).ok()
    for change in (
        {"status": "frozen"},
        {"status": "open"},
        {"max_balance": "100000"},
        {"metadata": {"a": "b"}},
    ):
        books.change(second, **change).ok()


def everything_across(books: Books, first: str, far: str) -> None:
    """What crosses shards: taken, refused by the payee's shard, reversed, captured there."""
    paid = books.transfer(first, far, 11, description="there").ok()
    books.post(f"{first} -2\n {far} 2").ok()
    books.reverse(paid["id"], 4).ok()
    books.capture(books.hold(first, far, 30).ok()["id"], 12, final=True).ok()
    books.change(far, max_balance="1").ok()
    assert books.transfer(first, far, 13).status == 422
