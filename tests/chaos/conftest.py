"""The servers behind the API, for a run of a test's own."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallystick.embedded.postgres import EmbeddedPostgres
from tests.chaos.rig import Backends, backends, two_nodes


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path, because sockets are in it."""
    folder = Path(tempfile.mkdtemp(prefix="tallystick-chaos-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def nodes() -> Iterator[dict[int, EmbeddedPostgres]]:
    with two_nodes() as nodes:
        yield nodes


@pytest.fixture
def started(folder: Path, nodes: dict[int, EmbeddedPostgres]) -> Iterator[Backends]:
    with backends(folder, nodes) as started:
        yield started
