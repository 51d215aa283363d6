"""Server processes that share shards and a cache, killed again and again, with all else that may happen to them.

A *round* is one disturbance. After some rounds all writers stop, and what is cached is compared with the ledger.
"""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import psycopg
import redis.asyncio
from redis.exceptions import RedisError

from tallystick.domain.cached import read_balance, read_mark
from tallystick.domain.identifiers import Prefix, parse_identifier, shard_of
from tallystick.embedded.valkey import EmbeddedValkey
from tests.cache.race import ViolationError
from tests.cache.server_processes import LostError, NotServedError, ServerProcess, Starter
from tests.cache.slow_wire import SlowWire

SERVERS: Final = 3
ACCOUNTS_PER_SHARD: Final = 3
WRITERS: Final = 4
STRONG_SHARE: Final = 0.1
ALL_AT_ONCE_SHARE: Final = 0.1
STRONG_READ_SHARE_OF_WRITERS: Final = 0.3
PAUSE_SECONDS_MAX: Final = 0.1
STAND_STILL_SECONDS_MAX: Final = 1.0
CUT_SECONDS_MAX: Final = 0.3
AWAY_SECONDS_MAX: Final = 0.15
QUIET_SECONDS_MAX: Final = 60.0
_LOOK_SECONDS: Final = 0.02
ENTRIES: Final = "SELECT account, position, balance FROM entries WHERE position > %s"


class Seen(NamedTuple):
    """What a server said of an account."""

    account: str
    position: int
    balance: int
    from_cache: bool


