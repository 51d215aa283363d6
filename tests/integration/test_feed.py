"""Following the log inside a process, beside a writer of another one; and bugs planted in it, which are seen."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing

import psycopg
import pytest
from tests.crash.databases import ShardDatabase

from tallystick import Ledger, TransferRequest
from tallystick.domain import limits
from tallystick.domain.decide import Decision
from tallystick.domain.record import Record, record_at
from tallystick.ledger.follower import Follower, Subscription
from tallystick.service import views
from tallystick.service.events import Event

ROUNDS = 150
HEARD_SECONDS_MAX = 60.0
# A planted bug may be that a listener waits for ever.
PLANTED_SECONDS_MAX = 8.0

Plant = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture
async def ledger(database: ShardDatabase) -> AsyncIterator[Ledger]:
    async with Ledger.connect(database.server_dsn) as ledger:
        yield ledger


async def opened(ledger: Ledger, owner: str) -> str:
    account = await ledger.open_account(owner, "USD", kind="system")
    assert isinstance(account, views.Account)
    return account.id


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
        alice, bob = await opened(ledger, "alice"), await opened(ledger, "bob")
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
        pytest.param({"FEED_RECORDS_WAITING_MAX": 2}, id="one that overflows reads on from the log"),
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
            self._task is not None
            and decision.appended.transactions
            and decision.first_position > self.position
        ):
            self.position = self.horizon = decision.first_position - 1
        honest(self, decision)

    planted.setattr(Follower, "committed", committed)


def hands_out_twice(planted: pytest.MonkeyPatch) -> None:
    """What is committed is handed out at once, also while the same part of the log is being read."""

    def committed(self: Follower, decision: Decision) -> None:
        if self._task is not None:
            position = self.position
            rows = decision.appended.transactions
            self._hand_out([record_at(decision, row.position) for row in rows], position)
            self._wake.set()

    planted.setattr(Follower, "committed", committed)


def in_another_order(planted: pytest.MonkeyPatch) -> None:
    """The newest first."""
    honest = Follower._hand_out

    def hand_out(self: Follower, records: Iterator[Record], until: int) -> None:
        honest(self, reversed(list(records)), until)

    planted.setattr(Follower, "_hand_out", hand_out)


def forgets_when_it_overflows(planted: pytest.MonkeyPatch) -> None:
    """A listener that is slower than the log is not told of what did not fit."""

    def offer(self: Subscription, record: Record) -> None:
        if len(self._waiting) < 2:
            self._waiting.append(record)
        self._woken.set()

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
    alice, bob = await opened(ledger, "alice"), await opened(ledger, "bob")
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
            " WHERE application_name = 'tallystick reader' AND datname = current_database()"
        )


async def test_an_owner_with_too_many_accounts(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FEED_ACCOUNTS_OF_OWNER_MAX", 1)
    await opened(ledger, "alice")
    assert len((await ledger.events(owner="alice")).items) == 1
    await opened(ledger, "alice")
    with pytest.raises(ValueError, match="owner"):
        await ledger.events(owner="alice")
