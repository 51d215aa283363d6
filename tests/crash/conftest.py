"""One PostgreSQL for each file, and empty shards for each test."""

from collections.abc import Iterator

import pytest

from tallystick.embedded.postgres import EmbeddedPostgres
from tests.crash.databases import ShardDatabase, temporary_database, temporary_server
from tests.crash.two_shards import TwoShards, two_shards


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with temporary_server() as server:
        yield server


@pytest.fixture
def database(server: EmbeddedPostgres) -> Iterator[ShardDatabase]:
    with temporary_database(server) as database:
        yield database


@pytest.fixture
def shards(server: EmbeddedPostgres) -> Iterator[TwoShards]:
    with two_shards(server) as shards:
        yield shards
