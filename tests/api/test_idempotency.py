"""Idempotency: the same key and the same request have the same answer, byte for byte, for ever."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.api.books import Books
from tests.api.client import Answer, Client, at_once, new_key
from tests.api.server import Installation, Server


def test_a_posted_transfer_again(shop: Books) -> None:
    key = new_key()
    first = shop.transfer("alice", "shop", 60, key=key, description="ä", metadata={"b": "1", "a": "2"}).ok()
    shop.transfer("shop", "alice", 5).ok()
    again = shop.transfer("alice", "shop", 60, key=key, description="ä", metadata={"a": "2", "b": "1"})
    assert (again.status, again.body) == (first.status, first.body)
    assert again.content_type == first.content_type
    shop.check("""
        alice  USD   45
        shop   USD  105
    """)


def test_a_refused_transfer_again(shop: Books) -> None:
    key = new_key()
    first = shop.transfer("alice", "shop", 101, key=key)
    assert first.refused() == (422, "insufficient_funds", "source")
    shop.transfer("shop", "alice", 50).ok()  # now there would be enough
    again = shop.transfer("alice", "shop", 101, key=key)
    assert (again.status, again.body) == (first.status, first.body)
    assert again.content_type == first.content_type
    shop.check("""
        alice  USD  150
        shop   USD    0
    """)


def _everything(shop: Books) -> dict[str, Callable[[str], Answer]]:
    """A call of every kind that takes a key, posted and refused."""
    hold, held, voided = (shop.hold("alice", "shop", 10).ok()["id"] for _ in range(3))
    shop.void(voided).ok()
    paid = shop.transfer("alice", "shop", 10).ok()["id"]
    account = {"owner": shop.owner, "asset": "USD", "metadata": {"a": "b"}}
    return {
        "account": lambda key: shop.client.post("/v1/accounts", account, key=key),
        "account refused": lambda key: shop.client.post("/v1/accounts", {**account, "max_balance": -1}, key=key),
        "change": lambda key: shop.change("shop", key=key, metadata={"c": "d"}, max_balance="100000"),
        "change refused": lambda key: shop.change("alice", key=key, status="closed"),
        "transfer": lambda key: shop.transfer("alice", "shop", 1, key=key),
        "transfer refused": lambda key: shop.transfer("alice", "shop", 1000, key=key),
        "transaction": lambda key: shop.post("alice -2 \n shop 2", key=key),
        "transaction refused": lambda key: shop.post("alice -2 \n shop 3", key=key),
        "hold": lambda key: shop.hold("alice", "shop", 3, key=key),
        "hold refused": lambda key: shop.hold("alice", "shop", 1000, key=key),
        "capture": lambda key: shop.capture(hold, 4, key=key),
        "capture refused": lambda key: shop.capture(hold, 1000, key=key),
        "final capture": lambda key: shop.capture(hold, 1, key=key, final=True),
        "void": lambda key: shop.void(held, key=key),
        "void refused": lambda key: shop.void(voided, key=key),
        "reverse": lambda key: shop.reverse(paid, 5, key=key),
        "reverse refused": lambda key: shop.reverse(paid, 1000, key=key),
    }  # fmt: skip


def test_every_call_again(shop: Books, installation: Installation) -> None:
    calls = _everything(shop)
    keys = {name: new_key() for name in calls}
    first = {name: call(keys[name]) for name, call in calls.items()}
    assert {name: answer.status for name, answer in first.items() if "refused" in name} == {
        name: 422 for name in calls if "refused" in name
    }
    assert {answer.status for name, answer in first.items() if "refused" not in name} == {200, 201}
    # What they did is over and changed since; the answers stay.
    shop.transfer("shop", "alice", 1).ok()
    shop.change("alice", status="frozen").ok()
    head = installation.head()
    for name, call in calls.items():
        again = call(keys[name])
        assert (again.status, again.body) == (first[name].status, first[name].body), name
    assert installation.head() == head


@pytest.mark.parametrize("count", [2, 20])
def test_identical_requests_at_once_post_once(shop: Books, client: Client, count: int) -> None:
    payment, key = shop.payment("alice", "shop", 60), new_key()
    answers = at_once([client] * count, lambda caller: caller.post("/v1/transfers", payment, key=key))
    assert {(answer.status, answer.body) for answer in answers} == {(201, answers[0].body)}
    shop.check("""
        alice  USD   40
        shop   USD  110
    """)


def test_identical_requests_at_once_are_refused_once(shop: Books, client: Client) -> None:
    payment, key = shop.payment("alice", "shop", 101), new_key()
    answers = at_once([client] * 10, lambda caller: caller.post("/v1/transfers", payment, key=key))
    assert {(answer.status, answer.body) for answer in answers} == {(422, answers[0].body)}
    assert answers[0]["code"] == "insufficient_funds"


def test_identical_requests_at_once_through_two_servers(
    shop: Books, client: Client, second_server: Server
) -> None:
    elsewhere = Client(second_server.url, client.api_key)
    for amount in (1, 2, 3, 4, 5):
        payment, key = shop.payment("alice", "shop", amount), new_key()
        send = partial(Client.post, path="/v1/transfers", body=payment, key=key)
        answers = at_once([client, elsewhere] * 5, send)
        assert {(answer.status, answer.body) for answer in answers} == {(201, answers[0].body)}
    elsewhere.close()
    shop.check("""
        alice  USD   85
        shop   USD   65
    """)


def test_different_requests_at_once_with_one_key(shop: Books, client: Client) -> None:
    key = new_key()
    amounts = iter(range(1, 9))

    def send(caller: Client) -> Answer:
        return caller.post("/v1/transfers", shop.payment("alice", "shop", next(amounts)), key=key)

    answers = at_once([client] * 8, send)
    assert sorted(answer.status for answer in answers) == [201, *[422] * 7]
    assert {answer["code"] for answer in answers if answer.status == 422} == {"idempotency_key_reused"}


def test_payments_at_once_never_overdraw(shop: Books, client: Client) -> None:
    payment = shop.payment("alice", "shop", 30)
    answers = at_once([client] * 10, lambda caller: caller.post("/v1/transfers", payment))
    assert sorted(answer.status for answer in answers) == [201, 201, 201, *[422] * 7]
    shop.check("""
        alice  USD   10
        shop   USD  140
    """)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", "11"),
        ("destination", "bob"),
        ("source", "bob"),
        ("asset", "EUR"),
        ("description", "else"),
        ("description", None),
        ("metadata", {"order": "8"}),
        ("metadata", None),
        ("effective_at", "2020-01-02T00:00:00Z"),
        ("effective_at", None),
    ],
)
def test_a_different_transfer_names_the_field(shop: Books, field: str, value: object) -> None:
    shop.open("bob USD 100")
    key = new_key()
    body = shop.payment("alice", "shop", 10)
    body |= {"description": "some", "metadata": {"order": "7"}, "effective_at": "2020-01-01T00:00:00Z"}
    first = shop.client.post("/v1/transfers", body, key=key).ok()

    other = {**body, field: shop[value] if isinstance(value, str) else value}
    assert shop.client.post("/v1/transfers", other, key=key).refused() == (
        422,
        "idempotency_key_reused",
        field,
    )
    # The key still belongs to the first.
    assert shop.client.post("/v1/transfers", body, key=key).body == first.body


def test_a_different_request_names_the_field(shop: Books) -> None:
    key = new_key()
    first = shop.hold("alice", "shop", 1, key=key)
    reused = (422, "idempotency_key_reused")
    assert shop.hold("alice", "shop", 1, key=key, expires_in=5).refused() == (*reused, "expires_in")
    assert shop.transfer("alice", "shop", 1, key=key).refused() == (*reused, "path")
    assert shop.hold("alice", "shop", 1, key=key).body == first.ok().body

    key = new_key()
    first = shop.post("alice -1 \n shop 1", key=key)
    assert shop.post("alice -2 \n shop 2", key=key).refused() == (*reused, "entries")
    assert shop.post("shop 1 \n alice -1", key=key).refused() == (*reused, "entries")
    assert shop.post("alice -1 \n shop 1", key=key).body == first.ok().body

    key = new_key()
    first = shop.transfer("alice", "shop", 999, key=key)
    assert shop.transfer("alice", "shop", 1, key=key).refused() == (*reused, "amount")
    assert shop.transfer("alice", "shop", 999, key=key).body == first.body


def test_a_different_change_of_an_account_names_the_field(shop: Books) -> None:
    reused = (422, "idempotency_key_reused")

    def differs(first: dict[str, Any], other: dict[str, Any]) -> tuple[int, str, str | None]:
        key = new_key()
        answer = shop.change("alice", key=key, **first).ok()
        found = shop.change("alice", key=key, **other).refused()
        assert shop.change("alice", key=key, **first).body == answer.body
        return found

    assert differs({"status": "open"}, {"status": "frozen"}) == (*reused, "status")
    assert differs({"max_balance": None}, {"status": "open"}) == (*reused, "status")
    assert differs({"max_balance": "999"}, {"max_balance": None}) == (*reused, "max_balance")
    assert differs({"max_balance": "999"}, {"max_balance": "998"}) == (*reused, "max_balance")
    assert differs({"metadata": {}}, {"metadata": {"a": "b"}}) == (*reused, "metadata")
    assert differs({"status": "open"}, {"status": "open", "metadata": {}}) == (*reused, "metadata")


def test_a_different_capture_void_and_reversal(shop: Books) -> None:
    one, two = (shop.hold("alice", "shop", 20).ok()["id"] for _ in range(2))
    paid = shop.transfer("alice", "shop", 10).ok()["id"]

    key = new_key()
    shop.capture(one, 5, key=key).ok()
    assert shop.capture(two, 5, key=key).refused() == (422, "idempotency_key_reused", "id")
    assert shop.capture(one, 6, key=key).refused() == (422, "idempotency_key_reused", "amount")
    assert shop.capture(one, 5, key=key, final=True).refused() == (422, "idempotency_key_reused", "final")
    assert shop.capture(one, key=key).refused() == (422, "idempotency_key_reused", "amount")

    key = new_key()
    shop.reverse(paid, 1, key=key).ok()
    assert shop.reverse(paid, 2, key=key).refused() == (422, "idempotency_key_reused", "amount")
    assert shop.reverse(paid, key=key).refused() == (422, "idempotency_key_reused", "amount")

    key = new_key()
    shop.void(one, key=key).ok()
    assert shop.void(two, key=key).refused() == (422, "idempotency_key_reused", "id")
    shop.check("""
        alice  USD  86  held 20
        shop   USD  64
    """)


def test_other_ways_to_write_the_same_request(shop: Books, client: Client) -> None:
    key = new_key()
    body = shop.payment("alice", "shop", 10)
    first = client.post("/v1/transfers", {**body, "effective_at": "2020-01-01T00:00:00Z"}, key=key).ok()
    for other in (
        {**body, "amount": 10, "effective_at": "2020-01-01T01:00:00+01:00"},
        {**dict(reversed(body.items())), "effective_at": "2020-01-01T00:00:00.000Z", "metadata": {}},
        {**body, "effective_at": "2020-01-01T00:00:00Z", "description": None, "metadata": None},
    ):
        assert client.post("/v1/transfers", other, key=key).body == first.body


def test_a_malformed_request_burns_no_key(shop: Books, client: Client) -> None:
    key = new_key()
    body = shop.payment("alice", "shop", 10)
    for wrong in (
        {"amount": "0"},
        {"amount": "1.5"},
        {"source": "acct_x"},
        {"more": 1},
        {"metadata": {"a": 1}},
    ):
        assert client.post("/v1/transfers", {**body, **wrong}, key=key).refused()[0] == 400
    headers = {"Idempotency-Key": key, "Content-Type": "text/plain"}
    assert client.request("POST", "/v1/transfers", content=b"{", headers=headers).refused()[0] == 415
    client.post("/v1/transfers", body, key=key).ok()
    shop.check("""
        alice  USD  90
        shop   USD  60
    """)


def test_an_unauthorised_request_burns_no_key(shop: Books, client: Client, server: Server) -> None:
    key = new_key()
    body = shop.payment("alice", "shop", 10)
    with Client(server.url, "tally_wrong_key") as nobody:
        assert nobody.post("/v1/transfers", {**body, "amount": "20"}, key=key).refused()[0] == 401
    client.post("/v1/transfers", body, key=key).ok()


def test_what_changes_something_asks_for_a_key(shop: Books, client: Client) -> None:
    missing = (400, "idempotency_key_missing", "Idempotency-Key")
    hold = shop.hold("alice", "shop", 1).ok()["id"]
    paid = shop.transfer("alice", "shop", 1).ok()["id"]
    for path, body in (
        ("/v1/transfers", shop.payment("alice", "shop", 1)),
        ("/v1/transactions", {"entries": []}),
        ("/v1/holds", shop.payment("alice", "shop", 1)),
        (f"/v1/holds/{hold}/capture", {}),
        (f"/v1/holds/{hold}/void", {}),
        (f"/v1/transactions/{paid}/reverse", {}),
        ("/v1/accounts", {"owner": f"{shop.owner}/none", "asset": "USD"}),
    ):
        assert client.send("POST", path, body).refused() == missing
        assert client.send("POST", path, body, key="").refused() == missing
    alice = f"/v1/accounts/{shop['alice']}"
    assert client.send("PATCH", alice, {"status": "frozen"}).refused() == missing
    assert client.get("/v1/accounts", owner=f"{shop.owner}/none").ok()["items"] == []
    shop.check("""
        alice  USD  99  held 1
        shop   USD  51
    """)


def test_a_second_request_to_open_an_account_opens_no_second_one(client: Client) -> None:
    body, key = {"owner": new_key(), "asset": "USD"}, new_key()
    first, second = (client.post("/v1/accounts", body, key=key).ok() for _ in range(2))
    assert first.body == second.body
    assert len(client.get("/v1/accounts", owner=body["owner"]).ok()["items"]) == 1


def test_a_change_that_comes_again_late_undoes_nothing(shop: Books) -> None:
    key = new_key()
    shop.change("alice", status="frozen", key=key).ok()
    shop.change("alice", status="open").ok()
    assert shop.change("alice", status="frozen", key=key).ok()["status"] == "frozen"
    assert shop.account("alice")["status"] == "open"


def test_an_asset_is_its_own_key(client: Client) -> None:
    """Defined again with the same values it is the same; otherwise it is refused."""
    body = {"code": f"T{new_key()[:8].upper()}", "scale": 2, "name": "Points"}
    first, second = (client.send("POST", "/v1/assets", body).ok() for _ in range(2))
    assert first.body == second.body
    other = {**body, "scale": 3}
    assert client.send("POST", "/v1/assets", other).refused() == (409, "asset_exists", "code")


@pytest.mark.parametrize("key", ["a", "k" * 255, "!#$%&'*+-.^_`|~/\\\"<>()[]{}:;,=?@"])
def test_keys(shop: Books, key: str) -> None:
    first = shop.transfer("alice", "shop", 1, key=key + new_key() if len(key) < 255 else key)
    assert first.status == 201


def test_keys_are_compared_exactly(shop: Books) -> None:
    key = new_key()
    first = shop.transfer("alice", "shop", 1, key=f"{key}a").ok()
    second = shop.transfer("alice", "shop", 1, key=f"{key}A").ok()
    assert first["id"] != second["id"]


def test_a_caller_who_hangs_up(shop: Books, client: Client) -> None:
    """Nobody reads the answer; the money moves once all the same, and asking again tells."""
    payment, key = shop.payment("alice", "shop", 10), new_key()
    for _ in range(5):
        client.hang_up("/v1/transfers", payment, key=key)
    assert client.post("/v1/transfers", payment, key=key).status == 201
    shop.check("""
        alice  USD  90
        shop   USD  60
    """)
