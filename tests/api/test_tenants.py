"""Tenants and keys: nobody sees or moves another's money, and a revoked key opens nothing."""

import time

import pytest

from tests.api import absent
from tests.api.books import Books
from tests.api.client import Client, new_key
from tests.api.server import Installation, Server

KEY_CACHE_SECONDS = 5.0
SLACK_SECONDS = 3.0


@pytest.fixture
def shop(books: Books) -> Books:
    books.open("""
        alice  USD  100
        shop   USD    0
    """)
    return books


def test_the_account_of_another_tenant_is_not_found(shop: Books, strange_books: Books) -> None:
    strange_books.open("mallory  USD  100")
    alice = shop["alice"]
    mallory = strange_books

    assert mallory.account(alice).refused() == (404, "account_not_found", "id")
    assert mallory.balance(alice).refused() == (404, "account_not_found", "id")
    assert mallory.balance(alice, at="2026-01-01T00:00:00Z").refused() == (404, "account_not_found", "id")
    assert mallory.history(alice).refused() == (404, "account_not_found", "id")
    assert mallory.change(alice, status="frozen").refused() == (422, "account_not_found", "id")
    assert mallory.transfer(alice, "mallory", 1).refused() == (422, "account_not_found", "source")
    assert mallory.transfer("mallory", alice, 1).refused() == (422, "account_not_found", "destination")
    assert mallory.hold(alice, "mallory", 1).refused() == (422, "account_not_found", "source")
    assert mallory.hold("mallory", alice, 1).refused() == (422, "account_not_found", "destination")
    assert mallory.post(f"{alice} -1 \n mallory 1").refused() == (
        422,
        "account_not_found",
        "entries[0].account",
    )
    assert mallory.post(f"mallory -1 \n {alice} 1").refused() == (
        422,
        "account_not_found",
        "entries[1].account",
    )
    batch = [{**mallory.payment(alice, "mallory", 1), "idempotency_key": new_key()}]
    outcomes = mallory.client.send("POST", "/v1/transfers/batch", {"transfers": batch}).ok()["outcomes"]
    assert [one["refusal"]["code"] for one in outcomes] == ["account_not_found"]

    shop.check("alice  USD  100")
    strange_books.check("mallory  USD  100")


def test_whether_it_is_there_does_not_show(shop: Books, stranger: Client) -> None:
    """Another tenant's account and no account at all have the same answer, to the byte."""
    # The identifier of a request is in its answer.
    headers = {"X-Request-Id": new_key()}
    for path in ("", "/balance", "/entries"):
        theirs = stranger.request("GET", f"/v1/accounts/{shop['alice']}{path}", headers=headers)
        nobodys = stranger.request("GET", f"/v1/accounts/{absent.ACCOUNT}{path}", headers=headers)
        assert nobodys.status == 404
        assert (theirs.status, theirs.body) == (nobodys.status, nobodys.body)


def test_the_holds_and_transactions_of_another_tenant(shop: Books, strange_books: Books) -> None:
    hold = shop.hold("alice", "shop", 10).ok()["id"]
    paid = shop.transfer("alice", "shop", 10).ok()["id"]
    mallory = strange_books

    assert mallory.client.get(f"/v1/holds/{hold}").refused() == (404, "hold_not_found", "id")
    assert mallory.capture(hold).refused() == (422, "hold_not_found", "id")
    assert mallory.void(hold).refused() == (422, "hold_not_found", "id")
    assert mallory.client.get(f"/v1/transactions/{paid}").refused() == (404, "transaction_not_found", "id")
    assert mallory.reverse(paid).refused() == (422, "transaction_not_found", "id")
    shop.check("""
        alice  USD  90  held 10
        shop   USD  10
    """)


def test_owners_of_one_name(client: Client, stranger: Client) -> None:
    owner = new_key()
    ours = client.post("/v1/accounts", {"owner": owner, "asset": "USD"}).ok()["id"]
    theirs = stranger.post("/v1/accounts", {"owner": owner, "asset": "USD"}).ok()["id"]
    for caller, account in ((client, ours), (stranger, theirs)):
        assert [found["id"] for found in caller.get("/v1/accounts", owner=owner).ok()["items"]] == [account]


def test_a_key_belongs_to_its_tenant(shop: Books, strange_books: Books) -> None:
    strange_books.open("""
        mallory  USD  100
        trent    USD    0
    """)
    key = new_key()
    ours = shop.transfer("alice", "shop", 10, key=key).ok()
    theirs = strange_books.transfer("mallory", "trent", 20, key=key).ok()
    assert ours["id"] != theirs["id"]
    assert shop.transfer("alice", "shop", 10, key=key).body == ours.body
    shop.check("alice  USD  90")
    strange_books.check("mallory  USD  80")


def test_two_keys_of_one_tenant(shop: Books, installation: Installation, server: Server) -> None:
    idempotency_key = new_key()
    first = shop.transfer("alice", "shop", 10, key=idempotency_key)
    with Client(server.url, installation.make_key("first tenant").key) as colleague:
        again = colleague.post("/v1/transfers", shop.payment("alice", "shop", 10), key=idempotency_key)
    assert again.body == first.ok().body


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer tally_0123456789ab_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "Basic YTpi",
        "bearer  ",
        "Bearer ä",
        "Bearer " + "a" * 5000,
    ],
)
def test_without_a_key_nothing_is_told(server: Server, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization.encode()}
    with Client(server.url, None) as caller:
        for method, path in (
            ("GET", "/v1/accounts?owner=a"),
            ("GET", "/v1/accounts/x"),
            ("POST", "/v1/transfers"),
            ("GET", "/v1/assets"),
        ):
            answer = caller.request(method, path, headers=headers)
            assert answer.refused() == (401, "unauthorized", "Authorization")
            assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/openapi.json", "/docs", "/docs/swagger-ui-bundle.js"]
)
def test_what_needs_no_key(server: Server, path: str) -> None:
    with Client(server.url, None) as caller:
        assert caller.get(path).status == 200


def test_the_scheme_is_written_in_any_case(server: Server, client: Client) -> None:
    with Client(server.url, None) as caller:
        headers = {"Authorization": f"bEARER {client.api_key}"}
        assert caller.request("GET", "/v1/assets", headers=headers).status == 200


def test_a_revoked_key_is_refused_on_every_server(
    installation: Installation, server: Server, second_server: Server
) -> None:
    made = installation.make_key("first tenant")
    with Client(server.url, made.key) as here, Client(second_server.url, made.key) as there:
        assert here.get("/v1/assets").status == there.get("/v1/assets").status == 200
        assert installation.revoke_key(made.id)
        assert not installation.revoke_key(made.id)
        deadline = time.monotonic() + KEY_CACHE_SECONDS + SLACK_SECONDS
        for caller in (here, there):
            while (answer := caller.get("/v1/accounts/x")).status != 401:
                assert time.monotonic() < deadline, "the key is still in force"
                time.sleep(0.1)
            assert answer.refused() == (401, "unauthorized", "Authorization")
            assert caller.get("/v1/assets").status == 401


def test_a_new_key_works_at_once(installation: Installation, server: Server) -> None:
    made = installation.make_key("third tenant")
    with Client(server.url, made.key) as caller:
        assert caller.get("/v1/assets").status == 200
