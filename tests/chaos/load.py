"""Clients that carry out their plans against servers, at a bounded rate and for a bounded time."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import count, islice
from typing import Any, Final, NamedTuple

from tests.chaos.calls import Calls
from tests.chaos.history import Completed, Result
from tests.chaos.messages import Account, Balance, Balances, Health, Hold, Transaction, read
from tests.chaos.plan import (
    START_BALANCE,
    Consistency,
    Intent,
    Kind,
    Manner,
    Spot,
    Terrain,
    Weights,
    intents,
)

PREPARING: Final = 0
"""The client that opens and funds the accounts, and asks again at the end. The others have the numbers after it."""
ASSET: Final = "USD"
BANK_OWNER: Final = "chaos bank"
READY_SECONDS_MAX: Final = 60.0
LOOK_SECONDS: Final = 0.1
TRIES_MAX: Final = 3
PAUSE_SECONDS: Final = 0.2
PREPARATIONS_AT_ONCE: Final = 8
OTHER_BODY_SUFFIX: Final = " (other body)"


class LoadSettings(NamedTuple):
    """How much load there is, for how long."""

    seed: int
    seconds: float
    clients: int = 24
    requests_per_second: float = 80.0
    terrain: Terrain = Terrain()
    weights: Weights = Weights()


class Request(NamedTuple):
    """A request that an intent means."""

    path: str
    body: Mapping[str, Any] | None = None
    method: str = "POST"


class Load:
    """A run's clients, and the accounts that they use."""

    def __init__(self, calls: Calls, servers: Sequence[str], settings: LoadSettings) -> None:
        """`servers` are base addresses, all of the same ledger."""
        self.accounts: dict[Spot, str] = {}
        self._calls = calls
        self._servers = servers
        self._settings = settings

    async def prepare(self) -> None:
        """Open the accounts, and fund them."""
        numbers = await self._shards()
        if len(numbers) < self._settings.terrain.shards:
            raise RuntimeError(f"there are shards {numbers}: fewer than the load is for")
        operations = count(1)
        opened: dict[int, str] = {}
        for owner in count(1):
            bank = await self._open(next(operations), f"{BANK_OWNER} {owner}", "system")
            opened.setdefault(bank.shard, bank.id)
            if len(opened) >= self._settings.terrain.shards:
                break
        banks = [opened[number] for number in sorted(opened)]
        turns = asyncio.Semaphore(PREPARATIONS_AT_ONCE)

        async def open_wallet(spot: Spot, operation: int) -> None:
            async with turns:
                bank = banks[spot.shard]
                owner = f"owner {spot.shard} {spot.number}"
                self.accounts[spot] = (await self._open(operation, owner, "wallet", near=bank)).id
                body = transfer_body(bank, self.accounts[spot], START_BALANCE)
                await self._insist("/v1/transfers", body, operation, Kind.TRANSFER)

        async with asyncio.TaskGroup() as group:
            for spot in self._settings.terrain.spots:
                group.create_task(open_wallet(spot, next(operations)))

    async def _shards(self) -> list[int]:
        """The shards of the ledger, when all of them can be written to."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline:
            found = await self._calls.read(self._servers[0], "/readyz?all")
            if found is not None:
                return sorted(shard.shard for shard in read(found, Health).shards)
            await asyncio.sleep(LOOK_SECONDS)
        raise TimeoutError(f"{self._servers[0]} was not ready in {READY_SECONDS_MAX:.0f} s")

    async def _open(self, operation: int, owner: str, kind: str, near: str | None = None) -> Account:
        body = {"owner": f"{owner} of {self._settings.seed}", "asset": ASSET, "kind": kind}
        if near is not None:
            body["near"] = near
        return read(await self._insist("/v1/accounts", body, operation, "account"), Account)

    async def _insist(self, path: str, body: Mapping[str, Any], operation: int, kind: str) -> str:
        """Ask until it is done."""
        key = f"{self._settings.seed}-{PREPARING}-{operation}-{kind}"
        body = body if kind == "account" else {**body, "description": key}
        for turn in range(TRIES_MAX):
            completed = await self._calls.ask(
                self._servers[turn % len(self._servers)], "POST", path, body,
                key=key, client=PREPARING, operation=operation, kind=kind,
            )  # fmt: skip
            if completed.result is Result.ACKNOWLEDGED and completed.answer is not None:
                return completed.answer
            await asyncio.sleep(PAUSE_SECONDS)
        raise RuntimeError(f"the accounts cannot be prepared: {completed}")

    async def run(self) -> None:
        """Let all clients work until the time is over."""
        until = time.monotonic() + self._settings.seconds
        async with asyncio.TaskGroup() as group:
            for number in range(1, self._settings.clients + 1):
                client = _Client(number, self._calls, self._servers, self._settings, self.accounts)
                group.create_task(client.run(until))


class _Client:
    """One client, which has one operation under way at a time, and what it has learnt."""

    def __init__(
        self,
        number: int,
        calls: Calls,
        servers: Sequence[str],
        settings: LoadSettings,
        accounts: Mapping[Spot, str],
    ) -> None:
        self._number = number
        self._calls = calls
        self._servers = servers
        self._settings = settings
        self._accounts = accounts
        # What became of its payments and holds, by the number of the intent.
        self._made: dict[int, str] = {}
        # The newest position and time that it knows of, by account.
        self._positions: dict[str, int] = {}
        self._times: dict[str, datetime] = {}

    async def run(self, until: float) -> None:
        settings = self._settings
        interval = settings.clients / settings.requests_per_second
        next_at = time.monotonic() + interval * self._number / settings.clients
        plan = intents(settings.seed, self._number, settings.terrain, settings.weights)
        # The plan has no end; the time does, and so does the number of turns.
        for intent in islice(plan, int(settings.seconds / interval) + 1):
            await asyncio.sleep(max(0.0, next_at - time.monotonic()))
            if time.monotonic() >= until:
                return
            # A client that is late does not catch up, so the rate is never higher.
            next_at = max(next_at, time.monotonic()) + interval
            await self._carry_out(intent)

    async def _carry_out(self, intent: Intent) -> None:
        if intent.kind in {Kind.BALANCE, Kind.BALANCES}:
            await self._read(intent)
            return
        request = self._request(intent)
        if request is None:
            return  # it needs something that was not made
        if intent.manner is Manner.AT_ONCE:
            completed, _ = await asyncio.gather(
                self._ask(intent, request), self._ask(intent, request, further=1)
            )
        else:
            completed = await self._ask(intent, request)
        for turn in range(1, TRIES_MAX + 1):
            again = completed.result in {Result.UNKNOWN, Result.NOT_DONE, Result.PENDING}
            if intent.manner is Manner.HUNG_UP or not intent.insists or not again:
                break
            await asyncio.sleep(PAUSE_SECONDS * turn)
            completed = await self._ask(intent, request, further=turn)
        if intent.manner is Manner.HUNG_UP and intent.insists:
            # It comes back later, and wants to know.
            completed = await self._ask(intent._replace(manner=Manner.ONCE), request, further=1)
        if intent.manner is Manner.AGAIN:
            await self._ask(intent, request, further=1)
        if intent.manner is Manner.OTHER_BODY:
            await self._ask(intent, _with_other_body(request), further=1)
        self._note(intent, completed)

    def _request(self, intent: Intent) -> Request | None:
        """The request of an intent; None if what it is about was not made."""
        note = {"description": self._key(intent)}
        if intent.of is None:
            source, destination = (self._accounts[spot] for spot in intent.spots)
            assert intent.amount is not None
            body = transfer_body(source, destination, intent.amount) | note
            if intent.kind is Kind.HOLD:
                return Request("/v1/holds", body | {"expires_in": intent.expires_in_seconds})
            return Request("/v1/transfers", body)
        about = self._made.get(intent.of)
        if about is None:
            return None
        amount = {} if intent.amount is None else {"amount": str(intent.amount)}
        match intent.kind:
            case Kind.CAPTURE:
                return Request(f"/v1/holds/{about}/capture", note | amount | {"final": intent.final})
            case Kind.VOID:
                return Request(f"/v1/holds/{about}/void", note)
            case _:
                return Request(f"/v1/transactions/{about}/reverse", note | amount)

    async def _ask(self, intent: Intent, request: Request, *, further: int = 0) -> Completed:
        """Send a request; `further` takes a server further on in the list."""
        server = self._servers[(int(intent.server * len(self._servers)) + further) % len(self._servers)]
        return await self._calls.ask(
            server, request.method, request.path, request.body,
            key=None if request.method == "GET" or intent.kind is Kind.BALANCES else self._key(intent),
            client=self._number,
            operation=intent.number,
            kind=intent.kind,
            hang_up_seconds=intent.hang_up_seconds if intent.manner is Manner.HUNG_UP else None,
        )  # fmt: skip

    def _key(self, intent: Intent) -> str:
        return f"{self._settings.seed}-{self._number}-{intent.number}"

    async def _read(self, intent: Intent) -> None:
        accounts = [self._accounts[spot] for spot in intent.spots]
        if intent.kind is Kind.BALANCES:
            body = {"accounts": accounts, "consistency": intent.consistency.value}
            completed = await self._ask(intent, Request("/v1/balances", body))
            if completed.status == 200 and completed.answer is not None:
                for found in read(completed.answer, Balances).balances:
                    self._saw(found.account, found.position)
            return
        (account,) = accounts
        path = f"/v1/accounts/{account}/balance"
        match intent.consistency:
            case Consistency.STRONG:
                path += "?consistency=strong"
            case Consistency.MIN_POSITION:
                path += f"?min_position={self._positions.get(account, 0)}"
            case Consistency.AT if account in self._times:
                path += f"?at={self._times[account].isoformat().replace('+00:00', 'Z')}"
        completed = await self._ask(intent, Request(path, method="GET"))
        if completed.status == 200 and completed.answer is not None and intent.consistency != Consistency.AT:
            self._saw(account, read(completed.answer, Balance).position)

    def _note(self, intent: Intent, completed: Completed) -> None:
        """Remember what was made, and the positions that it has."""
        if completed.result is not Result.ACKNOWLEDGED or completed.answer is None:
            return
        if intent.kind in {Kind.HOLD, Kind.CAPTURE, Kind.VOID}:
            hold = read(completed.answer, Hold)
            self._made[intent.number] = hold.id
            self._saw(hold.source, hold.position)
            return
        transaction = read(completed.answer, Transaction)
        self._made[intent.number] = transaction.id
        for entry in transaction.entries:
            # Of a payment between shards the position is the payer's.
            if entry.balance is not None or entry.amount < 0:
                self._saw(entry.account, transaction.position)
                self._times[entry.account] = transaction.recorded_at

    def _saw(self, account: str, position: int) -> None:
        self._positions[account] = max(position, self._positions.get(account, 0))


def transfer_body(source: str, destination: str, amount: int) -> dict[str, Any]:
    """The body of a transfer, which is also the beginning of that of a hold."""
    return {"source": source, "destination": destination, "amount": str(amount), "asset": ASSET}


def _with_other_body(request: Request) -> Request:
    """Another request, which a mistaken client might send under the same key. Its payer is the same.

    While a shard is away, a key that was used for a payer there is not known elsewhere: the product says so.
    """
    body = dict(request.body or {})
    body["description"] = f"{body['description']}{OTHER_BODY_SUFFIX}"
    if "amount" in body:
        body["amount"] = str(int(body["amount"]) + 1)
    return request._replace(body=body)