class ProcessRace:
    """Processes, a wire for each to the cache, and those who write, observe and disturb."""

    def __init__(
        self,
        folder: Path,
        dsns: Mapping[int, str],
        owner_dsns: Mapping[int, str],
        valkey: EmbeddedValkey,
        seed: int,
    ) -> None:
        """Name the shards, for the servers and for whoever looks at all of them."""
        self._folder = folder
        self._dsns = dsns
        self._owner_dsns = owner_dsns
        self._valkey = valkey
        self._chance = random.Random(seed)
        self._stack = AsyncExitStack()
        self._servers: list[ServerProcess] = []
        self._wires: list[SlowWire] = []
        self._accounts: dict[int, list[str]] = {}
        self._stopping = False
        self._asked = 0
        # What was acknowledged: the newest position of each account.
        self._acknowledged: dict[str, int] = {}
        self._observed: set[tuple[str, int, int]] = set()
        # What every position left, as the ledger says, and up to where it was asked.
        self._truth: dict[tuple[str, int], int] = {}
        self._truth_up_to: dict[int, int] = dict.fromkeys(dsns, 0)
        self.done: Counter[str] = Counter()
        self.disturbances: dict[str, Callable[[], Awaitable[None]]] = {
            "FLUSHALL": self._flush,
            "mark lost": self._lose_mark,
            "kill -9 of Valkey": self._kill_valkey,
            "kill -9 of the tailer's process": self._kill_tailer,
            "kill -9 between commit and cache write": self._kill_after_commit,
            "kill -9 instead of the cache write": self._kill_at_write,
            "kill -9 at any moment": self._kill_any,
            "server stands still": self._stand_still,
            "server cut off from the cache": self._cut_off,
        }

    async def begin(self, planted: str = "") -> Self:
        """Start everything."""
        socket = Path(self._valkey.address.removeprefix("unix://"))
        starter = await self._stack.enter_async_context(Starter(self._folder / "servers.log"))
        for number in range(SERVERS):
            wire = SlowWire(socket.with_name(f"wire{number}"), socket, self._chance)
            await self._stack.enter_async_context(wire)
            own = socket.with_name(f"server{number}")
            server = ServerProcess(starter, own, self._dsns, wire.address, planted=planted)
            self._wires.append(wire)
            self._servers.append(server)
        await asyncio.gather(*(server.start() for server in self._servers))
        while len(self._accounts) < len(self._dsns):
            opened = await self._servers[0].ask(
                "open", owner=f"racer {self._chance.random()}", count=ACCOUNTS_PER_SHARD
            )
            self._accounts[_shard(opened[0])] = opened
        return self

    async def end(self) -> None:
        """Kill all of them."""
        for server in self._servers:
            server.end()
        self.done["held up"] = sum(wire.held for wire in self._wires)
        self.done["later than anybody waited"] = sum(wire.late for wire in self._wires)
        await self._stack.aclose()

    async def heat(self, rounds: int, only: list[str] | None = None) -> None:
        """Some rounds, and then a look at everything.

        Raises:
            ExceptionGroup: of a ViolationError, where somebody saw what must not be.
        """
        self._stopping = False
        names = only or list(self.disturbances)
        async with asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(self._write())
            for server in self._servers:
                group.create_task(self._observe(server))
                group.create_task(self._observe(server))
            group.create_task(self._observe_all())
            try:
                for _ in range(rounds):
                    await asyncio.sleep(self._chance.uniform(0, PAUSE_SECONDS_MAX))
                    name = self._chance.choice(names)
                    await self.disturbances[name]()
                    self.done[name] += 1
                await asyncio.sleep(PAUSE_SECONDS_MAX)
            finally:
                self._stopping = True
        await asyncio.to_thread(self._read_truth)
        self._compare_observed()
        await self._check_quiet()

    # Those who write and those who look.

    async def _write(self) -> None:
        while not self._stopping:
            source, destination = self._chance.sample(
                self._accounts[self._chance.choice(list(self._accounts))], 2
            )
            self._asked += 1
            key = f"payment {self._asked}"
            position = await self._until_answered("pay", source=source, destination=destination, key=key)
            if position is None:
                continue
            self.done["payments"] += 1
            for account in (source, destination):
                self._acknowledged[account] = max(position, self._acknowledged.get(account, 0))
            await self._read_own(destination, position)

    async def _read_own(self, account: str, position: int) -> None:
        """Whoever wrote sees it, whichever server he asks."""
        strong = self._chance.random() < STRONG_READ_SHARE_OF_WRITERS
        acknowledged = self._acknowledged[account]
        own = await self._read(account, min_position=0 if strong else position, strong=strong)
        if own is None:
            return
        if own.position < position:
            raise ViolationError(f"{own} is older than what was written at {position}, strong: {strong}")
        if strong and own.position < acknowledged:
            raise ViolationError(f"{own} is older than what was acknowledged at {acknowledged}")

    async def _read(self, account: str, *, min_position: int, strong: bool) -> Seen | None:
        """What some server says. None: it is over."""
        found = await self._until_answered(
            "read", accounts=[account], min_position=min_position, strong=strong
        )
        if found is None:
            return None
        one = Seen(*found[0])
        self._note(one)
        return one

    async def _until_answered(self, what: str, **arguments: Any) -> Any:
        """Ask one server, and another one when that was killed. None: it is over."""
        while True:
            try:
                return await self._chance.choice(self._servers).ask(what, **arguments)
            except (LostError, NotServedError):
                self.done["asked again"] += 1
                if self._stopping:
                    return None
                await asyncio.sleep(_LOOK_SECONDS)

    async def _observe(self, server: ServerProcess) -> None:
        """Ask one server: no account's position goes back while it lives."""
        newest: dict[str, int] = {}
        life = server.life
        while not self._stopping:
            accounts, strong = self._whatever()
            try:
                found = await server.ask("read", accounts=accounts, min_position=0, strong=strong)
            except (LostError, NotServedError):
                await asyncio.sleep(_LOOK_SECONDS)
                continue
            if life != server.life:
                newest.clear()
                life = server.life
                continue
            for one in (Seen(*fields) for fields in found):
                self._note(one)
                if one.position < newest.get(one.account, 0):
                    raise ViolationError(f"{one} after position {newest[one.account]}, same server")
                newest[one.account] = one.position

    async def _observe_all(self) -> None:
        """Ask any server for what is as new as what was seen."""
        newest: dict[str, int] = {}
        while not self._stopping:
            account = self._chance.choice(self._all_accounts())
            expected = newest.get(account, 0)
            one = await self._read(account, min_position=expected, strong=False)
            if one is None:
                return
            if one.position < expected:
                raise ViolationError(f"{one} where position {expected} was asked for")
            newest[account] = one.position

    def _whatever(self) -> tuple[list[str], bool]:
        strong = self._chance.random() < STRONG_SHARE
        if self._chance.random() < ALL_AT_ONCE_SHARE:
            return self._all_accounts(), strong
        return [self._chance.choice(self._all_accounts())], strong

    def _all_accounts(self) -> list[str]:
        return [account for accounts in self._accounts.values() for account in accounts]

    def _note(self, one: Seen) -> None:
        self.done["reads from the cache" if one.from_cache else "reads from PostgreSQL"] += 1
        self._observed.add((one.account, one.position, one.balance))

    # What happens to them.

    async def _flush(self) -> None:
        await self._in_cache("FLUSHALL")

    async def _lose_mark(self) -> None:
        """As a cache does that is full."""
        await self._in_cache("DEL", f"tallystick:{{{self._any_shard()}}}:mark")

    async def _kill_valkey(self) -> None:
        self._valkey.kill()
        await asyncio.sleep(self._chance.uniform(0, AWAY_SECONDS_MAX))
        await asyncio.to_thread(self._valkey.start)

    async def _kill_tailer(self) -> None:
        """Whoever has the lease of a shard; it may take a moment until somebody has."""
        lease = f"tallystick:{{{self._any_shard()}}}:lease"
        deadline = time.monotonic() + QUIET_SECONDS_MAX
        while time.monotonic() < deadline:
            holder = await self._in_cache("GET", lease)
            for server in self._servers:
                if holder is not None and holder.decode() in server.names:
                    await self._kill(server)
                    return
            await asyncio.sleep(_LOOK_SECONDS)
        raise AssertionError("nobody has the lease")

    async def _kill_after_commit(self) -> None:
        await self._die("commit")

    async def _kill_at_write(self) -> None:
        await self._die("write")

    async def _die(self, at: str) -> None:
        """Let a server die when it comes there, which the writers see to."""
        server = self._chance.choice(self._servers)
        await server.ask("die", at=at)
        await server.gone()
        await server.start()

    async def _kill_any(self) -> None:
        await self._kill(self._chance.choice(self._servers))

    async def _kill(self, server: ServerProcess) -> None:
        server.signal(signal.SIGKILL)
        await server.gone()
        await server.start()

    async def _stand_still(self) -> None:
        """A server that wakes up later, in the middle of whatever it did."""
        server = self._chance.choice(self._servers)
        server.signal(signal.SIGSTOP)
        await asyncio.sleep(self._chance.uniform(0, STAND_STILL_SECONDS_MAX))
        server.signal(signal.SIGCONT)

    async def _cut_off(self) -> None:
        wire = self._chance.choice(self._wires)
        wire.cut(cut=True)
        await asyncio.sleep(self._chance.uniform(0, CUT_SECONDS_MAX))
        wire.cut(cut=False)

    async def _in_cache(self, *command: str) -> Any:
        client = redis.asyncio.Redis.from_url(self._valkey.address)
        try:
            return await client.execute_command(*command)  # type: ignore[no-untyped-call]  # of redis
        except RedisError:
            return None
        finally:
            await client.aclose()

    def _any_shard(self) -> int:
        return self._chance.choice(list(self._dsns))

    # What the ledger says.

    def _read_truth(self) -> None:
        for number, dsn in self._owner_dsns.items():
            names = {parse_identifier(Prefix.ACCOUNT, one): one for one in self._accounts[number]}
            with psycopg.connect(dsn) as connection:
                for account, position, balance in connection.execute(ENTRIES, [self._truth_up_to[number]]):
                    self._truth[names[account], position] = balance
                    self._truth_up_to[number] = max(self._truth_up_to[number], position)

    def _compare_observed(self) -> None:
        for account, position, balance in self._observed:
            # Position 0: nothing ever happened to it.
            if balance != (self._truth.get((account, position)) if position else 0):
                raise ViolationError(f"{account} never had {balance} at {position}")
        self._observed.clear()

    async def _check_quiet(self) -> None:
        """Within a while everybody is answered by the cache; and whatever it says is what the ledger says."""
        newest: dict[str, tuple[int, int]] = {}
        for (account, position), balance in self._truth.items():
            newest[account] = max(newest.get(account, (0, 0)), (position, balance))
        deadline = time.monotonic() + QUIET_SECONDS_MAX
        while not await self._all_cached(newest):
            if time.monotonic() > deadline:
                raise ViolationError("it was quiet for long, and not everybody was answered by the cache")
            await asyncio.sleep(_LOOK_SECONDS)

    async def _all_cached(self, newest: Mapping[str, tuple[int, int]]) -> bool:
        """Whether all is passed and cached. What is cached once the log was passed must be right."""
        for number, accounts in self._accounts.items():
            prefix = f"tallystick:{{{number}}}:"
            numbers = [parse_identifier(Prefix.ACCOUNT, account) for account in accounts]
            values = await self._in_cache("MGET", f"{prefix}mark", *[f"{prefix}{one}" for one in numbers])
            mark = None if values is None else read_mark(values[0])
            if mark is None or mark.position < self._truth_up_to[number]:
                return False
            for account, identifier, text in zip(accounts, numbers, values[1:], strict=True):
                cached = text and read_balance(identifier, mark.generation, text)
                if cached and (cached.position, cached.balance) != newest.get(account, (0, 0)):
                    raise ViolationError(f"quiet, and {cached} is cached, not {newest[account]}")
        everybody = self._all_accounts()
        for server in self._servers:
            for fields in await server.ask("read", accounts=everybody, min_position=0, strong=False):
                one = Seen(*fields)
                if (one.position, one.balance) != newest.get(one.account, (0, 0)):
                    raise ViolationError(f"quiet, and {one} is not {newest[one.account]}")
                if not one.from_cache:
                    return False
        return True


def _shard(account: str) -> int:
    return shard_of(parse_identifier(Prefix.ACCOUNT, account))
