"""What a run strikes: two PostgreSQL servers, a shard on each, two API servers over both, and Valkey.

Connections to PostgreSQL go through a proxy for each shard, those to Valkey through a wire for each API server.
"""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.embedded.valkey import EmbeddedValkey
from tests.cache.slow_wire import SlowWire
from tests.crash.api_server import ApiServer
from tests.crash.cutting_proxy import CuttingProxy
from tests.crash.databases import ShardDatabase, temporary_server
from tests.crash.two_shards import AWAY, HOME, TwoShards, two_shards

SERVERS: Final = 2
PLANTED_PROGRAMS: Final = "tests.chaos.planted"


class Backends(NamedTuple):
    """The servers behind the API."""

    nodes: dict[int, EmbeddedPostgres]
    shards: TwoShards
    valkey: EmbeddedValkey


class Rig(NamedTuple):
    """All that runs."""

    backends: Backends
    proxies: dict[int, CuttingProxy]
    wires: list[SlowWire]
    servers: list[ApiServer]

    @property
    def addresses(self) -> list[str]:
        """The base addresses of the API servers."""
        return [server.address for server in self.servers]

    @property
    def api_key(self) -> str:
        """A key that all of them accept."""
        return self.servers[0].api_key


@contextmanager
def two_nodes() -> Iterator[dict[int, EmbeddedPostgres]]:
    """Start a PostgreSQL server for each shard. They may be killed, and are removed at the end."""
    with temporary_server(durable=True) as home, temporary_server(durable=True) as away:
        yield {HOME: home, AWAY: away}


@contextmanager
def backends(folder: Path, nodes: dict[int, EmbeddedPostgres]) -> Iterator[Backends]:
    """Make empty shards, and start Valkey. PostgreSQL runs again at the end, whatever was done to it."""
    valkey = EmbeddedValkey(folder / "valkey")
    with two_shards(nodes[HOME], nodes[AWAY]) as shards:
        valkey.start()
        try:
            yield Backends(nodes, shards, valkey)
        finally:
            valkey.stop()
            for node in nodes.values():
                node.start()


@asynccontextmanager
async def rig(folder: Path, backends: Backends, seed: int, planted: str = "") -> AsyncIterator[Rig]:
    """Start the API servers, with a planted bug if one is named."""
    chance = random.Random(f"{seed} wires")
    socket = Path(backends.valkey.address.removeprefix("unix://"))
    cache_key = secrets.token_hex(32)
    async with AsyncExitStack() as stack:
        proxies = {
            number: await stack.enter_async_context(CuttingProxy(database.server_dsn))
            for number, database in enumerate(backends.shards, HOME)
        }
        wires: list[SlowWire] = []
        servers: list[ApiServer] = []
        databases = [
            database._replace(server_dsn=proxies[number].dsn)
            for number, database in enumerate(backends.shards, HOME)
        ]
        for number in range(SERVERS):
            wires.append(
                await stack.enter_async_context(SlowWire(socket.with_name(f"wire{number}"), socket, chance))
            )
            settings: Mapping[str, str] = {"cache": wires[-1].address, "cache_key": cache_key}
            servers.append(
                await asyncio.to_thread(_server, folder / f"server {number}", databases, settings, planted)
            )
            stack.callback(servers[-1].kill)
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in servers))
        yield Rig(backends, proxies, wires, servers)


def _server(
    folder: Path, databases: list[ShardDatabase], settings: Mapping[str, str], planted: str
) -> ApiServer:
    folder.mkdir(parents=True)
    if not planted:
        return ApiServer(folder, *databases, settings=settings)
    return ApiServer(folder, *databases, settings=settings, program=f"{PLANTED_PROGRAMS}.{planted}")
