"""Faults of a cluster: of its machines, of their programs, of the network between them, and of disks.

Each strikes, proves that it has bitten, repairs, and waits until what it struck is whole again.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import psutil

from tallystick.cluster.asking import ask_json, ask_valkey
from tallystick.cluster.machines import freeze, processes_of, switch_off, switch_on, thaw
from tallystick.cluster.namespaces import cut, mend
from tallystick.cluster.plan import API_PORT, ETCD_PORT, VALKEY_PORT, Machine, Plan
from tallystick.cluster.record import Passwords
from tallystick.cluster.state import ShardState, ask_database, is_whole, shard_state
from tests.chaos.cluster_commits import Ending, end_waiting_commits
from tests.chaos.cluster_disks import full_disk
from tests.chaos.proofs import expect_gone, proof_of_stop, stopped
from tests.chaos.strikes import NotBittenError, Strike
from tests.cluster.network import expect_unreachable

MOMENT_SECONDS: Final = (1.5, 4.0)
FULL_SECONDS: Final = (3.0, 6.0)
WAITING_SECONDS: Final = (2.0, 4.0)
WITHOUT_ETCD_SECONDS: Final = 25.0
"""Longer than the lock of a primary lasts."""
CACHE_SECONDS: Final = (4.0, 8.0)
"""Longer than the Sentinels wait before they choose another master."""
OTHER_PRIMARY_SECONDS_MAX: Final = 60.0
WHOLE_SECONDS_MAX: Final = 300.0
LOOK_SECONDS: Final = 0.2

Happen = Callable[[random.Random], Awaitable[str]]
Which = Callable[[str], bool]


def any_name(_name: str) -> bool:
    """All processes of a machine."""
    return True


def is_postgres(name: str) -> bool:
    """PostgreSQL's, beside which Patroni goes on."""
    return name == "postgres"


def is_patroni(name: str) -> bool:
    """Patroni, whose PostgreSQL goes on."""
    return name != "postgres"


def is_etcd(name: str) -> bool:
    """The store that decides who is the primary; a Sentinel goes on beside it."""
    return name == "etcd"


