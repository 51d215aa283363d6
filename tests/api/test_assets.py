"""Assets: ISO 4217 ready, and a tenant's own."""

from typing import Any

import pytest

from tests.api.books import Books
from tests.api.client import Client, new_key


def all_assets(client: Client, limit: int = 500) -> list[dict[str, Any]]:
    """All pages of the list."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = client.get("/v1/assets", limit=limit, **cursor).ok()
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        assert len(page["items"]) == min(limit, 500)
        cursor = {"cursor": page["next_cursor"]}


def new_code() -> str:
    return "T" + new_key().replace("-", "")[:11].upper()


@pytest.mark.parametrize(
    ("code", "scale", "name"),
    [
        ("USD", 2, "US Dollar"),
        ("JPY", 0, "Yen"),
        ("KWD", 3, "Kuwaiti Dinar"),
        ("CLF", 4, "Unidad de Fomento"),
    ],
)
def test_iso_currencies_have_their_scales(client: Client, code: str, scale: int, name: str) -> None:
    found = {asset["code"]: asset for asset in all_assets(client)}
    assert len(found) > 150
    assert found[code] == {"code": code, "scale": scale, "name": name, "custom": False}


def test_an_asset_of_ones_own(client: Client, books: Books) -> None:
    code = new_code()
    answer = client.post("/v1/assets", {"code": code, "scale": 3, "name": "Sternentaler"})
    assert answer.status == 201
    assert answer.json == {"code": code, "scale": 3, "name": "Sternentaler", "custom": True}
    assert answer.json in all_assets(client)
    books.open(f"""
        alice  {code}  100
        bob    {code}    0
        carol  USD       0
    """)
    books.transfer("alice", "bob", 40).ok()
    assert books.transfer("alice", "carol", 1).refused() == (422, "asset_mismatch", "destination")
    books.check(f"""
        alice  {code}   60
        bob    {code}   40
    """)


def test_an_asset_is_defined_once(client: Client) -> None:
    code = new_code()
    body = {"code": code, "scale": 2, "name": "Points"}
    first = client.post("/v1/assets", body)
    assert client.post("/v1/assets", body).body == first.ok().body
    assert client.post("/v1/assets", {**body, "scale": 3}).refused() == (409, "asset_exists", "code")
    assert client.post("/v1/assets", {**body, "name": "Other"}).refused() == (409, "asset_exists", "code")
    assert all_assets(client).count(first.json) == 1


def test_a_currency_is_not_redefined(client: Client) -> None:
    body = {"code": "USD", "scale": 2, "name": "US Dollar"}
    assert client.post("/v1/assets", body).refused() == (409, "asset_exists", "code")


def test_assets_belong_to_a_tenant(client: Client, stranger: Client) -> None:
    code = new_code()
    client.post("/v1/assets", {"code": code, "scale": 2, "name": "Ours"}).ok()
    assert code not in [asset["code"] for asset in all_assets(stranger)]
    account = {"owner": "stranger", "asset": code}
    assert stranger.post("/v1/accounts", account).refused() == (400, "parameter_invalid", "asset")
    stranger.post("/v1/assets", {"code": code, "scale": 0, "name": "Theirs"}).ok()
    stranger.post("/v1/accounts", account).ok()


def test_an_account_needs_an_asset_that_exists(client: Client) -> None:
    answer = client.post("/v1/accounts", {"owner": "alice", "asset": new_code()})
    assert answer.refused() == (400, "parameter_invalid", "asset")


def test_assets_are_listed_by_page(client: Client) -> None:
    for _ in range(3):
        client.post("/v1/assets", {"code": new_code(), "scale": 2, "name": "Points"}).ok()
    whole = all_assets(client)
    assert [(not asset["custom"], asset["code"]) for asset in whole] == sorted(
        (not asset["custom"], asset["code"]) for asset in whole
    )
    for limit in (1, 7, len(whole), 100_000):
        assert all_assets(client, limit) == whole


@pytest.mark.parametrize("scale", [19, 20, 1000])
def test_a_scale_that_no_amount_can_carry(client: Client, scale: int) -> None:
    answer = client.post("/v1/assets", {"code": new_code(), "scale": scale, "name": "Wei"})
    assert answer.refused() == (400, "parameter_invalid", "scale")
    assert "64 bits" in answer["detail"]
    assert "9223372036854775807" in answer["detail"]
    client.post("/v1/assets", {"code": new_code(), "scale": 18, "name": "Wei"}).ok()
