"""Endpoints that cannot be: refused when they are made, and again when a message would be sent."""

from collections.abc import Iterator

import psycopg
import pytest

from tallystick.embedded.postgres import EmbeddedPostgres
from tests.api.books import Books
from tests.api.client import Client
from tests.crash.api_server import ApiServer
from tests.crash.databases import ShardDatabase, temporary_database
from tests.webhooks.conftest import api_server, client_of
from tests.webhooks.receiver import Receiver

BAD_URLS = {
    "": "characters",
    "shop.example/hook": "https://",
    "http://93.184.215.14/hook": "https://",
    "ftp://93.184.215.14/": "https://",
    "https:///hook": "host",
    "https://user:pass@93.184.215.14/": "no user and no password",
    "https://user@93.184.215.14/": "no user and no password",
    "https://93.184.215.14/#part": "fragment",
    "https://93.184.215.14:0/": "port",
    "https://93.184.215.14:99999/": "ort",
    "https://[::1/": "brackets",
    "https://[2606:2800:21f:cb07::1]x/": "url",
    "https://[v1.a]/": "url",
    "https://[93.184.215.14]/": "url",
    "https://a b/": "spaces",
    "https://93.184.215.14\\@127.0.0.1/": "escape",
    "https://bücher.example/": "ASCII",
    "https://" + "a" * 2_048: "2048",
    "https://no-such-name.invalid/hook": "does not resolve",
    "https://127.0.0.1/": "public",
    "https://localhost/": "public",
    "https://10.1.2.3/": "public",
    "https://172.16.0.1/": "public",
    "https://192.168.0.1/": "public",
    "https://169.254.169.254/latest/meta-data": "public",
    "https://100.64.0.1/": "public",
    "https://0.0.0.0/": "public",
    "https://224.0.0.1/": "public",
    "https://a.localhost/": "public",
    "https://192.0.0.1/": "public",
    # Other ways to write 127.0.0.1.
    "https://2130706433/": "in full",
    "https://0x7f.1/": "in full",
    "https://0177.0.0.1/": "in full",
    "https://127.1/": "in full",
    "https://127.0.0.1./": "in full",
    "https://0x7f000001/": "in full",
    "https://%31%32%37.0.0.1/": "in full",
    "https://[::1]/": "public",
    "https://[fe80::1]/": "public",
    "https://[fe80::1%25lo]/": "public",
    "https://[fec0::1]/": "public",
    "https://[fd00::1]/": "public",
    "https://[::7f00:1]/": "public",
    "https://[::ffff:127.0.0.1]/": "public",
    "https://[64:ff9b::a00:1]/": "public",
    "https://[2002:7f00:1::]/": "public",
    "https://168.63.129.16/": "public",
}


@pytest.fixture(scope="module")
def strict_database(postgres: EmbeddedPostgres) -> Iterator[ShardDatabase]:
    with temporary_database(postgres) as made:
        yield made


@pytest.fixture(scope="module")
def strict_server(
    strict_database: ShardDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """A server with the settings that everybody has."""
    with api_server(ApiServer(tmp_path_factory.mktemp("strict"), strict_database)) as running:
        yield running


@pytest.fixture
def strict_client(strict_server: ApiServer) -> Iterator[Client]:
    with client_of(strict_server) as caller:
        yield caller


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_url_that_cannot_be(strict_client: Client, url: str) -> None:
    answer = strict_client.send("POST", "/v1/webhooks", {"url": url})
    assert answer.refused() == (400, "parameter_invalid", "url")
    assert BAD_URLS[url] in answer["detail"]
    assert strict_client.get("/v1/webhooks").ok()["items"] == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "url"),
        ({"url": 1}, "url"),
        ({"url": "https://93.184.215.14/", "kinds": ["nothing"]}, "kinds[0]"),
        ({"url": "https://93.184.215.14/", "kinds": "transfer"}, "kinds"),
        ({"url": "https://93.184.215.14/", "owner": ""}, "owner"),
        ({"url": "https://93.184.215.14/", "secret": "mine"}, "secret"),
    ],
)
def test_a_body_that_cannot_be(strict_client: Client, body: object, param: str) -> None:
    assert strict_client.send("POST", "/v1/webhooks", body).refused() == (400, "parameter_invalid", param)


