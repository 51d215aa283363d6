"""A cache that forgot the last it was told, mark and all, and says so by no sign: nobody sees a step back.

It starts again from what it had saved, or a replica takes over that had been cut off from its master.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tallystick import Ledger
from tallystick.domain import limits
from tallystick.service.engine import Engine
from tests.awake import AwakeClock
from tests.cache.books import cached, opened, paid, passed, seen, until_cached
from tests.cache.conftest import serving
from tests.cache.servers import ONE_REDIS, ONE_VALKEY, VALKEY, CacheServer, Program, wait
from tests.ports import own_port
from tests.waiting import until

PASSWORD = "server's secret"
SENTINEL_PASSWORD = "sentinel-secret"
# Between two passes of the tailer there is time to look at what it has not passed yet.
TAIL_SECONDS = 2.0
FAILOVER_SECONDS_MAX = 90.0
# A master that does not answer for so long is replaced: when it is lost. Before that, one that stands still with this
# machine is not.
MASTER_TIMEOUT_MS = 500
MASTER_PATIENCE_MS = 60_000


@pytest.fixture
async def engine(
    dsns: dict[int, str], address: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Engine]:
    """One server process, whose tailer is slow."""
    monkeypatch.setattr(limits, "CACHE_TAIL_INTERVAL_SECONDS", TAIL_SECONDS)
    monkeypatch.setattr(limits, "CACHE_LEASE_INTERVAL_SECONDS", TAIL_SECONDS)
    async with serving(dsns, address) as engine:
        yield engine


@pytest.fixture
def saved(tmp_path: Path) -> Iterator[CacheServer]:
    """One server, which saves when it is told to."""
    with CacheServer(VALKEY, tmp_path / "server") as server:
        yield server


class Watched(NamedTuple):
    address: str
    master: CacheServer
    replica: CacheServer
    sentinel: CacheServer

    def lose_master(self) -> None:
        self.sentinel.client.sentinel_set("ledger", "down-after-milliseconds", MASTER_TIMEOUT_MS)
        self.master.kill()


@pytest.fixture
def watched(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Watched]:
    """A master, its replica, and a Sentinel; of the Sentinels that are named another one is dead, and one hangs."""
    program: Program = request.param
    secret = (f'requirepass "{PASSWORD}"', f'masterauth "{PASSWORD}"', "repl-diskless-sync-delay 0")
    with (
        CacheServer(program, tmp_path / "master", *secret) as master,
        CacheServer(program, tmp_path / "replica", *secret, f"replicaof 127.0.0.1 {master.port}") as replica,
        CacheServer(
            program,
            tmp_path / "sentinel",
            f"requirepass {SENTINEL_PASSWORD}",
            f"sentinel monitor ledger 127.0.0.1 {master.port} 1",
            f'sentinel auth-pass ledger "{PASSWORD}"',
            f"sentinel down-after-milliseconds ledger {MASTER_PATIENCE_MS}",
            "sentinel failover-timeout ledger 3000",
            sentinel=True,
        ) as sentinel,
        CacheServer(program, tmp_path / "hanging") as hanging,
    ):
        hanging.halt()
        for server in (master, replica):
            server.log_in(None, PASSWORD)
        sentinel.log_in(None, SENTINEL_PASSWORD)
        wait(lambda: replica.client.info()["master_link_status"] == "up")
        wait(lambda: sentinel.client.sentinel_slaves("ledger"))
        sentinels = f"127.0.0.1:{own_port()},127.0.0.1:{hanging.port},127.0.0.1:{sentinel.port}"
        login = f":{PASSWORD.replace(' ', '%20')}"
        yield Watched(
            f"valkey+sentinel://{login}@{sentinels}/ledger?sentinel_password={SENTINEL_PASSWORD}",
            master,
            replica,
            sentinel,
        )


def cut_off(watched: Watched) -> None:
    """From now on the replica hears nothing, and knows what it knew."""
    watched.replica.client.config_set("masterauth", "wrong")
    watched.master.client.client_kill_filter(_type="replica")
    wait(lambda: watched.replica.client.info()["master_link_status"] == "down")


@pytest.fixture
def address(request: pytest.FixtureRequest) -> str:
    """Where the servers are that the test asks for."""
    name = "watched" if "watched" in request.fixturenames else "saved"
    found: str = request.getfixturevalue(name).address
    return found


async def reads_never_go_back(
    ledger: Ledger, accounts: dict[str, int], clock: AwakeClock, done: Callable[[], bool] = lambda: True
) -> list[str]:
    """Read one after the other, until the cache answers for all after `done`; where answers came from."""
    sources: list[str] = []
    deadline = time.monotonic() + FAILOVER_SECONDS_MAX
    while True:
        finished = done()
        round_ = []
        for account, position in accounts.items():
            began = clock.seconds
            found = await seen(ledger, account)
            assert found.position >= position, f"{found} after position {position}"
            # A call that hangs is given up, and what it waited for is read from PostgreSQL.
            assert clock.seconds - began < 10 * limits.CACHE_TIMEOUT_SECONDS
            round_.append(found.source)
        sources += round_
        if finished and set(round_) == {"cache"}:
            return sources
        assert time.monotonic() < deadline, "the cache was not asked again in time"
        await asyncio.sleep(0.005)


async def pays_and_sees(ledger: Ledger, alice: str, others: list[str]) -> dict[str, int]:
    """Pay each; the positions at which the cache answers for them."""
    for other in others:
        await paid(ledger, alice, other, 1, secrets.token_hex())
    return {found.account: found.position for found in await until_cached(ledger, *others)}


# Whether the mark has passed what was seen when it is forgotten: it is remembered in one way or the other.
WHEN = pytest.mark.parametrize("is_passed", [False, True], ids=["beyond the mark", "passed by the mark"])


@pytest.mark.slow
@WHEN
async def test_it_starts_from_what_it_had_saved(
    engine: Engine, saved: CacheServer, clock: AwakeClock, *, is_passed: bool
) -> None:
    ledger = Ledger(engine, 1)
    alice, bob, carol = await opened(ledger, "alice", 3)
    await pays_and_sees(ledger, alice, [bob, carol])
    saved.client.save()
    positions = await pays_and_sees(ledger, alice, [bob, carol])
    if is_passed:
        await until(lambda: passed(saved.client, bob) >= max(positions.values()))
        await until_cached(ledger, bob, carol)
    before = cached(saved.client, bob)
    saved.kill()
    await asyncio.to_thread(saved.start)
    assert cached(saved.client, bob) not in {None, before}
    sources = await reads_never_go_back(ledger, positions, clock)
    assert "database" in sources


@pytest.mark.slow
@pytest.mark.parametrize(
    ("watched", "is_passed"),
    [(*ONE_VALKEY[0].values, False), (*ONE_REDIS[0].values, True)],
    indirect=["watched"],
    ids=["valkey, beyond the mark", "redis, passed by the mark"],
)
async def test_a_replica_takes_over_that_lacks_the_last_writes(
    engine: Engine, watched: Watched, clock: AwakeClock, *, is_passed: bool
) -> None:
    ledger = Ledger(engine, 1)
    alice, bob, carol = await opened(ledger, "alice", 3)
    positions = await pays_and_sees(ledger, alice, [bob, carol])
    await until(lambda: cached(watched.replica.client, carol) == cached(watched.master.client, carol))
    await asyncio.to_thread(cut_off, watched)
    positions = await pays_and_sees(ledger, alice, [bob, carol])
    if is_passed:
        await until(lambda: passed(watched.master.client, bob) >= max(positions.values()))
        await until_cached(ledger, bob, carol)
    assert cached(watched.replica.client, bob) != cached(watched.master.client, bob)
    watched.lose_master()
    sources = await reads_never_go_back(ledger, positions, clock, lambda: role(watched.replica) == "master")
    assert "database" in sources
    # It goes on with the new master.
    positions = await pays_and_sees(ledger, alice, [bob, carol])
    assert cached(watched.replica.client, bob)


def role(server: CacheServer) -> str:
    return str(server.client.info()["role"])
