"""Following the log inside a process, beside a writer of another one; and bugs planted in it, which are seen."""

import asyncio
import gc
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Any

import psycopg
import pytest
from tests.accounts import opened
from tests.crash.databases import ShardDatabase

from tallystick import Ledger, Refused, TransferRequest, UnavailableError, views
from tallystick.domain import limits
from tallystick.domain.decide import Decision
from tallystick.domain.identifiers import Prefix, parse_identifier
from tallystick.domain.record import Record, record_at
from tallystick.followers.feed.follower import Follower
from tallystick.followers.feed.subscription import Subscription, Wanted
from tallystick.service.errors import ParameterError
from tallystick.store.feed import FeedReader
from tallystick.views import Event

ROUNDS = 150
HEARD_SECONDS_MAX = 60.0
# A planted bug may be that a listener waits for ever.
PLANTED_SECONDS_MAX = 8.0

Plant = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture
async def ledger(database: ShardDatabase) -> AsyncIterator[Ledger]:
    async with Ledger.connect(database.server_dsn) as ledger:
        yield ledger


async def written(ledger: Ledger) -> list[Event]:
    """The whole log, page by page."""
    found: list[Event] = []
    after = 0
    while (page := await ledger.events(after=after, limit=limits.PAGE_ROWS_MAX)).position > after:
        found, after = [*found, *page.items], page.position
    return found


async def heard(ledger: Ledger, last: asyncio.Future[int], accounts: Sequence[str] = ()) -> list[Event]:
    """What one listener hears from now on, who goes and comes again at any time, up to the last position."""
    found: list[Event] = []
    after = 0
    for patience in itertools.cycle((1, 3, 40, 7)):
        parts = await ledger.follow_events(after=after, accounts=accounts)
        async with aclosing(parts):
            for _ in range(patience):
                part = await anext(parts)
                found += part.items
                after = part.position
                if last.done() and after >= last.result():
                    return found
    raise AssertionError


def touched(event: Event) -> set[str]:
    opened_or_changed = set() if event.account is None else {event.account.id}
    return opened_or_changed | {entry.account for entry in event.entries}


async def complaint(
    ledger: Ledger, database: ShardDatabase, seconds_max: float = HEARD_SECONDS_MAX
) -> str | None:
    """What listeners missed, or heard twice or in another order, while two processes wrote; None: nothing."""
    async with Ledger.connect(database.server_dsn) as elsewhere:
        alice, bob = await opened(ledger, "alice", "system"), await opened(ledger, "bob", "system")
        last: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        listeners = [
            asyncio.create_task(heard(ledger, last, accounts))
            for accounts in ((), (), (alice,), (alice,), (alice, bob))
        ]

        async def write(writer: Ledger) -> None:
            for number in range(ROUNDS):
                requests = [
                    TransferRequest(alice, bob, 1, "USD", f"{id(writer)} {number} {one}") for one in range(3)
                ]
                await writer.transfers(requests)

        await asyncio.gather(write(ledger), write(elsewhere))
        # What tells everybody that this is the end: it comes to all of them.
        end = await ledger.transfer(bob, alice, 1, "USD", idempotency_key="the end")
        assert isinstance(end, views.Transaction)
        last.set_result(end.position)
        try:
            async with asyncio.timeout(seconds_max):
                found = await asyncio.gather(*listeners)
        except TimeoutError:
            return "a listener waits for ever"
        finally:
            for listener in listeners:
                listener.cancel()
            await asyncio.gather(*listeners, return_exceptions=True)
        log = await written(ledger)
    assert [event.position for event in log] == list(range(1, end.position + 1))
    wanted = (None, None, {alice}, {alice}, {alice, bob})
    for events, accounts in zip(found, wanted, strict=True):
        expected = [event for event in log if accounts is None or accounts & touched(event)]
        if events != expected:
            positions = [event.position for event in events]
            return f"heard {len(positions)} of {len(expected)}, in order: {positions == sorted(positions)}"
    return None


@pytest.mark.parametrize(
    "bounds",
    [
        pytest.param({}, id="as usual"),
        pytest.param(
            {"FEED_RECORDS_WAITING_MAX": 2, "FEED_RECORDS_WAITING_OF_TENANT_MAX": 2},
            id="one that overflows reads on from the log",
        ),
        pytest.param(
            {"FEED_POSITIONS_PER_PAGE_MAX": 7, "FEED_POSITIONS_PER_READ_MAX": 2},
            id="what is far behind is read in parts",
        ),
    ],
)
async def test_nothing_is_missed_and_nothing_comes_twice(
    ledger: Ledger, database: ShardDatabase, monkeypatch: pytest.MonkeyPatch, bounds: dict[str, int]
) -> None:
    for name, value in bounds.items():
        monkeypatch.setattr(limits, name, value)
    assert await complaint(ledger, database) is None


