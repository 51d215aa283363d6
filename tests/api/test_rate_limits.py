"""Limits of tenants and keys: what is too much is refused with 429, and burns no key."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from tallystick.embedded.valkey import EmbeddedValkey
from tallystick.service.configuration import Configuration, read_configuration, write_configuration
from tallystick.service.rate_limits import KeyConfiguration, Rates, TenantConfiguration
from tallystick.views.api_keys import NewApiKey
from tests.api.books import Books
from tests.api.client import Client
from tests.api.conftest import NothingWritten
from tests.api.server import Installation, Server

# What one test does takes less; so nothing comes back meanwhile.
LIMITS = Rates(reads="40/hour", writes="100/hour", streams="2/hour", endpoint_tests="1/hour")
LARGE = Rates(reads="1000/hour")
TOO_MUCH = (429, "rate_limited")


class Limited(NamedTuple):
    """The database of all these tests, with a configuration of its own."""

    configuration_path: Path
    folder: Path


def limited(installation: Installation, name: str, **changes: object) -> Limited:
    configuration = msgspec.structs.replace(read_configuration(installation.configuration_path), **changes)
    assert isinstance(configuration, Configuration)
    path = installation.folder / f"{name}.toml"
    write_configuration(path, configuration)
    return Limited(path, installation.folder)


class Keys(NamedTuple):
    """Two keys of a tenant, one with a limit of its own, and keys of two other tenants."""

    one: NewApiKey
    narrow: NewApiKey
    other: NewApiKey
    large: NewApiKey


@pytest.fixture(scope="module")
def keys(installation: Installation) -> Keys:
    return Keys(
        installation.make_key("limited"),
        installation.make_key("limited"),
        installation.make_key("limited too"),
        installation.make_key("larger"),
    )


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey(tmp_path_factory.mktemp("limits") / "valkey")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(params=["process", "valkey"])
def url(
    request: pytest.FixtureRequest, installation: Installation, keys: Keys, valkey: EmbeddedValkey
) -> Iterator[str]:
    """A server whose counters begin anew: in its own memory, or in a Valkey."""
    cache = valkey.address if request.param == "valkey" else None
    if cache is not None:
        flush(valkey)
    of_key = KeyConfiguration(keys.narrow.id, Rates(reads="3/hour"))
    name = f"limited {request.param}"
    made = limited(
        installation,
        name,
        limits=LIMITS,
        cache=cache,
        key=[of_key],
        tenant=[TenantConfiguration("larger", 2, LARGE)],
    )
    with Server(made, name) as running:
        yield running.url


def flush(valkey: EmbeddedValkey) -> None:
    import redis  # noqa: PLC0415 - the tests of the API know no driver otherwise

    with redis.Redis.from_url(valkey.address) as client:
        client.flushall()


def test_reads_beyond_the_limit_are_refused_and_say_when_to_come_again(url: str, keys: Keys) -> None:
    with Client(url, keys.one.key) as caller, Client(url, keys.other.key) as other:
        for _ in range(40):
            caller.get("/v1/assets").ok()
        refused = caller.get("/v1/assets")
        assert refused.refused()[:2] == TOO_MUCH
        assert refused.headers["ratelimit-policy"] == '"tenant-reads";q=40;w=3600'
        assert re.fullmatch(r'"tenant-reads";r=0;t=\d+', refused.headers["ratelimit"])
        assert 1 <= int(refused.headers["retry-after"]) <= 3_600
        other.get("/v1/assets").ok()
        # What is written has a budget of its own.
        Books(caller).open("alice  USD  100")


def test_a_key_has_a_limit_beside_its_tenants(url: str, keys: Keys) -> None:
    with Client(url, keys.narrow.key) as narrow, Client(url, keys.one.key) as wide:
        for _ in range(3):
            narrow.get("/v1/assets").ok()
        refused = narrow.get("/v1/assets")
        assert refused.refused()[:2] == TOO_MUCH
        assert refused.headers["ratelimit-policy"] == '"key-reads";q=3;w=3600'
        wide.get("/v1/assets").ok()


def test_a_tenant_may_have_a_limit_of_its_own(url: str, keys: Keys) -> None:
    with Client(url, keys.large.key) as caller:
        for _ in range(60):
            caller.get("/v1/assets").ok()


def test_writes_are_counted_in_transfers_and_burn_no_key(
    url: str, keys: Keys, nothing_written: NothingWritten
) -> None:
    with Client(url, keys.one.key) as caller:
        books = Books(caller)
        books.open("alice  USD  100\nbob  USD  0")
        batch = {
            "transfers": [
                books.payment("alice", "bob", 1) | {"idempotency_key": f"{books.owner} {n}"}
                for n in range(90)
            ]
        }
        assert len(caller.post("/v1/transfers/batch", batch).ok()["outcomes"]) == 90
        with nothing_written():
            assert caller.post("/v1/transfers/batch", batch).refused()[:2] == TOO_MUCH
        # A single one has room still, and then none has.
        answers = [books.transfer("alice", "bob", 1, key=f"{books.owner} single {n}") for n in range(10)]
        assert {answer.status for answer in answers} == {201, 429}
        assert answers[0].status == 201


def test_streams_and_tests_of_endpoints_have_budgets_of_their_own(url: str, keys: Keys) -> None:
    with Client(url, keys.other.key) as caller:
        test = "/v1/webhooks/nothing/test"
        assert caller.post(test, {}).refused()[:2] == (404, "webhook_not_found")
        assert caller.post(test, {}).refused()[:2] == TOO_MUCH
        stream = {"Accept": "text/event-stream"}
        balance = "/v1/accounts/nothing/balance"
        for _ in range(2):
            assert caller.request("GET", balance, headers=stream).refused()[0] == 400
        assert caller.request("GET", balance, headers=stream).refused()[:2] == TOO_MUCH
        assert caller.get(balance).refused()[0] == 400


def test_a_cache_that_is_away_refuses_no_client(
    installation: Installation, keys: Keys, tmp_path: Path
) -> None:
    made = limited(
        installation, "limited without its cache", limits=LIMITS, cache=f"unix://{tmp_path / 'nothing'}"
    )
    with Server(made, "limited without its cache") as running, Client(running.url, keys.one.key) as caller:
        for _ in range(40):
            caller.get("/v1/assets").ok()
        assert caller.get("/v1/assets").refused()[:2] == TOO_MUCH
        assert "ALARM: limits are counted by each server alone" in running.log_path.read_text()
