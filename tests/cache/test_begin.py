"""Where a mark begins, step by step: nobody who was answered before it, or without it, is shown a step back."""

from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import redis

from tallystick import Ledger
from tallystick.domain import limits
from tallystick.domain.accounts import AccountState
from tallystick.domain.cached import write_state
from tallystick.domain.identifiers import Prefix, parse_identifier, shard_of
from tallystick.embedded.valkey import EmbeddedValkey
from tallystick.followers.cache import tailer as tailer_module
from tallystick.followers.cache.balances import BalanceReader, FoundBalance
from tallystick.followers.cache.tailer import Tailer
from tallystick.ledger import metrics
from tallystick.store.cache.balances import Cache
from tallystick.store.reads import PassedEntries, Reader
from tests.cache.books import cached, mark_of, opened, paid, passed
from tests.cache.conftest import serving

pytestmark = pytest.mark.usefixtures("patient")
Step = Callable[[], Awaitable[object]]


class DiesError(Exception):
    """Somebody's process ends here."""


class SteppedReader(Reader):
    """Reads PostgreSQL, and lets something happen before or after it, the next time."""

    def __init__(self, reader: Reader) -> None:
        self.__dict__.update(reader.__dict__)
        self.before_accounts: Step | None = None
        self.after_head: Step | None = None
        self.before_entries: Step | None = None

    async def accounts(self, accounts: "list[int]") -> dict[int, AccountState]:  # type: ignore[override]  # lists will do
        step, self.before_accounts = self.before_accounts, None
        if step is not None:
            await step()
        return await super().accounts(accounts)

    async def head_position(self) -> int:
        step, self.after_head = self.after_head, None
        head = await super().head_position()
        if step is not None:
            await step()
        return head

    async def entries_between(self, after: int, last: int) -> PassedEntries:
        step, self.before_entries = self.before_entries, None
        if step is not None:
            await step()
        return await super().entries_between(after, last)


class Scene(NamedTuple):
    """Accounts of a shard whose cache has no mark yet, and who reads and follows it when they are told to."""

    ledger: Ledger
    cache: Cache
    reader: SteppedReader
    shard: int
    alice: str
    bob: str

    @property
    def account(self) -> int:
        return parse_identifier(Prefix.ACCOUNT, self.bob)

    def server(self) -> BalanceReader:
        """What another server process has."""
        return BalanceReader(self.shard, self.reader, self.cache)

    def tailer(self) -> Tailer:
        return Tailer(self.shard, self.reader, self.cache)

    async def pay(self, key: str) -> int:
        return (await paid(self.ledger, self.alice, self.bob, 1, key)).position

    async def read(self, server: BalanceReader) -> FoundBalance:
        return (await server.read([self.account]))[self.account]

    async def state(self) -> AccountState:
        return (await self.reader.accounts([self.account]))[self.account]


@pytest.fixture
async def scene(dsns: dict[int, str], valkey: EmbeddedValkey) -> AsyncIterator[Scene]:
    cache = Cache(valkey.address)
    async with serving(dsns) as quiet:
        ledger = Ledger(quiet, 1)
        alice, bob = await opened(ledger, "alice", 2)
        number = shard_of(parse_identifier(Prefix.ACCOUNT, bob))
        (shard,) = [one for one in quiet.router.shards if one.number == number]
        yield Scene(ledger, cache, SteppedReader(shard.reader), number, alice, bob)
    await cache.close()


async def test_what_was_read_without_a_mark_is_cached_when_one_began_meanwhile(scene: Scene) -> None:
    first, second, third = scene.server(), scene.server(), scene.server()
    await scene.pay("one")
    paid_last = 0

    async def begin_and_pay() -> None:
        nonlocal paid_last
        assert await scene.tailer().follow()
        await scene.read(third)
        paid_last = await scene.pay("two")

    scene.reader.before_accounts = begin_and_pay
    assert (await scene.read(first)).balance.position == paid_last
    found = await scene.read(second)
    assert (found.balance.position, found.source) == (paid_last, "cache")


