"""What probes are told while a shard is away, hangs, or takes nothing that is written."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, NamedTuple

import psycopg
import pytest

from tallystick.domain.identifiers import Prefix, parse_identifier, shard_of
from tallystick.embedded.postgres import EmbeddedPostgres
from tests.api.client import Answer, Client
from tests.crash.api_server import ApiServer
from tests.crash.databases import temporary_server
from tests.crash.hanging import hanging
from tests.crash.two_shards import AWAY, HOME, TwoShards, two_shards
from tests.ports import HOST
from tests.waiting import wait_for

BACK_SECONDS_MAX = 10.0
# What the server waits for, in less time than it is as a rule.
LIMITS = {
    "REQUEST_TIMEOUT_SECONDS": 4.0,
    "COMMIT_SECONDS_MAX": 4.0,
    "WRITING_SECONDS_MAX": 2.0,
    "FAILING_SECONDS_MAX": 3.0,
}


class Place(NamedTuple):
    """Two nodes, a server, and an account on shard 2."""

    nodes: dict[int, EmbeddedPostgres]
    shards: TwoShards
    server: ApiServer
    account: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with temporary_server() as home, temporary_server() as away, two_shards(home, away) as shards:
        server = ApiServer(tmp_path_factory.mktemp("server"), *shards, limits=LIMITS)
        try:
            server.start()
            yield Place({HOME: home, AWAY: away}, shards, server, account_on(server, AWAY))
        finally:
            server.stop()


def client_of(server: ApiServer) -> Client:
    return Client(f"http://{HOST}:{server.port}", server.api_key)


def account_on(server: ApiServer, number: int) -> str:
    with client_of(server) as client:
        wait_for(lambda: statuses(client) == [200] * 5, "both are up")
        for owner in count():
            opened: str = client.post("/v1/accounts", {"owner": f"owner {owner}", "asset": "USD"}).ok()["id"]
            if shard_of(parse_identifier(Prefix.ACCOUNT, opened)) == number:
                return opened
    raise AssertionError


@pytest.fixture
def client(place: Place) -> Iterator[Client]:
    with client_of(place.server) as caller:
        wait_for(lambda: state_of(caller, HOME) == state_of(caller, AWAY) == "up", "both are up")
        yield caller


def told_of(client: Client, number: int) -> dict[str, Any]:
    answer = client.get("/readyz")
    return next(one for one in answer["shards"] if one["shard"] == number)


def state_of(client: Client, number: int) -> str:
    return str(told_of(client, number)["state"])


def statuses(client: Client) -> list[int]:
    """What probes of different kinds get: whether this server can serve, one shard, another, both, all."""
    queries = ("", "?shard=1", "?shard=2", "?shard=1&shard=2", "?all")
    return [client.get(f"/readyz{query}").status for query in queries]


def test_all_is_well(client: Client) -> None:
    answer = client.get("/readyz")
    assert answer["status"] == "ok"
    assert [(one["shard"], one["available"], one["reason"]) for one in answer["shards"]] == [
        (HOME, True, None),
        (AWAY, True, None),
    ]
    assert statuses(client) == [200] * 5
    assert [one["shard"] for one in client.get("/readyz?shard=2")["shards"]] == [AWAY]


def test_a_probe_that_asks_wrongly_is_told(client: Client) -> None:
    for query, param in (("shard=3", "shard"), ("shard=x", "shard[0]"), ("al=1", "al"), ("all=maybe", "all")):
        assert client.get(f"/readyz?{query}").refused() == (400, "parameter_invalid", param)


@pytest.mark.parametrize(("trouble", "reason"), [("silent", "answer"), ("away", "connected")])
def test_a_shard_that_is_away_is_named(place: Place, client: Client, trouble: str, reason: str) -> None:
    """Also to a server that is asked for nothing else."""
    node = place.nodes[AWAY]
    began = datetime.now(UTC)
    if trouble == "silent":
        with hanging(node):
            judge_degraded(client, trouble, reason, began)
    else:
        node.kill()
        try:
            judge_degraded(client, trouble, reason, began)
        finally:
            node.start()
    wait_for(lambda: statuses(client) == [200] * 5, "it is up again", BACK_SECONDS_MAX)
    assert datetime.fromisoformat(told_of(client, AWAY)["since"]) > began


def judge_degraded(client: Client, trouble: str, reason: str, began: datetime) -> None:
    wait_for(lambda: state_of(client, AWAY) == trouble, f"shard 2 is {trouble}", BACK_SECONDS_MAX)
    answer = client.get("/readyz")
    assert answer["status"] == "degraded"
    assert [one["available"] for one in answer["shards"]] == [True, False]
    told = told_of(client, AWAY)
    assert reason in told["reason"]
    assert began < datetime.fromisoformat(told["since"]) < began + timedelta(seconds=BACK_SECONDS_MAX)
    assert statuses(client) == [200, 200, 503, 503, 503]
    assert client.get("/readyz?shard=2")["status"] == "unavailable"
    time.sleep(1)
    assert told_of(client, AWAY)["since"] == told["since"]


def test_no_shard_is_up(place: Place, client: Client) -> None:
    with hanging(place.nodes[HOME]), hanging(place.nodes[AWAY]):
        wait_for(lambda: client.get("/readyz").status == 503, "no shard is up", BACK_SECONDS_MAX)
        assert client.get("/readyz")["status"] == "unavailable"
        assert client.get("/healthz").status == 200
    wait_for(lambda: statuses(client) == [200] * 5, "both are up again", BACK_SECONDS_MAX)


REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON batches EXECUTE FUNCTION refuse()
"""
TAKE = "DROP TRIGGER refuse ON batches; DROP FUNCTION refuse"
# Settings of a role are those of new sessions.
END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'tallystick_login'"
READ_ONLY = "ALTER ROLE tallystick_login SET default_transaction_read_only = {}"


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("refuse", "sqlstate", "take"),
    [(REFUSE, "53100", TAKE), (READ_ONLY.format("on"), "25006", READ_ONLY.format("off"))],
    ids=["disk full", "read-only"],
)
def test_a_shard_that_takes_no_write_is_failing(
    place: Place, client: Client, refuse: str, sqlstate: str, take: str
) -> None:
    """It can be connected to and reads, so nothing but what became of the last writes tells."""
    execute(place, refuse)
    try:
        execute(place, END_SESSIONS)
        wait_for(lambda: write(place, client).status == 503, "a write fails", BACK_SECONDS_MAX)
        told = told_of(client, AWAY)
        assert (told["state"], told["available"]) == ("failing", False)
        assert sqlstate in told["reason"]
        assert statuses(client) == [200, 200, 503, 503, 503]
    finally:
        execute(place, take)
        execute(place, END_SESSIONS)
    wait_for(lambda: write(place, client).status == 200, "a write works", BACK_SECONDS_MAX)
    assert statuses(client) == [200] * 5


