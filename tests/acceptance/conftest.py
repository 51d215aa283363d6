"""Folders in which whole ledgers are made."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data_folders import data_folder


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder of the test's own, in memory if it has room: a ledger there is made much sooner."""
    with data_folder(durable=False) as folder:
        yield folder
