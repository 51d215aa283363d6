"""What holds for all answers: identifiers of requests, types and instances of problems, places of what is new."""

import json
import re
import uuid
from typing import Any

import pytest

from tallystick.api.error_codes import ERROR_CODES
from tests.api.books import Books
from tests.api.client import Answer, Client, new_key
from tests.api.conftest import NothingWritten

ID = "X-Request-Id"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
LONGEST = "r" * 128


def problems(client: Client, headers: dict[str, str]) -> list[Answer]:
    """Answers of every part of the server that refuses."""
    bearer = {"Authorization": "Bearer tally_wrong"}
    return [
        client.request("GET", "/nothing", headers=headers),
        client.request("GET", "//nothing", headers=headers),
        client.request("PUT", "/v1/assets", headers=headers),
        client.request("GET", "/v1/assets", headers={**headers, **bearer}),
        client.request("GET", "/v1/accounts", headers=headers),
        client.request("GET", "/v1/accounts/acct_00000000000000", headers=headers),
        client.request(
            "POST", "/v1/transfers", content=b"{", headers={**headers, "Idempotency-Key": new_key()}
        ),
        client.request("POST", "/v1/transfers", content=b"{}", headers=headers),
        client.request(
            "POST", "/v1/transfers", content=b"<", headers={**headers, "Content-Type": "text/xml"}
        ),
    ]


@pytest.mark.parametrize("sent", ["a", "my-id_1.2:3/4", '"quoted"', "%2F", LONGEST])
def test_a_request_id_comes_back(client: Client, sent: str) -> None:
    for path in ("/v1/assets", "/healthz", "/readyz", "/openapi.json", "/docs", "/errors/overloaded"):
        answer = client.request("GET", path, headers={ID: sent})
        assert (answer.status, answer.headers["x-request-id"]) == (200, sent)
    for answer in problems(client, {ID: sent}):
        assert answer.headers["x-request-id"] == sent
        assert answer["instance"].startswith("urn:tallystick:request:")


def test_a_uuid_is_the_instance_of_a_problem(client: Client) -> None:
    sent = str(uuid.uuid4())
    for answer in problems(client, {ID: sent}):
        answer.refused()
        assert answer["instance"] == f"urn:uuid:{sent}"
    upper = client.request("GET", "/nothing", headers={ID: sent.upper()})
    assert (upper.headers["x-request-id"], upper["instance"]) == (sent.upper(), f"urn:uuid:{sent}")


def test_a_text_is_quoted_in_the_instance(client: Client) -> None:
    answer = client.request("GET", "/nothing", headers={ID: 'a/"b%'})
    assert answer["instance"] == "urn:tallystick:request:a%2F%22b%25"


def test_each_request_without_an_id_gets_one(client: Client) -> None:
    made = [client.get("/v1/assets").headers["x-request-id"] for _ in range(20)]
    made += [answer.headers["x-request-id"] for answer in problems(client, {})]
    assert len(set(made)) == len(made)
    assert all(UUID.fullmatch(one) for one in made)
    for answer in problems(client, {}):
        assert answer["instance"] == f"urn:uuid:{answer.headers['x-request-id']}"


@pytest.mark.parametrize("sent", [b"", b"a b", b"\xff", "ä".encode(), b"r" * 129, b"a\tb"])
def test_a_wrong_request_id(
    client: Client, shop: Books, nothing_written: NothingWritten, sent: bytes
) -> None:
    body = json.dumps(shop.payment("alice", "shop", 1)).encode()
    headers = {ID: sent, "Idempotency-Key": new_key().encode()}
    with nothing_written():
        answer = client.raw_request("POST", b"/v1/transfers", headers, body)
    assert answer.refused() == (400, "parameter_invalid", ID)
    assert UUID.fullmatch(answer.headers["x-request-id"])
    client.raw_request("POST", b"/v1/transfers", {**headers, ID: b"right"}, body).ok()


def test_two_request_ids(client: Client) -> None:
    answer = client.raw_request("GET", b"/v1/assets", {ID: b"a", ID.lower(): b"b"})
    assert answer.refused() == (400, "parameter_invalid", ID)


def test_a_recorded_refusal_is_the_same_whatever_the_request_id(shop: Books, client: Client) -> None:
    """Its instance is what is recorded, so that each answer is the same, byte for byte."""
    body, key = json.dumps(shop.payment("alice", "shop", 1000)).encode(), new_key()
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    answers = [
        client.request("POST", "/v1/transfers", content=body, headers={**headers, ID: one})
        for one in ("a", "b")
    ]
    assert {answer.refused() for answer in answers} == {(422, "insufficient_funds", "source")}
    assert answers[0].body == answers[1].body
    assert re.fullmatch("urn:tallystick:key:[0-9a-f]{32}", answers[0]["instance"])
    assert [answer.headers["x-request-id"] for answer in answers] == ["a", "b"]
    # So is what another request under the key is told.
    reused = [
        client.request(
            "POST", "/v1/transfers", content=body.replace(b"1000", b"1"), headers={**headers, ID: one}
        )
        for one in ("c", "d")
    ]
    assert {answer.refused()[1] for answer in reused} == {"idempotency_key_reused"}
    assert reused[0].body == reused[1].body
    assert reused[0]["instance"] == answers[0]["instance"]


def test_refusals_of_other_keys_and_tenants_are_other_instances(shop: Books, strange_books: Books) -> None:
    strange_books.open("alice USD 0 \n shop USD 0")
    key = new_key()
    instances = {
        shop.transfer("alice", "shop", 1000, key=key)["instance"],
        shop.transfer("alice", "shop", 1000)["instance"],
        strange_books.transfer("alice", "shop", 1000, key=key)["instance"],
    }
    assert len(instances) == 3


