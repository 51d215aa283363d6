"""The servers behind the API, for a run of a test's own."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.rig import Backends, backends


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path, because sockets are in it."""
    folder = Path(tempfile.mkdtemp(prefix="tallystick-chaos-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def started(folder: Path) -> Iterator[Backends]:
    with backends(folder) as started:
        yield started
