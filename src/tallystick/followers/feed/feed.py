"""The change feed of one shard: its log, by position.

The log is serial and gapless, so whoever knows a position knows all that came before it. A slice of the log is read
with a few index descents. Whoever follows it live is a `Subscription` of the shard's `Follower`, which reads each
part of the log once for all of them.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple, TypeVar

import structlog

from tallystick.background.pauses import jittered
from tallystick.domain import limits
from tallystick.domain.record import Record
from tallystick.followers.errors import BeyondHeadError, TooManyAccountsError
from tallystick.followers.feed.follower import Follower, Subscription, Wanted, cost_of
from tallystick.ledger.errors import OverloadedError, UnavailableError
from tallystick.ledger.rounds import Rounds
from tallystick.ledger.turns import Turns
from tallystick.store.errors import StoreError
from tallystick.store.feed import FeedReader
from tallystick.store.reads import Reader

_log = structlog.get_logger(__name__)

Found = TypeVar("Found")

__all__ = ["Feed", "Slice", "Wanted"]


class Slice(NamedTuple):
    """What was wanted of a part of the log, in the order of the log.

    `position` is where the part ends: everything wanted up to there has been said, by this slice or before it.
    """

    records: list[Record]
    position: int


class _Read(NamedTuple):
    """A slice, whether the log went on after it, and whose accounts were looked for."""

    slice: Slice
    level: bool
    accounts: frozenset[int] | None


class Feed:
    """One shard's log, to be read by position and to be followed."""

    def __init__(self, shard: int, reader: Reader, positions: FeedReader, turns: Rounds) -> None:
        """`turns` are those of all who are told of something in this process."""
        self._shard = shard
        self._reader = reader
        self._positions = positions
        self._turns = turns
        # Those who are behind take turns at the database, and what one of them has read is there for the others.
        self._catching_up = Turns(
            limits.CATCH_UP_READS_MAX, f"parts of the log of shard {shard}", limits.STREAMS_MAX
        )
        self._parts_read: dict[tuple[Wanted, int], _Read] = {}
        self.follower = Follower(shard, reader, positions, turns)

    async def read(self, wanted: Wanted, after: int, row_count: int) -> Slice:
        """The first records that are wanted after a position, up to a number of them.

        The slice ends at the last of them, at the head, or where a page has looked far enough. But for the head, the
        same question has the same answer for ever.

        Raises:
            UnavailableError: the shard cannot be read.
            BeyondHeadError: the log does not go so far.
            TooManyAccountsError: the owner has too many accounts to look for.
        """
        return (await self._read(wanted, after, row_count)).slice

    async def head_position(self) -> int:
        """The last position of the log; raises UnavailableError."""
        return await self._reader.head_position()

    async def check(self, wanted: Wanted, after: int) -> None:
        """Raise the FeedError that `follow` would raise later. A lost shard is none: `follow` waits for it."""
        with suppress(UnavailableError, StoreError):
            _require_reached(after, await self._reader.head_position())
            await self._accounts(wanted)

    async def follow(self, wanted: Wanted, after: int) -> AsyncGenerator[Slice, None]:
        """All that is wanted after a position, slice by slice, for ever: what is there, then what comes.

        A slice without records comes when there was nothing to say for `STREAM_HEARTBEAT_SECONDS`, and now and then
        while the shard is lost.

        Raises:
            UnavailableError: this process stops. Follow again from the last position.
            BeyondHeadError: the log does not go so far (any more).
            TooManyAccountsError: the owner has too many accounts to look for.
        """
        with self.follower.listening():
            while await self._unless_lost(self.follower.begin) is None:
                yield Slice([], after)
            while True:
                async for found in self._behind(wanted, after):
                    after = found.position
                    yield found
                with self.follower.subscribed(wanted) as subscription:
                    async for found in self._live(subscription, wanted, after):
                        after = found.position
                        yield found

    async def _behind(self, wanted: Wanted, after: int) -> AsyncGenerator[Slice, None]:
        """What is far behind, from the log, until it is level, however long that takes."""
        said_at = time.monotonic()
        level = False
        while not level:
            read = await self._unless_lost(partial(self._read_in_turn, wanted, after))
            if read is None:
                yield Slice([], after)
                continue
            after, level = read.slice.position, read.level
            # Something rare may be far away: how far it was looked for is said meanwhile.
            if read.slice.records or time.monotonic() > said_at + limits.STREAM_HEARTBEAT_SECONDS:
                async for part in self._in_turns(wanted, read.slice):
                    yield part
                said_at = time.monotonic()

    async def _live(
        self, subscription: Subscription, wanted: Wanted, after: int
    ) -> AsyncGenerator[Slice, None]:
        """What comes, until the subscription has lost its place."""
        # What was written between the last look at the log and the subscription; the rest waits in it meanwhile.
        while True:
            read = await self._unless_lost(partial(self._read_in_turn, wanted, after))
            if read is None:
                yield Slice([], after)
                continue
            after = read.slice.position
            if read.slice.records:
                async for part in self._in_turns(wanted, read.slice):
                    yield part
            if after >= subscription.joined_at:
                break
        self.follower.narrow(subscription, read.accounts)
        # A stream may say nothing for a day, and must not keep what it said last.
        del read
        while (found := await subscription.next()) is not None:
            records = [record for record in found.records if record.transaction.position > after]
            after = max(after, found.position)
            if records or not found.records:
                yield Slice(records, after)

    async def _unless_lost(self, ask: Callable[[], Awaitable[Found]]) -> Found | None:
        """Ask something of the shard; None, after a pause, when it is lost."""
        self.follower.require_open()
        try:
            return await ask()
        except OverloadedError:
            # It has waited for its turn meanwhile.
            return None
        except (UnavailableError, StoreError) as error:
            _log.info("a stream waits for its shard", reason=str(error))
            await asyncio.sleep(jittered(limits.FEED_RETRY_SECONDS))
            return None

    async def _in_turns(self, wanted: Wanted, found: Slice) -> AsyncGenerator[Slice, None]:
        """A slice in parts that are sent at once, in turns with others."""
        records, size = found.records, limits.STREAM_CHUNK_EVENTS_MAX
        for start in range(0, max(1, len(records)), size):
            part = records[start : start + size]
            last = start + size >= len(records)
            await self._turns.turn(wanted.tenant, cost_of(len(part)))
            yield Slice(part, found.position if last else part[-1].transaction.position)

    async def _read_in_turn(self, wanted: Wanted, after: int) -> _Read:
        """The next part of the log for who is behind; one that was read for another a moment ago is still right.

        Raises:
            OverloadedError: it waits for long.
        """
        key = (wanted, after)
        if key in self._parts_read:
            return self._parts_read[key]
        async with self._catching_up.turn(wanted.tenant):
            if key in self._parts_read:
                return self._parts_read[key]
            read = await self._read(wanted, after, limits.PAGE_ROWS_MAX)
            if read.slice.position > after and len(self._parts_read) < limits.FEED_PARTS_REMEMBERED_MAX:
                self._parts_read[key] = read
                forget = partial(self._parts_read.pop, key, None)
                asyncio.get_running_loop().call_later(limits.FEED_PART_REMEMBERED_SECONDS, forget)
        return read

    async def _read(self, wanted: Wanted, after: int, row_count: int) -> _Read:
        head = await self._reader.head_position()
        _require_reached(after, head)
        # After the head: whatever belongs to an account up to there, its opening came before.
        accounts = await self._accounts(wanted)
        look = limits.FEED_POSITIONS_PER_PAGE_MAX
        if accounts is not None:
            look = limits.FEED_POSITIONS_OF_ACCOUNTS_PER_PAGE_MAX
        until = min(head, after + look)
        if until == after:
            return _Read(Slice([], after), level=True, accounts=accounts)
        positions = await self._find(wanted, accounts, after, until, row_count)
        if len(positions) == row_count:
            until = positions[-1]
        records = await self._reader.records(positions) if positions else {}
        shown = [record for position in positions if wanted.shows(self._shard, record := records[position])]
        found = Slice(shown, until)
        return _Read(found, level=until == head, accounts=accounts)

    async def _find(
        self, wanted: Wanted, accounts: frozenset[int] | None, after: int, until: int, row_count: int
    ) -> list[int]:
        """The first positions that are wanted in a part of the log: looked for a little at first, then further."""
        found: list[int] = []
        # Of an account there is an index, so that it costs nothing to look far at once.
        width = limits.FEED_LOOK_FACTOR * row_count if accounts is None else until - after
        while after < until and len(found) < row_count:
            found += await self._positions.positions(
                after,
                min(until, after + width),
                tenant=wanted.tenant,
                kinds=wanted.stored_kinds,
                accounts=accounts,
                row_count=row_count - len(found),
            )
            after += width
            width *= limits.FEED_LOOK_FACTOR
        return found

    async def _accounts(self, wanted: Wanted) -> frozenset[int] | None:
        if wanted.owner is None:
            return wanted.accounts
        count_max = limits.FEED_ACCOUNTS_OF_OWNER_MAX
        found = await self._positions.accounts_of_owner(wanted.tenant, wanted.owner, count_max + 1)
        if len(found) > count_max:
            raise TooManyAccountsError(f"the owner has more than {count_max} accounts on this shard")
        return frozenset(found)


def _require_reached(after: int, head: int) -> None:
    # Who waited for it would get what comes there one day, which is not what follows what they have seen.
    if after > head:
        raise BeyondHeadError(f"expected at most {head}, where the log ends")