@pytest.mark.timeout(120)
def test_a_write_that_does_not_end_is_told_while_it_lasts(place: Place, client: Client) -> None:
    lock = place.shards.away.owner_dsn
    with psycopg.connect(lock) as connection:
        connection.execute("LOCK TABLE batches IN ACCESS EXCLUSIVE MODE")
        assert write(place, client).status == 503
        assert state_of(client, AWAY) == "failing"
        assert "does not end" in told_of(client, AWAY)["reason"]
    wait_for(lambda: write(place, client).status == 200, "a write works", BACK_SECONDS_MAX)
    assert statuses(client) == [200] * 5


@pytest.mark.timeout(120)
def test_what_failed_is_forgotten_when_nothing_is_written(place: Place, client: Client) -> None:
    """Else a server that gets no more requests because of it would never get any again."""
    failing_seconds = LIMITS["FAILING_SECONDS_MAX"]
    execute(place, REFUSE)
    try:
        wait_for(lambda: write(place, client).status == 503, "a write fails", BACK_SECONDS_MAX)
        assert state_of(client, AWAY) == "failing"
    finally:
        execute(place, TAKE)
    started = time.monotonic()
    wait_for(lambda: state_of(client, AWAY) == "up", "it was forgotten", 2 * failing_seconds)
    assert time.monotonic() - started > failing_seconds / 2


def execute(place: Place, statements: str) -> None:
    with psycopg.connect(place.shards.away.owner_dsn, autocommit=True) as connection:
        connection.execute(statements.encode())


def write(place: Place, client: Client) -> Answer:
    """Change an account of shard 2."""
    return client.patch(f"/v1/accounts/{place.account}", {"metadata": {"at": str(time.monotonic())}})
