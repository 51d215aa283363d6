"""Empty shards for each test, on the server that all share."""

from collections.abc import Iterator

import pytest

from tallystick.embedded.postgres import EmbeddedPostgres
from tests.crash.databases import ShardDatabase, temporary_database
from tests.crash.two_shards import TwoShards, two_shards


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[ShardDatabase]:
    with temporary_database(postgres) as database:
        yield database


@pytest.fixture
def shards(postgres: EmbeddedPostgres) -> Iterator[TwoShards]:
    with two_shards(postgres) as shards:
        yield shards
