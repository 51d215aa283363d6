"""A client that ignores shards reads the same, whether its accounts are on two shards or on one.

The same random payments are made twice: between accounts of one shard, and between such as lie on two. Then all that
can be read of them is compared, but for positions and times: transactions, holds, histories, the change feed as pages
and as a stream that was followed meanwhile, and what a webhook was told.
"""

import asyncio
import os
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from typing import Any, Final, NamedTuple

import msgspec
import pytest
from tests import engines
from tests.accounts import opened_on
from tests.crash.two_shards import two_shards
from tests.webhook_keys import KEY
from tests.webhooks.receiver import Receiver, receiving

from tallystick import Ledger, Refused, views
from tallystick.domain import limits
from tallystick.domain.commands import KINDS
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.followers.webhooks.addresses import AddressRules
from tallystick.followers.webhooks.sending import Sender
from tallystick.followers.webhooks.workers import webhook_workers
from tallystick.service.engine import Engine
from tallystick.service.webhooks.endpoints import Webhooks
from tallystick.views import Event
from tallystick.views.encoding import encode

STEPS: Final = 50
FUNDS: Final = 300
# So little that payees refuse, too.
ROOM: Final = 60
ASKED: Final = ("transfer", "transaction", "hold_placed", "hold_captured", "hold_voided", "reversal")
WAIT_SECONDS: Final = 240.0
Line = tuple[Any, ...]


class Step(NamedTuple):
    """One request: what to do, between which wallets or about which of the payments or holds so far, how much."""

    what: str
    first: int
    second: int
    amount: int | None


# What must be among it, however it is drawn: a part of a hold is captured, and of that a part given back; then there
# is no room for the payee of another hold, and it stays as it was.
FIRST: Final = (
    Step("hold", 0, 1, 50),
    Step("capture", 1, 0, 10),
    Step("reverse", 1, 0, 5),
    Step("hold", 0, 1, 200),
    Step("capture", 1, 1, 200),
    Step("transfer", 1, 2, 30),
)


def drawn(chance: random.Random) -> list[Step]:
    """Requests of all kinds, some of which will be refused."""
    steps = [*FIRST]
    for _ in range(STEPS):
        what = chance.choice(
            (
                "transfer",
                "transfer",
                "post",
                "hold",
                "hold",
                "capture",
                "capture",
                "capture",
                "void",
                "reverse",
            )
        )
        first, second = chance.sample(range(4), 2)
        amount = chance.choice((None, chance.randint(1, 40), chance.randint(1, 40), chance.randint(100, 500)))
        steps.append(Step(what, first, second, amount))
    return steps