def skips_what_others_wrote_when_woken_twice(planted: pytest.MonkeyPatch) -> None:
    """What this process commits is handed out whatever was written before it."""
    honest = Follower.committed

    def committed(self: Follower, decision: Decision) -> None:
        if (
            self._worker is not None
            and decision.appended.transactions
            and decision.first_position > self.position
        ):
            self.position = self.horizon = decision.first_position - 1
        honest(self, decision)

    planted.setattr(Follower, "committed", committed)


def hands_out_twice(planted: pytest.MonkeyPatch) -> None:
    """What is committed is handed out at once, also while the same part of the log is being read."""

    def committed(self: Follower, decision: Decision) -> None:
        if self._worker is not None:
            position = self.position
            rows = decision.appended.transactions
            self._hand_out([record_at(decision, row.position) for row in rows], position)
            self._worker.wake()

    planted.setattr(Follower, "committed", committed)


def in_another_order(planted: pytest.MonkeyPatch) -> None:
    """The newest first."""
    honest = Follower._hand_out

    def hand_out(self: Follower, records: Iterator[Record], until: int) -> None:
        honest(self, reversed(list(records)), until)

    planted.setattr(Follower, "_hand_out", hand_out)


def forgets_when_it_overflows(planted: pytest.MonkeyPatch) -> None:
    """A listener that is slower than the log is not told of what did not fit."""

    def offer(self: Subscription, records: Sequence[Record]) -> None:
        self._waiting.extend(records[: max(0, 2 - len(self._waiting))])
        self._ask_for_turn()

    planted.setattr(Subscription, "offer", offer)


