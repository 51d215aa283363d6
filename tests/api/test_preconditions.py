"""Tags and If-Match: no change undoes another one that its caller did not see. Merge patches."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.api import absent
from tests.api.books import Books
from tests.api.client import Answer, Client, at_once, new_key
from tests.api.conftest import NothingWritten
from tests.api.server import Server

FAILED = (412, "precondition_failed", "If-Match")
MERGE = "application/merge-patch+json"
URL = "https://93.184.215.14/"


@pytest.fixture
def endpoint(client: Client) -> Iterator[str]:
    made = client.post("/v1/webhooks", {"url": URL}).ok()["webhook"]["id"]
    yield f"/v1/webhooks/{made}"
    client.send("DELETE", f"/v1/webhooks/{made}")


def change(
    client: Client,
    path: str,
    body: Any,
    *,
    tag: str | None = None,
    key: str | None = None,
    content_type: str = "application/json",
    method: str = "PATCH",
) -> Answer:
    headers = {"Content-Type": content_type, "Idempotency-Key": key or new_key()}
    if tag is not None:
        headers["If-Match"] = tag
    content = None if body is None else json.dumps(body).encode()
    return client.request(method, path, content=content, headers=headers)


def path_of(shop: Books, name: str = "alice") -> str:
    return f"/v1/accounts/{shop[name]}"


def tag_of(client: Client, path: str) -> str:
    found = client.get(path).ok()
    tag: str = found.headers["etag"]
    assert tag[0] == tag[-1] == '"'
    assert client.request("HEAD", path).headers["etag"] == tag
    return tag


# Accounts.


def test_the_tag_of_an_account_changes_with_whatever_is_seen(shop: Books, client: Client) -> None:
    path = path_of(shop)
    seen = [tag_of(client, path)]
    assert tag_of(client, path) == seen[0]
    acts: list[Callable[[], Answer]] = [
        lambda: shop.transfer("alice", "shop", 1),
        lambda: shop.hold("alice", "shop", 1),
        lambda: shop.change("alice", metadata={"a": "b"}),
        lambda: shop.change("alice", status="frozen"),
        lambda: shop.change("alice", max_balance="1000"),
    ]
    for act in acts:
        act().ok()
        seen.append(tag_of(client, path))
    assert len(set(seen)) == len(seen)
    shop.change("shop", metadata={"a": "b"}).ok()
    assert tag_of(client, path) == seen[-1]


def test_the_answers_to_changes_have_the_tag(shop: Books, client: Client) -> None:
    opened = client.post("/v1/accounts", {"owner": shop.owner, "asset": "USD"}).ok()
    path = f"/v1/accounts/{opened['id']}"
    assert opened.headers["etag"] == tag_of(client, path)
    changed = change(client, path, {"metadata": {"z": "1", "a": "ä"}}, tag=opened.headers["etag"]).ok()
    assert changed.headers["etag"] == tag_of(client, path) != opened.headers["etag"]


def test_a_stale_tag_changes_nothing(shop: Books, client: Client, nothing_written: NothingWritten) -> None:
    path, key = path_of(shop), new_key()
    stale = tag_of(client, path)
    shop.change("alice", max_balance="500").ok()
    with nothing_written():
        assert change(client, path, {"status": "frozen"}, tag=stale, key=key).refused() == FAILED
        assert change(client, path, {"status": "frozen"}, tag='"wrong"', key=key).refused() == FAILED
    assert shop.account("alice")["status"] == "open"
    # The key is free.
    change(client, path, {"status": "frozen"}, tag=tag_of(client, path), key=key).ok()


@pytest.mark.parametrize("form", ["{}", "*", '"x", {}', '{},"x"', ' , {} ,, W/"y"', '"a b",{}'])
def test_what_matches(shop: Books, client: Client, form: str) -> None:
    path = path_of(shop)
    sent = form.format(tag_of(client, path)).strip()
    status = change(client, path, {"max_balance": "500"}, tag=sent).status
    # A space is no part of a tag.
    assert status == (400 if "a b" in form else 200)


@pytest.mark.parametrize("form", ["W/{}", '"x"', '""', 'W/{}, "x"', '"*"'])
def test_what_does_not_match(shop: Books, client: Client, form: str) -> None:
    path = path_of(shop)
    sent = form.format(tag_of(client, path))
    assert change(client, path, {"max_balance": "500"}, tag=sent).refused() == FAILED


@pytest.mark.parametrize("sent", ["x", '"x', "", ",", '"x" "y"', '*, "x"', 'w/"x"', '"x";', "**"])
def test_malformed_tags(shop: Books, client: Client, nothing_written: NothingWritten, sent: str) -> None:
    with nothing_written():
        answer = change(client, path_of(shop), {"max_balance": "500"}, tag=sent)
    assert answer.refused() == (400, "parameter_invalid", "If-Match")


def test_a_repeated_request_has_its_first_answer_whatever_the_tag_is(shop: Books, client: Client) -> None:
    path, key = path_of(shop), new_key()
    tag = tag_of(client, path)
    first = change(client, path, {"status": "frozen"}, tag=tag, key=key).ok()
    shop.change("alice", metadata={"since": "then"}).ok()
    for now in (tag, tag_of(client, path), '"wrong"', "*", None):
        again = change(client, path, {"status": "frozen"}, tag=now, key=key)
        assert (again.status, again.body) == (200, first.body)
        assert again.headers["etag"] == first.headers["etag"]
        assert again.headers["idempotency-replayed"] == "true"


def test_of_changes_at_once_with_one_tag_one_is_made(
    shop: Books, client: Client, second_server: Server
) -> None:
    path = path_of(shop)
    elsewhere = Client(second_server.url, client.api_key)
    for number in range(3):
        tag = tag_of(client, path)
        send = partial(change, path=path, body={"metadata": {"at": str(number)}}, tag=tag)
        answers = at_once([client, elsewhere] * 4, send)
        assert sorted(answer.status for answer in answers) == [200, *[412] * 7]
    elsewhere.close()


def test_counting_in_the_metadata_loses_no_update(shop: Books, client: Client, second_server: Server) -> None:
    """Each reads, adds one and writes, until it was not disturbed."""
    path = path_of(shop)
    elsewhere = Client(second_server.url, client.api_key)

    def count(caller: Client) -> None:
        for _ in range(3):
            while True:
                seen = caller.get(path).ok()
                metadata = {"count": str(int(seen["metadata"].get("count", "0")) + 1)}
                if change(caller, path, {"metadata": metadata}, tag=seen.headers["etag"]).status == 200:
                    break

    at_once([client, elsewhere, client, elsewhere], count)
    elsewhere.close()
    assert shop.account("alice")["metadata"] == {"count": "12"}


def test_an_account_that_is_not_there(client: Client) -> None:
    for tag in ('"x"', "*"):
        answer = change(client, f"/v1/accounts/{absent.ACCOUNT}", {"status": "frozen"}, tag=tag)
        assert answer.refused() == (422, "account_not_found", "id")


# Webhooks.


def test_the_tag_of_an_endpoint(client: Client, endpoint: str) -> None:
    tag = tag_of(client, endpoint)
    changed = change(client, endpoint, {"owner": "alice"}, tag=tag).ok()
    assert changed.headers["etag"] == tag_of(client, endpoint) != tag
    assert change(client, endpoint, {"owner": "bob"}, tag=tag).refused() == FAILED
    assert change(client, endpoint, None, tag=tag, method="DELETE").refused() == FAILED
    assert client.get(endpoint).ok()["webhook"]["owner"] == "alice"
    rotated = client.post(f"{endpoint}/rotate", {}).ok()
    assert rotated.headers["etag"] == tag_of(client, endpoint)
    assert change(client, endpoint, None, tag=changed.headers["etag"], method="DELETE").refused() == FAILED
    change(client, endpoint, None, tag=rotated.headers["etag"], method="DELETE").ok()


def test_of_changes_of_an_endpoint_at_once_one_is_made(
    client: Client, endpoint: str, second_server: Server
) -> None:
    elsewhere = Client(second_server.url, client.api_key)
    tag = tag_of(client, endpoint)
    answers = at_once(
        [client, elsewhere] * 3, partial(change, path=endpoint, body={"owner": "alice"}, tag=tag)
    )
    elsewhere.close()
    assert sorted(answer.status for answer in answers) == [200, *[412] * 5]


def test_a_repeated_change_of_an_endpoint(client: Client, endpoint: str) -> None:
    key, tag = new_key(), tag_of(client, endpoint)
    first = change(client, endpoint, {"owner": "alice"}, tag=tag, key=key).ok()
    change(client, endpoint, {"owner": "bob"}).ok()
    again = change(client, endpoint, {"owner": "alice"}, tag=tag, key=key)
    assert (again.body, again.headers["etag"]) == (first.body, first.headers["etag"])
    stale = new_key()
    assert change(client, endpoint, {"owner": "carol"}, tag=tag, key=stale).refused() == FAILED
    change(client, endpoint, {"owner": "carol"}, tag=tag_of(client, endpoint), key=stale).ok()


# Merge patches.


@pytest.mark.parametrize("content_type", [MERGE, f"{MERGE}; charset=utf-8", MERGE.upper()])
def test_a_merge_patch(shop: Books, client: Client, content_type: str) -> None:
    merge = partial(change, client, path_of(shop), content_type=content_type)
    merge({"metadata": {"a": "1", "b": "2"}, "max_balance": "500"}).ok()
    changed = merge({"metadata": {"b": None, "c": "3"}}).ok()
    assert (changed["metadata"], changed["max_balance"]) == ({"a": "1", "c": "3"}, "500")
    changed = merge({"max_balance": None}).ok()
    assert (changed["metadata"], changed["max_balance"]) == ({"a": "1", "c": "3"}, None)
    assert merge({"metadata": None}).ok()["metadata"] == {}


def test_json_replaces_all_metadata(shop: Books, client: Client) -> None:
    path = path_of(shop)
    change(client, path, {"metadata": {"a": "1", "b": "2"}}).ok()
    assert change(client, path, {"metadata": {"c": "3"}}).ok()["metadata"] == {"c": "3"}
    answer = change(client, path, {"metadata": {"c": None}})
    assert answer.refused() == (400, "parameter_invalid", "metadata")


def test_a_merge_patch_and_json_are_two_requests(shop: Books, client: Client) -> None:
    path, key, body = path_of(shop), new_key(), {"metadata": {"a": "1"}}
    first = change(client, path, body, key=key, content_type=MERGE).ok()
    assert change(client, path, body, key=key, content_type=MERGE).body == first.body
    assert change(client, path, body, key=key).refused() == (422, "idempotency_key_reused", "metadata")


def test_merge_patches_at_once_lose_nothing(shop: Books, client: Client, second_server: Server) -> None:
    elsewhere = Client(second_server.url, client.api_key)
    names = iter("abcdefgh")

    def merge(caller: Client) -> Answer:
        return change(caller, path_of(shop), {"metadata": {next(names): "1"}}, content_type=MERGE).ok()

    at_once([client, elsewhere] * 4, merge)
    elsewhere.close()
    assert shop.account("alice")["metadata"] == dict.fromkeys("abcdefgh", "1")


def test_too_much_metadata(shop: Books, client: Client) -> None:
    path = path_of(shop)
    change(client, path, {"metadata": {f"key {n}": "1" for n in range(16)}}, content_type=MERGE).ok()
    answer = change(client, path, {"metadata": {"one more": "1"}}, content_type=MERGE)
    assert answer.refused() == (422, "metadata_too_large", "metadata")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "status"),
        ({"status": None}, "status"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": {"": "1"}}, "metadata."),
        ({"metadata": {f"key {n}": "1" for n in range(33)}}, "metadata"),
        ({"owner": "bob"}, "owner"),
        ([], "body"),
    ],
)
def test_wrong_merge_patches(
    shop: Books, client: Client, nothing_written: NothingWritten, body: Any, param: str
) -> None:
    with nothing_written():
        answer = change(client, path_of(shop), body, content_type=MERGE)
    assert answer.refused() == (400, "parameter_invalid", param)


def test_a_merge_patch_of_an_endpoint(client: Client, endpoint: str) -> None:
    change(client, endpoint, {"owner": "alice", "kinds": ["transfer"]}, content_type=MERGE).ok()
    changed = change(client, endpoint, {"owner": None}, content_type=MERGE).ok()
    assert (changed["owner"], changed["kinds"]) == (None, ["transfer"])


def test_only_changes_take_merge_patches(shop: Books, client: Client) -> None:
    body = shop.payment("alice", "shop", 1)
    answer = change(client, "/v1/transfers", body, content_type=MERGE, method="POST")
    assert answer.refused() == (415, "content_type_unsupported", None)
