"""The process whose tailer follows the log is killed: another one goes on."""

import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
import redis

from tallystick import Ledger
from tallystick.embedded.valkey import EmbeddedValkey
from tallystick.service.configuration import Configuration, ShardConfiguration, write_configuration
from tests.api.server import Server
from tests.cache.books import mark_of, opened, paid, passed
from tests.cache.conftest import serving
from tests.waiting import until


class Served(NamedTuple):
    configuration_path: Path
    folder: Path


@pytest.mark.slow
async def test_another_tailer_takes_over(
    dsns: dict[int, str], valkey: EmbeddedValkey, keys: "redis.Redis", tmp_path: Path
) -> None:
    path = tmp_path / "tallystick.toml"
    shards = [ShardConfiguration(number, dsn) for number, dsn in dsns.items()]
    write_configuration(path, Configuration(shards, cache=valkey.address))
    # It writes without a cache, so that only a tailer can tell it.
    async with serving(dsns) as quiet:
        with ExitStack() as servers:
            first = servers.enter_context(Server(Served(path, tmp_path), "first"))
            ledger = Ledger(quiet, 1)
            alice, bob = await opened(ledger, "alice", 2)
            posted = await paid(ledger, alice, bob, 1, "one")
            await until(lambda: passed(keys, bob) >= posted.position)
            lease = mark_of(bob).replace("mark", "lease")
            servers.enter_context(Server(Served(path, tmp_path), "second"))
            # Before it is killed: a server that stood still for long would have lost both, and begun anew.
            await until(lambda: keys.get(lease) and keys.get(mark_of(bob)))
            holder, begun = keys.get(lease), generation(keys, bob)
            kill(first)
            posted = await paid(ledger, alice, bob, 1, "two")
            await until(lambda: passed(keys, bob) >= posted.position)
            await until(lambda: keys.get(lease) not in {None, holder})
            # Nothing was lost meanwhile, so nothing begins anew.
            assert generation(keys, bob) == begun


def generation(keys: "redis.Redis", account: str) -> bytes:
    mark = keys.get(mark_of(account))
    assert isinstance(mark, bytes)
    return mark.split(b" ")[0]


def kill(server: Server) -> None:
    # It leads a group of its own, with its workers.
    os.killpg(server.pid, signal.SIGKILL)
