"""Assets: ISO 4217 ready, and a tenant's own."""

import pytest

from tests.api.books import Books
from tests.api.client import Client, new_key


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
    found = {asset["code"]: asset for asset in client.get("/v1/assets").ok()["items"]}
    assert len(found) > 150
    assert found[code] == {"code": code, "scale": scale, "name": name, "custom": False}


def test_an_asset_of_ones_own(client: Client, books: Books) -> None:
    code = new_code()
    answer = client.post("/v1/assets", {"code": code, "scale": 3, "name": "Sternentaler"})
    assert answer.status == 201
    assert answer.json == {"code": code, "scale": 3, "name": "Sternentaler", "custom": True}
    assert answer.json in client.get("/v1/assets").ok()["items"]
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
    assert client.get("/v1/assets").ok()["items"].count(first.json) == 1


def test_a_currency_is_not_redefined(client: Client) -> None:
    body = {"code": "USD", "scale": 2, "name": "US Dollar"}
    assert client.post("/v1/assets", body).refused() == (409, "asset_exists", "code")


def test_assets_belong_to_a_tenant(client: Client, stranger: Client) -> None:
    code = new_code()
    client.post("/v1/assets", {"code": code, "scale": 2, "name": "Ours"}).ok()
    assert code not in [asset["code"] for asset in stranger.get("/v1/assets").ok()["items"]]
    account = {"owner": "stranger", "asset": code}
    assert stranger.post("/v1/accounts", account).refused() == (400, "parameter_invalid", "asset")
    stranger.post("/v1/assets", {"code": code, "scale": 0, "name": "Theirs"}).ok()
    stranger.post("/v1/accounts", account).ok()


def test_an_account_needs_an_asset_that_exists(client: Client) -> None:
    answer = client.post("/v1/accounts", {"owner": "alice", "asset": new_code()})
    assert answer.refused() == (400, "parameter_invalid", "asset")
