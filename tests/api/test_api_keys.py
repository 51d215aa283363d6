"""API keys, managed over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tallystick.domain.access import ALL_SCOPES
from tests.api.client import Answer, Client, at_once, new_key
from tests.api.conftest import KEYS_KNOWN_SECONDS
from tests.api.server import Installation, Server
from tests.waiting import wait_for

KEYS = "/v1/api-keys"
NOTICED_SECONDS_MAX = KEYS_KNOWN_SECONDS + 30.0


def admin(installation: Installation, server: Server, **grant: Any) -> Client:
    """A caller of a new tenant, who may manage its keys."""
    return Client(server.url, installation.make_key(f"tenant {new_key()}", **grant).key)


def made(client: Client, **fields: Any) -> dict[str, Any]:
    answer: dict[str, Any] = client.send("POST", KEYS, {"name": "a till", **fields}).ok().json
    return answer


def test_a_key_is_made_used_changed_rotated_and_revoked(installation: Installation, server: Server) -> None:
    with admin(installation, server) as client:
        found = made(client)
        described = found["api_key"]
        assert described["scopes"] == ["read"]
        assert described["expires_at"] is None
        path = f"{KEYS}/{described['id']}"
        with Client(server.url, found["key"]) as till:
            assert till.get("/v1/assets").status == 200
            assert till.get(KEYS).refused() == (403, "scope_missing", "Authorization")
            changed = client.send("PATCH", path, {"scopes": ["webhooks"], "name": "hooks"}).ok().json
            assert (changed["name"], changed["scopes"]) == ("hooks", ["webhooks"])
            wait_for(lambda: till.get("/v1/assets").status == 403, "it is noticed", NOTICED_SECONDS_MAX)
            rotated = client.send("POST", f"{path}/rotate", {"overlap_seconds": 600}).ok().json
            with Client(server.url, rotated["key"]) as latter:
                assert till.get("/v1/webhooks").status == latter.get("/v1/webhooks").status == 200
                assert client.send("DELETE", path).ok()["revoked_at"] is not None
                wait_for(
                    lambda: till.get("/v1/webhooks").status == latter.get("/v1/webhooks").status == 401,
                    "it is noticed",
                    NOTICED_SECONDS_MAX,
                )
        for answer in (client.send("PATCH", path, {"name": "x"}), client.send("DELETE", path)):
            assert answer.refused() == (404, "api_key_not_found", "id")
        shown = client.get(path).ok().body.decode()
        assert found["key"] not in shown
        assert "hash" not in shown


def test_all_keys_are_listed_page_by_page(installation: Installation, server: Server) -> None:
    with admin(installation, server) as client, admin(installation, server) as other:
        wanted = [made(client, name=f"key {number}")["api_key"]["id"] for number in range(5)]
        strange = made(other)["api_key"]["id"]
        seen: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = client.get(KEYS, limit=2, **cursor).ok().json
            seen += [one["id"] for one in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert seen[1:] == wanted
        assert strange not in seen
        for answer in (
            client.get(f"{KEYS}/{strange}"),
            client.send("PATCH", f"{KEYS}/{strange}", {"name": "mine"}),
            client.send("POST", f"{KEYS}/{strange}/rotate", {}),
            client.send("DELETE", f"{KEYS}/{strange}"),
        ):
            assert answer.refused() == (404, "api_key_not_found", "id")
        for bad in ("nonsense", "AAAAAAAAAAE", "WyJ4IiwieSJd"):
            assert client.get(KEYS, cursor=bad).refused() == (400, "parameter_invalid", "cursor")


def missing(answer: Answer) -> str:
    assert answer.refused() == (403, "scope_missing", "Authorization")
    return answer.headers["www-authenticate"].partition('scope="')[2].rstrip('"')


def test_a_key_cannot_grant_more_than_it_has(installation: Installation, server: Server) -> None:
    end = datetime.now(UTC) + timedelta(days=1)
    with admin(installation, server) as whole:
        limited = made(whole, scopes=["read", "admin"], networks=["127.0.0.0/8"], expires_at=end.isoformat())
        poster = made(whole, scopes=["read", "post"])["api_key"]["id"]
        with Client(server.url, limited["key"]) as client:
            inside = {"networks": ["127.0.0.0/16"], "expires_at": (end - timedelta(hours=1)).isoformat()}
            assert made(client, **inside)["api_key"]["networks"] == ["127.0.0.0/16"]
            body = {"name": "more", **inside}
            assert missing(client.send("POST", KEYS, {**body, "scopes": ["read", "post"]})) == "post"
            for more, param in (
                ({"networks": []}, "networks"),
                ({"networks": ["127.0.0.0/8", "0.0.0.0/0"]}, "networks"),
                ({"expires_at": None}, "expires_at"),
                ({"expires_at": (end + timedelta(hours=1)).isoformat()}, "expires_at"),
            ):
                answer = client.send("POST", KEYS, {**body, **more})
                assert answer.refused() == (400, "parameter_invalid", param)
            # It may take away, and rename, and may not learn the secret of a key that has more.
            assert client.send("PATCH", f"{KEYS}/{poster}", {"name": "renamed"}).status == 200
            assert missing(client.send("POST", f"{KEYS}/{poster}/rotate", {})) == "post"
            assert client.send("PATCH", f"{KEYS}/{poster}", {"scopes": ["post"]}).status == 200
            assert missing(client.send("PATCH", f"{KEYS}/{poster}", {"scopes": ["webhooks"]})) == "webhooks"


def test_a_key_that_gains_something_is_granted_anew(installation: Installation, server: Server) -> None:
    now = datetime.now(UTC)
    hours = [(now + timedelta(hours=number)).isoformat() for number in range(5)]
    with admin(installation, server) as whole:
        reader = f"{KEYS}/{made(whole)['api_key']['id']}"
        terms = {"scopes": ["read", "post"], "networks": ["127.0.0.0/16"], "expires_at": hours[2]}
        poster = f"{KEYS}/{made(whole, **terms)['api_key']['id']}"
        ends = {"expires_at": hours[3]}
        bound = {"networks": ["127.0.0.0/8"]}
        more = {"scopes": ["read", "admin"]}
        gains: list[dict[str, Any]] = [ends, {"expires_at": None}, bound, {"networks": []}]
        for limits, param in ((ends, "expires_at"), (bound, "networks")):
            with Client(server.url, made(whole, **more, **limits)["key"]) as limited:
                assert limited.send("PATCH", reader, more).refused() == (400, "parameter_invalid", param)
                assert whole.get(reader).ok()["scopes"] == ["read"]
                for gained in gains:
                    assert missing(limited.send("PATCH", poster, gained)) == "post", gained
                for lost in ({"name": "renamed"}, {"networks": ["127.0.0.0/24"]}, {"expires_at": hours[1]}):
                    assert limited.send("PATCH", poster, lost).status == 200, lost
            assert whole.send("PATCH", poster, terms).status == 200
        with Client(server.url, made(whole, **more, **ends, **bound)["key"]) as limited:
            assert limited.send("PATCH", reader, {**more, **ends, **bound}).status == 200


def test_the_last_key_that_may_manage_keys_stays(installation: Installation, server: Server) -> None:
    with admin(installation, server) as client:
        (own,) = [one["id"] for one in client.get(KEYS).ok()["items"]]
        for answer in (
            client.send("DELETE", f"{KEYS}/{own}"),
            client.send("PATCH", f"{KEYS}/{own}", {"scopes": ["read"]}),
        ):
            assert answer.refused() == (409, "last_admin_key", None)
        second = made(client, scopes=[scope.value for scope in ALL_SCOPES])
        with Client(server.url, second["key"]) as other:
            # Each takes away the other's, at once: one of them stays.
            pairs = {client.api_key: second["api_key"]["id"], other.api_key: own}
            answers = at_once(
                [client, other], lambda one: one.send("DELETE", f"{KEYS}/{pairs[one.api_key]}").status
            )
            assert min(answers) == 200
            assert max(answers) in {401, 409}
            assert client.get(KEYS).status == 200 or other.get(KEYS).status == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"name": ""}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes"),
        ({"networks": ["192.0.2.1/24"]}, "networks[0]"),
        ({"networks": ["127.0.0.1", "here"]}, "networks[1]"),
        ({"networks": ["127.0.0.1"] * 33}, "networks"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2199-01-01T00:00:00"}, "expires_at"),
        ({"secret": "mine"}, "secret"),
    ],
)
def test_what_is_not_valid(client: Client, fields: dict[str, Any], param: str) -> None:
    status, code, named = client.send("POST", KEYS, {"name": "x", **fields}).refused()
    assert (status, code) == (400, "parameter_invalid")
    assert named is not None
    assert named.startswith(param)


def test_the_database_refuses_what_a_server_would_let_through(
    installation: Installation, server: Server
) -> None:
    """What a session of a server can do with the secret of a key: no more than the key."""
    put = (
        "SELECT key_put(%s, %s, tenant, 'mine', sha256(%s::bytea), %s, ARRAY[]::text[], NULL, NULL, NULL, 1, now(),"
        " now(), true) FROM api_keys WHERE id = %s"
    )
    with admin(installation, server) as whole:
        limited = made(whole, scopes=["read", "admin"])
        reader = made(whole)
        other = installation.make_key("first tenant")
        with psycopg.connect(installation.server_dsn, autocommit=True) as session:

            def tried(secret: str, scopes: list[str], tenant_of: str) -> None:
                session.execute(put, (secret, new_key(), new_key(), scopes, tenant_of))

            own = limited["api_key"]["id"]
            tried(limited["key"], ["read"], own)
            for secret, scopes, tenant_of in (
                (limited["key"], ["read", "post"], own),
                (limited["key"], ["read"], other.id),
                (reader["key"], ["read"], own),
                ("no key", ["read"], own),
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    tried(secret, scopes, tenant_of)