class World:
    """Four wallets with funds, and what was done with them; everything is named in the order in which it was made."""

    def __init__(self, ledger: Ledger, wallets: list[str]) -> None:
        self.ledger = ledger
        self.wallets = wallets
        self.names: dict[str, str] = {wallet: f"wallet {number}" for number, wallet in enumerate(wallets)}
        self.payments: list[str] = []
        self.holds: list[str] = []
        self.answers: list[Line] = []

    @classmethod
    async def opened(cls, ledger: Ledger, shards: tuple[int, ...]) -> "World":
        """A world whose wallets lie on these shards."""
        world = cls(ledger, [await opened_on(ledger, shard, "wallet") for shard in shards])
        for wallet, shard in zip(world.wallets, shards, strict=True):
            bank = await opened_on(ledger, shard, "system")
            world.names[bank] = f"bank of {world.names[wallet]}"
            key = secrets.token_hex()
            funding = await ledger.transfer(bank, wallet, FUNDS, "USD", idempotency_key=key)
            assert isinstance(funding, views.Transaction)
            world.names[funding.id] = f"funding of {world.names[wallet]}"
            await ledger.change_account(wallet, max_balance=FUNDS + ROOM)
        return world

    async def take(self, number: int, step: Step) -> None:
        """Make one request, and remember what it came to."""
        found = await self._asked(number, step)
        match found:
            case views.Transaction():
                self.names.setdefault(found.id, f"payment {number}")
                self.payments.append(found.id)
                self.answers.append(self.transaction(found))
            case views.Hold():
                self.names.setdefault(found.transaction, f"payment {number}")
                self.names.setdefault(found.id, f"hold {number}")
                if step.what == "hold":
                    self.holds.append(found.id)
                if step.what == "capture":
                    self.payments.append(found.transaction)
                self.answers.append(self.hold(found))
            case Refused():
                self.answers.append((found.code, found.param))

    async def _asked(self, number: int, step: Step) -> views.Transaction | views.Hold | Refused | None:
        ledger, payer, payee = self.ledger, self.wallets[step.first], self.wallets[step.second]
        note: dict[str, Any] = {
            "idempotency_key": secrets.token_hex(),
            "description": f"request {number}",
            "metadata": {"number": str(number)},
        }
        amount = step.amount or 25
        made: dict[str, Callable[[], Awaitable[views.Transaction | views.Hold | Refused]]] = {
            "transfer": lambda: ledger.transfer(payer, payee, amount, "USD", **note),
            "post": lambda: ledger.post([(payer, -amount), (payee, amount)], **note),
            "hold": lambda: ledger.hold(payer, payee, amount, "USD", **note),
        }
        if step.what in made:
            return await made[step.what]()
        about = self.payments if step.what == "reverse" else self.holds
        if not about:
            return None
        chosen = about[-1 - (7 * step.first + step.second) % min(len(about), 3)]
        if step.what == "reverse":
            return await ledger.reverse(chosen, step.amount, **note)
        if step.what == "void":
            found = await ledger.void(chosen, **note)
        else:
            found = await ledger.capture(chosen, step.amount, final=step.first == 0, **note)
        if isinstance(found, Refused):
            self.answers.append(self.hold(await ledger.held(chosen)))
        return found

    # What is read, with names in place of identifiers.

    def name(self, identifier: str | None) -> str | None:
        return None if identifier is None else self.names[identifier]

    def transaction(self, view: views.Transaction) -> Line:
        """The balances and what is held after it are told of no transaction that crosses."""
        entries = [(self.name(entry.account), entry.asset, entry.amount) for entry in view.entries]
        what = (view.kind, view.state, self.name(view.refers_to), view.description, dict(view.metadata))
        return (self.name(view.id), *what, sorted(entries))

    def hold(self, view: views.Hold) -> Line:
        amounts = view.amount, view.captured, view.remaining
        return self.name(view.id), view.status, amounts, self.name(view.transaction)

    def line(self, view: views.HistoryEntry) -> Line:
        what = (view.kind, self.name(view.transaction), self.name(view.refers_to))
        note = (view.description, dict(view.metadata))
        return (*what, *note, view.amount, view.balance, view.held, view.held_after)

    def told(self, wallet: str, event: Mapping[str, Any]) -> Line:
        """What an event says of one wallet: another shard tells of the others."""
        entries: list[Line] = [
            (entry["amount"], entry["balance"], entry["held"], entry["held_after"])
            for entry in event["entries"]
            if entry["account"] == wallet
        ]
        hold = event["hold"]
        if hold is not None and hold["source"] == wallet:
            entries.append((hold["status"], hold["captured"], self.name(hold["transaction"])))
        what = (event["kind"], self.name(event["transaction"]), self.name(event["refers_to"]))
        return (*what, event["description"], event["metadata"], entries)

    def told_of(self, wallet: str, events: list[Mapping[str, Any]], kinds: tuple[str, ...]) -> list[Line]:
        return [
            self.told(wallet, event)
            for event in events
            if event["kind"] in kinds and wallet in {entry["account"] for entry in event["entries"]}
        ]

    async def read(self) -> dict[str, Any]:
        """All that can be asked for."""
        ledger = self.ledger
        found: dict[str, Any] = {"answers": self.answers}
        found["transactions"] = [self.transaction(await ledger.transaction(one)) for one in self.payments]
        found["holds"] = [self.hold(await ledger.held(one)) for one in self.holds]
        for wallet in self.wallets:
            name = self.names[wallet]
            lines = await whole_history(ledger, wallet)
            found[f"history of {name}"] = [self.line(one) for one in lines]
            for kind in ASKED:
                events = [as_json(one) for one in await whole_feed(ledger, wallet, kind)]
                found[f"{kind} of {name}"] = self.told_of(wallet, events, ASKED)
        return found


async def whole_history(ledger: Ledger, wallet: str) -> list[views.HistoryEntry]:
    lines: list[views.HistoryEntry] = []
    cursor = None
    while True:
        page = await ledger.entries(wallet, cursor=cursor, limit=7)
        lines += page.items
        cursor = page.next_cursor
        if cursor is None:
            return lines


