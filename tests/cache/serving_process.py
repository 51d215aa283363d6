"""Server processes that cost little to start, so that they can be killed thousands of times.

This module is a program: it forks a process for each line that it reads, and says its number. Such a process is an
engine with all that a server has but HTTP. It answers lines of JSON on a socket, and ends at a moment that was named.
"""

import asyncio
import json
import os
import random
import secrets
import signal
import sys
import time
import traceback
from collections.abc import Collection
from typing import Any, Final

import structlog

from tallystick import Ledger, Refused
from tallystick.domain import limits
from tallystick.domain.commands import RequestKey, Transfer
from tallystick.domain.decide import Decision
from tallystick.domain.fingerprint import RequestKind, fingerprint, request_key
from tallystick.domain.identifiers import Prefix, parse_identifier
from tallystick.ledger.errors import NotTakenError
from tallystick.service.engine import Engine
from tallystick.store.errors import StoreError
from tests.cache.planted import plant

# Everything about the cache happens a few times as often as usual, so that many lives fit into a second.
QUICK: Final = {
    "CACHE_TIMEOUT_SECONDS": 0.1,
    "CACHE_CIRCUIT_OPEN_SECONDS_MIN": 0.05,
    "CACHE_CIRCUIT_OPEN_SECONDS_MAX": 0.2,
    "CACHE_AGE_MS_MAX": 800,
    "CACHE_LEASE_MS": 400,
    "CACHE_TAIL_INTERVAL_SECONDS": 0.03,
    "CACHE_LEASE_INTERVAL_SECONDS": 0.1,
}
TENANT: Final = 1
COMMANDS_AT_ONCE: Final = 4_000
COMMANDS_AT_A_TIME: Final = 100
_ORPHAN_LOOK_SECONDS: Final = 1.0
_REFUSED_PAUSE_SECONDS: Final = 0.05


class Serving:
    """What one process answers, and when it ends."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ledger = Ledger(engine, TENANT)
        self._die_at: str | None = None
        self._loads: list[asyncio.Task[None]] = []
        self._load_ended = False
        self._loaded = 0
        self._refused = 0
        for shard in engine.router.shards:
            # Before all that listen: the commit is done, and nobody was told, not even the cache.
            shard.batcher._listeners.insert(0, self._committed)
        cache = engine._cache
        assert cache is not None
        write = cache.write

        async def write_or_die(shard: int, balances: Collection[tuple[int, str]], *, as_of: int = 0) -> int:
            if self._die_at == "write" and not as_of:
                # The callers have their answers meanwhile.
                await asyncio.sleep(random.uniform(0, 0.02))
                end()
            return await write(shard, balances, as_of=as_of)

        cache.write = write_or_die  # type: ignore[method-assign, assignment]  # a place to die at

    def _committed(self, _decision: Decision) -> None:
        if self._die_at == "commit":
            end()

    async def answer(self, asked: dict[str, Any]) -> Any:
        what = asked.pop("what")
        return await getattr(self, f"do_{what}")(**asked)

    async def do_names(self) -> dict[str, int]:
        """The names under which this process takes leases, with their shards."""
        return {shard._tailer._name: shard.number for shard in self._engine.router.shards if shard._tailer}

    async def do_open(self, owner: str, count: int) -> list[str]:
        opening = (self._ledger.open_account(owner, "USD", min_balance=None) for _ in range(count))
        opened = await asyncio.gather(*opening)
        return [account.id for account in opened if not isinstance(account, Refused)]

    async def do_pay(self, source: str, destination: str, key: str) -> int:
        posted = await self._ledger.transfer(source, destination, 1, "USD", idempotency_key=key)
        assert not isinstance(posted, Refused), posted
        return posted.position

    async def do_read(self, accounts: list[str], min_position: int, strong: bool) -> list[list[Any]]:
        """Account, position, balance and whether it came from the cache, of each."""
        if len(accounts) == 1:
            one = await self._ledger.balance(accounts[0], min_position=min_position, strong=strong)
            assert not isinstance(one, Refused), one
            found = [one]
        else:
            found = list((await self._ledger.balances(accounts, strong=strong)).balances)
        return [[one.account, one.position, one.balance, one.source == "cache"] for one in found]

    async def do_die(self, at: str) -> None:
        self._die_at = at

    async def do_load(self, shard: int, accounts: list[str]) -> None:
        """Post on a shard as fast as it goes, from now on."""
        (served,) = [one for one in self._engine.router.shards if one.number == shard]
        numbers = [parse_identifier(Prefix.ACCOUNT, account) for account in accounts]

        async def post() -> None:
            while not self._load_ended:
                payments = [_payment(*random.sample(numbers, 2)) for _ in range(COMMANDS_AT_A_TIME)]
                try:
                    answers = await served.batcher.submit(payments)
                    self._loaded += len(answers)
                except NotTakenError:
                    self._refused += 1
                    await asyncio.sleep(_REFUSED_PAUSE_SECONDS)

        self._loads += [asyncio.create_task(post()) for _ in range(COMMANDS_AT_ONCE // COMMANDS_AT_A_TIME)]

    async def do_loaded(self) -> list[int]:
        """How many payments the load has posted, and how often it was not served."""
        return [self._loaded, self._refused]

    async def do_end_load(self) -> None:
        self._load_ended = True
        await asyncio.gather(*self._loads)


def _payment(payer: int, payee: int) -> Transfer:
    key = secrets.token_hex(8)
    asked_for = fingerprint(RequestKind.TRANSFER, payer, payee, 1, "USD")
    return Transfer(
        tenant=TENANT,
        request=RequestKey(request_key(TENANT, key), asked_for),
        source=payer,
        destination=payee,
        amount=1,
        asset="USD",
    )


def end() -> None:
    """Die at once, as by kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


async def serve(
    *, starter: int, socket: str, dsns: dict[str, str], cache: str, planted: str, quick: bool
) -> None:
    """Serve until killed, or until the process that started this one is gone."""
    # From the beginning: the starter may not know the number of this process yet.
    watching = asyncio.create_task(end_without(starter))
    if quick:
        for name, value in QUICK.items():
            setattr(limits, name, value)
    if planted:
        plant(planted)
    engine = Engine({int(number): dsn for number, dsn in dsns.items()}, cache=cache, recover=False)
    await engine.start()
    await engine.connected()
    serving = Serving(engine)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            try:
                answer = {"answer": await serving.answer(json.loads(line))}
            except (NotTakenError, StoreError) as error:
                answer = {"error": str(error)}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    # Whoever finds the socket finds somebody who answers.
    server = await asyncio.start_unix_server(talk, f"{socket}.new", limit=2**20)
    os.rename(f"{socket}.new", socket)  # noqa: PTH104 - as asyncio knows it, by its name
    async with server:
        await watching


async def end_without(starter: int) -> None:
    while os.getppid() == starter:  # noqa: ASYNC110 - the system does not tell that a parent is gone
        await asyncio.sleep(_ORPHAN_LOOK_SECONDS)
    end()


def main() -> None:
    """Fork a process for each line."""
    # They are killed, and this process does not ask how they ended.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    starter = os.getpid()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                random.seed()
                # The reader of what is printed here must not wait for this process.
                os.dup2(os.open(os.devnull, os.O_RDWR), sys.stdout.fileno())
                asyncio.run(serve(starter=starter, **json.loads(line)))
            except BaseException:  # noqa: BLE001 - it must not go on as if it were the one that forks
                traceback.print_exc()
            os._exit(1)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
