"""Tenants share a shard: what one of them has waiting is not waited for by another."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime

import msgspec
import pytest
from tests.accounts import opened
from tests.crash.cutting_proxy import CuttingProxy, Moment
from tests.crash.databases import ShardDatabase, assert_whole, one_value
from tests.waiting import WAIT_SECONDS_MAX

from tallystick import Ledger, OverloadedError, RefusalCode, Refused, views
from tallystick.api import answers, operations, streams
from tallystick.api.calls import Call
from tallystick.api.requests import TransferBatchRequest
from tallystick.domain import limits
from tallystick.followers.feed.feed import Feed, _Read
from tallystick.followers.feed.subscription import NewRecords, Subscription, Wanted
from tallystick.service import tenancy, transactions
from tallystick.service.authentication import Access
from tallystick.service.transactions import TransactionCalls, TransferRequest
from tallystick.views import Event
from tallystick.views.encoding import encode

Answers = Sequence[views.Transaction | Refused]
FLOOD_TRANSFERS = 3_000


class Tenant:
    """A tenant with a bank and a wallet."""

    def __init__(self, ledger: Ledger, bank: str, wallet: str) -> None:
        self.ledger = ledger
        self.bank = bank
        self.wallet = wallet

    @classmethod
    async def open(cls, ledger: Ledger, number: int) -> "Tenant":
        mine = Ledger(ledger._engine, number)
        return cls(mine, await opened(mine, "bank", "system"), await opened(mine, "wallet"))

    async def pay(self, key: str) -> int:
        answer = await self.ledger.transfer(self.bank, self.wallet, 1, "USD", idempotency_key=key)
        assert isinstance(answer, views.Transaction)
        return answer.position

    async def flood(self, key: str, count: int = FLOOD_TRANSFERS, *, atomic: bool = False) -> Answers:
        return await self.ledger.transfers(
            [TransferRequest(self.bank, self.wallet, 1, "USD", f"{key} {number}") for number in range(count)],
            atomic=atomic,
        )


def positions(answers: Answers) -> list[int]:
    return [answer.position for answer in answers if isinstance(answer, views.Transaction)]


async def test_a_single_payment_passes_another_tenants_flood(database: ShardDatabase) -> None:
    async with (
        asyncio.timeout(WAIT_SECONDS_MAX),
        CuttingProxy(database.server_dsn) as proxy,
        Ledger.connect(proxy.dsn) as ledger,
    ):
        loud, quiet = await Tenant.open(ledger, 1), await Tenant.open(ledger, 2)
        stop = proxy.stop_at(Moment.COMMIT)
        first = asyncio.create_task(loud.pay("first"))
        await stop.reached.wait()
        floods = [asyncio.create_task(loud.flood(f"flood {number}")) for number in range(3)]
        await asyncio.sleep(0.2)
        payment = asyncio.create_task(quiet.pay("quiet"))
        await asyncio.sleep(0)
        stop.pass_on()
        position = await payment
        flooded = [positions(answers) for answers in await asyncio.gather(*floods)]
        await first
    assert [len(found) for found in flooded] == [FLOOD_TRANSFERS] * 3
    in_order = [position for found in flooded for position in found]
    assert in_order == sorted(in_order), "the order within a tenant is kept"
    before = sum(one < position for one in in_order)
    # One batch may have been decided ahead, and the payment is in the next one.
    assert before <= 2 * limits.BATCH_COMMANDS_MAX, f"{before} of the flood came before it"
    assert_whole(database)


async def test_a_group_that_stands_or_falls_is_one_batch(database: ShardDatabase) -> None:
    async with asyncio.timeout(WAIT_SECONDS_MAX), Ledger.connect(database.server_dsn) as ledger:
        loud, other = await Tenant.open(ledger, 1), await Tenant.open(ledger, 2)
        beside = asyncio.create_task(other.flood("beside"))
        answers = await loud.flood("group", atomic=True)
        assert len(positions(answers)) == FLOOD_TRANSFERS
        await beside
    first, last = positions(answers)[0], positions(answers)[-1]
    assert last - first == FLOOD_TRANSFERS - 1, "nothing of another tenant stands inside of it"
    ends = "SELECT count(*) FROM batches WHERE last_position >= %s AND last_position < %s"
    assert one_value(database.owner_dsn, ends, first, last) == 0, "no batch ends inside of it"
    assert_whole(database)


async def test_one_tenants_full_queue_is_not_anothers(
    database: ShardDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        asyncio.timeout(WAIT_SECONDS_MAX),
        CuttingProxy(database.server_dsn) as proxy,
        Ledger.connect(proxy.dsn) as ledger,
    ):
        loud, quiet = await Tenant.open(ledger, 1), await Tenant.open(ledger, 2)
        monkeypatch.setattr(limits, "QUEUE_COMMANDS_PER_TENANT_MAX", 10)
        monkeypatch.setattr(limits, "QUEUE_COMMANDS_MAX", 15)
        stop = proxy.stop_at(Moment.COMMIT)
        first = asyncio.create_task(loud.pay("first"))
        await stop.reached.wait()
        full = asyncio.create_task(loud.flood("full", 10))
        await asyncio.sleep(0.05)
        with pytest.raises(OverloadedError):
            await loud.pay("one too many")
        mine = asyncio.create_task(quiet.flood("quiet", 5))
        await asyncio.sleep(0.05)
        with pytest.raises(OverloadedError):
            await quiet.pay("too many in whole")
        stop.pass_on()
        await first
        assert len(positions(await full)) == 10
        assert len(positions(await mine)) == 5
    assert_whole(database)


async def test_while_tenants_share_a_shard_one_of_them_has_short_batches(
    database: ShardDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a slow machine they share it for as long as it takes.
    monkeypatch.setattr(limits, "SHARED_SECONDS", WAIT_SECONDS_MAX)
    async with asyncio.timeout(WAIT_SECONDS_MAX), Ledger.connect(database.server_dsn) as ledger:
        loud = await Tenant.open(ledger, 1)
        alone = positions(await loud.flood("alone"))
        quiet = await Tenant.open(ledger, 2)
        beside = positions(await loud.flood("beside"))
        await quiet.pay("quiet")
    longest = (
        "SELECT max(last_position - before) FROM (SELECT last_position, lag(last_position) OVER (ORDER BY"
    )
    longest += " last_position) AS before FROM batches) AS b WHERE last_position BETWEEN %s AND %s"
    most = limits.BATCH_COMMANDS_PER_TENANT_MAX + limits.PIECE_COMMANDS_MAX
    assert one_value(database.owner_dsn, longest, alone[0], alone[-1]) > most
    assert one_value(database.owner_dsn, longest, beside[0], beside[-1]) <= most
    assert_whole(database)


async def test_a_large_request_is_never_worked_through_at_once(
    database: ShardDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is made of its transfers, the loop goes round in between."""
    made = Counter[str]()
    most = Counter[str]()

    def count(module: object, name: str) -> None:
        do = getattr(module, name)

        def counted(*arguments: object) -> object:
            made[name] += 1
            most[name] = max(most[name], made[name])
            return do(*arguments)

        monkeypatch.setattr(module, name, counted)

    async def go_round() -> None:
        while True:
            made.clear()
            await asyncio.sleep(0)

    async with asyncio.timeout(WAIT_SECONDS_MAX), Ledger.connect(database.server_dsn) as ledger:
        tenant = await Tenant.open(ledger, 1)
        count(TransactionCalls, "_transfer_command")
        count(tenancy, "_record")
        count(transactions, "_transaction")
        count(answers, "encoded_outcome")
        going = asyncio.create_task(go_round())
        rows = [
            {"source": tenant.bank, "destination": tenant.wallet, "amount": 1, "asset": "USD"}
            | {"idempotency_key": f"large {number}"}
            for number in range(FLOOD_TRANSFERS)
        ]
        body = msgspec.convert({"transfers": rows}, TransferBatchRequest)
        access = Access("", tenant.ledger.tenant, frozenset(), (), "")
        engine = tenant.ledger._engine
        call = Call(tenant.ledger, engine.pieces, "", body, None, "", access, engine.directory)
        await operations.transfer_batch(call)
        going.cancel()
    assert dict(most) == dict.fromkeys(
        ("_transfer_command", "_record", "_transaction", "encoded_outcome"), limits.PIECE_ITEMS_MAX
    )