async def whole_feed(ledger: Ledger, wallet: str, kind: str) -> list[Event]:
    events: list[Event] = []
    after = 0
    while True:
        page = await ledger.events(accounts=[wallet], kinds=[kind], after=after, limit=7)
        events += page.items
        if page.position == after:
            return events
        after = page.position


def as_json(event: Event) -> Mapping[str, Any]:
    """An event as it goes over the wire."""
    found: Mapping[str, Any] = msgspec.json.decode(encode(event))
    return found


class Listener:
    """Follows one shard's log while payments are made, and keeps what it is told."""

    def __init__(self, ledger: Ledger, shard: int) -> None:
        self.events: list[Event] = []
        self._position = 0
        self._moved = asyncio.Event()
        self._ledger = ledger
        self._shard = shard

    async def follow(self) -> None:
        stream = await self._ledger.follow_events(shard=self._shard)
        async with aclosing(stream):
            async for found in stream:
                self.events += found.items
                self._position = found.position
                self._moved.set()

    async def heard_up_to(self, position: int) -> None:
        """Wait until everything up to a position was told."""
        while self._position < position:
            self._moved.clear()
            await self._moved.wait()


@pytest.fixture(scope="module")
def dsns(postgres: EmbeddedPostgres) -> Iterator[dict[int, str]]:
    with two_shards(postgres) as shards:
        yield shards.dsns


@pytest.fixture(params=["saga", "two_phase"])
async def engine(dsns: dict[int, str], request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    way: str = "two_phase" if request.param == "two_phase" else "saga"
    made = Engine(dsns, cross_shard=way)
    # Nothing is to be pending, however slow this machine is.
    made.saga_wait_seconds = limits.SAGA_WAIT_SECONDS_MAX
    made.webhook_sender = Sender(AddressRules(allow_http=True, allow_private=True))
    made.secret_keys.replace([KEY])
    made._webhooks = webhook_workers(
        lambda: made.router.shards,
        made.webhook_sender,
        made.secret_keys,
        made.earlier_credits,
    )
    async with engines.running(made) as running:
        yield running


@pytest.mark.slow
async def test_two_shards_read_as_one(engine: Engine) -> None:
    seed = int(os.environ.get("TALLYSTICK_TEST_SEED") or random.randrange(2**32))
    print(f"\nTALLYSTICK_TEST_SEED={seed}")  # noqa: T201 - to run it again
    steps = drawn(random.Random(seed))
    ledger, hooks = Ledger(engine, 1), Webhooks(engine, 1)
    one, two = await World.opened(ledger, (1, 1, 1, 1)), await World.opened(ledger, (1, 2, 1, 2))
    listeners = [Listener(ledger, shard) for shard in (1, 2)]
    following = [asyncio.create_task(listener.follow()) for listener in listeners]
    with receiving() as receiver:
        made = await hooks.create(receiver.url, kinds=ASKED)
        for number, step in enumerate(steps):
            for world in (one, two):
                await world.take(number, step)
        inside, across = await one.read(), await two.read()
        heads = [await shard.feed.head_position() for shard in engine.router.shards]
        await until_told(hooks, made.webhook.id, heads)
        async with asyncio.timeout(WAIT_SECONDS):
            for listener, head in zip(listeners, heads, strict=True):
                await listener.heard_up_to(head)
        await hooks.remove(made.webhook.id)
        for task in following:
            task.cancel()
        messages = told_by(receiver)
    streamed = [as_json(event) for listener in listeners for event in listener.events]
    for world, found in ((one, inside), (two, across)):
        for wallet in world.wallets:
            name = world.names[wallet]
            found[f"stream of {name}"] = world.told_of(wallet, streamed, tuple(KINDS))
            found[f"webhooks of {name}"] = world.told_of(wallet, messages, tuple(KINDS))
    for what, expected in inside.items():
        assert across[what] == expected, what


async def until_told(hooks: Webhooks, endpoint: str, heads: list[int]) -> None:
    """Wait until an endpoint was told of all that is in the logs."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        deliveries = (await hooks.progress(endpoint)).deliveries
        if all(one.position >= head for one, head in zip(deliveries, heads, strict=True)):
            return
        assert time.monotonic() < deadline, deliveries
        await asyncio.sleep(0.1)


def told_by(receiver: Receiver) -> list[Mapping[str, Any]]:
    """What came, in the order in which it came: each event once."""
    messages = [msgspec.json.decode(one.body) for one in receiver.accepted()]
    assert all(message["type"] == message["data"]["kind"] for message in messages)
    return [message["data"] for message in messages]
