"""What is malformed, too large, too deep, unknown or out of range: a problem document that names the parameter.

Nothing is written for it, no key is burned, and it is never the server's fault.
"""

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from http.client import HTTPException
from typing import Any

import pytest

from tests.api import absent
from tests.api.books import Books
from tests.api.client import Answer, Client, new_key

INVALID = "parameter_invalid"
BODY_BYTES_MAX = 1024 * 1024
INT64_MAX = 2**63 - 1


@pytest.fixture(autouse=True)
def untouched(nothing_written: Callable[[], AbstractContextManager[None]], shop: Books) -> Iterator[None]:
    """Whatever a test here sends, nothing of it is written."""
    assert shop
    with nothing_written():
        yield


@pytest.fixture(scope="module")
def shop(client: Client) -> Books:
    books = Books(client)
    books.open("""
        alice  USD  100
        shop   USD    0
    """)
    return books


def payment(shop: Books, **changed: Any) -> dict[str, Any]:
    return {**shop.payment("alice", "shop", 1), **changed}


def send_text(client: Client, path: str, text: str | bytes) -> Answer:
    content = text.encode() if isinstance(text, str) else text
    headers = {"Content-Type": "application/json", "Idempotency-Key": new_key()}
    return client.request("POST", path, content=content, headers=headers)


# Amounts.

BAD_AMOUNTS = [
    '"0"',
    "0",
    "-0",
    '"-0"',
    '"-1"',
    "-1",
    "1.0",
    "1.5",
    '"1.0"',
    '"12.50"',
    '"1e3"',
    "1e3",
    "1E2",
    '"1E2"',
    '"01"',
    '"00"',
    '"0x10"',
    '"+1"',
    '" 1"',
    '"1 "',
    '"1\\n"',
    '"1_000"',
    '"1,000"',
    '"1\'000"',
    '""',
    '"-"',
    '"--1"',
    '"one"',
    '"NaN"',
    '"Infinity"',
    '"٣"',
    '"\uff11\uff12"',
    '"¹"',
    '"1\\u0000"',
    str(INT64_MAX + 1),
    f'"{INT64_MAX + 1}"',
    str(2**64),
    f'"{2**64}"',
    str(10**400),
    f'"{10**400}"',
    "1" + "0" * 5000,
    '"1' + "0" * 5000 + '"',
    "true",
    "false",
    "null",
    "[]",
    "[1]",
    "{}",
    '{"value": 1}',
]


def with_amount(body: dict[str, Any], amount: str) -> str:
    """A body in which an amount is written as it is given."""
    return json.dumps(body).replace('"AMOUNT"', amount)


@pytest.mark.parametrize("amount", BAD_AMOUNTS)
def test_amounts(client: Client, shop: Books, amount: str) -> None:
    body = with_amount(payment(shop, amount="AMOUNT"), amount)
    assert send_text(client, "/v1/transfers", body).refused() == (400, INVALID, "amount")
    assert send_text(client, "/v1/holds", body).refused() == (400, INVALID, "amount")
    transfer = payment(shop, amount="AMOUNT", idempotency_key=new_key())
    body = with_amount({"transfers": [payment(shop, idempotency_key=new_key()), transfer]}, amount)
    answer = send_text(client, "/v1/transfers/batch", body)
    assert answer.refused() == (400, INVALID, "transfers[1].amount")


@pytest.mark.parametrize("amount", [amount for amount in BAD_AMOUNTS if amount != "null"])
def test_amounts_of_a_capture_and_a_reversal(client: Client, amount: str) -> None:
    body = with_amount({"amount": "AMOUNT"}, amount)
    for path in (f"/v1/holds/{absent.HOLD}/capture", f"/v1/transactions/{absent.TRANSACTION}/reverse"):
        assert send_text(client, path, body).refused() == (400, INVALID, "amount")


@pytest.mark.parametrize("amount", [amount for amount in BAD_AMOUNTS if amount not in {'"-1"', "-1"}])
def test_amounts_of_entries(client: Client, shop: Books, amount: str) -> None:
    entries = [{"account": shop["alice"], "amount": -1}, {"account": shop["shop"], "amount": "AMOUNT"}]
    answer = send_text(client, "/v1/transactions", with_amount({"entries": entries}, amount))
    assert answer.refused() == (400, INVALID, "entries[1].amount")


@pytest.mark.parametrize(
    "amount", [f'"-{2**63}"', str(-(2**63)), f'"-{2**64}"', '"-1.5"', '"-01"', '"\u22121"']
)
def test_negative_amounts_of_entries(client: Client, shop: Books, amount: str) -> None:
    entries = [{"account": shop["alice"], "amount": "AMOUNT"}, {"account": shop["shop"], "amount": "1"}]
    answer = send_text(client, "/v1/transactions", with_amount({"entries": entries}, amount))
    assert answer.refused() == (400, INVALID, "entries[0].amount")


