"""The cache is away for a while, with the shard under full load: nothing waits for it, and soon it is level again.

TALLYSTICK_OUTAGE_SECONDS says for how long (3).
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psycopg
import pytest
import redis.asyncio
from redis.exceptions import RedisError

from tallystick.domain.cached import Mark, read_balance, read_mark
from tallystick.domain.identifiers import Prefix, parse_identifier, shard_of
from tallystick.embedded.valkey import EmbeddedValkey
from tests.awake import AwakeClock
from tests.cache.server_processes import ServerProcess, Starter

OUTAGE_SECONDS: Final = float(os.environ.get("TALLYSTICK_OUTAGE_SECONDS", "3"))
LEVEL_SECONDS_MAX: Final = 10.0
# Less than a mark lives: who cannot keep up begins anew when it has run out, and would be level for a moment.
STAYS_LEVEL_SECONDS_MAX: Final = 5.0
ACCOUNTS: Final = 1_000
LOOK_SECONDS: Final = 0.1
# Level is who lags by no more than what is posted between two looks of the tailer, and a little.
LAG_SECONDS_MAX: Final = 1.0
SILENCE_SECONDS_MAX: Final = 5.0
# All that is waited for beside what is measured: of the clock that goes on while this machine stands still.
WAIT_SECONDS_MAX: Final = 60.0
NEWEST: Final = (
    "SELECT DISTINCT ON (account) account, position, balance FROM entries ORDER BY account, position DESC"
)


class Watched:
    """Two servers, one that posts and one that reads, and their cache."""

    def __init__(
        self,
        posting: ServerProcess,
        reading: ServerProcess,
        valkey: EmbeddedValkey,
        owner_dsn: str,
        clock: AwakeClock,
    ) -> None:
        self._clock = clock
        self.posting = posting
        self.reading = reading
        self.accounts: list[str] = []
        self.slowest_read_seconds = 0.0
        self.longest_silence_seconds = 0.0
        self._valkey = valkey
        self._owner_dsn = owner_dsn

    @property
    def shard(self) -> int:
        return shard_of(parse_identifier(Prefix.ACCOUNT, self.accounts[0]))

    async def mark(self) -> Mark | None:
        """How far the log was passed."""
        client = redis.asyncio.Redis.from_url(self._valkey.address)
        try:
            text = await client.get(f"tallystick:{{{self.shard}}}:mark")
        except RedisError:
            return None
        finally:
            await client.aclose()
        return read_mark(text if isinstance(text, bytes) else None)

    async def head(self) -> int:
        """How long the log is."""
        with psycopg.connect(self._owner_dsn) as connection:
            row = connection.execute("SELECT max(last_position) FROM batches").fetchone()
        assert row is not None
        return int(row[0])

    async def read(self) -> list[list[object]]:
        started = self._clock.seconds
        found: list[list[object]] = await self.reading.ask(
            "read", accounts=self.accounts[:100], min_position=0, strong=False
        )
        self.slowest_read_seconds = max(self.slowest_read_seconds, self._clock.seconds - started)
        return found

    async def watch(self) -> None:
        """See that somebody posts and somebody answers all the time; raises where not."""
        posted, posted_at = 0, self._clock.seconds
        while True:
            found = await self.read()
            assert len(found) == 100
            now_posted, refused = await self.posting.ask("loaded")
            assert refused == 0
            now = self._clock.seconds
            if now_posted > posted:
                posted, posted_at = now_posted, now
            self.longest_silence_seconds = max(self.longest_silence_seconds, now - posted_at)
            assert now - posted_at < SILENCE_SECONDS_MAX, "nothing is posted any more"
            await asyncio.sleep(LOOK_SECONDS)

    async def until_level(self) -> float:
        """How long it took until a reader was answered by the cache, with the tailer at the end of the log."""
        started = self._clock.seconds
        while self._clock.seconds - started < WAIT_SECONDS_MAX:
            asked_at, head = self._clock.seconds, await self.head()
            while self._clock.seconds - asked_at < LAG_SECONDS_MAX:
                mark = await self.mark()
                if mark is not None and mark.position >= head and all(one[3] for one in await self.read()):
                    return self._clock.seconds - started
                await asyncio.sleep(LOOK_SECONDS / 5)
        raise AssertionError(
            f"it is not level: the mark is {await self.mark()}, the head {await self.head()}"
        )

    async def compare(self) -> int:
        """Compare all that is cached with the ledger, after the load; how many there are."""
        head = await self.head()
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while (mark := await self.mark()) is None or mark.position < head:
            assert time.monotonic() < deadline, "it does not come to the end of the log"
            await asyncio.sleep(LOOK_SECONDS)
        with psycopg.connect(self._owner_dsn) as connection:
            newest = {
                account: (position, balance) for account, position, balance in connection.execute(NEWEST)
            }
        numbers = [parse_identifier(Prefix.ACCOUNT, account) for account in self.accounts]
        client = redis.asyncio.Redis.from_url(self._valkey.address)
        values = await client.mget([f"tallystick:{{{self.shard}}}:{number}" for number in numbers])
        await client.aclose()
        count = 0
        for number, text in zip(numbers, values, strict=True):
            found = read_balance(number, mark.generation, text) if isinstance(text, bytes) else None
            if found is not None:
                assert (found.position, found.balance) == newest[number]
                count += 1
        for account, position, balance, _ in await self.read():
            assert (position, balance) == newest[parse_identifier(Prefix.ACCOUNT, str(account))]
        return count


@pytest.fixture
async def seen(
    dsns: dict[int, str],
    owner_dsns: dict[int, str],
    valkey: EmbeddedValkey,
    tmp_path: Path,
    clock: AwakeClock,
) -> AsyncIterator[Watched]:
    sockets = Path(valkey.address.removeprefix("unix://")).parent
    async with Starter(tmp_path / "servers.log") as starter:
        posting, reading = [
            ServerProcess(starter, sockets / name, dsns, valkey.address, quick=False)
            for name in ("posting", "reading")
        ]
        try:
            await posting.start()
            await reading.start()
            accounts = await posting.ask("open", owner="racer", count=ACCOUNTS)
            shard = shard_of(parse_identifier(Prefix.ACCOUNT, accounts[0]))
            watched = Watched(posting, reading, valkey, owner_dsns[shard], clock)
            watched.accounts = accounts
            yield watched
        finally:
            for server in (posting, reading):
                server.end()


@pytest.mark.slow
@pytest.mark.timeout(120 + 2 * OUTAGE_SECONDS)
async def test_after_an_outage_under_full_load_it_is_level_within_seconds(
    seen: Watched, valkey: EmbeddedValkey
) -> None:
    await seen.posting.ask("load", shard=seen.shard, accounts=seen.accounts)
    watching = asyncio.create_task(seen.watch())
    before_seconds = await seen.until_level()
    (posted_before, _), started = await seen.posting.ask("loaded"), time.monotonic()
    valkey.kill()
    await asyncio.sleep(OUTAGE_SECONDS)
    (posted, _), ended = await seen.posting.ask("loaded"), time.monotonic()
    await asyncio.to_thread(valkey.start)
    level_seconds = await seen.until_level()
    # It stays so.
    again_seconds = [await seen.until_level() for _ in range(5)]
    watching.cancel()
    # Whatever it has seen meanwhile that must not be is raised here.
    with suppress(asyncio.CancelledError):
        await watching
    await seen.posting.ask("end_load")
    per_second = (posted - posted_before) / (ended - started)
    sys.stdout.write(
        f"{OUTAGE_SECONDS:.0f} s without Valkey, {posted - posted_before:,} payments meanwhile"
        f" ({per_second:,.0f}/s): level after {level_seconds:.1f} s, then {max(again_seconds):.1f} s"
        f" (at first {before_seconds:.1f} s); slowest read {seen.slowest_read_seconds:.2f} s,"
        f" longest silence {seen.longest_silence_seconds:.2f} s\n"
    )
    assert level_seconds < LEVEL_SECONDS_MAX
    assert max(again_seconds) < STAYS_LEVEL_SECONDS_MAX
    assert await seen.compare() > 0
