"""The calls of the change feed: read the log by position, or follow it, and follow one account's balance."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Final

from tallystick import views
from tallystick.background.pauses import jittered
from tallystick.domain import limits
from tallystick.domain.accounts import AccountState
from tallystick.domain.commands import KINDS
from tallystick.domain.identifiers import shard_of
from tallystick.domain.parts import asks_for_stages
from tallystick.domain.record import Record
from tallystick.followers.errors import BeyondHeadError, TooManyAccountsError
from tallystick.followers.feed.feed import LogPart, Wanted
from tallystick.ledger.errors import UnavailableError
from tallystick.service import parameters
from tallystick.service.errors import ParameterError
from tallystick.service.remembered import Remembered
from tallystick.service.served_shard import ServedShard
from tallystick.service.tenancy import Tenancy

_views: Final[Remembered[views.Event]] = Remembered(limits.FEED_EVENTS_REMEMBERED_MAX)
_stage_views: Final[Remembered[views.Event]] = Remembered(limits.FEED_EVENTS_REMEMBERED_MAX)
# By the records that streams share.
_views_of_parts: Final[Remembered[tuple[views.Event, ...]]] = Remembered(limits.FEED_PARTS_REMEMBERED_MAX)


class EventCalls(Tenancy):
    """Read one tenant's part of a shard's log."""

    async def events(
        self,
        *,
        shard: int | None = None,
        after: int = 0,
        limit: int = limits.PAGE_ROWS_DEFAULT,
        accounts: Sequence[str] = (),
        owner: str | None = None,
        kinds: Sequence[str] = (),
        stages: bool = False,
    ) -> views.Events:
        """A page of a shard's log after a position; the next page begins after its `position`.

        `accounts` and `kinds` limit the events; without them all are returned. A full page never changes. A payment
        between shards has one event on each shard, where it was posted. `stages`, or the kind of a stage, returns
        each stage as it is in the log.
        """
        limit = parameters.page_limit(limit)
        parameters.between(after, "after", 0, limits.LOCAL_NUMBER_MAX)
        home, wanted = self._wanted(shard, accounts, owner, kinds, stages=stages)
        with _as_parameter_errors():
            async with home.expensive_reads.turn(self._tenant):
                found = await home.feed.read(wanted, after, limit)
        return views.Events(list(await self._event_views(home, wanted, found.records)), found.position)

    async def follow_events(
        self,
        *,
        shard: int | None = None,
        after: int | None = None,
        accounts: Sequence[str] = (),
        owner: str | None = None,
        kinds: Sequence[str] = (),
        stages: bool = False,
    ) -> AsyncGenerator[views.Events, None]:
        """Follow a shard's log from a position (default: from now), without end.

        It yields empty `Events` while nothing happens.

        After a disconnection, continue from the last `position`: nothing is missed, and nothing comes twice.
        """
        home, wanted = self._wanted(shard, accounts, owner, kinds, stages=stages)
        if after is None:
            after = await home.feed.head_position()
        parameters.between(after, "after", 0, limits.LOCAL_NUMBER_MAX)
        with _as_parameter_errors():
            await home.feed.check(wanted, after)

        async def follow() -> AsyncGenerator[views.Events, None]:
            yield views.Events([], after)
            async with aclosing(home.feed.follow(wanted, after)) as slices:
                said = after
                async for found in slices:
                    while (events := await self._events_or_none(home, wanted, found)) is None:
                        yield views.Events([], said)
                    said = found.position
                    yield events

        return follow()

    async def follow_balance(
        self, account: str, *, after: int | None = None, min_position: int = 0
    ) -> AsyncGenerator[views.BalanceChanges, None]:
        """Follow an account's balance: the current balance and then each change, or each change after a position.

        "Now" is not before `min_position`.

        Raises:
            PositionNotReachedError: the log of the account's shard has not reached the position. Try again.
        """
        identifier = parameters.account(account, "id")
        home = self._shard(identifier)
        if min_position:
            await home.balances.require_reached(min_position)
        # Read the position before the state. The state then includes everything up to that position.
        head = await home.feed.head_position()
        state = await self._state(account)
        begin = max(head, state.position) if after is None else after
        parameters.between(begin, "after", 0, limits.LOCAL_NUMBER_MAX)
        # Reservations for pending payments change the held amount, too.
        wanted = Wanted(self._tenant, accounts=frozenset({identifier}), stages=True)
        with _as_parameter_errors():
            await home.feed.check(wanted, begin)

        async def follow() -> AsyncGenerator[views.BalanceChanges, None]:
            now = views.logged_balance_view(state, state.balance, state.held, state.position)
            yield views.BalanceChanges([now] if after is None else [], begin)
            async with aclosing(home.feed.follow(wanted, begin)) as slices:
                async for found in slices:
                    yield views.BalanceChanges(_balances(state, found.records), found.position)

        return follow()

    async def _event_views(
        self, home: ServedShard, wanted: Wanted, records: list[Record]
    ) -> tuple[views.Event, ...]:
        """Records of the log as callers see them.

        Raises:
            UnavailableError: only a shard that does not answer knows what was asked for.
        """
        if not wanted.stages:
            records = await self._engine.earlier_credits.all_completed(home.number, records)
            records = [record for record in records if wanted.shows(home.number, record)]
        return tuple(_view_once(home.number, record, wanted.stages) for record in records)

    async def _events_or_none(self, home: ServedShard, wanted: Wanted, found: LogPart) -> views.Events | None:
        """The same for a stream, which survives the loss of a shard; None, after a pause, while the shard is lost."""
        if not found.records:
            return views.Events([], found.position)
        seen = _views_of_parts.find(found.records)
        if seen is None:
            try:
                seen = await self._event_views(home, wanted, found.records)
            except UnavailableError:
                home.feed.follower.require_open()
                await asyncio.sleep(jittered(limits.FEED_RETRY_SECONDS))
                return None
            _views_of_parts.keep(found.records, seen)
        return views.Events(list(seen), found.position)

    def _wanted(
        self,
        shard: int | None,
        accounts: Sequence[str],
        owner: str | None,
        kinds: Sequence[str],
        *,
        stages: bool,
    ) -> tuple[ServedShard, Wanted]:
        """The shard, and the wanted records of its log."""
        if accounts and owner is not None:
            raise ParameterError("owner", "expected only one of account and owner")
        if len(accounts) > limits.FEED_ACCOUNTS_MAX:
            raise ParameterError("account", f"expected at most {limits.FEED_ACCOUNTS_MAX} accounts")
        if owner is not None:
            parameters.text(owner, "owner", limits.OWNER_CHARACTERS_MAX)
        identifiers = frozenset(parameters.account(one, "account") for one in accounts)
        chosen = frozenset(parameters.choice(kind, KINDS, "kind") for kind in kinds)
        home = self._home(shard, identifiers)
        stages = stages or asks_for_stages(chosen)
        wanted = Wanted(self._tenant, chosen or None, identifiers or None, owner, stages)
        return home, wanted

    def _home(self, number: int | None, accounts: frozenset[int]) -> ServedShard:
        shards = {shard.number: shard for shard in self._engine.router.shards}
        named = {shard_of(account) for account in accounts} | ({number} if number is not None else set())
        if len(named) > 1:
            raise ParameterError("account", "expected accounts of one shard: each shard has a log of its own")
        if not named and len(shards) == 1:
            return next(iter(shards.values()))
        if number is None and accounts:
            return self._shard(next(iter(accounts)))
        found = shards.get(named.pop()) if named else None
        if found is None:
            numbers = ", ".join(map(str, shards))
            raise ParameterError("shard", f"expected the number of a shard: {numbers}")
        return found


@contextmanager
def _as_parameter_errors() -> Iterator[None]:
    """Translate errors of the feed to errors of a parameter."""
    try:
        yield
    except BeyondHeadError as error:
        raise ParameterError("after", str(error)) from None
    except TooManyAccountsError as error:
        raise ParameterError("owner", str(error)) from None


def _view_once(shard: int, record: Record, stages: bool) -> views.Event:
    """The view of a record. All streams share it."""
    views_of_records = _stage_views if stages else _views
    return views_of_records.of(record, lambda: views.event_view(shard, record, stages=stages))


def _balances(state: AccountState, records: Sequence[Record]) -> list[views.Balance]:
    """An account's balance after each of these transactions that moved it."""
    return [
        views.logged_balance_view(state, entry.balance, entry.held_after, entry.position)
        for record in records
        for entry in record.entries
        if entry.account == state.terms.account
    ]