@pytest.mark.parametrize("bound", ["min_balance", "max_balance"])
@pytest.mark.parametrize(
    "amount", ["1.5", '"1.5"', '"-0"', '"007"', "true", '""', "[]", str(2**63), str(-(2**63) - 1), '"٣"']
)
def test_bounds(client: Client, shop: Books, bound: str, amount: str) -> None:
    body = with_amount({"owner": "alice", "asset": "USD", bound: "AMOUNT"}, amount)
    assert send_text(client, "/v1/accounts", body).refused() == (400, INVALID, bound)
    path = f"/v1/accounts/{shop['alice']}"
    content = with_amount({bound: "AMOUNT"}, amount).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": new_key()}
    assert client.request("PATCH", path, content=content, headers=headers).refused() == (400, INVALID, bound)


# Identifiers.


def mistyped(identifier: str) -> list[str]:
    prefix, digits = identifier.split("_")
    other = "1" if digits[-1] == "0" else "0"
    swapped = digits[:5] + digits[6] + digits[5] + digits[7:] if digits[5] != digits[6] else digits[::-1]
    return [
        f"{prefix}_{digits[:-1]}{other}",
        f"{prefix}_{swapped}",
        f"{prefix}_{digits[:-1]}",
        f"{prefix}_{digits}0",
        f"{prefix}_{digits.upper()}" if digits.upper() != digits else f"{prefix.upper()}_{digits}",
        f"{prefix}_{digits[:-1]}u",
        f"{prefix}_{digits[:-1]}٣",
        f"{prefix}-{digits}",
        f"other_{digits}",
        f" {identifier}",
        f"{identifier}\0",
        digits,
        prefix,
        f"{prefix}_",
        "",
        "0",
        "a" * 5000,
    ]


PLACES = range(len(mistyped(absent.ACCOUNT)))


@pytest.mark.parametrize("place", PLACES)
def test_accounts_in_a_body(client: Client, shop: Books, place: int) -> None:
    wrong = mistyped(shop["alice"])[place]
    for path in ("/v1/transfers", "/v1/holds"):
        for param in ("source", "destination"):
            body = payment(shop, **{param: wrong})
            assert client.post(path, body).refused() == (400, INVALID, param)
    entries = [{"account": shop["shop"], "amount": "-1"}, {"account": wrong, "amount": "1"}]
    answer = client.post("/v1/transactions", {"entries": entries})
    assert answer.refused() == (400, INVALID, "entries[1].account")


@pytest.mark.parametrize("value", [1, None, True, [], {}, 1.5])
def test_an_account_that_is_no_text(client: Client, shop: Books, value: object) -> None:
    assert client.post("/v1/transfers", payment(shop, source=value)).refused() == (400, INVALID, "source")


@pytest.mark.parametrize("place", [place for place in PLACES if mistyped(absent.HOLD)[place]])
@pytest.mark.parametrize(
    ("method", "path", "identifier"),
    [
        ("GET", "/v1/accounts/{}", absent.ACCOUNT),
        ("PATCH", "/v1/accounts/{}", absent.ACCOUNT),
        ("GET", "/v1/accounts/{}/balance", absent.ACCOUNT),
        ("GET", "/v1/accounts/{}/entries", absent.ACCOUNT),
        ("GET", "/v1/transactions/{}", absent.TRANSACTION),
        ("POST", "/v1/transactions/{}/reverse", absent.TRANSACTION),
        ("GET", "/v1/holds/{}", absent.HOLD),
        ("POST", "/v1/holds/{}/capture", absent.HOLD),
        ("POST", "/v1/holds/{}/void", absent.HOLD),
    ],
)
def test_identifiers_in_a_path(client: Client, method: str, path: str, identifier: str, place: int) -> None:
    wrong = mistyped(identifier)[place]
    body = {"status": "frozen"} if method == "PATCH" else {} if method == "POST" else None
    path = path.format(wrong.replace("\0", "%00").replace(" ", "%20"))
    assert client.send(method, path, body, key=new_key()).refused() == (400, INVALID, "id")


@pytest.mark.parametrize(
    ("path", "identifier"),
    [
        ("/v1/accounts/{}", absent.HOLD),
        ("/v1/accounts/{}/entries", absent.TRANSACTION),
        ("/v1/transactions/{}", absent.ACCOUNT),
        ("/v1/holds/{}", absent.TRANSACTION),
    ],
)
def test_identifiers_of_another_kind(client: Client, path: str, identifier: str) -> None:
    assert client.get(path.format(identifier)).refused() == (400, INVALID, "id")


