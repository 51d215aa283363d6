"""A pair of servers for the tests of a file."""

from collections.abc import Iterator

import pytest

from tests.crash.conftest import database
from tests.failover.pairs import Pair, replicated_shard

__all__ = ["database", "pair"]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with replicated_shard() as pair:
        yield pair
