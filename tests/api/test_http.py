"""What HTTP asks of every server: HEAD beside GET, and headers that may be written in more than one way."""

import json

import pytest

from tests.api import absent
from tests.api.books import Books
from tests.api.client import Client, new_key
from tests.api.server import Server


@pytest.fixture(scope="module")
def shop(client: Client) -> Books:
    books = Books(client)
    books.open("""
        alice  USD  100
        shop   USD    0
    """)
    return books


@pytest.mark.parametrize(
    "path",
    [
        "/v1/assets",
        "/v1/assets?limit=1",
        "/v1/accounts?owner=alice",
        "/v1/accounts/{account}",
        "/v1/accounts/{account}/balance",
        "/v1/accounts/{account}/entries",
        "/v1/transactions/{transaction}",
        "/v1/holds/{hold}",
        "/v1/accounts/nothing",
        f"/v1/accounts/{absent.ACCOUNT}",
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/docs",
        "/docs/swagger-ui.css",
        "/docs/nothing",
        "/nothing",
    ],
)
def test_head(client: Client, shop: Books, path: str) -> None:
    """Like GET in everything but the body."""
    paid = shop.transfer("alice", "shop", 1).ok()["id"]
    held = shop.hold("alice", "shop", 1).ok()["id"]
    target = path.format(account=shop["alice"], transaction=paid, hold=held).encode()
    whole, head = (client.raw_request(method, target, {"X-Request-Id": b"one"}) for method in ("GET", "HEAD"))
    assert head.body == b""
    assert whole.body != b""
    assert head.status == whole.status
    assert {**head.headers, "date": ""} == {**whole.headers, "date": ""}
    assert head.headers["content-length"] == str(len(whole.body))


def test_head_without_a_key(server: Server) -> None:
    with Client(server.url, None) as nobody_known:
        assert nobody_known.request("HEAD", "/v1/assets").status == 401


def test_head_where_nothing_can_be_got(client: Client) -> None:
    head = client.raw_request("HEAD", b"/v1/transfers")
    assert (head.status, head.body) == (405, b"")


def test_a_key_with_a_comma(client: Client, shop: Books) -> None:
    """One header, so one key."""
    key = f"{new_key()},{new_key()}".encode()
    body = json.dumps(shop.payment("alice", "shop", 1)).encode()
    first, again = [
        client.raw_request("POST", b"/v1/transfers", {"Idempotency-Key": key}, body).ok() for _ in range(2)
    ]
    assert first.body == again.body


@pytest.mark.parametrize("encoding", ["identity", "Identity"])
def test_a_content_encoding_that_changes_nothing(client: Client, shop: Books, encoding: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding, "Idempotency-Key": new_key()}
    content = json.dumps(shop.payment("alice", "shop", 1)).encode()
    client.request("POST", "/v1/transfers", content=content, headers=headers).ok()
