"""What a key may do, until when, and from where."""

import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tallystick.api.operations import OPERATIONS
from tallystick.domain.access import ALL_SCOPES, Scope
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.service.configuration import read_configuration, write_configuration
from tests.api.books import Books
from tests.api.client import Answer, Client, new_key
from tests.api.conftest import KEYS_KNOWN_SECONDS, LIMITS, NothingWritten
from tests.api.server import Installation, Server
from tests.attack.test_tenants import send
from tests.attack.things import UNKNOWN, samples
from tests.crash.databases import temporary_database
from tests.waiting import wait_for

BY_NAME = {operation.name: operation for operation in OPERATIONS}
NOTICED_SECONDS_MAX = KEYS_KNOWN_SECONDS + 30.0

Caller = Callable[..., Client]


@pytest.fixture
def caller(installation: Installation, server: Server) -> Caller:
    """Callers with a key that was made for this."""

    def made(tenant: str = "first tenant", **grant: Any) -> Client:
        return Client(server.url, installation.make_key(tenant, **grant).key)

    return made


def missing(answer: Answer) -> str:
    """The scope that an answer says is missing."""
    assert answer.refused() == (403, "scope_missing", "Authorization")
    challenge = answer.headers["www-authenticate"]
    scope = challenge.removeprefix('Bearer error="insufficient_scope", scope="').removesuffix('"')
    assert challenge == f'Bearer error="insufficient_scope", scope="{scope}"'
    assert f"no scope {scope}" in answer["detail"]
    return scope


def test_every_call_takes_its_scope_and_no_other(caller: Caller, nothing_written: NothingWritten) -> None:
    with_all_but = {
        scope: caller("scopes tenant", scopes=[one for one in ALL_SCOPES if one is not scope])
        for scope in Scope
    }
    with_only = {scope: caller("scopes tenant", scopes=[scope]) for scope in Scope}
    calls = samples(UNKNOWN)
    assert set(calls) == set(BY_NAME)
    for name, operation in BY_NAME.items():
        sample = calls[name][0]
        with nothing_written():
            assert missing(send(with_all_but[operation.scope], operation, sample)) == operation.scope, name
        if operation.more is None:
            answer = send(with_only[operation.scope], operation, sample)
            assert answer.status not in {401, 403}, (name, answer)
    assert (
        missing(
            send(
                with_all_but[Scope.READ],
                BY_NAME["listEvents"],
                calls["listEvents"][0],
                accept="text/event-stream",
            )
        )
        == "read"
    )


def test_accounts_without_bounds_are_an_administrators(caller: Caller, books: Books) -> None:
    poster = caller(scopes=[Scope.POST, Scope.READ])
    administrator = caller(scopes=[Scope.POST, Scope.ADMIN])
    wallet = {"owner": f"{books.owner}/x", "asset": "USD"}
    for terms in (
        {"kind": "system"},
        {"min_balance": None},
        {"min_balance": "-1"},
        {"min_balance": -1},
        {"kind": "system", "min_balance": "0"},
    ):
        key = new_key()
        assert missing(poster.post("/v1/accounts", {**wallet, **terms}, key=key)) == "admin"
        assert administrator.post("/v1/accounts", {**wallet, **terms}, key=key).status == 201
    ordinary: tuple[dict[str, Any], ...] = ({}, {"min_balance": 0}, {"min_balance": "0"}, {"max_balance": 5})
    for more in ordinary:
        assert poster.post("/v1/accounts", {**wallet, **more}).status == 201
    account = poster.post("/v1/accounts", wallet).ok()["id"]
    path = f"/v1/accounts/{account}"
    for bounds in ({"min_balance": 0}, {"max_balance": None}, {"status": "open", "min_balance": "-5"}):
        assert missing(poster.patch(path, bounds)) == "admin"
    assert poster.patch(path, {"status": "frozen", "metadata": {"a": "b"}}).status == 200
    assert administrator.patch(path, {"min_balance": "-5"}).status == 200


