"""One ledger and one server for the whole folder, with a tenant who attacks and one who is attacked."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from tallystick.embedded.postgres import EmbeddedPostgres
from tests.api.books import Books
from tests.api.client import Client
from tests.api.server import Installation, Server
from tests.crash.databases import temporary_database

IDLE_SECONDS = 2
PER_ADDRESS = 40


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("attack")


@pytest.fixture(scope="session")
def installation(postgres: EmbeddedPostgres, folder: Path) -> Iterator[Installation]:
    with temporary_database(postgres) as database, closing(Installation(database, folder)) as made:
        yield made


class Settings(NamedTuple):
    """What a server is told: a file of its own on the same database."""

    configuration_path: Path
    folder: Path


@pytest.fixture(scope="session")
def server(installation: Installation, folder: Path) -> Iterator[Server]:
    """A server whose receivers of webhooks may be on this machine: no attack leaves it."""
    path = folder / "inside.toml"
    inside = "webhooks_allow_http = true\nwebhooks_allow_private = true\n"
    path.write_text(inside + installation.configuration_path.read_text())
    path.chmod(0o600)
    # What is known of a key is soon forgotten.
    with Server(Settings(path, folder), "server", limits={"API_KEY_CACHE_SECONDS": 1.0}) as running:
        yield running


@pytest.fixture(scope="session")
def strict(installation: Installation) -> Iterator[Server]:
    """A server that waits shortly, keeps few connections of one address, and else has the usual settings."""
    options = ("--idle-seconds", str(IDLE_SECONDS), "--connections-per-address", str(PER_ADDRESS))
    with Server(installation, "strict server", *options) as running:
        yield running


@pytest.fixture(scope="session")
def client(installation: Installation, server: Server) -> Iterator[Client]:
    """A caller of the tenant who is attacked."""
    with Client(server.url, installation.make_key("victim").key) as caller:
        yield caller


@pytest.fixture(scope="session")
def stranger(installation: Installation, server: Server) -> Iterator[Client]:
    """A caller of the tenant who attacks."""
    with Client(server.url, installation.make_key("attacker").key) as caller:
        yield caller


@pytest.fixture
def books(client: Client) -> Books:
    return Books(client)