# Texts.

NUL = "a\0b"


@pytest.mark.parametrize("owner", ["", "a" * 256, NUL, "\0", 1, None, ["a"], {}])
def test_owners(client: Client, owner: object) -> None:
    answer = client.post("/v1/accounts", {"owner": owner, "asset": "USD"})
    assert answer.refused() == (400, INVALID, "owner")


@pytest.mark.parametrize("description", ["", "a" * 1025, NUL, 1, [], {}])
@pytest.mark.parametrize(
    "call", ["transfers", "holds", "transactions", "reverse", "capture", "void", "batch"]
)
def test_descriptions(client: Client, shop: Books, call: str, description: object) -> None:
    path, body, prefix = call_with_note(shop, call, description=description)
    assert client.post(path, body).refused() == (400, INVALID, f"{prefix}description")


def call_with_note(shop: Books, call: str, **note: Any) -> tuple[str, dict[str, Any], str]:
    """Path and body of a call that takes a note, and how params of the note begin there."""
    if call == "transactions":
        entries = [{"account": shop["alice"], "amount": "-1"}, {"account": shop["shop"], "amount": "1"}]
        return "/v1/transactions", {"entries": entries, **note}, ""
    if call == "reverse":
        return f"/v1/transactions/{absent.TRANSACTION}/reverse", note, ""
    if call in {"capture", "void"}:
        return f"/v1/holds/{absent.HOLD}/{call}", note, ""
    if call == "batch":
        transfer = payment(shop, idempotency_key=new_key(), **note)
        return "/v1/transfers/batch", {"transfers": [transfer]}, "transfers[0]."
    return f"/v1/{call}", payment(shop, **note), ""


@pytest.mark.parametrize(
    ("metadata", "param"),
    [
        ({str(number): "" for number in range(17)}, "metadata"),
        ({"a": "b" * 4090}, "metadata"),
        ({str(number): "ä" * 128 for number in range(16)}, "metadata"),
        ({"a": "b" * 5000}, "metadata.a"),
        ({"a" * 65: "b"}, f"metadata.{'a' * 65}"),
        ({"": "b"}, "metadata."),
        ({NUL: "b"}, f"metadata.{NUL}"),
        ({"a": NUL}, "metadata.a"),
        ({"a": 1}, "metadata"),
        ({"a": None}, "metadata"),
        ({"a": True}, "metadata"),
        ({"a": {"b": "c"}}, "metadata"),
        ({"a": ["b"]}, "metadata"),
        ("a", "metadata"),
        ([], "metadata"),
        (1, "metadata"),
    ],
)
def test_metadata(client: Client, shop: Books, metadata: object, param: str) -> None:
    for call in ("transfers", "capture", "batch"):
        path, body, prefix = call_with_note(shop, call, metadata=metadata)
        assert client.post(path, body).refused() == (400, INVALID, f"{prefix}{param}")
    account = {"owner": "alice", "asset": "USD", "metadata": metadata}
    assert client.post("/v1/accounts", account).refused() == (400, INVALID, param)
    assert shop.change("alice", metadata=metadata).refused() == (400, INVALID, param)


@pytest.mark.parametrize("text", ["\\ud800", "\\udc00", "a\\ud800b", "\\udc00\\ud800"])
def test_half_a_surrogate_pair(client: Client, shop: Books, text: str) -> None:
    """No JSON text: the decoder cannot say where it was reading."""
    places: list[dict[str, Any]] = [
        {"description": "TEXT"},
        {"asset": "TEXT"},
        {"metadata": {"a": "TEXT"}},
        {"metadata": {"TEXT": "a"}},
        {"TEXT": "a"},
    ]
    for place in places:
        body = json.dumps(payment(shop, **place)).replace("TEXT", text)
        status, code, param = send_text(client, "/v1/transfers", body).refused()
        assert (status, code) == (400, INVALID)
        assert param == "body"
    body = json.dumps({"owner": "TEXT", "asset": "USD"}).replace("TEXT", text)
    assert send_text(client, "/v1/accounts", body).refused() == (400, INVALID, "body")


@pytest.mark.parametrize("asset", [1, None, []])
def test_assets_that_are_no_text(client: Client, shop: Books, asset: object) -> None:
    for path in ("/v1/transfers", "/v1/holds"):
        assert client.post(path, payment(shop, asset=asset)).refused() == (400, INVALID, "asset")