async def test_what_has_no_room_is_refused_before_it_is_worked_through(
    database: ShardDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asyncio.timeout(WAIT_SECONDS_MAX), Ledger.connect(database.server_dsn) as ledger:
        tenant = await Tenant.open(ledger, 1)
        monkeypatch.setattr(limits, "QUEUE_COMMANDS_PER_TENANT_MAX", FLOOD_TRANSFERS - 1)
        made: list[object] = []
        monkeypatch.setattr(TransactionCalls, "_transfer_command", lambda *arguments: made.append(arguments))
        with pytest.raises(OverloadedError):
            await tenant.flood("too large")
    assert made == []


async def test_every_answer_of_a_large_request_is_its_own(database: ShardDatabase) -> None:
    async with asyncio.timeout(WAIT_SECONDS_MAX), Ledger.connect(database.server_dsn) as ledger:
        tenant = await Tenant.open(ledger, 1)
        await tenant.flood("money", 5)
        # Every third is more than the wallet has, whichever piece it is in.
        requests = [
            TransferRequest(
                *((tenant.wallet, tenant.bank) if number % 3 == 0 else (tenant.bank, tenant.wallet)),
                10_000 if number % 3 == 0 else 1,
                "USD",
                f"mixed {number}",
            )
            for number in range(5 * limits.PIECE_COMMANDS_MAX // 2)
        ]
        started = time.perf_counter()
        answers = await ledger.transfers(requests)
        assert time.perf_counter() - started < limits.REQUEST_TIMEOUT_SECONDS
        for number, answer in enumerate(answers):
            if number % 3 == 0:
                assert isinstance(answer, Refused)
                assert answer.code is RefusalCode.INSUFFICIENT_FUNDS
            else:
                assert isinstance(answer, views.Transaction)
                assert answer.entries[0].amount in {1, -1}
        again = await ledger.transfers(requests)
        assert positions(again) == positions(answers)
    assert_whole(database)


async def test_reads_of_the_past_leave_connections_to_those_of_now(database: ShardDatabase) -> None:
    async with asyncio.timeout(WAIT_SECONDS_MAX), Ledger.connect(database.server_dsn) as ledger:
        tenant = await Tenant.open(ledger, 1)
        await tenant.pay("before")
        then = datetime.now(UTC)
        places = ledger._engine.router.shards[0].expensive_reads
        async with AsyncExitStack() as taken:
            for _ in range(limits.EXPENSIVE_READS_MAX):
                await taken.enter_async_context(places.turn(2))
            past = [
                asyncio.create_task(ledger.balance(tenant.wallet, effective_at=then)),
                asyncio.create_task(ledger.balance(tenant.wallet, at=then)),
                asyncio.create_task(ledger.entries(tenant.wallet)),
                asyncio.create_task(ledger.events()),
            ]
            await asyncio.sleep(0.1)
            now = await ledger.balance(tenant.wallet, strong=True)
            assert isinstance(now, views.Balance)
            assert now.balance == 1
            assert not any(task.done() for task in past)
        await asyncio.gather(*past)


async def test_an_event_is_encoded_once_for_all_its_listeners(
    database: ShardDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []

    def counted(event: Event) -> bytes:
        encoded.append(event.position)
        return encode(event)

    monkeypatch.setattr(streams, "encode", counted)
    async with asyncio.timeout(WAIT_SECONDS_MAX), Ledger.connect(database.server_dsn) as ledger:
        tenant = await Tenant.open(ledger, 1)

        async def listen(ready: asyncio.Event) -> bytes:
            heard, count = b"", 0
            async with aclosing(streams.event_parts(await ledger.follow_events())) as parts:
                async for part in parts:
                    ready.set()
                    count += part.event_count
                    if part.event_count:
                        heard += part.data
                    if count == 3:
                        return heard
            return heard

        ready = [asyncio.Event() for _ in range(20)]
        listening = [asyncio.create_task(listen(one)) for one in ready]
        await asyncio.gather(*(one.wait() for one in ready))
        # Those that listen live, and not those that read the log.
        await asyncio.sleep(0.5)
        for number in range(3):
            await tenant.pay(f"heard {number}")
        heard = await asyncio.gather(*listening)
    assert all(one == heard[0] for one in heard)
    assert len(encoded) == 3, f"{len(encoded)} times for 20 listeners"


class Listeners:
    """Some who listen to all of a tenant, and what each of them has heard."""

    def __init__(self, ledger: Ledger, count: int, after: int | None = None) -> None:
        self.heard: list[list[int]] = [[] for _ in range(count)]
        self._tasks = [asyncio.create_task(self._listen(ledger, after, mine)) for mine in self.heard]

    async def _listen(self, ledger: Ledger, after: int | None, heard: list[int]) -> None:
        async with aclosing(await ledger.follow_events(after=after)) as parts:
            async for part in parts:
                heard += [event.position for event in part.items]

    async def until_all_have(self, position: int) -> None:
        while any(not heard or heard[-1] < position for heard in self.heard):  # noqa: ASYNC110 - many listeners
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def test_listeners_are_told_few_at_a_time_and_of_a_large_batch_from_memory(
    database: ShardDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that is larger than what a listener to one account may have waiting."""
    listeners_count = 5 * limits.FEED_COST_PER_ROUND
    told = most = reads = 0
    live = set[Subscription]()
    take, read = Subscription._take, Feed._read

    def counted_take(self: Subscription) -> NewRecords:
        nonlocal told, most
        live.add(self)
        told += 1
        most = max(most, told)
        return take(self)

    async def counted_read(self: Feed, wanted: Wanted, after: int, row_count: int) -> object:
        nonlocal reads
        reads += 1
        return await read(self, wanted, after, row_count)

    async def go_round() -> None:
        nonlocal told
        while True:
            told = 0
            await asyncio.sleep(0)

    monkeypatch.setattr(Subscription, "_take", counted_take)
    monkeypatch.setattr(Feed, "_read", counted_read)
    # Nothing is told but what happens.
    monkeypatch.setattr(limits, "STREAM_HEARTBEAT_SECONDS", WAIT_SECONDS_MAX)
    async with asyncio.timeout(WAIT_SECONDS_MAX), Ledger.connect(database.server_dsn) as ledger:
        tenant = await Tenant.open(ledger, 1)
        listeners = Listeners(tenant.ledger, listeners_count)
        while len(live) < listeners_count:
            await tenant.pay(f"another {reads} {asyncio.get_running_loop().time()}")
            await asyncio.sleep(0.1)
        reads_before, most = reads, 0
        going = asyncio.create_task(go_round())
        last = max(positions(await tenant.flood("large", limits.BATCH_COMMANDS_MAX)))
        await listeners.until_all_have(last)
        going.cancel()
        await listeners.stop()
    assert limits.FEED_RECORDS_WAITING_MAX < limits.BATCH_COMMANDS_MAX
    assert reads == reads_before, "the log was read for what could be had from memory"
    assert most <= 2 * limits.FEED_COST_PER_ROUND, f"{most} of {listeners_count} in one round of the loop"
    for heard in listeners.heard:
        assert heard == list(range(heard[0], last + 1))


async def test_those_who_are_behind_share_what_is_read_of_the_log(
    database: ShardDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Counter[int]()
    records = Feed._read

    async def counted(self: Feed, wanted: Wanted, after: int, row_count: int) -> _Read:
        found = await records(self, wanted, after, row_count)
        if found.part.records:
            asked[after] += 1
        return found

    monkeypatch.setattr(Feed, "_read", counted)
    monkeypatch.setattr(limits, "FEED_PART_REMEMBERED_SECONDS", WAIT_SECONDS_MAX)
    async with asyncio.timeout(WAIT_SECONDS_MAX), Ledger.connect(database.server_dsn) as ledger:
        tenant = await Tenant.open(ledger, 1)
        last = max(positions(await tenant.flood("long ago", 3 * limits.PAGE_ROWS_MAX)))
        listeners = Listeners(tenant.ledger, 20, after=0)
        await listeners.until_all_have(last)
        await listeners.stop()
    assert max(asked.values()) <= limits.CATCH_UP_READS_MAX, "a part was read for each listener"
    assert all(heard == list(range(1, last + 1)) for heard in listeners.heard)
