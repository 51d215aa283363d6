"""The end of a run: what is open comes to its end, some requests are asked again, and the final state is fetched."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from tests.chaos.calls import Calls
from tests.chaos.final_state import (
    ACCOUNTS,
    BALANCES,
    FEED,
    HISTORIES,
    HOLDS,
    LOG,
    BalanceSeen,
    FinalStateFiles,
    HistoryLine,
)
from tests.chaos.history import Attempt, History, Result
from tests.chaos.load import LOOK_SECONDS, PREPARING
from tests.chaos.messages import Balance, Event, Events, Health, HistoryEntry, Page, read
from tests.chaos.plan import Consistency

PAGE_ROWS: Final = 500
READY_SECONDS_MAX: Final = 90.0
ANSWER_SECONDS_MAX: Final = 60.0
ASKED_AGAIN_MAX: Final = 200
VOID_AGAIN_SECONDS: Final = 2.0
AT_ONCE: Final = 8
ENDED_HOLDS: Final = frozenset({"captured", "voided", "expired"})
SAGA_ENDS: Final = frozenset({"transfer_finalized", "transfer_released"})


class Settling:
    """What is done when the load has ended and all faults are repaired."""

    def __init__(self, calls: Calls, servers: Sequence[str], seed: int) -> None:
        self._calls = calls
        self._servers = servers
        self._seed = seed
        self._shards: list[int] = []
        self._cursors: dict[int, int] = {}
        self._open_holds: dict[str, str] = {}
        self._open_sagas: set[str] = set()
        self._accounts: list[str] = []
        self._holds: list[str] = []
        self._operations = 0

    async def wait_until_ready(self) -> None:
        """Wait until each server can write to all shards."""
        for server in self._servers:
            deadline = time.monotonic() + READY_SECONDS_MAX
            while (found := await self._calls.read(server, "/readyz?all")) is None:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{server} was not ready in {READY_SECONDS_MAX:.0f} s")
                await asyncio.sleep(LOOK_SECONDS)
            self._shards = sorted(shard.shard for shard in read(found, Health).shards)

    async def settle(self, seconds_max: float) -> float:
        """Release holds that are left, and wait until no hold and no saga is open; how long it took.

        When the time is over it returns all the same: it is for the checks to say what is open.
        """
        started = time.monotonic()
        asked: dict[str, float] = {}
        while True:
            for shard in self._shards:
                await self._follow(shard)
            if not self._open_holds and not self._open_sagas:
                break
            if time.monotonic() > started + seconds_max:
                break
            for hold, status in list(self._open_holds.items()):
                if status == "open" and time.monotonic() > asked.get(hold, 0.0) + VOID_AGAIN_SECONDS:
                    asked[hold] = time.monotonic()
                    await self._void(hold)
            await asyncio.sleep(LOOK_SECONDS)
        return time.monotonic() - started

    async def _follow(self, shard: int) -> None:
        """Read the log of a shard as far as it goes, and note what is open."""
        async for event in self._events(shard, stages=True, after=self._cursors.get(shard, 0)):
            self._note(read(event, Event))

    def _note(self, event: Event) -> None:
        if event.kind == "account_opened" and event.account and event.account.kind != "clearing":
            self._accounts.append(event.account.id)
        if event.hold is not None:
            if event.kind == "hold_placed":
                self._holds.append(event.hold.id)
            self._open_holds[event.hold.id] = event.hold.status
            if event.hold.status in ENDED_HOLDS:
                del self._open_holds[event.hold.id]
        if event.crossing is not None:
            if event.kind in SAGA_ENDS:
                self._open_sagas.discard(event.crossing.transaction)
            else:
                self._open_sagas.add(event.crossing.transaction)

    async def _void(self, hold: str) -> None:
        self._operations += 1
        key = f"{self._seed}-{PREPARING}-void-{self._operations}"
        await self._calls.ask(
            self._servers[0], "POST", f"/v1/holds/{hold}/void", {"description": key},
            key=key, client=PREPARING, operation=self._operations, kind="void",
        )  # fmt: skip

    async def ask_again(self, history: History) -> int:
        """Send some of the requests that were answered once more, as they were; how many."""
        answered = first_answers(history)
        step = max(1, len(answered) // ASKED_AGAIN_MAX)
        chosen = answered[::step][:ASKED_AGAIN_MAX]
        turns = asyncio.Semaphore(AT_ONCE)

        async def ask(place: int, attempt: Attempt) -> None:
            asked = attempt.invoked
            async with turns:
                await self._calls.ask(
                    self._servers[place % len(self._servers)], asked.method, asked.path,
                    json.loads(asked.body or "{}"),
                    key=asked.key, client=PREPARING, operation=asked.operation, kind=asked.kind,
                )  # fmt: skip

        async with asyncio.TaskGroup() as group:
            for place, attempt in enumerate(chosen):
                group.create_task(ask(place, attempt))
        return len(chosen)

    async def fetch(self, folder: Path) -> None:
        """Fetch the final state into the files of a folder."""
        files = FinalStateFiles(folder)
        try:
            for shard in self._shards:
                await self._follow(shard)
                async for event in self._events(shard, stages=True):
                    files.add(LOG, event)
                async for event in self._events(shard, stages=False):
                    files.add(FEED, event)
            for account in self._accounts:
                await self._fetch_account(files, account)
            for hold in self._holds:
                files.add(HOLDS, await self._get(f"/v1/holds/{hold}"))
        finally:
            files.close()

    async def _fetch_account(self, files: FinalStateFiles, account: str) -> None:
        path = f"/v1/accounts/{account}"
        files.add(ACCOUNTS, await self._get(path))
        for server in self._servers:
            for consistency in (Consistency.FAST, Consistency.STRONG):
                query = "?consistency=strong" if consistency is Consistency.STRONG else ""
                found = read(await self._get(f"{path}/balance{query}", server), Balance)
                files.add(BALANCES, BalanceSeen(server, consistency.value, found))
        cursor = ""
        while True:
            page = read(await self._get(f"{path}/entries?limit={PAGE_ROWS}{cursor}"), Page)
            for line in page.items:
                files.add(HISTORIES, HistoryLine(account, read(bytes(line), HistoryEntry)))
            if page.next_cursor is None:
                return
            cursor = f"&cursor={page.next_cursor}"

    async def _events(self, shard: int, *, stages: bool, after: int = 0) -> AsyncIterator[bytes]:
        """The events of a shard, as they came, up to the end of its log."""
        while True:
            path = f"/v1/events?shard={shard}&after={after}&limit={PAGE_ROWS}"
            page = read(await self._get(path + ("&stages=true" if stages else "")), Events)
            for event in page.items:
                yield bytes(event)
            if page.next_after == after:
                return
            after = page.next_after
            if stages:
                self._cursors[shard] = after

    async def _get(self, path: str, server: str | None = None) -> bytes:
        """Read something, again until there is an answer."""
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while (found := await self._calls.read(server or self._servers[0], path)) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no answer in {ANSWER_SECONDS_MAX:.0f} s: {path}")
            await asyncio.sleep(LOOK_SECONDS)
        return found


def first_answers(history: History) -> list[Attempt]:
    """The first definite answer to each request that has one."""
    found: dict[tuple[str | None, str, str | None], Attempt] = {}
    for attempt in history.attempts:
        asked = attempt.invoked
        if asked.key is not None and attempt.result in {Result.ACKNOWLEDGED, Result.REFUSED}:
            found.setdefault((asked.key, asked.path, asked.body), attempt)
    return list(found.values())
