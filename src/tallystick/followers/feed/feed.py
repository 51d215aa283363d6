"""The change feed of one shard: its log, by position.

The log is serial and gapless, so a reader that has reached a position has all records before it. A part of the log is
read with a few index descents. A reader that is level with the log has a `Subscription` of the shard's `Follower`,
which reads each part of the log once for all of them.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple, TypeVar

import structlog

from tallystick.background.pauses import jittered
from tallystick.domain import limits
from tallystick.domain.record import Record
from tallystick.followers.errors import BeyondHeadError, TooManyAccountsError
from tallystick.followers.feed.follower import Follower
from tallystick.followers.feed.subscription import Subscription, Wanted, cost_of
from tallystick.ledger.errors import OverloadedError, UnavailableError
from tallystick.ledger.rounds import Rounds
from tallystick.ledger.turns import Turns
from tallystick.store.errors import StoreError
from tallystick.store.feed import FeedReader
from tallystick.store.reads import Reader

_log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

__all__ = ["Feed", "LogPart", "Wanted"]


class LogPart(NamedTuple):
    """The wanted records of a part of the log, in the order of the log.

    `position` is the end of the part. All wanted records up to it are in this part or in earlier ones. Listeners
    share `records`, which must not be changed.
    """

    records: list[Record]
    position: int


class _Read(NamedTuple):
    """A part, whether it ended at the head of the log, and the accounts that were searched for.

    `chunks`: the same in parts that are sent at once.
    """

    part: LogPart
    level: bool
    accounts: frozenset[int] | None
    chunks: Sequence[LogPart] = ()


class Feed:
    """One shard's log, which can be read by position and followed."""

    def __init__(self, shard: int, reader: Reader, positions: FeedReader, turns: Rounds) -> None:
        """`turns` are shared by all listeners of this process."""
        self._shard = shard
        self._reader = reader
        self._positions = positions
        self._turns = turns
        # Streams that are behind take turns at the database, and share what was read.
        self._catching_up = Turns(
            limits.CATCH_UP_READS_MAX, f"parts of the log of shard {shard}", limits.STREAMS_MAX
        )
        self._parts_read: dict[tuple[Wanted, int], _Read] = {}
        self.follower = Follower(shard, reader, positions, turns)

    async def read(self, wanted: Wanted, after: int, row_count: int) -> LogPart:
        """The first wanted records after a position, up to a number of them.

        The part ends at the last of them, at the head, or at the limit of a page. Unless it ends at the head, the
        same request always has the same answer.

        Raises:
            UnavailableError: the shard cannot be read.
            BeyondHeadError: the log does not go so far.
            TooManyAccountsError: the owner has too many accounts to look for.
        """
        return (await self._read(wanted, after, row_count)).part

    async def head_position(self) -> int:
        """The last position of the log; raises UnavailableError."""
        return await self._reader.head_position()

    async def check(self, wanted: Wanted, after: int) -> None:
        """Raise the FeedError that `follow` would raise later. A lost shard is no error: `follow` waits for it."""
        with suppress(UnavailableError, StoreError):
            _require_reached(after, await self._reader.head_position())
            await self._accounts(wanted)

    async def follow(self, wanted: Wanted, after: int) -> AsyncGenerator[LogPart, None]:
        """All wanted records after a position, part by part, without end: first those in the log, then new ones.

        A part without records comes if there was no other for `STREAM_HEARTBEAT_SECONDS`, and from time to time while
        the shard is lost.

        Raises:
            UnavailableError: this process stops. Follow again from the last position.
            BeyondHeadError: the log does not go so far (any more).
            TooManyAccountsError: the owner has too many accounts to look for.
        """
        with self.follower.listening():
            while await self._unless_lost(self.follower.begin) is None:
                yield LogPart([], after)
            while True:
                async for found in self._behind(wanted, after):
                    after = found.position
                    yield found
                with self.follower.subscribed(wanted) as subscription:
                    async for found in self._live(subscription, wanted, after):
                        after = found.position
                        yield found

    async def _behind(self, wanted: Wanted, after: int) -> AsyncGenerator[LogPart, None]:
        """Parts that are read from the log, until the reader is level with it, however long that takes."""
        said_at = time.monotonic()
        level = False
        while not level:
            read = await self._unless_lost(partial(self._read_in_turn, wanted, after))
            if read is None:
                yield LogPart([], after)
                continue
            after, level = read.part.position, read.level
            # The next wanted record may be far away. The progress of the search is reported meanwhile.
            if read.part.records or time.monotonic() > said_at + limits.STREAM_HEARTBEAT_SECONDS:
                async for part in self._in_turns(wanted, read.chunks):
                    yield part
                said_at = time.monotonic()

    async def _live(
        self, subscription: Subscription, wanted: Wanted, after: int
    ) -> AsyncGenerator[LogPart, None]:
        """New records, until the subscription has lost its place."""
        # Records that were written between the last read of the log and the subscription. Later ones wait in it.
        while True:
            read = await self._unless_lost(partial(self._read_in_turn, wanted, after))
            if read is None:
                yield LogPart([], after)
                continue
            after = read.part.position
            if read.part.records:
                async for part in self._in_turns(wanted, read.chunks):
                    yield part
            if after >= subscription.joined_at:
                break
        self.follower.narrow(subscription, read.accounts)
        # A stream may be silent for a day, and must not keep its last records in memory.
        del read
        while (found := await subscription.next()) is not None:
            records = found.records
            if records and records[0].transaction.position <= after:
                records = [record for record in records if record.transaction.position > after]
            after = max(after, found.position)
            if records or not found.records:
                yield LogPart(records, after)

    async def _unless_lost(self, ask: Callable[[], Awaitable[Answer]]) -> Answer | None:
        """Read from the shard; None, after a pause, if the shard is lost."""
        self.follower.require_open()
        try:
            return await ask()
        except OverloadedError:
            # The read has waited for its turn, so no further pause is needed.
            return None
        except (UnavailableError, StoreError) as error:
            _log.info("a stream waits for its shard", reason=str(error))
            await asyncio.sleep(jittered(limits.FEED_RETRY_SECONDS))
            return None

    async def _in_turns(self, wanted: Wanted, chunks: Sequence[LogPart]) -> AsyncGenerator[LogPart, None]:
        """Parts that are sent at once, in turns with other streams."""
        for chunk in chunks:
            await self._turns.turn(wanted.tenant, cost_of(len(chunk.records)))
            yield chunk

    async def _read_in_turn(self, wanted: Wanted, after: int) -> _Read:
        """The next part of the log for a stream that is behind.

        A part that was just read for another stream is used again.

        Raises:
            OverloadedError: it waited too long.
        """
        key = (wanted, after)
        if key in self._parts_read:
            return self._parts_read[key]
        async with self._catching_up.turn(wanted.tenant):
            if key in self._parts_read:
                return self._parts_read[key]
            read = await self._read(wanted, after, limits.PAGE_ROWS_MAX)
            read = read._replace(chunks=_chunks_of(read.part))
            if read.part.position > after and len(self._parts_read) < limits.FEED_PARTS_REMEMBERED_MAX:
                self._parts_read[key] = read
                forget = partial(self._parts_read.pop, key, None)
                asyncio.get_running_loop().call_later(limits.FEED_PART_REMEMBERED_SECONDS, forget)
        return read

    async def _read(self, wanted: Wanted, after: int, row_count: int) -> _Read:
        head = await self._reader.head_position()
        _require_reached(after, head)
        # Read after the head, so that all accounts with records up to the head are included.
        accounts = await self._accounts(wanted)
        look = limits.FEED_POSITIONS_PER_PAGE_MAX
        if accounts is not None:
            look = limits.FEED_POSITIONS_OF_ACCOUNTS_PER_PAGE_MAX
        until = min(head, after + look)
        if until == after:
            return _Read(LogPart([], after), level=True, accounts=accounts)
        positions = await self._find(wanted, accounts, after, until, row_count)
        if len(positions) == row_count:
            until = positions[-1]
        elif not positions and until < head:
            until = await self._reader.empty_through(until, head)
        records = await self._reader.records(positions) if positions else {}
        shown = [record for position in positions if wanted.shows(self._shard, record := records[position])]
        found = LogPart(shown, until)
        return _Read(found, level=until == head, accounts=accounts)

    async def _find(
        self, wanted: Wanted, accounts: frozenset[int] | None, after: int, until: int, row_count: int
    ) -> list[int]:
        """The first wanted positions in a part of the log.

        The search covers a small range first, then larger ones.
        """
        found: list[int] = []
        # Accounts have an index, so a large range costs nothing.
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


def _chunks_of(found: LogPart) -> list[LogPart]:
    """A part in parts that are sent at once; an empty one is one of them."""
    records, size = found.records, limits.STREAM_CHUNK_EVENTS_MAX
    chunks = [records[start : start + size] for start in range(0, max(1, len(records)), size)]
    ends = [*(chunk[-1].transaction.position for chunk in chunks[:-1]), found.position]
    return list(map(LogPart, chunks, ends))


def _require_reached(after: int, head: int) -> None:
    # A reader that waited for this position would get other records than those that follow what it has seen.
    if after > head:
        raise BeyondHeadError(f"expected at most {head}, where the log ends")
