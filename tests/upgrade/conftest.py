"""An empty shard for each test, and the next version for all of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tallystick.embedded.postgres import EmbeddedPostgres
from tests.crash.databases import ShardDatabase, temporary_database
from tests.upgrade.versions import next_version


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[ShardDatabase]:
    with temporary_database(postgres) as database:
        yield database


@pytest.fixture(scope="session")
def following(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the next version is imported from."""
    return next_version(tmp_path_factory.mktemp("versions") / "next")