def test_the_type_of_a_problem_opens_a_page(client: Client) -> None:
    with Client(client.url, None) as nobody_known:
        for answer in problems(client, {}):
            page = nobody_known.get(answer["type"])
            assert (page.status, page.content_type) == (200, "text/html; charset=utf-8")
            assert f"<h1><code>{answer['code']}</code></h1>" in page.body.decode()


def test_every_code_has_a_page(client: Client) -> None:
    listed = client.get("/errors").body.decode()
    for one in ERROR_CODES:
        page = client.get(f"/errors/{one.code}").body.decode()
        assert f"<title>{one.code}</title>" in page
        assert "`" not in page
        assert f'href="/errors/{one.code}"' in listed
    unknown = client.get("/errors/nothing_like_it")
    assert unknown.refused() == (404, "path_not_found", None)
    script = client.get("/errors/<script>")
    assert script.refused() == (404, "path_not_found", None)


def test_what_is_made_says_where_it_is(shop: Books, client: Client) -> None:
    paid = shop.transfer("alice", "shop", 5)
    asset = {"code": f"L{new_key()[:8].upper()}", "scale": 2, "name": "Points"}
    made: dict[str, Answer] = {
        "account": client.post("/v1/accounts", {"owner": shop.owner, "asset": "USD"}),
        "transfer": paid,
        "transaction": shop.post("alice -2 \n shop 2"),
        "reversal": shop.reverse(paid["id"], 1),
        "hold": shop.hold("alice", "shop", 3),
        "asset": client.post("/v1/assets", asset),
        "webhook": client.post("/v1/webhooks", {"url": "https://93.184.215.14/"}),
    }
    for name, answer in made.items():
        assert answer.status == 201, name
        found = client.get(answer.headers["location"]).ok().json
        expected: Any = answer.json["webhook"] if name == "webhook" else answer.json
        assert (found["webhook"] if name == "webhook" else found) == expected, name
    hold = made["hold"]["id"]
    changed = (shop.capture(hold, 1), shop.void(hold), shop.change("alice", metadata={"a": "b"}))
    for answer in changed:
        assert (answer.status, "location" in answer.headers) == (200, False)
    client.send("DELETE", made["webhook"].headers["location"]).ok()


def test_a_replayed_answer_says_where_it_is(shop: Books) -> None:
    key = new_key()
    first, again = (shop.transfer("alice", "shop", 1, key=key) for _ in range(2))
    assert first.headers["location"] == again.headers["location"] == f"/v1/transactions/{first['id']}"


def test_one_asset(client: Client, stranger: Client) -> None:
    assert client.get("/v1/assets/USD").json == {
        "code": "USD",
        "scale": 2,
        "name": "US Dollar",
        "custom": False,
    }
    code = f"O{new_key()[:8].upper()}"
    assert client.get(f"/v1/assets/{code}").refused() == (404, "asset_not_found", "id")
    client.post("/v1/assets", {"code": code, "scale": 1, "name": "Ours"}).ok()
    assert client.get(f"/v1/assets/{code}").ok()["name"] == "Ours"
    assert stranger.get(f"/v1/assets/{code}").refused() == (404, "asset_not_found", "id")
    assert client.get("/v1/assets/usd").refused() == (400, "parameter_invalid", "id")


# Lists.


def test_a_limit_above_the_largest_means_the_largest(client: Client, shop: Books) -> None:
    lists = (
        "/v1/assets?",
        "/v1/webhooks?",
        f"/v1/accounts?owner={shop.owner}/alice&",
        f"/v1/accounts/{shop['alice']}/entries?",
        "/v1/events?",
    )
    for path in lists:
        largest = client.get(f"{path}limit=500").ok()
        for limit in (501, 100_000, 2**63 - 1):
            assert client.get(f"{path}limit={limit}").ok().body == largest.body
        for wrong in ("0", "-1", str(2**63), "ten"):
            refused = client.get(f"{path}limit={wrong}")
            assert refused.refused() == (400, "parameter_invalid", "limit")


def test_endpoints_are_listed_by_page(client: Client) -> None:
    made = [client.post("/v1/webhooks", {"url": "https://93.184.215.14/"}).ok()["webhook"] for _ in range(5)]
    whole = client.get("/v1/webhooks").ok()
    assert [one for one in whole["items"] if one in made] == made
    for limit in (1, 2, 5):
        found: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = client.get("/v1/webhooks", limit=limit, **cursor).ok()
            found += page["items"]
            if page["next_cursor"] is None:
                break
            assert len(page["items"]) == limit
            cursor = {"cursor": page["next_cursor"]}
        assert found == whole["items"]
    for one in made:
        client.send("DELETE", f"/v1/webhooks/{one['id']}").ok()


@pytest.mark.parametrize("path", ["/v1/assets", "/v1/webhooks"])
def test_cursors_of_other_lists(client: Client, shop: Books, path: str) -> None:
    shop.transfer("alice", "shop", 1).ok()
    of_assets = client.get("/v1/assets", limit=1).ok()["next_cursor"]
    of_entries = client.get(f"/v1/accounts/{shop['alice']}/entries", limit=1).ok()["next_cursor"]
    cursors = [
        "",
        "x",
        "!",
        of_entries,
        of_assets + "A",
        f"{of_assets}=",
        *([of_assets] if "hook" in path else []),
    ]
    for cursor in cursors:
        answer = client.get(path, cursor=cursor)
        assert answer.refused() == (400, "parameter_invalid", "cursor"), cursor