@pytest.mark.parametrize("path", ["/v1/transfers", "/v1/holds"])
def test_assets_of_a_movement(client: Client, shop: Books, path: str) -> None:
    wrong = ["", "A", NUL, "\0", "usd", "USD ", "A" * 100_000]
    found = [client.post(path, payment(shop, asset=asset)).refused() for asset in wrong]
    assert found == [(400, INVALID, "asset")] * len(wrong)


@pytest.mark.parametrize("asset", ["", "usd", "XXX", "XAU", "US", "$", "USD ", NUL, "A" * 100_000, 840, None])
def test_assets_of_an_account(client: Client, asset: object) -> None:
    answer = client.post("/v1/accounts", {"owner": "alice", "asset": asset})
    assert answer.refused() == (400, INVALID, "asset")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("code", code)
            for code in ("", "AB", "A" * 13, "1AB", "abc", "A-B", "ÄBC", "ABC\n", "AB٣", NUL, 1, None)
        ),
        *(("scale", scale) for scale in (-1, 19, 10**30, 1.5, "2", None, True)),
        *(("name", name) for name in ("", "a" * 65, NUL, 1, None)),
    ],
)
def test_own_assets(client: Client, field: str, value: object) -> None:
    body = {"code": "GEMS", "scale": 2, "name": "Gems", field: value}
    assert client.post("/v1/assets", body).refused() == (400, INVALID, field)


# Choices, numbers, times.


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "bank"),
        ("kind", None),
        ("kind", 1),
        ("kind", "WALLET"),
        ("owner_id", "x"),
        ("status", "open"),
    ],
)
def test_choices_of_a_new_account(client: Client, field: str, value: object) -> None:
    answer = client.post("/v1/accounts", {"owner": "alice", "asset": "USD", field: value})
    assert answer.refused() == (400, INVALID, field)


@pytest.mark.parametrize("status", ["gone", "", None, 1, "OPEN", []])
def test_statuses(shop: Books, status: object) -> None:
    assert shop.change("alice", status=status).refused() == (400, INVALID, "status")


def test_a_change_of_nothing(shop: Books) -> None:
    assert shop.change("alice").refused() == (400, INVALID, "status")


@pytest.mark.parametrize("seconds", [0, -1, 366 * 24 * 3600 + 1, 10**30, 1.5, "60", None, True])
def test_lifetimes_of_holds(shop: Books, seconds: object) -> None:
    assert shop.hold("alice", "shop", 1, expires_in=seconds).refused() == (400, INVALID, "expires_in")


@pytest.mark.parametrize("value", ["yes", 1, None, "true", []])
def test_truths(client: Client, shop: Books, value: object) -> None:
    answer = client.post(f"/v1/holds/{absent.HOLD}/capture", {"final": value})
    assert answer.refused() == (400, INVALID, "final")
    transfers = [payment(shop, idempotency_key=new_key())]
    answer = client.post("/v1/transfers/batch", {"transfers": transfers, "atomic": value})
    assert answer.refused() == (400, INVALID, "atomic")


BAD_TIMES = [
    "",
    "now",
    "garbage",
    "2026-01-01",
    "2026-01-01T00:00:00",  # no zone
    "2026-13-01T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "2026-01-01T24:00:00Z",
    "2026-01-01T00:00:00+25:00",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59.999999-23:59",
    "2999-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "0000-00-00T00:00:00Z",
    "1899-12-31T23:59:59Z",
    "-2026-01-01T00:00:00Z",
    "12026-01-01T00:00:00Z",
    "\uff12\uff10\uff12\uff16-01-01T00:00:00Z",
    "2026-01-01T00:00:00Z\0",
    "1e400",
    "nan",
    "inf",
    "-99999999999999999999",
    "1577836800",  # seconds, or milliseconds?
    "1577836800000",
]


@pytest.mark.parametrize("time", [*BAD_TIMES, 0, 1577836800, 1.5, True, [], {}])
def test_times_in_a_body(client: Client, shop: Books, time: object) -> None:
    for call in ("transfers", "holds", "transactions", "reverse", "capture", "void", "batch"):
        path, body, prefix = call_with_note(shop, call, effective_at=time)
        assert client.post(path, body).refused() == (400, INVALID, f"{prefix}effective_at")


@pytest.mark.parametrize("param", ["at", "effective_at"])
@pytest.mark.parametrize("time", BAD_TIMES)
def test_times_in_a_query(shop: Books, param: str, time: str) -> None:
    assert shop.balance("alice", **{param: time}).refused() == (400, INVALID, param)


def test_one_time_only(shop: Books) -> None:
    then = "2020-01-01T00:00:00Z"
    assert shop.balance("alice", at=then, effective_at=then).refused() == (400, INVALID, "effective_at")


