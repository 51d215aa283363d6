"""One ledger and one server for the whole folder; each test opens accounts of its own."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from tallystick.embedded.postgres import EmbeddedPostgres
from tests.api.books import Books
from tests.api.client import Client
from tests.api.pairs import SAGA_WAIT_SECONDS, Pair, TwoShards, installed, wallets_on_two_shards
from tests.api.server import Installation, Server
from tests.crash.databases import temporary_database

HEARTBEAT_SECONDS = 2.0
KEYS_KNOWN_SECONDS = 2.0
# What tests wait for, in less time than it is as a rule.
LIMITS = {
    "STREAM_HEARTBEAT_SECONDS": HEARTBEAT_SECONDS,
    "STREAM_WRITE_SECONDS_MAX": 3.0,
    "API_KEY_CACHE_SECONDS": KEYS_KNOWN_SECONDS,
}

NothingWritten = Callable[[], AbstractContextManager[None]]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="session")
def installation(postgres: EmbeddedPostgres, folder: Path) -> Iterator[Installation]:
    with temporary_database(postgres) as database, closing(Installation(database, folder)) as made:
        yield made


@pytest.fixture(scope="session")
def server(installation: Installation) -> Iterator[Server]:
    with Server(installation, "server", limits=LIMITS) as running:
        yield running


@pytest.fixture(scope="session")
def second_server(installation: Installation) -> Iterator[Server]:
    """Another process that writes to the same shard."""
    with Server(installation, "second server", limits=LIMITS) as running:
        yield running


@pytest.fixture(scope="session")
def client(installation: Installation, server: Server) -> Iterator[Client]:
    """A caller of one tenant."""
    with Client(server.url, installation.make_key("first tenant").key) as caller:
        yield caller


@pytest.fixture(scope="session")
def stranger(installation: Installation, server: Server) -> Iterator[Client]:
    """A caller of another tenant."""
    with Client(server.url, installation.make_key("second tenant").key) as caller:
        yield caller


@pytest.fixture(scope="module")
def two_shards(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoShards]:
    with installed(postgres, tmp_path_factory.mktemp("crossing"), (1, 2), SAGA_WAIT_SECONDS) as made:
        yield made


@pytest.fixture(scope="module")
def pair(two_shards: TwoShards) -> Iterator[Pair]:
    with wallets_on_two_shards(two_shards) as pair:
        yield pair


@pytest.fixture
def books(client: Client) -> Books:
    return Books(client)


@pytest.fixture
def shop(books: Books) -> Books:
    """A payer and a payee. Files with other balances have a fixture of their own."""
    books.open("""
        alice  USD  100
        shop   USD   50
    """)
    return books


@pytest.fixture
def strange_books(stranger: Client) -> Books:
    return Books(stranger)


@pytest.fixture
def nothing_written(installation: Installation) -> NothingWritten:
    """A context in which the log must not grow, so no key is burned either."""

    @contextmanager
    def unchanged() -> Iterator[None]:
        before = installation.head()
        yield
        assert installation.head() == before

    return unchanged
