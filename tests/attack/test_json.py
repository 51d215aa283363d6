"""JSON that is made to be slow, to break a reader, or to be read in two ways, within the size that is allowed."""

import json
from collections.abc import Callable
from typing import Final

import pytest

from tallystick.domain.limits import BODY_BYTES_MAX
from tests.api.books import Books
from tests.api.client import Answer, Client, at_once, new_key
from tests.api.server import Installation, Server
from tests.attack.length import LENGTH
from tests.attack.wire import others_are_served, processor_seconds

ROOM: Final = BODY_BYTES_MAX - 1_000
PROCESSOR_SECONDS_MAX: Final = 0.5
"""For each of these bodies; the server uses a few hundredths."""
PATHS: Final = ("/v1/transfers", "/v1/transfers/batch", "/v1/transactions", "/v1/accounts", "/v1/webhooks")


def send_text(client: Client, path: str, text: str) -> Answer:
    headers = {"Content-Type": "application/json", "Idempotency-Key": new_key()}
    return client.request("POST", path, content=text.encode(), headers=headers)


def deep_lists() -> str:
    return "[" * ROOM


def deep_lists_in_a_field() -> str:
    return '{"metadata":' + "[" * (ROOM // 2) + "]" * (ROOM // 2) + "}"


def deep_objects() -> str:
    return '{"a":' * (ROOM // 5)


def deep_entries() -> str:
    return '{"entries":' * (ROOM // 11)


def a_huge_integer() -> str:
    return '{"amount":' + "9" * ROOM + "}"


def huge_integers() -> str:
    return '{"transfers":[' + ("9" * 1_000 + ",") * (ROOM // 1_001) + "1]}"


def a_huge_exponent() -> str:
    return '{"amount":1e' + "9" * ROOM + "}"


def a_long_fraction() -> str:
    return '{"amount":0.' + "1" * ROOM + "}"


def many_items() -> str:
    return '{"transfers":[' + "{}," * (ROOM // 3) + "{}]}"


def many_keys() -> str:
    return '{"metadata":{' + ",".join(f'"{number:06}":""' for number in range(ROOM // 12)) + "}}"


def one_key_again_and_again() -> str:
    return '{"metadata":{' + ",".join(['"a":""'] * (ROOM // 7)) + "}}"


def escapes() -> str:
    return '{"description":"' + "\\u0061" * (ROOM // 6) + '"}'


def halves_of_surrogate_pairs() -> str:
    return '{"description":"' + "\\ud800" * (ROOM // 6) + '"}'


def spaces() -> str:
    return " " * ROOM


SHAPES: Final = [
    deep_lists, deep_lists_in_a_field, deep_objects, deep_entries, a_huge_integer, huge_integers, a_huge_exponent,
    a_long_fraction, many_items, many_keys, one_key_again_and_again, escapes, halves_of_surrogate_pairs, spaces,
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_are_refused_and_hold_nothing_up(
    installation: Installation, server: Server, stranger: Client, shape: Callable[[], str]
) -> None:
    text = shape()
    before = installation.head()
    with others_are_served(server):
        for path in PATHS * LENGTH:
            used_before = processor_seconds(server)
            status, code, _ = send_text(stranger, path, text).refused()
            assert (status, code) == (400, "parameter_invalid")
            assert processor_seconds(server) - used_before < PROCESSOR_SECONDS_MAX
    assert installation.head() == before


def test_many_at_once_hold_nothing_up(server: Server, stranger: Client) -> None:
    text = many_items()
    with others_are_served(server):
        for _ in range(LENGTH):
            found = at_once(
                [stranger] * 8, lambda caller: send_text(caller, "/v1/transfers/batch", text).status
            )
            assert found == [400] * 8


def test_of_a_field_that_is_there_twice_the_last_counts_for_all_that_is_done(books: Books) -> None:
    """What is posted, what is answered and what is remembered of the request are the same reading."""
    books.open("""
        alice  USD  100
        shop   USD    0
    """)
    key = new_key()
    whole = json.dumps(books.payment("alice", "shop", 7))
    twice = '{"amount":"90",' + whole[1:]
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    answer = books.client.request("POST", "/v1/transfers", content=twice.encode(), headers=headers).ok()
    assert answer["entries"][1]["amount"] == "7"
    assert books.transfer("alice", "shop", 7, key=key).body == answer.body
    assert books.transfer("alice", "shop", 90, key=key).refused()[1] == "idempotency_key_reused"
    books.check("""
        alice  USD  93
        shop   USD   7
    """)
