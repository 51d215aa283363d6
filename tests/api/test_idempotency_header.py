"""The header Idempotency-Key in both of its forms, and the header that says that an answer is an earlier one."""

import json
from collections.abc import Callable
from functools import partial

import pytest

from tests.api.books import Books
from tests.api.client import Answer, Client, at_once, new_key
from tests.api.conftest import NothingWritten
from tests.api.server import Server

REPLAYED = "idempotency-replayed"
HEADER = "Idempotency-Key"


def as_string(key: str) -> str:
    """A key as a string of RFC 8941."""
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@pytest.mark.parametrize("end", ["", "a b", 'a"b', "a\\b", '"', "\\", '\\"', "'", ":a:", ";a=1", ",", "?1"])
@pytest.mark.parametrize("bare_first", [True, False])
def test_both_forms_are_one_key(shop: Books, end: str, bare_first: bool) -> None:
    bare = new_key() + end
    forms = [bare, as_string(bare)]
    first, second = forms if bare_first else reversed(forms)
    posted = shop.transfer("alice", "shop", 1, key=first).ok()
    again = shop.transfer("alice", "shop", 1, key=second)
    assert (again.status, again.body) == (posted.status, posted.body)
    assert shop.transfer("alice", "shop", 2, key=second).refused() == (
        422,
        "idempotency_key_reused",
        "amount",
    )
    shop.check("""
        alice  USD  99
        shop   USD  51
    """)


def test_the_key_of_a_batch_item_is_plain_text(shop: Books, client: Client) -> None:
    """In JSON a quotation mark is a part of the key, as it is inside a string in the header."""
    plain, quoted = new_key(), f'"{new_key()}"'
    for key, header in ((plain, as_string(plain)), (quoted, as_string(quoted))):
        item = {**shop.payment("alice", "shop", 1), "idempotency_key": key}
        (outcome,) = client.post("/v1/transfers/batch", {"transfers": [item]}).ok()["outcomes"]
        again = shop.transfer("alice", "shop", 1, key=header).ok()
        assert again["id"] == outcome["transaction"]["id"]
    other = shop.transfer("alice", "shop", 1, key=quoted).ok()
    assert other["id"] != outcome["transaction"]["id"]


@pytest.mark.parametrize("character", ["k", '"', "\\"])
def test_the_longest_keys(shop: Books, character: str) -> None:
    key = new_key().ljust(255, character)
    first = shop.transfer("alice", "shop", 1, key=as_string(key)).ok()
    assert shop.transfer("alice", "shop", 1, key=key).body == first.body


MALFORMED = [
    '"k1',
    '"',
    '"a"b',
    '"a"b"',
    '"k1";a=1',
    '"k1";a',
    '"k1" "k2"',
    '"k1", "k2"',
    '"k1",',
    '"k\\1"',
    '"k1\\"',
    '"k1" k2',
]


@pytest.mark.parametrize("key", MALFORMED)
def test_malformed_strings(shop: Books, client: Client, nothing_written: NothingWritten, key: str) -> None:
    with nothing_written():
        answer = shop.transfer("alice", "shop", 1, key=key)
    assert answer.refused() == (400, "parameter_invalid", HEADER)
    assert "draft-ietf-httpapi-idempotency-key-header" in answer["detail"]
    assert client.send("POST", "/v1/transfers", shop.payment("alice", "shop", 1), key=key).status == 400


@pytest.mark.parametrize("key", [as_string("k" * 256), "k" * 256])
def test_longer_keys(shop: Books, nothing_written: NothingWritten, key: str) -> None:
    with nothing_written():
        assert shop.transfer("alice", "shop", 1, key=key).refused() == (400, "parameter_invalid", HEADER)


def test_an_empty_string(shop: Books, nothing_written: NothingWritten) -> None:
    with nothing_written():
        answer = shop.transfer("alice", "shop", 1, key='""')
    assert answer.refused() == (400, "idempotency_key_missing", HEADER)