# Queries.


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("", "owner"),
        ("owner=", "owner"),
        ("owner", "owner"),
        (f"owner={'a' * 256}", "owner"),
        ("owner=%00", "owner"),
        ("owner=a&owner=b", "owner"),
        ("owner=%ff", "query"),
        ("owner=%ed%a0%80", "query"),
        ("owner=a&%ff=b", "query"),
        ("owner=a&more=b", "more"),
        ("owner=a&Owner=b", "Owner"),
        ("owner=a&limit=0", "limit"),
        ("owner=a&limit=-1", "limit"),
        ("owner=a&limit=9223372036854775808", "limit"),
        ("owner=a&limit=", "limit"),
        ("owner=a&limit=ten", "limit"),
        ("owner=a&limit=1.5", "limit"),
        ("owner=a&limit=5.0", "limit"),
        ("owner=a&limit=1e2", "limit"),
        ("owner=a&limit=٣", "limit"),
        ("owner=a&limit=0x10", "limit"),
        ("owner=a&limit=1&limit=2", "limit"),
        (f"owner=a&limit={'9' * 100}", "limit"),
        (f"owner=a&limit={'9' * 5000}", "limit"),
        ("owner=a&cursor=", "cursor"),
        ("owner=a&cursor=AAAA", "cursor"),
        ("owner=a&cursor=__________8", "cursor"),
        ("owner=a&cursor=%21", "cursor"),
        ("owner=a&cursor=%00", "cursor"),
        ("owner=a&cursor=ä", "cursor"),
        (f"owner=a&cursor={'A' * 5000}", "cursor"),
    ],
)
def test_queries_of_a_list(client: Client, query: str, param: str) -> None:
    assert client.get(f"/v1/accounts?{query}").refused() == (400, INVALID, param)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("cursor=A", "cursor"),
        ("owner=a", "owner"),
        ("%00=a", "\0"),
    ],
)
def test_queries_of_a_history(client: Client, shop: Books, query: str, param: str) -> None:
    assert client.get(f"/v1/accounts/{shop['alice']}/entries?{query}").refused() == (400, INVALID, param)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("consistency=weak", "consistency"),
        ("consistency=", "consistency"),
        ("min_position=-1", "min_position"),
        ("min_position=first", "min_position"),
        ("min_position=1.5", "min_position"),
        (f"min_position={2**51}", "min_position"),
        (f"min_position={10**30}", "min_position"),
        ("when=now", "when"),
    ],
)
def test_queries_of_a_balance(client: Client, shop: Books, query: str, param: str) -> None:
    assert client.get(f"/v1/accounts/{shop['alice']}/balance?{query}").refused() == (400, INVALID, param)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/v1/accounts/{absent.ACCOUNT}"),
        ("PATCH", f"/v1/accounts/{absent.ACCOUNT}"),
        ("POST", "/v1/accounts"),
        ("POST", "/v1/transfers"),
        ("POST", "/v1/transfers/batch"),
        ("POST", "/v1/transactions"),
        ("POST", "/v1/holds"),
        ("GET", f"/v1/holds/{absent.HOLD}"),
        ("GET", f"/v1/transactions/{absent.TRANSACTION}"),
        ("GET", "/v1/assets"),
        ("POST", "/v1/assets"),
    ],
)
def test_calls_that_take_no_query(client: Client, method: str, path: str) -> None:
    assert client.send(method, f"{path}?dry_run=true", {}, key=new_key()).refused() == (
        400,
        INVALID,
        "dry_run",
    )


# Keys.


@pytest.mark.parametrize(
    "key", [b"k" * 256, b"k" * 5000, "schlüssel".encode(), b"schl\xfcssel", b"\xff", b"a\tb", "🔑".encode()]
)
def test_keys(client: Client, shop: Books, key: bytes) -> None:
    body = json.dumps(payment(shop)).encode()
    answer = client.raw_request("POST", b"/v1/transfers", {"Idempotency-Key": key}, body)
    assert answer.refused() == (400, INVALID, "Idempotency-Key")


@pytest.mark.parametrize("key", [b"", b" ", b"\t"])
def test_empty_keys(client: Client, shop: Books, key: bytes) -> None:
    body = json.dumps(payment(shop)).encode()
    answer = client.raw_request("POST", b"/v1/transfers", {"Idempotency-Key": key}, body)
    assert answer.refused() == (400, "idempotency_key_missing", "Idempotency-Key")
    body = json.dumps({"owner": "alice", "asset": "USD"}).encode()
    answer = client.raw_request("POST", b"/v1/accounts", {"Idempotency-Key": key}, body)
    assert answer.refused() == (400, "idempotency_key_missing", "Idempotency-Key")


