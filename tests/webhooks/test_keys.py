"""Calls beside the log with an idempotency key: once, with one answer, also of two servers and after a lost one."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import psycopg
import pytest

from tests.api.client import Answer, Client, at_once, new_key
from tests.crash.api_server import ApiServer
from tests.crash.databases import ShardDatabase
from tests.keys import with_keys
from tests.waiting import wait_for
from tests.webhooks.conftest import INSIDE, api_server, client_of
from tests.webhooks.receiver import Receiver
from tests.webhooks.test_secrets_at_rest import every_row, reveals

REPLAYED = "idempotency-replayed"
Calls = dict[str, Callable[[str], Answer]]


@pytest.fixture(scope="module")
def other(
    server: ApiServer, database: ShardDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """The same caller at another server of the same ledger."""
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("other server")
        second = stack.enter_context(api_server(ApiServer(folder, database, settings=INSIDE)))
        # A key opens every server.
        yield stack.enter_context(Client(client_of(second).url, server.api_key))


def new_asset() -> dict[str, object]:
    return {"code": f"K{new_key()[:8].upper()}", "scale": 2, "name": "Points"}


def post(caller: Client, path: str, body: object, key: str) -> Answer:
    return caller.send("POST", path, body, key=key)


def every_call(client: Client, receiver: Receiver) -> Calls:
    """Each call beside the log, on an endpoint of its own."""
    endpoint, gone = (
        client.send("POST", "/v1/webhooks", {"url": receiver.url}).ok()["webhook"]["id"] for _ in range(2)
    )
    path, asset = f"/v1/webhooks/{endpoint}", new_asset()
    return {
        "asset": lambda key: client.send("POST", "/v1/assets", asset, key=key),
        "create": lambda key: client.send("POST", "/v1/webhooks", {"url": receiver.url}, key=key),
        "change": lambda key: client.send("PATCH", path, {"owner": "alice"}, key=key),
        "rotate": lambda key: client.send("POST", f"{path}/rotate", {}, key=key),
        "test": lambda key: client.send("POST", f"{path}/test", key=key),
        "replay": lambda key: client.send("POST", f"{path}/replay", {"shard": 1, "position": 1}, key=key),
        "remove": lambda key: client.send("DELETE", f"/v1/webhooks/{gone}", key=key),
    }


def test_every_call_again(client: Client, receiver: Receiver, database: ShardDatabase) -> None:
    calls = every_call(client, receiver)
    keys = {name: new_key() for name in calls}
    first = {name: call(keys[name]).ok() for name, call in calls.items()}
    secrets = [first[name]["secret"] for name in ("create", "rotate")]
    tests = len(receiver.received)
    listed = client.get("/v1/webhooks").json
    for name, call in calls.items():
        again = call(keys[name])
        assert (again.status, again.body) == (first[name].status, first[name].body), name
        assert again.headers[REPLAYED] == "true", name
        assert REPLAYED not in first[name].headers, name
    assert client.get("/v1/webhooks").json == listed
    assert len(receiver.received) == tests
    assert not reveals(every_row(database), *secrets)


def test_both_forms_of_the_header_are_one_key(client: Client, receiver: Receiver) -> None:
    key = new_key()
    first = post(client, "/v1/webhooks", {"url": receiver.url}, key).ok()
    assert post(client, "/v1/webhooks", {"url": receiver.url}, f'"{key}"').body == first.body
    malformed = post(client, "/v1/webhooks", {"url": receiver.url}, f'"{key}')
    assert malformed.refused() == (400, "parameter_invalid", "Idempotency-Key")
    empty = post(client, "/v1/webhooks", {"url": receiver.url}, "")
    assert empty.refused() == (400, "idempotency_key_missing", "Idempotency-Key")


def test_another_request_with_the_key_is_refused(client: Client, receiver: Receiver) -> None:
    key, asset = new_key(), new_asset()
    made = post(client, "/v1/webhooks", {"url": receiver.url}, key).ok()["webhook"]["id"]
    before = client.get("/v1/webhooks").json
    reused = partial(tuple, (422, "idempotency_key_reused"))
    other_url = {"url": f"{receiver.url}more"}
    assert post(client, "/v1/webhooks", other_url, key).refused() == (*reused(), "url")
    assert post(client, "/v1/webhooks", {"url": receiver.url, "owner": "a"}, key).refused() == (
        *reused(),
        "owner",
    )
    assert post(client, "/v1/assets", asset, key).refused() == (*reused(), "path")
    assert client.send("DELETE", f"/v1/webhooks/{made}", key=key).refused() == (*reused(), "path")
    assert client.get("/v1/webhooks").json == before


def test_what_did_nothing_burns_no_key(client: Client, receiver: Receiver) -> None:
    key = new_key()
    assert post(client, "/v1/webhooks", {"url": "nonsense"}, key).status == 400
    assert client.send("DELETE", "/v1/webhooks/hook_00000000000000", key=key).status == 404
    usd = {"code": "USD", "scale": 2, "name": "US Dollar"}
    assert post(client, "/v1/assets", usd, key).refused() == (409, "asset_exists", "code")
    assert REPLAYED not in post(client, "/v1/webhooks", {"url": receiver.url}, key).ok().headers


def test_a_key_belongs_to_a_tenant(database: ShardDatabase, client: Client, receiver: Receiver) -> None:
    key = new_key()
    made = post(client, "/v1/webhooks", {"url": receiver.url}, key).ok()
    stranger_key = with_keys({1: database.owner_dsn}, lambda keys: keys.create("a test", "a stranger")).key
    with Client(client.url, stranger_key) as stranger:
        theirs = post(stranger, "/v1/webhooks", {"url": receiver.url}, key).ok()
        assert theirs["webhook"]["id"] != made["webhook"]["id"]
        stranger.send("DELETE", f"/v1/webhooks/{theirs['webhook']['id']}").ok()


def test_two_servers_at_once(client: Client, other: Client, receiver: Receiver) -> None:
    for _ in range(3):
        key, before = new_key(), len(client.get("/v1/webhooks")["items"])
        send = partial(post, path="/v1/webhooks", body={"url": receiver.url}, key=key)
        answers = at_once([client, other] * 4, send)
        assert {(answer.status, answer.body) for answer in answers} == {(201, answers[0].body)}
        assert sorted(answer.headers.get(REPLAYED, "false") for answer in answers) == ["false", *["true"] * 7]
        assert len(client.get("/v1/webhooks")["items"]) == before + 1


def test_one_test_message_of_two_servers(client: Client, other: Client, receiver: Receiver) -> None:
    made = client.send("POST", "/v1/webhooks", {"url": receiver.url}).ok()["webhook"]["id"]
    send = partial(post, path=f"/v1/webhooks/{made}/test", body=None, key=new_key())
    answers = at_once([client, other] * 3, send)
    assert len({answer.body for answer in answers}) == 1
    assert len(receiver.received) == 1


@pytest.mark.parametrize("has_acted", [True, False])
def test_a_lost_server(
    client: Client, database: ShardDatabase, receiver: Receiver, *, has_acted: bool
) -> None:
    """It has claimed the request, and perhaps carried it out, and has recorded no answer."""
    rotated, key = new_key(), new_key()
    made = post(client, "/v1/webhooks", {"url": receiver.url}, key).ok()
    path = f"/v1/webhooks/{made['webhook']['id']}"
    second = post(client, f"{path}/rotate", {}, rotated).ok()
    with psycopg.connect(database.owner_dsn, autocommit=True) as connection:
        connection.execute("UPDATE kept_requests SET answer = NULL, claimed_until = now()")
        if not has_acted:
            connection.execute("DELETE FROM webhook_deliveries WHERE endpoint = %s", [made["webhook"]["id"]])
            connection.execute("DELETE FROM webhook_endpoints WHERE id = %s", [made["webhook"]["id"]])
    again = post(client, "/v1/webhooks", {"url": receiver.url}, key).ok()
    assert (again["webhook"]["id"], again["secret"]) == (made["webhook"]["id"], made["secret"])
    assert post(client, f"{path}/rotate", {}, rotated).ok()["secret"] == second["secret"]
    assert [one["id"] for one in client.get("/v1/webhooks")["items"]].count(made["webhook"]["id"]) == 1
    assert post(client, "/v1/webhooks", {"url": receiver.url}, key).headers[REPLAYED] == "true"


def test_answers_are_removed_after_a_day(client: Client, database: ShardDatabase) -> None:
    with psycopg.connect(database.owner_dsn, autocommit=True) as connection:

        def count(condition: str) -> int:
            row = connection.execute(f"SELECT count(*) FROM kept_requests WHERE {condition}").fetchone()
            assert row is not None
            return int(row[0])

        for _ in range(3):
            post(client, "/v1/assets", new_asset(), new_key()).ok()
        connection.execute("UPDATE kept_requests SET begun_at = now() - interval '23 hours'")
        young = count("true")
        post(client, "/v1/assets", new_asset(), new_key()).ok()
        assert count("true") == young + 1
        connection.execute("UPDATE kept_requests SET begun_at = now() - interval '25 hours'")
        post(client, "/v1/assets", new_asset(), new_key()).ok()
        wait_for(lambda: count("true") == 1)
