"""A cache that is away, full, read-only or talks nonsense: the answer is PostgreSQL's, and an alarm is raised."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import redis
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from tallystick import Ledger
from tallystick.embedded.valkey import EmbeddedValkey
from tests.cache.books import cached, key_of, mark_of, opened, paid, passed, seen, until_cached
from tests.cache.conftest import Serve, alice_and_bob, serving
from tests.waiting import until

# One that hangs is not among them.
pytestmark = pytest.mark.usefixtures("patient", "every_alarm_is_logged")


def alarms(logs: Sequence[Mapping[str, object]]) -> list[str]:
    return [str(line["event"]) for line in logs if str(line["event"]).startswith("ALARM")]


def drift() -> float:
    return sum(REGISTRY.get_sample_value("tallystick_cache_drift_total", {"shard": one}) or 0 for one in "12")


async def pays_on(ledger: Ledger, alice: str, bob: str, balance: int) -> None:
    """Pay one at a time and read what was paid."""
    for number in range(1, 11):
        posted = await paid(ledger, alice, bob, 1, f"later {number}")
        found = await seen(ledger, bob, min_position=posted.position)
        assert (found.balance, found.position) == (balance + number, posted.position)


async def test_it_dies_and_comes_back(serve: Serve, valkey: EmbeddedValkey) -> None:
    async with alice_and_bob(serve) as (ledger, alice, bob):
        with capture_logs() as logs:
            valkey.kill()
            await pays_on(ledger, alice, bob, 1)
            assert (await seen(ledger, bob)).source == "database"
        assert "ALARM: balances are read from PostgreSQL" in alarms(logs)
        await asyncio.to_thread(valkey.start)
        (found,) = await until_cached(ledger, bob)
        assert found.balance == 11


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ({"maxmemory": "1", "maxmemory-policy": "noeviction"}, {"maxmemory": "0"}),
        ({"min-replicas-to-write": "1"}, {"min-replicas-to-write": "0"}),
    ],
    ids=["out of memory", "takes no writes"],
)
async def test_it_takes_no_writes(
    serve: Serve, keys: "redis.Redis", wrong: dict[str, str], right: dict[str, str]
) -> None:
    async with alice_and_bob(serve) as (ledger, alice, bob):
        with capture_logs() as logs:
            for name, value in wrong.items():
                keys.config_set(name, value)
            await pays_on(ledger, alice, bob, 1)
            # It may have been left alone all that time, because of a failure of a moment before.
            await until(lambda: alarms(logs))
        for name, value in right.items():
            keys.config_set(name, value)
        (found,) = await until_cached(ledger, bob)
        assert found.balance == 11


async def test_it_is_a_replica(serve: Serve, keys: "redis.Redis") -> None:
    """Read-only, and whoever it follows is not there."""
    async with alice_and_bob(serve) as (ledger, alice, bob):
        keys.replicaof("127.0.0.1", "1")
        await pays_on(ledger, alice, bob, 1)
        keys.replicaof("NO", "ONE")
        assert (await until_cached(ledger, bob))[0].balance == 11


async def test_values_that_cannot_be_read(serve: Serve, keys: "redis.Redis") -> None:
    async with alice_and_bob(serve, 7) as (ledger, _, bob):
        position = (await seen(ledger, bob)).position
        # The tailer caches what it passes.
        await until(lambda: passed(keys, bob) >= position)
        good = cached(keys, bob) or b""
        generation = good.split(b" ")[0]
        for text in (
            b"nonsense",
            b"",
            generation + b" x 7 0 1 USD",
            generation + b" 9 7 0 1 USD more",
            b"\xff\xfe",
        ):
            keys.set(key_of(bob), text)
            found = await seen(ledger, bob)
            assert (found.balance, found.source) == (7, "database")
            assert cached(keys, bob) == good
        keys.delete(key_of(bob))
        keys.lpush(key_of(bob), "a list")
        assert (await seen(ledger, bob)).source == "database"
        assert cached(keys, bob) == good


async def test_a_wrong_balance_is_corrected_when_the_log_passes_it(
    serve: Serve, keys: "redis.Redis", dsns: dict[int, str]
) -> None:
    async with alice_and_bob(serve, 7) as (ledger, alice, bob):
        position = (await seen(ledger, bob)).position
        await until(lambda: passed(keys, bob) >= position)
        before = drift()
        good = (cached(keys, bob) or b"").split(b" ")
        keys.set(key_of(bob), b" ".join([*good[:2], b"123456", *good[3:]]))
        # A process that writes without a cache, so that nobody but the tailer corrects it.
        async with serving(dsns) as quiet:
            with capture_logs() as logs:
                await paid(Ledger(quiet, 1), alice, bob, 1, "two")
                await until(lambda: (cached(keys, bob) or b"").split(b" ")[2:3] == [b"8"])
                # It is corrected in the cache a moment before the tailer hears of it.
                await until(lambda: drift() > before and alarms(logs))
        assert "ALARM: a cached balance was wrong and was corrected" in alarms(logs)
        assert drift() == before + 1


async def test_a_mark_beyond_the_log_begins_anew(serve: Serve, keys: "redis.Redis") -> None:
    """The cache of another ledger, or of this one before it was restored from a backup."""
    async with alice_and_bob(serve, 7) as (ledger, _, bob):
        mark = mark_of(bob)
        before = drift()
        for text in (b"0 999999", b"nonsense", b"abc -1"):
            keys.set(mark, text)
            await until(lambda mark=mark, text=text: keys.get(mark) not in {None, text})  # type: ignore[misc]  # of defaults in a lambda
            (found,) = await until_cached(ledger, bob)
            assert found.balance == 7
        assert drift() > before


@pytest.fixture
async def babbler(tmp_path: Path) -> AsyncIterator[str]:
    """Something that is no cache, and answers all the same."""

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while await reader.read(4096):
                writer.write(b"$3\r\nyes\r\n" * 3)
        writer.close()

    path = tmp_path / "babbler"
    server = await asyncio.start_unix_server(babble, path)
    yield f"unix://{path}"
    server.close()


async def test_it_is_no_cache_at_all(dsns: dict[int, str], babbler: str) -> None:
    with capture_logs() as logs:
        async with serving(dsns, babbler) as engine:
            ledger = Ledger(engine, 1)
            alice, bob = await opened(ledger, "alice", 2)
            await pays_on(ledger, alice, bob, 0)
            await until(lambda: alarms(logs))


LIES = {
    "a word": b"+OK\r\n",
    "nothing": b"$-1\r\n",
    "a number": b":1\r\n",
    "a list": b"*1\r\n:1\r\n",
    "a list of words": b"*2\r\n$1\r\nx\r\n$1\r\ny\r\n",
}


@asynccontextmanager
async def lying_to_scripts(valkey: EmbeddedValkey, path: Path, lie: bytes) -> AsyncIterator[str]:
    """A cache that answers everything but what a script does."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        honest, asking = await asyncio.open_unix_connection(valkey.address.removeprefix("unix://"))
        with suppress(OSError):
            while asked := await reader.read(65536):
                if b"EVAL" in asked:
                    writer.write(lie)
                else:
                    asking.write(asked)
                    writer.write(await honest.read(65536))
        asking.close()
        writer.close()

    server = await asyncio.start_unix_server(pass_on, path)
    try:
        yield f"unix://{path}"
    finally:
        server.close()


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_scripts_are_answered_with_nonsense(
    serve: Serve, dsns: dict[int, str], valkey: EmbeddedValkey, tmp_path: Path, lie: bytes
) -> None:
    async with alice_and_bob(serve) as (honest, alice, bob):
        async with (
            lying_to_scripts(valkey, tmp_path / "liar", lie) as address,
            serving(dsns, address) as engine,
        ):
            ledger = Ledger(engine, 1)
            for _ in range(3):
                assert (await seen(ledger, bob, strong=True)).balance == 1
            await pays_on(ledger, alice, bob, 1)
        assert (await seen(honest, bob, strong=True)).balance == 11