@pytest.mark.parametrize("second", [b"first", b"second", b""])
def test_two_keys(client: Client, shop: Books, second: bytes) -> None:
    """Which of them was meant, nobody knows; together they would be a third one."""
    keys = {"Idempotency-Key": b"first", "idempotency-key": second}
    body = json.dumps(payment(shop)).encode()
    answer = client.raw_request("POST", b"/v1/transfers", keys, body)
    assert answer.refused() == (400, INVALID, "Idempotency-Key")
    body = json.dumps({"owner": "alice", "asset": "USD"}).encode()
    answer = client.raw_request("POST", b"/v1/accounts", keys, body)
    assert answer.refused() == (400, INVALID, "Idempotency-Key")


@pytest.mark.parametrize("key", [b"a\0b", b"a\x01b", b"a\x7fb"])
def test_keys_that_are_no_http(client: Client, shop: Books, key: bytes) -> None:
    """The server does not take them for HTTP, so the answer is its own."""
    body = json.dumps(payment(shop)).encode()
    assert client.raw_request("POST", b"/v1/transfers", {"Idempotency-Key": key}, body).status == 400


@pytest.mark.parametrize("key", [1, None, [], {}])
def test_keys_in_a_batch_that_are_no_text(client: Client, shop: Books, key: object) -> None:
    transfers = [payment(shop, idempotency_key=new_key()), payment(shop, idempotency_key=key)]
    answer = client.post("/v1/transfers/batch", {"transfers": transfers})
    assert answer.refused() == (400, INVALID, "transfers[1].idempotency_key")


def test_keys_in_a_batch(client: Client, shop: Books) -> None:
    for key in ("", "k" * 256, NUL):
        transfers = [payment(shop, idempotency_key=new_key()), payment(shop, idempotency_key=key)]
        answer = client.post("/v1/transfers/batch", {"transfers": transfers})
        assert answer.refused()[2] == "transfers[1].idempotency_key"


# Bodies.


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ("", "source"),  # nothing is an empty object, which some calls need no more than
        ("   ", "body"),
        ("{", "body"),
        ("}", "body"),
        ("[]", "body"),
        ("null", "body"),
        ("true", "body"),
        ('"text"', "body"),
        ("1", "body"),
        ("{} {}", None),
        ("{'a': 1}", "body"),
        ('{"a": 1,}', None),
        ("{a: 1}", "body"),
        ('{"amount": NaN}', "body"),
        ('{"amount": Infinity}', "body"),
        ('{"amount": -Infinity}', "body"),
        ('{"amount": 01}', "body"),
        ('{"amount": .5}', "body"),
        ('{"amount": 1e}', "body"),
        ('{"description": "a\nb"}', "body"),
        ('{"description": "\\x"}', "body"),
        ("// comment\n{}", "body"),
        ("\ufeff{}", "body"),
        ("source=a&destination=b", "body"),
        ("<transfer/>", "body"),
    ],
)
def test_texts_that_are_not_the_json_object(client: Client, text: str, param: str | None) -> None:
    status, code, named = send_text(client, "/v1/transfers", text).refused()
    assert (status, code) == (400, INVALID)
    assert named == param or param is None


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe{\0}\0",
        b'{"description": "\xff"}',
        b'{"\xff": 1}',
        b'{"description": "\xed\xa0\x80"}',
        b'{"description": "\xc0\x80"}',
        b"\x80",
        b"\0",
    ],
)
def test_bodies_that_are_not_utf_8(client: Client, content: bytes) -> None:
    assert send_text(client, "/v1/transfers", content).refused() == (400, INVALID, "body")


@pytest.mark.parametrize("depth", [1000, 100_000, 500_000])
@pytest.mark.parametrize("opening", ['{"a":', "["])
def test_bodies_too_deep(client: Client, shop: Books, opening: str, depth: int) -> None:
    deep = (opening * depth)[: BODY_BYTES_MAX - 1000]
    for text in (deep, f'{{"metadata": {deep}', f'{{"x": {deep}', f'{{"metadata": {{"a": {deep}'):
        status, code, _ = send_text(client, "/v1/transfers", text).refused()
        assert (status, code) == (400, INVALID)
    closing = "}" if "{" in opening else "]"
    whole = f'{{"x": {opening * 1000}1{closing * 1000}}}'
    assert send_text(client, "/v1/transfers", whole).refused() == (400, INVALID, "x")
    assert shop


@pytest.mark.parametrize("unknown", ["currency", "Amount", "source ", "", "\0", "ключ", "a" * 10_000, "`"])
def test_unknown_fields(client: Client, shop: Books, unknown: str) -> None:
    status, code, param = client.post("/v1/transfers", payment(shop, **{unknown: "x"})).refused()
    assert (status, code) == (400, INVALID)
    assert param in {unknown, "body"} or unknown == "`"
    answer = client.post(
        "/v1/transfers/batch", {"transfers": [payment(shop, idempotency_key="a", currency="x")]}
    )
    assert answer.refused() == (400, INVALID, "transfers[0].currency")


