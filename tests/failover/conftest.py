"""A pair of servers for the tests of a file, and a server that hangs."""

import socket
from collections.abc import Iterator

import pytest

from tests.crash.conftest import database
from tests.failover.pairs import Pair, replicated_shard
from tests.ports import HOST

__all__ = ["database", "pair", "silent_port"]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with replicated_shard() as pair:
        yield pair


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A machine that hangs: its kernel accepts connections, and no program answers."""
    with socket.create_server((HOST, 0)) as listener:
        yield listener.getsockname()[1]