def test_an_endpoint_that_is_not_there(strict_client: Client) -> None:
    path = "/v1/webhooks/hook_00000000000000"
    for method, place, body in (
        ("GET", path, None),
        ("PATCH", path, {"state": "paused"}),
        ("DELETE", path, None),
        ("POST", f"{path}/test", None),
        ("POST", f"{path}/rotate", {}),
        ("POST", f"{path}/replay", {"shard": 1, "position": 1}),
    ):
        assert strict_client.send(method, place, body).refused() == (404, "webhook_not_found", "id")


def test_a_replay_that_cannot_be(client: Client, receiver: Receiver) -> None:
    made = client.send("POST", "/v1/webhooks", {"url": receiver.url}).ok()["webhook"]["id"]
    for shard, position, param in (
        (9, 1, "shard"),
        (1, 0, "position"),
        (1, 10**9, "position"),
        (1, -1, "position"),
    ):
        answer = client.send("POST", f"/v1/webhooks/{made}/replay", {"shard": shard, "position": position})
        assert answer.refused() == (400, "parameter_invalid", param)


def test_what_became_private_since_is_not_sent(
    strict_database: ShardDatabase, strict_server: ApiServer, strict_client: Client, receiver: Receiver
) -> None:
    """A name that leads elsewhere by now: the address is checked when a message is sent."""
    made = strict_client.send("POST", "/v1/webhooks", {"url": "https://93.184.215.14/"}).ok()["webhook"]["id"]
    for url in (
        receiver.url.replace("http", "https"),
        receiver.url.replace("http://127.0.0.1", "https://localhost"),
        receiver.url.replace("http://127.0.0.1", "https://[::1]"),
        receiver.url.replace("http://127.0.0.1", "https://[::ffff:127.0.0.1]"),
    ):
        with psycopg.connect(strict_database.owner_dsn) as connection:
            connection.execute(
                "UPDATE webhook_endpoints SET url = %s, version = version + 1 WHERE id = %s", (url, made)
            )
        answer = strict_client.send("POST", f"/v1/webhooks/{made}/test").ok().json
        assert not answer["delivered"]
        assert "not a public address" in answer["error"]
    for url in (receiver.url.replace("http", "HTTP"), receiver.url):
        with psycopg.connect(strict_database.owner_dsn) as connection:
            connection.execute("UPDATE webhook_endpoints SET url = %s WHERE id = %s", (url, made))
        assert "http is not allowed" in strict_client.send("POST", f"/v1/webhooks/{made}/test").ok()["error"]
    books = Books(strict_client)
    books.open("alice USD 10")
    path = f"/v1/webhooks/{made}"
    receiver.wait(lambda: strict_client.get(path).ok()["deliveries"][0]["attempts"] > 0, "an attempt")
    assert "http is not allowed" in strict_client.get(path).ok()["deliveries"][0]["last_error"]
    assert not receiver.received
    strict_client.send("DELETE", path).ok()


@pytest.mark.slow
def test_no_tenant_sees_anothers(server: ApiServer, client: Client, receiver: Receiver) -> None:
    made = client.send("POST", "/v1/webhooks", {"url": receiver.url}).ok()["webhook"]["id"]
    said = server.command(
        "keys", "create", "--name", "other", "--scope", "all", "--tenant", "other", "--json"
    )
    key = said.stdout.split('"key":"')[1].split('"')[0]
    with Client(client.url, key) as stranger:
        assert stranger.get("/v1/webhooks").ok()["items"] == []
        assert stranger.get(f"/v1/webhooks/{made}").refused()[0] == 404
        books = Books(stranger)
        books.open("eve USD 10")
    own = client.post("/v1/accounts", {"owner": f"{books.owner}/adam", "asset": "USD"}).ok()["id"]
    receiver.wait(lambda: len(receiver.received) >= 1, "what is the tenant's own")
    assert [one.event["data"]["account"]["id"] for one in receiver.received] == [own]