@pytest.mark.parametrize("missing", ["source", "destination", "amount", "asset"])
def test_missing_fields(client: Client, shop: Books, missing: str) -> None:
    body = payment(shop)
    del body[missing]
    assert client.post("/v1/transfers", body).refused() == (400, INVALID, missing)
    assert client.post("/v1/holds", body).refused() == (400, INVALID, missing)
    answer = client.post("/v1/transfers/batch", {"transfers": [{**body, "idempotency_key": "a"}]})
    assert answer.refused() == (400, INVALID, f"transfers[0].{missing}")


@pytest.mark.parametrize("entries", [None, {}, "a", [], [1], [[]], 7])
def test_entries_that_are_none(client: Client, entries: object) -> None:
    status, code, param = client.post("/v1/transactions", {"entries": entries}).refused()
    assert (status, code) == (400, INVALID)
    assert str(param).startswith("entries")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=a",
        "application/xml",
        "application/jsonx",
        "json",
        "*/*",
        "",
    ],
)
def test_content_types(client: Client, shop: Books, content_type: str) -> None:
    headers = {"Content-Type": content_type, "Idempotency-Key": new_key()}
    answer = client.request(
        "POST", "/v1/transfers", content=json.dumps(payment(shop)).encode(), headers=headers
    )
    assert answer.refused()[:2] == (415, "content_type_unsupported")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "x-gzip", "identity, gzip", "nothing"])
def test_content_encodings(client: Client, shop: Books, encoding: str) -> None:
    content = json.dumps(payment(shop)).encode()
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding, "Idempotency-Key": new_key()}
    for body in (content, gzip.compress(content)):
        answer = client.request("POST", "/v1/transfers", content=body, headers=headers)
        assert answer.refused() == (415, "content_encoding_unsupported", "Content-Encoding")
        assert "not compressed" in answer["detail"]


def large(shop: Books, size: int) -> bytes:
    """A body of a size, in which only the size is wrong."""
    body = json.dumps(payment(shop)).encode()
    return body + b" " * (size - len(body))


@pytest.mark.parametrize("path", ["/v1/transfers", "/v1/transfers/batch", "/v1/accounts", "/v1/assets"])
@pytest.mark.parametrize("size", [BODY_BYTES_MAX + 1, 3 * BODY_BYTES_MAX])
def test_bodies_too_large(client: Client, shop: Books, path: str, size: int) -> None:
    answer = send_text(client, path, large(shop, size))
    assert answer.refused()[:2] == (413, "body_too_large")
    # What follows in this connection is the rest of the body.
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("size", [BODY_BYTES_MAX + 1, 3 * BODY_BYTES_MAX])
def test_bodies_too_large_that_do_not_say_how_large(client: Client, shop: Books, size: int) -> None:
    content = large(shop, size)
    pieces = (content[start : start + 65536] for start in range(0, size, 65536))
    headers = {"Content-Type": "application/json", "Idempotency-Key": new_key()}
    answer = client.request("POST", "/v1/transfers", content=pieces, headers=headers)
    assert answer.refused()[:2] == (413, "body_too_large")


def test_a_body_that_says_it_is_too_large_is_not_waited_for(client: Client) -> None:
    headers = {"Idempotency-Key": b"a", "Content-Length": b"1099511627776"}
    assert client.raw_request("POST", b"/v1/transfers", headers, b"{").refused()[:2] == (
        413,
        "body_too_large",
    )


@pytest.mark.parametrize("length", [b"-1", b"a", b"1, 2", b"0x10", b"1.5"])
def test_bodies_whose_length_is_no_number(client: Client, length: bytes) -> None:
    answer = client.raw_request("POST", b"/v1/transfers", {"Content-Length": length}, b"{}")
    assert answer.status == 400


# Paths and methods.


