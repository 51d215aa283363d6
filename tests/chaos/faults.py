"""Faults that need no cluster. Each begins, proves at the victim that it has bitten, and is repaired.

A victim that was struck and did not notice is an error: a run whose faults do not bite shows nothing.
"""

import asyncio
import random
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Final

import psutil

from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.embedded.processes import postgres_processes
from tallystick.embedded.valkey import EmbeddedValkey
from tests.chaos.proofs import expect_gone, proof_of_stop, stopped
from tests.chaos.rig import Backends, Rig, rig
from tests.chaos.run import RunSettings, Verdict, run
from tests.chaos.strikes import NotBittenError, Running, Strike
from tests.crash.api_server import ApiServer
from tests.crash.cutting_proxy import CuttingProxy, Moment
from tests.crash.hanging import hanging
from tests.crash.two_shards import AWAY, HOME

DEAD_SECONDS: Final = (0.6, 1.5)
FROZEN_SECONDS: Final = (1.5, 4.0)
CUTS: Final = (3, 6)
CUT_PAUSE_SECONDS_MAX: Final = 0.3
MOMENT_SECONDS_MAX: Final = 15.0
DELIVERED_LATER_SHARE: Final = 0.5
READY: Final = "/readyz"


async def run_embedded(folder: Path, backends: Backends, settings: RunSettings, planted: str = "") -> Verdict:
    """Run in a folder with API servers of its own, which may have a planted bug."""
    async with rig(folder, backends, settings.load.seed, planted) as started:
        running = Running(
            started.addresses,
            started.api_key,
            strikes(started),
            machines(started),
            partial(verified, started.servers[0]),
        )
        return await run(folder, running, settings)


def verified(server: ApiServer) -> str:
    """What `verify` finds wrong, in words."""
    done = server.command("verify", "--json")
    return "" if done.returncode == 0 else done.stdout + done.stderr


def strikes(struck: Rig) -> list[Strike]:
    """All that can happen to a rig."""
    found: list[Strike] = []
    for number, server in enumerate(struck.servers):
        place = f"API server {number}"
        found += [
            Strike(
                "API server killed",
                server.address,
                place,
                partial(kill_server, server),
                noticed=True,
                restarts=True,
            ),
            Strike("API server frozen", server.address, place, partial(freeze_server, server), noticed=True),
        ]
    for number, node in struck.backends.nodes.items():
        place = f"shard {number}"
        found += [
            Strike("PostgreSQL killed", place, place, partial(kill_node, node), noticed=True),
            Strike("PostgreSQL frozen", place, place, partial(freeze_node, node), noticed=True),
            Strike("connections to PostgreSQL cut", place, place, partial(cut, struck.proxies[number])),
        ]
    valkey = struck.backends.valkey
    found += [
        Strike("Valkey killed", "Valkey", "Valkey", partial(kill_valkey, valkey)),
        Strike("Valkey frozen", "Valkey", "Valkey", partial(freeze_valkey, valkey)),
    ]
    return found


def machines(struck: Rig) -> list[list[Strike]]:
    """What happens at once when one machine of two dies: its API server and its PostgreSQL."""
    by_place = {(strike.kind, strike.place): strike for strike in strikes(struck)}
    return [
        [
            by_place["API server killed", f"API server {number}"],
            by_place["PostgreSQL killed", f"shard {shard}"],
        ]
        for number, shard in enumerate((HOME, AWAY))
    ]


async def kill_server(server: ApiServer, chance: random.Random) -> str:
    """`kill -9` of all processes of an API server."""
    processes = server.processes()
    if not processes:
        raise NotBittenError("the API server did not run")
    server.kill()
    await expect_gone(processes)
    await asyncio.sleep(chance.uniform(*DEAD_SECONDS))
    await asyncio.to_thread(server.start, READY)
    return f"{len(processes)} processes were gone, {len(server.processes())} others serve"


async def freeze_server(server: ApiServer, chance: random.Random) -> str:
    """SIGSTOP to all processes of an API server, and SIGCONT."""
    with stopped(server.processes()) as processes:
        await asyncio.sleep(chance.uniform(*FROZEN_SECONDS))
        return proof_of_stop(processes)


async def kill_node(node: EmbeddedPostgres, chance: random.Random) -> str:
    """`kill -9` of a PostgreSQL server."""
    before = node.pid
    await asyncio.to_thread(node.kill)
    if before is None or node.running():
        raise NotBittenError(f"PostgreSQL {before} was not killed")
    await asyncio.sleep(chance.uniform(*DEAD_SECONDS))
    await asyncio.to_thread(node.start)
    return f"process {before} was gone, {node.pid} serves"


async def freeze_node(node: EmbeddedPostgres, chance: random.Random) -> str:
    """SIGSTOP to all processes of a PostgreSQL server, and SIGCONT."""
    with hanging(node):
        processes = [psutil.Process(pid) for pid in postgres_processes(node.cluster_path)]
        await asyncio.sleep(chance.uniform(*FROZEN_SECONDS))
        return proof_of_stop(processes)


async def kill_valkey(valkey: EmbeddedValkey, chance: random.Random) -> str:
    """`kill -9` of Valkey, which keeps nothing."""
    process = _process_of(valkey)
    valkey.kill()
    await expect_gone([process])
    await asyncio.sleep(chance.uniform(*DEAD_SECONDS))
    await asyncio.to_thread(valkey.start)
    return f"process {process.pid} was gone, {_process_of(valkey).pid} serves"


async def freeze_valkey(valkey: EmbeddedValkey, chance: random.Random) -> str:
    """SIGSTOP to Valkey, and SIGCONT."""
    with stopped([_process_of(valkey)]) as processes:
        await asyncio.sleep(chance.uniform(*FROZEN_SECONDS))
        return proof_of_stop(processes)


async def cut(proxy: CuttingProxy, chance: random.Random) -> str:
    """Connections to PostgreSQL are cut at steps of the protocol, of whichever server comes there first."""
    done: Counter[str] = Counter()
    for _ in range(chance.randint(*CUTS)):
        moment = chance.choice(list(Moment))
        stop = proxy.stop_at(moment)
        try:
            async with asyncio.timeout(MOMENT_SECONDS_MAX):
                await stop.reached.wait()
        except TimeoutError:
            stop.pass_on()
            raise NotBittenError(f"no connection came to the moment {moment.value!r}") from None
        if moment is Moment.COMMIT and chance.random() < DELIVERED_LATER_SHARE:
            # The client has lost its connection, and the command takes effect.
            stop.cut_and_deliver_later()
            await asyncio.sleep(chance.uniform(0.0, CUT_PAUSE_SECONDS_MAX))
            stop.deliver()
            done["before COMMIT, which arrives later"] += 1
        else:
            stop.cut()
            done[moment.value] += 1
        await asyncio.sleep(chance.uniform(0.0, CUT_PAUSE_SECONDS_MAX))
    return ", ".join(f"{moment}: {count}" for moment, count in sorted(done.items()))


def _process_of(valkey: EmbeddedValkey) -> psutil.Process:
    assert valkey._process is not None
    return psutil.Process(valkey._process.pid)
