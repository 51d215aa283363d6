"""A shard loses its primary for good under load, and its standby takes over: every promise is kept.

The standby is cut off from the primary for the last moments before that. If commits do not wait for it, acknowledged
payments are lost: the checker that exists for that must say so. TALLYSTICK_SEED repeats the sequences of a run.
"""

import asyncio
import random
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import psutil
import pytest

from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.embedded.processes import postgres_processes
from tests.chaos.faults import verified
from tests.chaos.load import LoadSettings
from tests.chaos.run import RunSettings, Verdict, run
from tests.chaos.strikes import NotBittenError, Running, Strike
from tests.crash.api_server import ApiServer
from tests.crash.databases import ShardDatabase, temporary_database
from tests.crash.two_shards import AWAY
from tests.failover.pairs import Pair, replicated_shard
from tests.whole import SEED

SECONDS: Final = 8.0
CUT_OFF_SECONDS: Final = 0.7
DEAD_SECONDS: Final = 0.5
SETTLE_SECONDS_MAX: Final = 30.0


@pytest.fixture
def pair() -> Iterator[Pair]:
    with replicated_shard() as pair:
        yield pair


async def run_on(pair: Pair, postgres: EmbeddedPostgres, folder: Path, seed: int) -> Verdict:
    """Load on the shard of the pair and on another one, until the primary is lost, and after it."""
    home = ShardDatabase(pair.owner_dsn, pair.dsn)
    with temporary_database(postgres, number=AWAY) as away, serving(folder, home, away) as servers:
        strike = Strike("primary lost", "shard 1", "shard 1", partial(lose_primary, pair), noticed=True)
        running = Running(
            [server.address for server in servers],
            servers[0].api_key,
            [strike],
            [],
            partial(verified, servers[0]),
        )
        settings = RunSettings(LoadSettings(seed, SECONDS), settle_seconds_max=SETTLE_SECONDS_MAX)
        verdict = await run(folder, running, settings)
    assert verdict.numbers["faults"] == {"primary lost": 1}
    return verdict


@contextmanager
def serving(folder: Path, *databases: ShardDatabase) -> Iterator[list[ApiServer]]:
    servers = []
    try:
        for number in range(2):
            own = folder / f"server {number}"
            own.mkdir(parents=True)
            servers.append(ApiServer(own, *databases))
            servers[-1].start()
        yield servers
    finally:
        for server in servers:
            server.kill()


async def lose_primary(pair: Pair, chance: random.Random) -> str:
    """Cut the standby off from the primary, kill the primary, and let the standby take over. It happens once."""
    senders = [
        process
        for process in map(psutil.Process, postgres_processes(pair.primary.cluster_path))
        if "walsender" in " ".join(process.cmdline())
    ]
    if len(senders) != 1:
        raise NotBittenError(f"{len(senders)} processes send what the primary writes")
    senders[0].send_signal(signal.SIGSTOP)
    await asyncio.sleep(CUT_OFF_SECONDS + chance.uniform(0.0, 0.3))
    psutil.Process(pair.primary.pid).kill()
    # It stands still, so it would not notice.
    senders[0].kill()
    await asyncio.to_thread(pair.primary.kill)
    await asyncio.sleep(DEAD_SECONDS)
    await asyncio.to_thread(pair.promote)
    # It does not come back, and there is no other one to lose: no strike begins so late.
    await asyncio.sleep(Running._field_defaults["fault_seconds"])
    return "the primary is gone, the standby was promoted"


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_every_promise_is_kept(pair: Pair, postgres: EmbeddedPostgres, folder: Path) -> None:
    verdict = await run_on(pair, postgres, folder / "run", SEED)
    sys.stdout.write(f"TALLYSTICK_SEED={SEED}\n{verdict.text()}\n")
    assert not verdict.violations, verdict.text()
    assert not verdict.unnoticed
    assert not verdict.unverified


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_replication_that_is_not_waited_for_is_found_out(
    pair: Pair, postgres: EmbeddedPostgres, folder: Path
) -> None:
    pair.wait_for_no_standby()
    verdict = await run_on(pair, postgres, folder / "run", SEED)
    sys.stdout.write(f"TALLYSTICK_SEED={SEED}\n{verdict.text()}\n")
    assert "acknowledged_are_there_once" in verdict.violations