def test_an_expired_key_is_refused(installation: Installation, server: Server, caller: Caller) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    client = caller(expires_at=soon)
    assert client.get("/v1/assets").status == 200
    wait_for(lambda: client.get("/v1/assets").status == 401, "the key expires", NOTICED_SECONDS_MAX)
    assert datetime.now(UTC) >= soon
    answer = client.get("/v1/assets")
    assert answer.refused() == (401, "key_expired", "Authorization")
    assert answer.headers["www-authenticate"].startswith('Bearer error="invalid_token"')


def test_a_key_is_valid_in_its_networks_alone(caller: Caller) -> None:
    here = caller(networks=["127.0.0.0/8", "2001:db8::/32"])
    elsewhere = caller(networks=["192.0.2.0/24"])
    assert here.get("/v1/assets").status == 200
    for _ in range(2):
        refused = elsewhere.get("/v1/assets")
        assert refused.refused() == (403, "network_not_allowed", "Authorization")
        # This peer is no trusted proxy.
        headers = {"X-Forwarded-For": "192.0.2.1"}
        assert elsewhere.request("GET", "/v1/assets", headers=headers).status == 403


@pytest.mark.slow
def test_behind_a_proxy_only_what_trusted_proxies_say_is_believed(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    with temporary_database(postgres) as database, closing(Installation(database, tmp_path)) as made:
        configuration = read_configuration(made.configuration_path)
        configuration.trusted_proxies.append("127.0.0.1")
        write_configuration(made.configuration_path, configuration)
        key = made.make_key("default", networks=["192.0.2.0/24"])
        with Server(made, "behind a proxy", limits=LIMITS) as server, Client(server.url, key.key) as client:

            def status(said: str) -> int:
                return client.request("GET", "/v1/assets", headers={"X-Forwarded-For": said}).status

            assert client.get("/v1/assets").status == 403
            assert status("192.0.2.1") == status("198.51.100.1, 192.0.2.1") == 200
            assert status("192.0.2.1, 198.51.100.1") == status("nonsense") == 403


def test_a_changed_key_is_noticed(installation: Installation, server: Server) -> None:
    made = installation.make_key("first tenant")
    with Client(server.url, made.key) as client:
        assert client.get("/v1/webhooks").status == 200
        installation.manage(lambda keys: keys.change(made.id, scopes=["read"]))
        wait_for(lambda: client.get("/v1/webhooks").status == 403, "it is noticed", NOTICED_SECONDS_MAX)
        assert client.get("/v1/assets").status == 200


def test_both_secrets_work_during_an_overlap(installation: Installation, server: Server) -> None:
    made = installation.make_key("first tenant")
    rotated = installation.manage(lambda keys: keys.rotate(made.id, 4))
    assert rotated.id == made.id
    assert rotated.key != made.key
    ends = time.monotonic() + 4
    with Client(server.url, made.key) as former, Client(server.url, rotated.key) as latter:
        assert former.get("/v1/assets").status == latter.get("/v1/assets").status == 200
        wait_for(lambda: former.get("/v1/assets").status == 401, "the overlap ends", NOTICED_SECONDS_MAX)
        assert time.monotonic() > ends - 1
        assert latter.get("/v1/assets").status == 200
        last = installation.manage(lambda keys: keys.rotate(made.id, 0))
        wait_for(lambda: latter.get("/v1/assets").status == 401, "it ends at once", NOTICED_SECONDS_MAX)
        with Client(server.url, last.key) as client:
            assert client.get("/v1/assets").status == 200


def test_the_last_use_is_written(installation: Installation, server: Server) -> None:
    made = installation.make_key("first tenant")

    def used() -> datetime | None:
        return installation.manage(lambda keys: keys.get(made.id)).last_used_at

    assert used() is None
    with Client(server.url, made.key) as client:
        client.get("/v1/assets").ok()
    wait_for(lambda: used() is not None, "the use is written", NOTICED_SECONDS_MAX)


def test_scopes_are_in_the_description(client: Client) -> None:
    paths = client.get("/openapi.json").ok()["paths"]
    for operation in OPERATIONS:
        described = paths[operation.path][operation.method.lower()]
        assert described["security"] == [{"apiKey": [operation.scope.value]}]
        assert f"`{operation.scope.value}`" in described["description"]
        for code in ("scope_missing", "network_not_allowed"):
            assert code in described["responses"]["403"]["description"]