def test_spaces_around_a_string(shop: Books, client: Client) -> None:
    key = new_key()
    first = shop.transfer("alice", "shop", 1, key=key).ok()
    body = json.dumps(shop.payment("alice", "shop", 1)).encode()
    again = client.raw_request("POST", b"/v1/transfers", {HEADER: b'  "' + key.encode() + b'" \t'}, body)
    assert again.body == first.body


# Whether the answer is that of an earlier request.


def test_a_posted_and_a_refused_answer_say_that_they_are_replayed(shop: Books) -> None:
    for amount, status in ((1, 201), (1000, 422)):
        key = new_key()
        first, *again = [shop.transfer("alice", "shop", amount, key=key) for _ in range(3)]
        assert (first.status, REPLAYED in first.headers) == (status, False)
        assert {(one.status, one.body, one.headers[REPLAYED]) for one in again} == {
            (status, first.body, "true")
        }
        reused = shop.transfer("alice", "shop", 2, key=key)
        assert reused.refused() == (422, "idempotency_key_reused", "amount")
        assert REPLAYED not in reused.headers


def test_every_kind_of_answer_says_it(shop: Books, client: Client) -> None:
    hold, held = (shop.hold("alice", "shop", 5).ok()["id"] for _ in range(2))
    paid = shop.transfer("alice", "shop", 5).ok()["id"]
    calls: list[Callable[[str], Answer]] = [
        lambda key: client.post("/v1/accounts", {"owner": shop.owner, "asset": "USD"}, key=key),
        lambda key: shop.change("alice", key=key, metadata={"a": "b"}),
        lambda key: shop.post("alice -2 \n shop 2", key=key),
        lambda key: shop.hold("alice", "shop", 3, key=key),
        lambda key: shop.capture(hold, 1, key=key),
        lambda key: shop.void(held, key=key),
        lambda key: shop.reverse(paid, 1, key=key),
    ]
    for call in calls:
        key = new_key()
        first, again = call(key).ok(), call(key).ok()
        assert (first.headers.get(REPLAYED), again.headers.get(REPLAYED)) == (None, "true")
        assert again.body == first.body


def test_of_requests_at_once_all_but_one_say_it(shop: Books, client: Client, second_server: Server) -> None:
    elsewhere = Client(second_server.url, client.api_key)
    for amount in (1, 1000):
        payment, key = shop.payment("alice", "shop", amount), new_key()
        send = partial(Client.post, path="/v1/transfers", body=payment, key=key)
        answers = at_once([client, elsewhere] * 5, send)
        assert len({answer.body for answer in answers}) == 1
        assert sorted(answer.headers.get(REPLAYED, "false") for answer in answers) == ["false", *["true"] * 9]
    elsewhere.close()


def test_a_batch_says_it_if_every_transfer_was_made_before(shop: Books, client: Client) -> None:
    def batch(*keys: str) -> Answer:
        items = [{**shop.payment("alice", "shop", 1), "idempotency_key": key} for key in keys]
        return client.post("/v1/transfers/batch", {"transfers": items}).ok()

    one, two, three = new_key(), new_key(), new_key()
    # The second is a replay of the first, which this request has made.
    twice = batch(one, one)
    assert twice["outcomes"][0] == twice["outcomes"][1]
    assert REPLAYED not in twice.headers
    assert batch(one).headers[REPLAYED] == "true"
    assert REPLAYED not in batch(one, two).headers
    again = batch(one, two)
    assert again.headers[REPLAYED] == "true"
    assert REPLAYED not in batch(one, two, three).headers


def test_a_read_takes_no_key(client: Client) -> None:
    headers = {HEADER: '"k1'}
    for _ in range(2):
        answer = client.request("GET", "/v1/assets", headers=headers)
        assert answer.status == 200
        assert REPLAYED not in answer.headers