@pytest.mark.parametrize(
    "plant",
    [
        skips_what_others_wrote_when_woken_twice,
        hands_out_twice,
        in_another_order,
        forgets_when_it_overflows,
    ],
)
async def test_planted_bugs_are_seen(
    database: ShardDatabase, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    async with Ledger.connect(database.server_dsn) as ledger:
        assert await complaint(ledger, database, PLANTED_SECONDS_MAX) is not None


async def test_who_is_behind_outlives_the_loss_of_the_shard(
    ledger: Ledger, database: ShardDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PAGE_ROWS_MAX", 5)
    monkeypatch.setattr(limits, "FEED_RETRY_SECONDS", 0.02)
    alice, bob = await opened(ledger, "alice", "system"), await opened(ledger, "bob", "system")
    for number in range(30):
        await ledger.transfer(alice, bob, 1, "USD", idempotency_key=str(number))
    found: list[int] = []
    silences = 0
    async with aclosing(await ledger.follow_events(after=0)) as parts:
        async for part in parts:
            found += [event.position for event in part.items]
            silences += not part.items
            if len(found) >= 32:
                break
            terminate_readers(database)
    assert found == list(range(1, 33))
    assert silences > 1


def terminate_readers(database: ShardDatabase) -> None:
    """End them, and wait until they are gone."""
    with psycopg.connect(database.owner_dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity"
            " WHERE starts_with(application_name, 'tallystick reader') AND datname = current_database()"
        )


async def test_an_owner_with_too_many_accounts_is_refused_before_the_stream_begins(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FEED_ACCOUNTS_OF_OWNER_MAX", 2)
    for _ in range(2):
        await opened(ledger, "alice", "system")
    parts = await ledger.follow_events(owner="alice", after=0)
    async with aclosing(parts):
        await anext(parts)
        await opened(ledger, "alice", "system")
        with pytest.raises(ParameterError, match="more than 2 accounts"):
            await ledger.follow_events(owner="alice")
        with pytest.raises(ParameterError, match="more than 2 accounts"):
            await ledger.events(owner="alice")


def records_kept() -> int:
    gc.collect()
    return sum(isinstance(one, Record) for one in gc.get_objects())


async def test_a_stream_that_says_nothing_keeps_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STREAM_HEARTBEAT_SECONDS", 0.05)
    alice, bob = await opened(ledger, "alice", "system"), await opened(ledger, "bob", "system")
    for number in range(30):
        await ledger.transfer(alice, bob, 1, "USD", idempotency_key=str(number))
    before = records_kept()
    async with aclosing(await ledger.follow_events(after=0)) as parts:
        said = 0
        async for part in parts:
            said += len(part.items)
            if said >= 32 and not part.items:
                break
        # One more, for what the last one took the place of.
        await anext(parts)
        assert records_kept() <= before


async def test_how_far_something_rare_was_looked_for_is_said_meanwhile(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(6):
        await opened(ledger, "alice", "system")
    monkeypatch.setattr(limits, "FEED_POSITIONS_PER_PAGE_MAX", 2)
    monkeypatch.setattr(limits, "STREAM_HEARTBEAT_SECONDS", 0.0)
    async with aclosing(await ledger.follow_events(after=0, kinds=["transfer"])) as parts:
        said = [(await anext(parts)).position for _ in range(4)]
    assert said == [0, 2, 4, 6]


async def test_a_balance_that_has_not_moved_for_long_is_followed_from_the_end(ledger: Ledger) -> None:
    alice = await opened(ledger, "alice", "system")
    for _ in range(5):
        await opened(ledger, "bob", "system")
    parts = await ledger.follow_balance(alice)
    assert not isinstance(parts, Refused)
    async with aclosing(parts):
        begun = await anext(parts)
    assert [balance.balance for balance in begun.items] == [0]
    assert begun.position == 6


async def test_who_joins_a_reader_that_follows_a_cancelled_one_misses_nothing(
    ledger: Ledger, database: ShardDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query is cancelled when PostgreSQL has heard of it: the next reader may read by then."""
    alice, bob = await opened(ledger, "alice", "system"), await opened(ledger, "bob", "system")
    reading: asyncio.Queue[asyncio.Event] = asyncio.Queue()
    honest = FeedReader.watched

    async def watched(self: FeedReader, *part: Any) -> list[int]:
        found = await honest(self, *part)
        go_on = asyncio.Event()
        reading.put_nowait(go_on)
        try:
            await go_on.wait()
        except asyncio.CancelledError:
            await asyncio.shield(cancelled.wait())
            ended.set()
            raise
        return found

    cancelled, ended = asyncio.Event(), asyncio.Event()
    monkeypatch.setattr(FeedReader, "watched", watched)
    follower = ledger._engine.router.shards[0].feed.follower
    tenant = ledger._tenant
    wants_alice = Wanted(tenant, accounts=frozenset({parse_identifier(Prefix.ACCOUNT, alice)}))
    wants_bob = Wanted(tenant, accounts=frozenset({parse_identifier(Prefix.ACCOUNT, bob)}))
    async with Ledger.connect(database.server_dsn) as elsewhere:
        with follower.listening():
            await follower.begin()
            with follower.subscribed(wants_alice):
                await elsewhere.change_account(bob, metadata={"a": "1"})
                await reading.get()
        with follower.listening():
            await follower.begin()
            with follower.subscribed(wants_alice):
                changed = await elsewhere.change_account(bob, metadata={"a": "2"})
                assert not isinstance(changed, Refused)
                second = await reading.get()
                cancelled.set()
                await ended.wait()
                await asyncio.sleep(0)
                with follower.subscribed(wants_bob) as joined:
                    assert joined.joined_at == follower.horizon > follower.position
                    second.set()


async def test_streams_of_owners_without_accounts_end_when_the_process_stops(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STREAM_HEARTBEAT_SECONDS", 3600.0)
    feed = ledger._engine.router.shards[0].feed
    async with aclosing(feed.follow(Wanted(ledger._tenant, owner="nobody"), 0)) as slices:
        waiting = asyncio.ensure_future(anext(slices))
        async with asyncio.timeout(HEARD_SECONDS_MAX):
            while not feed.follower._of_owner:  # noqa: ASYNC110 - nobody tells who listens
                await asyncio.sleep(0.01)
            feed.follower.close()
            with pytest.raises(UnavailableError):
                await waiting


async def test_streams_of_one_owner_share_what_they_know_of_its_accounts(ledger: Ledger) -> None:
    """One that goes takes nothing from another; an account that is opened meanwhile is heard of by all who stay."""
    bank = await opened(ledger, "bank", "system")
    alice = await opened(ledger, "alice", "system")
    numbers = itertools.count()

    async def pay(account: str) -> str:
        paid = await ledger.transfer(bank, account, 1, "USD", idempotency_key=f"payment {next(numbers)}")
        assert isinstance(paid, views.Transaction)
        return paid.id

    streams = [await ledger.follow_events(owner="alice") for _ in range(3)]

    async def next_event(number: int) -> str:
        async with asyncio.timeout(HEARD_SECONDS_MAX):
            while True:
                for event in (await anext(streams[number])).items:
                    return event.transaction
        raise AssertionError

    try:
        waiting = [asyncio.create_task(next_event(number)) for number in range(3)]
        # However late they begin to listen: each begins where the log ended when it was asked for.
        payment = await pay(alice)
        assert [await one for one in waiting] == [payment] * 3
        await streams[0].aclose()
        another = await ledger.open_account("alice", "USD")
        assert isinstance(another, views.Account)
        opening = [await next_event(number) for number in (1, 2)]
        payment = await pay(another.id)
        assert [await next_event(number) for number in (1, 2)] == [payment] * 2
        assert opening[0] == opening[1]
    finally:
        for stream in streams:
            await stream.aclose()
