"""A ledger of one shard with one server for each file, in a private network."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tallystick.embedded.postgres import EmbeddedPostgres
from tests.api.books import Books
from tests.api.client import Client
from tests.crash.api_server import ApiServer
from tests.crash.databases import ShardDatabase, temporary_database
from tests.crash.two_shards import TwoShards, two_shards
from tests.ports import HOST
from tests.webhooks.receiver import Receiver, receiving

INSIDE = {"webhooks_allow_http": True, "webhooks_allow_private": True}
SEND_SECONDS_MAX = 6.0
"""For how long the server of a file waits for an answer: less than other servers do."""


@pytest.fixture(scope="module")
def database(postgres: EmbeddedPostgres) -> Iterator[ShardDatabase]:
    with temporary_database(postgres) as made:
        yield made


@pytest.fixture(scope="module")
def server(database: ShardDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    limits = {"WEBHOOK_SEND_SECONDS_MAX": SEND_SECONDS_MAX}
    folder = tmp_path_factory.mktemp("server")
    with api_server(ApiServer(folder, database, settings=INSIDE, limits=limits)) as running:
        yield running


@contextmanager
def api_server(server: ApiServer) -> Iterator[ApiServer]:
    """A server that runs until the end of the block."""
    try:
        server.start()
        yield server
    finally:
        server.stop()


def client_of(server: ApiServer) -> Client:
    return Client(f"http://{HOST}:{server.port}", server.api_key)


@pytest.fixture
def client(server: ApiServer) -> Iterator[Client]:
    with client_of(server) as caller:
        yield caller
        # The next test's receivers may listen at the ports of this one's.
        for endpoint in caller.get("/v1/webhooks").ok()["items"]:
            caller.send("DELETE", f"/v1/webhooks/{endpoint['id']}").ok()


@contextmanager
def two_servers(folder: Path, *databases: ShardDatabase) -> Iterator[tuple[ApiServer, ApiServer]]:
    """Two servers of one ledger."""
    with ExitStack() as stack:

        def started(name: str) -> ApiServer:
            (folder / name).mkdir()
            return stack.enter_context(api_server(ApiServer(folder / name, *databases, settings=INSIDE)))

        yield started("one"), started("two")


@pytest.fixture
def shards(postgres: EmbeddedPostgres) -> Iterator[TwoShards]:
    with two_shards(postgres) as made:
        yield made


@pytest.fixture
def books(client: Client) -> Books:
    made = Books(client)
    made.open("alice USD 10000\n bob USD 0")
    return made


@pytest.fixture
def receivers() -> Iterator[list[Receiver]]:
    with ExitStack() as stack:
        yield [stack.enter_context(receiving()) for _ in range(3)]


@pytest.fixture
def receiver(receivers: list[Receiver]) -> Receiver:
    return receivers[0]