class ClusterFaults:
    """What can happen to a cluster."""

    def __init__(self, plan: Plan, passwords: Passwords) -> None:
        self._plan = plan
        self._passwords = passwords
        # Mending mends the whole network.
        self._network = asyncio.Lock()

    def strikes(self) -> list[Strike]:
        """All that can happen."""
        return [*self._of_servers(), *self._of_shards(), *self._of_the_rest()]

    def _of_servers(self) -> list[Strike]:
        found: list[Strike] = []
        for server in self._plan.servers:
            address = f"http://{server.at(API_PORT)}"
            answers = partial(self._answers, address)

            def add(
                kind: str, happen: Happen, *, restarts: bool = False, of: str = address, at: str = server.name
            ) -> None:
                found.append(Strike(kind, of, at, happen, noticed=True, restarts=restarts))

            add("API server killed", partial(self._kill, server, any_name, answers), restarts=True)
            add("API server frozen", partial(self._freeze, server, any_name, answers))
            for shard in self._plan.databases:
                add("API server cut off from a shard", partial(self._cut_off_server, server, shard))
        proxy = self._plan.proxy
        answers = partial(self._answers, self._plan.url)
        for kind, strike in (("HAProxy killed", self._kill), ("HAProxy frozen", self._freeze)):
            happen = partial(strike, proxy, any_name, answers)
            found.append(Strike(kind, self._plan.url, proxy.name, happen, noticed=True))
        return found

    def _of_shards(self) -> list[Strike]:
        found: list[Strike] = []
        for shard in self._plan.databases:

            def add(
                kind: str, happen: Callable[..., Awaitable[str]], noticed: bool = True, shard: int = shard
            ) -> None:
                place = f"shard {shard}"
                found.append(Strike(kind, place, place, partial(happen, shard), noticed=noticed))

            add("primary: PostgreSQL killed", partial(self._of_primary, self._kill, is_postgres))
            add("primary: all programs killed", partial(self._of_primary, self._kill, any_name))
            add("primary: machine off", self._switch_off_primary)
            add("primary: machine frozen", self._freeze_primary)
            add("primary: frozen for a moment", partial(self._of_primary, self._freeze, any_name))
            add("primary: cut off", partial(self._cut_off_primary, both=True))
            add("primary: cannot send", partial(self._cut_off_primary, both=False))
            add("primary: Patroni killed", partial(self._of_primary, self._kill, is_patroni), noticed=False)
            add("primary: Patroni hangs", self._hang_patroni, noticed=False)
            add("primary: disk full", partial(self._fill_disk, of_primary=True), noticed=False)
            add(
                "primary: waiting commits cancelled", partial(self._end_commits, Ending.CANCEL), noticed=False
            )
            add(
                "primary: waiting commits' sessions ended",
                partial(self._end_commits, Ending.TERMINATE),
                noticed=False,
            )
            add("primary: commits cancelled, machine lost", self._cancel_and_lose)
            add("standby: killed", partial(self._of_standby, self._kill, any_name), noticed=False)
            add("standby: frozen", partial(self._of_standby, self._freeze, any_name), noticed=False)
            add("standby: cut off", self._cut_off_standby, noticed=False)
            add("standby: disk full", partial(self._fill_disk, of_primary=False), noticed=False)
        return found  # fmt: skip

    def _of_the_rest(self) -> list[Strike]:
        def strike(kind: str, place: str, happen: Happen) -> Strike:
            return Strike(kind, place, place, happen)

        return [
            strike("etcd: one killed", "etcd", self._kill_etcd),
            strike("etcd: one frozen", "etcd", self._freeze_etcd),
            strike("etcd: all frozen", "etcd", self._freeze_all_etcd),
            strike("Valkey killed", "Valkey", self._kill_cache),
            strike("Valkey: machine frozen", "Valkey", self._freeze_cache),
        ]

    # Programs

    async def _kill(
        self, machine: Machine, which: Which, whole: Callable[[], bool], _chance: random.Random
    ) -> str:
        """`kill -9`. What supervises the machine starts its programs again."""
        processes = self._processes(machine, which)
        for process in processes:
            # It may have ended by itself meanwhile, as a session of PostgreSQL does.
            with suppress(psutil.NoSuchProcess):
                process.kill()
        await expect_gone(processes)
        await self._wait(f"{machine.name} is whole", whole)
        return f"{len(processes)} processes of {machine.name} were gone"

    async def _freeze(
        self, machine: Machine, which: Which, whole: Callable[[], bool], chance: random.Random
    ) -> str:
        """SIGSTOP for a moment, and SIGCONT."""
        with stopped(self._processes(machine, which)) as processes:
            await asyncio.sleep(chance.uniform(*MOMENT_SECONDS))
            proof = proof_of_stop(processes)
        await self._wait(f"{machine.name} is whole", whole)
        return f"{machine.name}: {proof}"

    async def _of_primary(
        self, strike: Callable[..., Awaitable[str]], which: Which, shard: int, chance: random.Random
    ) -> str:
        return await strike(self._primary(shard), which, partial(self._is_whole, shard), chance)

    async def _of_standby(
        self, strike: Callable[..., Awaitable[str]], which: Which, shard: int, chance: random.Random
    ) -> str:
        standby = self._standby(shard, chance)
        return await strike(standby, which, partial(self._is_whole, shard), chance)

    async def _hang_patroni(self, shard: int, _chance: random.Random) -> str:
        """Patroni stands still and PostgreSQL does not: the watchdog beside them resets the machine."""
        primary = self._primary(shard)
        processes = self._processes(primary, is_patroni)
        for process in processes:
            process.suspend()
        await self._wait_for(
            lambda: not any(map(psutil.Process.is_running, processes)), "Patroni was not ended"
        )
        await self._wait_until_whole(shard)
        return f"{primary.name} was reset, {self._primary(shard).name} is the primary"

    # Machines

    async def _switch_off_primary(self, shard: int, _chance: random.Random) -> str:
        primary = self._primary(shard)
        killed = await asyncio.to_thread(switch_off, self._plan, primary)
        if not killed:
            raise NotBittenError(f"nothing ran on {primary.name}")
        proof = await self._expect_other_primary(shard, primary)
        switch_on(self._plan, primary)
        await self._wait_until_whole(shard)
        return f"{killed} processes of {primary.name} were gone, {proof}"

    async def _freeze_primary(self, shard: int, _chance: random.Random) -> str:
        primary = self._primary(shard)
        count = await asyncio.to_thread(freeze, self._plan, primary)
        try:
            proof = await self._expect_other_primary(shard, primary)
        finally:
            thaw(self._plan, primary)
        await self._wait_until_whole(shard)
        return f"{count} processes of {primary.name} stood still, {proof}"

    # Network

    async def _cut_off_primary(self, shard: int, _chance: random.Random, *, both: bool) -> str:
        primary = self._primary(shard)
        others = [machine for machine in self._plan.machines if machine != primary]
        async with self._network:
            try:
                await asyncio.to_thread(self._cut, primary, others, both=both)
                proof = await self._expect_other_primary(shard, primary)
            finally:
                await asyncio.to_thread(mend, self._plan)
        await self._wait_until_whole(shard)
        return f"{primary.name} was cut off, {proof}"

    async def _cut_off_standby(self, shard: int, chance: random.Random) -> str:
        standby = self._standby(shard, chance)
        others = [machine for machine in self._plan.machines if machine != standby]
        proof = await self._cut_for_a_moment(standby, others, chance)
        await self._wait_until_whole(shard)
        return proof

    async def _cut_off_server(self, server: Machine, shard: int, chance: random.Random) -> str:
        return await self._cut_for_a_moment(server, self._plan.databases[shard], chance)

    async def _cut_for_a_moment(
        self, machine: Machine, others: Sequence[Machine], chance: random.Random
    ) -> str:
        async with self._network:
            try:
                await asyncio.to_thread(self._cut, machine, others, both=True)
                await asyncio.sleep(chance.uniform(*MOMENT_SECONDS))
                await asyncio.to_thread(expect_unreachable, machine, others)
            finally:
                await asyncio.to_thread(mend, self._plan)
        return f"{machine.name} reached none of {len(others)} machines"

    def _cut(self, machine: Machine, others: Iterable[Machine], *, both: bool) -> None:
        cut(self._plan, machine, others)
        if both:
            for other in others:
                cut(self._plan, other, [machine])

    # Commits and disks

    async def _end_commits(self, ending: Ending, shard: int, chance: random.Random) -> str:
        seconds = chance.uniform(*WAITING_SECONDS)
        count = await asyncio.to_thread(
            end_waiting_commits, self._primary(shard), self._passwords, ending, seconds
        )
        if not count:
            raise NotBittenError("no commit waited for a standby")
        return f"{count} waiting commits were ended"

    async def _cancel_and_lose(self, shard: int, chance: random.Random) -> str:
        """Commits are cancelled while no standby can confirm them; then the primary is lost with them."""
        primary = self._primary(shard)
        standbys = [machine for machine in self._plan.databases[shard] if machine != primary]
        async with self._network:
            try:
                await asyncio.to_thread(self._cut, primary, standbys, both=True)
                proof = await self._end_commits(Ending.CANCEL, shard, chance)
                await asyncio.to_thread(switch_off, self._plan, primary)
            finally:
                await asyncio.to_thread(mend, self._plan)
        other = await self._expect_other_primary(shard, primary)
        switch_on(self._plan, primary)
        await self._wait_until_whole(shard)
        return f"{proof}, {primary.name} was lost, {other}"

    async def _fill_disk(self, shard: int, chance: random.Random, *, of_primary: bool) -> str:
        machine = self._primary(shard) if of_primary else self._standby(shard, chance)
        async with full_disk(self._plan.work_of(machine)) as filled:
            await asyncio.sleep(chance.uniform(*FULL_SECONDS))
            proof = filled()
        await self._wait_until_whole(shard)
        return f"{machine.name}: {proof}, then {self._primary(shard).name} is the primary"

    # What decides, and the cache

    async def _kill_etcd(self, chance: random.Random) -> str:
        machine = chance.choice(self._plan.coordinators)
        return await self._kill(machine, is_etcd, self._etcd_is_healthy, chance)

    async def _freeze_etcd(self, chance: random.Random) -> str:
        machine = chance.choice(self._plan.coordinators)
        return await self._freeze(machine, is_etcd, self._etcd_is_healthy, chance)

    async def _freeze_all_etcd(self, _chance: random.Random) -> str:
        everywhere = [one for machine in self._plan.coordinators for one in self._processes(machine, is_etcd)]
        with stopped(everywhere) as processes:
            await asyncio.sleep(WITHOUT_ETCD_SECONDS)
            proof = proof_of_stop(processes)
        await self._wait("etcd is healthy", self._etcd_is_healthy)
        return proof

    async def _kill_cache(self, chance: random.Random) -> str:
        return await self._kill(self._cache_master(), any_name, self._cache_is_whole, chance)

    async def _freeze_cache(self, chance: random.Random) -> str:
        master = self._cache_master()
        with stopped(self._processes(master, any_name)) as processes:
            await asyncio.sleep(chance.uniform(*CACHE_SECONDS))
            proof = proof_of_stop(processes)
        await self._wait("the cache is whole", self._cache_is_whole)
        return f"{master.name}: {proof}"

    # How it is

    def _processes(self, machine: Machine, which: Which) -> list[psutil.Process]:
        found = [
            psutil.Process(process.pid)
            for process in processes_of(self._plan, machine)
            if which(process.name)
        ]
        if not found:
            raise NotBittenError(f"nothing of this kind runs on {machine.name}")
        return found

    def _state(self, shard: int) -> ShardState:
        return shard_state(shard, [ask_database(machine) for machine in self._plan.databases[shard]])

    def _is_whole(self, shard: int) -> bool:
        return is_whole(self._state(shard))

    def _primary(self, shard: int) -> Machine:
        primary = self._state(shard).primary
        if primary is None:
            raise NotBittenError(f"shard {shard} has no primary")
        return self._plan.machine(primary)

    def _standby(self, shard: int, chance: random.Random) -> Machine:
        primary = self._primary(shard)
        return chance.choice([machine for machine in self._plan.databases[shard] if machine != primary])

    def _answers(self, url: str) -> bool:
        return ask_json(f"{url}/readyz") is not None

    def _etcd_is_healthy(self) -> bool:
        return all(
            (ask_json(f"http://{machine.at(ETCD_PORT)}/health") or {}).get("health") == "true"
            for machine in self._plan.coordinators
        )

    def _cache_roles(self) -> list[tuple[Machine, dict[str, str]]]:
        return [
            (machine, ask_valkey(machine.address, VALKEY_PORT, self._passwords.cache, "replication") or {})
            for machine in self._plan.caches
        ]

    def _cache_master(self) -> Machine:
        for machine, told in self._cache_roles():
            if told.get("role") == "master":
                return machine
        raise NotBittenError("the cache has no master")

    def _cache_is_whole(self) -> bool:
        told = [one for _, one in self._cache_roles()]
        return sorted(one.get("role", "") for one in told) == ["master", "slave"] and all(
            one.get("master_link_status", "up") == "up" for one in told
        )

    # Waiting

    async def _expect_other_primary(self, shard: int, lost: Machine) -> str:
        """Another machine becomes the primary: that shows that the shard has missed this one."""

        def taken() -> bool:
            others = [machine for machine in self._plan.databases[shard] if machine != lost]
            state = shard_state(shard, [ask_database(machine) for machine in others])
            return state.primary is not None and state.writable

        await self._wait_for(taken, f"{lost.name} was not missed", seconds_max=OTHER_PRIMARY_SECONDS_MAX)
        others = [machine for machine in self._plan.databases[shard] if machine != lost]
        return f"{shard_state(shard, [ask_database(one) for one in others]).primary} took its place"

    async def _wait_until_whole(self, shard: int) -> None:
        await self._wait(f"shard {shard} is whole", partial(self._is_whole, shard))

    async def _wait(self, what: str, is_so: Callable[[], bool]) -> None:
        await self._wait_for(is_so, f"waited in vain until {what}", seconds_max=WHOLE_SECONDS_MAX)

    async def _wait_for(
        self, is_so: Callable[[], bool], otherwise: str, seconds_max: float = OTHER_PRIMARY_SECONDS_MAX
    ) -> None:
        deadline = time.monotonic() + seconds_max
        while not await asyncio.to_thread(is_so):
            if time.monotonic() > deadline:
                raise NotBittenError(otherwise)
            await asyncio.sleep(LOOK_SECONDS)