async def test_a_mark_is_believed_from_where_the_log_ends_after_it_was_there(scene: Scene) -> None:
    first, second = scene.server(), scene.server()
    await scene.pay("one")
    late = await scene.state()
    paid_last = 0

    async def pay_and_answer() -> None:
        nonlocal paid_last
        paid_last = await scene.pay("two")
        assert (await scene.read(first)).balance.position == paid_last

    scene.reader.after_head = pay_and_answer
    assert await scene.tailer().follow()
    # What a server wrote after its commit, held up until now.
    await scene.cache.write(scene.shard, [(scene.account, write_state(late))])
    found = await scene.read(second)
    assert (found.balance.position, found.source) == (paid_last, "cache")


async def test_a_mark_that_is_opening_is_not_believed_and_another_tailer_begins_anew(
    scene: Scene, keys: "redis.Redis"
) -> None:
    await scene.pay("one")
    tailer = scene.tailer()

    async def die() -> None:
        raise DiesError

    async def read_head_again() -> None:
        scene.reader.after_head = die

    scene.reader.after_head = read_head_again
    with pytest.raises(DiesError):
        await tailer.follow()
    left = keys.get(mark_of(scene.bob))
    assert isinstance(left, bytes)
    assert left.endswith(b" opening")
    # It is cached under this mark, and not answered from there.
    for _ in range(2):
        assert (await scene.read(scene.server())).source == "database"
    assert cached(keys, scene.bob) is not None
    await scene.cache.release(scene.shard, tailer._name)
    assert await scene.tailer().follow()
    assert (await scene.read(scene.server())).source == "database"
    assert (await scene.read(scene.server())).source == "cache"


async def test_much_that_came_meanwhile_is_passed_before_a_mark_is_believed(
    scene: Scene, keys: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CACHE_TAIL_POSITIONS_MAX", 2)
    marks: list[object] = []

    async def pay_much() -> None:
        for number in range(5):
            await scene.pay(str(number))

    async def note_mark() -> None:
        marks.append(keys.get(mark_of(scene.bob)))
        scene.reader.before_entries = note_mark

    scene.reader.after_head, scene.reader.before_entries = pay_much, note_mark
    assert await scene.tailer().follow()
    assert len(marks) == 3
    assert all(isinstance(mark, bytes) and mark.endswith(b" opening") for mark in marks)
    assert passed(keys, scene.bob) == await scene.reader.head_position()
    assert (await scene.read(scene.server())).source == "cache"


async def test_a_part_of_the_log_has_no_more_entries_than_a_script_can_pass(
    scene: Scene, keys: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await scene.tailer().follow()
    monkeypatch.setattr(limits, "CACHE_TAIL_ENTRIES_MAX", 3)
    for number in range(5):
        await scene.pay(str(number))
    tailer = scene.tailer()
    tailer._name = str(keys.get(mark_of(scene.bob).replace("mark", "lease")), "ascii")  # type: ignore[arg-type]  # bytes
    head = await scene.reader.head_position()
    last, entries = await tailer._read(head - 5, head)
    assert entries is not None
    assert len(entries.account) <= 3
    assert head - 5 < last < head
    assert await tailer.follow()
    assert passed(keys, scene.bob) == head
    assert (cached(keys, scene.bob) or b"").split(b" ")[1:3] == [b"%d" % head, b"5"]


async def test_what_is_cached_is_as_old_as_the_look_at_the_log(
    scene: Scene, keys: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the tailer takes from there until it tells the cache."""
    tailer = scene.tailer()
    assert await tailer.follow()
    await scene.pay("one")
    clock = 1000.0
    monkeypatch.setattr(tailer_module, "time", SimpleNamespace(monotonic=lambda: clock))

    async def take_long() -> None:
        nonlocal clock
        clock += 4.0

    scene.reader.before_entries = take_long
    assert await tailer.follow()
    assert 0 < int(keys.pttl(mark_of(scene.bob))) <= limits.CACHE_AGE_MS_MAX - 4000


async def test_strong_reads_do_not_ask_the_cache_and_tell_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await scene.tailer().follow()
    position = await scene.pay("one")
    server = scene.server()
    misses = metrics.CACHE_MISSES.labels(str(scene.shard))
    before = misses._value.get()
    with monkeypatch.context() as patched:
        patched.setattr(Cache, "read", lambda *_: pytest.fail("the cache was asked"))
        found = (await server.read([scene.account], strong=True))[scene.account]
    assert (found.balance.position, found.source) == (position, "database")
    assert misses._value.get() == before, "nothing was looked for in the cache"
    assert (await scene.read(scene.server())).source == "cache"