@pytest.mark.parametrize(
    ("target", "refusal"),
    [
        (b"/", (404, "path_not_found", None)),
        (b"/v1", (404, "path_not_found", None)),
        (b"/v2/accounts", (404, "path_not_found", None)),
        (b"/v1/nothing", (404, "path_not_found", None)),
        (b"/v1/accounts/a/b/c", (404, "path_not_found", None)),
        (b"/v1/accounts/a%2Fb", (404, "path_not_found", None)),
        (b"/docs/../../etc/passwd", (404, "path_not_found", None)),
        (b"/docs/%2e%2e%2fapp.py", (404, "path_not_found", None)),
        (b"/docs/index.html", (404, "path_not_found", None)),
        (b"/v1/accounts/%00", (400, INVALID, "id")),
        (b"/v1/accounts/%ff", (400, INVALID, "id")),
        (b"/v1/accounts/%", (400, INVALID, "id")),
        (b"/v1/accounts/%zz", (400, INVALID, "id")),
        (b"/v1/accounts/%ed%a0%80", (400, INVALID, "id")),
        (b"/v1/accounts/%0d%0aSet-Cookie:a", (400, INVALID, "id")),
        (b"/v1/accounts/..", (400, INVALID, "id")),
        (b"/v1/accounts/{identifier}", (400, INVALID, "id")),
        (b"/v1/accounts/'%20OR%201=1--", (400, INVALID, "id")),
        (b"/v1/accounts/%F0%9F%92%A9", (400, INVALID, "id")),
        (b"/v1/transactions/" + b"9" * 20_000, (400, INVALID, "id")),
    ],
)
def test_paths(client: Client, target: bytes, refusal: tuple[int, str, str | None]) -> None:
    assert client.raw_request("GET", target).refused() == refusal


@pytest.mark.parametrize(
    "target", [b"/v1/accounts/\xff", b"/v1/accounts/a b", b"/v1/accounts/\0", b"/" + b"a" * 200_000]
)
def test_paths_that_are_no_http(client: Client, target: bytes) -> None:
    """The server does not take them for HTTP, so the answer is its own."""
    assert client.raw_request("GET", target).status in {400, 414, 431}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/accounts", {"GET", "POST"}),
        ("PUT", "/v1/accounts", {"GET", "POST"}),
        ("DELETE", f"/v1/accounts/{absent.ACCOUNT}", {"GET", "PATCH"}),
        ("POST", f"/v1/accounts/{absent.ACCOUNT}/entries", {"GET"}),
        ("GET", "/v1/transfers", {"POST"}),
        ("GET", "/v1/transfers/batch", {"POST"}),
        ("PATCH", f"/v1/transactions/{absent.TRANSACTION}", {"GET"}),
        ("GET", f"/v1/holds/{absent.HOLD}/void", {"POST"}),
        ("DELETE", "/v1/assets", {"GET", "POST"}),
        ("TRACE", "/v1/assets", {"GET", "POST"}),
        ("POST", "/healthz", {"GET"}),
        ("POST", "/openapi.json", {"GET"}),
        ("POST", "/docs", {"GET"}),
    ],
)
def test_methods(client: Client, method: str, path: str, allowed: set[str]) -> None:
    answer = client.raw_request(method, path.encode())
    assert answer.refused() == (405, "method_not_allowed", None)
    assert {name.strip() for name in answer.headers["allow"].split(",")} - {"OPTIONS"} == (
        allowed | ({"HEAD"} if "GET" in allowed else set())
    )


@pytest.mark.parametrize("method", ["BREW", "get", "GETGETGET"])
def test_methods_that_are_none(client: Client, method: str) -> None:
    status, code, _ = client.raw_request(method, b"/v1/assets").refused()
    assert (status, code) in {(400, "request_invalid"), (405, "method_not_allowed"), (501, "request_invalid")}


def test_options(client: Client) -> None:
    answer = client.raw_request("OPTIONS", b"/v1/accounts")
    assert answer.status in {200, 204}
    assert {"GET", "POST"} <= {name.strip() for name in answer.headers["allow"].split(",")}


@pytest.mark.parametrize(
    "message",
    [b"GARBAGE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
)
def test_what_is_no_http(client: Client, message: bytes) -> None:
    with suppress(ConnectionError, HTTPException):  # hanging up says enough
        assert client.raw(message).status in {400, 505}
    assert client.get("/healthz").status == 200


def test_the_largest_that_is_right(client: Client, shop: Books) -> None:
    """The bounds themselves are fine: these are refused for another reason."""
    metadata = {f"{number:064}": "v" * 180 for number in range(16)}
    assert len(json.dumps(metadata, separators=(",", ":"))) <= 4096
    body = payment(
        shop,
        description="d" * 1024,
        metadata=metadata,
        amount=str(INT64_MAX),
        source=absent.ACCOUNT_ELSEWHERE,
    )
    answer = client.post("/v1/transfers", body, key="k" * 255)
    assert answer.refused() == (503, "shard_unavailable", None)
    padded = large(shop, BODY_BYTES_MAX).replace(shop["alice"].encode(), absent.ACCOUNT_ELSEWHERE.encode())
    assert send_text(client, "/v1/transfers", padded).refused() == (503, "shard_unavailable", None)
