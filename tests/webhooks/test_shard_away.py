"""What callers are told of endpoints while a shard cannot be reached."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.client import Client
from tests.crash.api_server import ApiServer
from tests.crash.databases import lose
from tests.crash.two_shards import TwoShards
from tests.webhooks.conftest import INSIDE, api_server, client_of
from tests.webhooks.receiver import Receiver
from tests.webhooks.test_delivery import make


@pytest.fixture
def server(shards: TwoShards, tmp_path: Path) -> Iterator[ApiServer]:
    with api_server(ApiServer(tmp_path, *shards, settings=INSIDE)) as running:
        yield running


@pytest.fixture
def client(server: ApiServer) -> Iterator[Client]:
    with client_of(server) as caller:
        yield caller


def test_a_change_that_a_shard_misses_says_what_was_done_where(
    shards: TwoShards, client: Client, receiver: Receiver
) -> None:
    endpoint, _ = make(client, receiver)
    lose(shards.away)
    listed = [endpoint]
    for method, path, body, done in (
        ("POST", "/v1/webhooks", {"url": receiver.url}, "was recorded on no shard"),
        ("POST", f"/v1/webhooks/{endpoint}/rotate", {}, "was recorded on no shard"),
        ("DELETE", f"/v1/webhooks/{endpoint}", None, "is removed on shard 1"),
    ):
        assert [one["id"] for one in client.get("/v1/webhooks").ok()["items"]] == listed
        answer = client.send(method, path, body)
        assert answer.refused() == (503, "shard_unavailable", None)
        assert f"{done}, but shard 2 cannot be reached" in answer["detail"]
        assert "Idempotency-Key" not in answer["detail"]
        assert int(answer.headers["retry-after"]) > 0
    assert client.get("/v1/webhooks").ok()["items"] == []


@pytest.mark.slow
def test_what_can_be_reached_is_shown(
    shards: TwoShards, server: ApiServer, client: Client, receiver: Receiver
) -> None:
    """It is asked most when something is broken."""
    endpoint, _ = make(client, receiver)
    told = client.get(f"/v1/webhooks/{endpoint}").ok()
    assert [one["shard"] for one in told["deliveries"]] == [1, 2]
    assert told["unreachable_shards"] == []
    lose(shards.away)
    told = client.get(f"/v1/webhooks/{endpoint}").ok()
    assert [one["shard"] for one in told["deliveries"]] == [1]
    assert told["unreachable_shards"] == [2]
    for arguments, deliveries in (
        (("status", endpoint, "--json"), [1]),
        (("status", "--json"), [1]),
        (("parked", "--json"), []),
    ):
        said = server.command("webhooks", *arguments)
        assert said.returncode == 0, said.stderr
        assert "Shard 2 cannot be reached now" in said.stderr
        shown = json.loads(said.stdout)
        assert [one["shard"] for one in shown["deliveries"]] == deliveries
        assert shown["unreachable_shards"] == [2]
