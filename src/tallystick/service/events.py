"""The calls of the change feed: read the log by position, or follow it, and follow one account's balance."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import datetime
from typing import Final

import msgspec

from tallystick.background.pauses import jittered
from tallystick.domain import limits
from tallystick.domain.accounts import AccountState
from tallystick.domain.commands import KINDS, Kind
from tallystick.domain.identifiers import Prefix, format_identifier, make_identifier, shard_of
from tallystick.domain.outcomes import Refused
from tallystick.domain.parts import asks_for_stages, own_entries, part_of
from tallystick.domain.record import Record
from tallystick.domain.sagas import SagaState
from tallystick.followers.errors import BeyondHeadError, TooManyAccountsError
from tallystick.followers.feed.feed import Slice, Wanted
from tallystick.ledger.errors import UnavailableError
from tallystick.service import parameters, views
from tallystick.service.errors import ParameterError
from tallystick.service.remembered import Remembered
from tallystick.service.served_shard import ServedShard
from tallystick.service.tenancy import Tenancy

_views: Final[Remembered["Event"]] = Remembered(limits.FEED_EVENTS_REMEMBERED_MAX)
_stage_views: Final[Remembered["Event"]] = Remembered(limits.FEED_EVENTS_REMEMBERED_MAX)
_CROSSING_STATES: Final = {
    Kind.TRANSFER_RESERVED: views.PENDING,
    Kind.TRANSFER_FINALIZED: views.POSTED,
    Kind.TRANSFER_RELEASED: "refused",
    Kind.TRANSFER_GIVEN_UP: views.PENDING,
    Kind.TRANSFER_SETTLED: views.POSTED,
}


class Crossing(msgspec.Struct, frozen=True):
    """What of a transfer between shards one position wrote.

    `transaction` is what the caller was answered with, `kind` what they asked for, `state` how far it is as of this
    position. `entries` are (account, asset, signed amount). `counterpart` is the other shard's transaction, and
    `refusal` why it was released: each where this position says so.
    """

    transaction: str
    kind: str
    state: str
    entries: list[tuple[str, str, int]]
    counterpart: str | None
    refusal: Refused | None


class Event(msgspec.Struct, frozen=True):
    """One transaction of the log, as its position wrote it: it never looks otherwise, whatever happens later.

    Of a payment that crosses shards each shard tells its accounts' part: `transaction` and `kind` are the payment's,
    `entries` those of this shard's accounts, unless stages were asked for.
    `account` and `hold` are what it opened or changed, as of this position.
    """

    shard: int
    position: int
    transaction: str
    kind: str
    recorded_at: datetime
    effective_at: datetime
    refers_to: str | None
    description: str | None
    metadata: dict[str, str]
    entries: list[views.Entry]
    account: views.Account | None
    hold: views.Hold | None
    crossing: Crossing | None


class Events(msgspec.Struct, frozen=True):
    """Some events in the order of the log. Nothing else that was asked for stands up to `position`."""

    items: list[Event]
    position: int


class BalanceChanges(msgspec.Struct, frozen=True):
    """One account's balances in the order of the log. There was no other change of it up to `position`."""

    items: list[views.Balance]
    position: int


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
    ) -> Events:
        """A page of a shard's log after a position; the next page begins after its `position`.

        `accounts` and `kinds`: of any of these; none named is all. A page that is full has the same events for ever.
        What crosses shards is told where it was posted, as what was asked for; `stages`, or a kind of stages, asks
        for each stage as the log has it.
        """
        parameters.between(limit, "limit", 1, limits.PAGE_ROWS_MAX)
        parameters.between(after, "after", 0, limits.LOCAL_NUMBER_MAX)
        home, wanted = self._wanted(shard, accounts, owner, kinds, stages=stages)
        with _told_of_parameters():
            async with home.expensive_reads.turn(self._tenant):
                found = await home.feed.read(wanted, after, limit)
        return await self._events(home, wanted, found)

    async def follow_events(
        self,
        *,
        shard: int | None = None,
        after: int | None = None,
        accounts: Sequence[str] = (),
        owner: str | None = None,
        kinds: Sequence[str] = (),
        stages: bool = False,
    ) -> AsyncGenerator[Events, None]:
        """Follow a shard's log from a position (default: from now), for ever; empty `Events` while nothing happens.

        Whoever is cut off goes on from the last `position`: nothing is missed, and nothing comes twice.
        """
        home, wanted = self._wanted(shard, accounts, owner, kinds, stages=stages)
        if after is None:
            after = await home.feed.head_position()
        parameters.between(after, "after", 0, limits.LOCAL_NUMBER_MAX)
        with _told_of_parameters():
            await home.feed.check(wanted, after)

        async def follow() -> AsyncGenerator[Events, None]:
            yield Events([], after)
            async with aclosing(home.feed.follow(wanted, after)) as slices:
                said = after
                async for found in slices:
                    while (events := await self._events_or_none(home, wanted, found)) is None:
                        yield Events([], said)
                    said = found.position
                    yield events

        return follow()

    async def follow_balance(
        self, account: str, *, after: int | None = None, min_position: int = 0
    ) -> AsyncGenerator[BalanceChanges, None]:
        """Follow an account's balance: as it is now, then each change; or each change after a position.

        "Now" is not before `min_position`.

        Raises:
            PositionNotReachedError: the log of the account's shard does not go so far. Ask again.
        """
        identifier = parameters.account(account, "id")
        home = self._shard(identifier)
        if min_position:
            await home.balances.require_reached(min_position)
        # Before the state, which then has all that is written up to there: nothing older need be looked for.
        head = await home.feed.head_position()
        state = await self._state(account)
        begin = max(head, state.position) if after is None else after
        parameters.between(begin, "after", 0, limits.LOCAL_NUMBER_MAX)
        # What is set aside for what is on its way changes a balance, too.
        wanted = Wanted(self._tenant, accounts=frozenset({identifier}), stages=True)
        with _told_of_parameters():
            await home.feed.check(wanted, begin)

        async def follow() -> AsyncGenerator[BalanceChanges, None]:
            yield BalanceChanges([views.logged_balance_view(state)] if after is None else [], begin)
            async with aclosing(home.feed.follow(wanted, begin)) as slices:
                async for found in slices:
                    yield BalanceChanges(_balances(state, found.records), found.position)

        return follow()

    async def _events(self, home: ServedShard, wanted: Wanted, found: Slice) -> Events:
        """What is wanted of a slice, as callers see it.

        Raises:
            UnavailableError: what was asked for is known to a shard that does not answer.
        """
        records = found.records
        if not wanted.stages:
            records = await self._engine.earlier_credits.all_told(home.number, records)
            records = [record for record in records if wanted.shows(home.number, record)]
        return Events([_view_once(home.number, record, wanted.stages) for record in records], found.position)

    async def _events_or_none(self, home: ServedShard, wanted: Wanted, found: Slice) -> Events | None:
        """The same for a stream, which outlives the loss of a shard; None, after a pause, while it is lost."""
        try:
            return await self._events(home, wanted, found)
        except UnavailableError:
            home.feed.follower.require_open()
            await asyncio.sleep(jittered(limits.FEED_RETRY_SECONDS))
            return None

    def _wanted(
        self,
        shard: int | None,
        accounts: Sequence[str],
        owner: str | None,
        kinds: Sequence[str],
        *,
        stages: bool,
    ) -> tuple[ServedShard, Wanted]:
        """Which shard, and what of its log."""
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
def _told_of_parameters() -> Iterator[None]:
    """Say which parameter asks the log for what it cannot say."""
    try:
        yield
    except BeyondHeadError as error:
        raise ParameterError("after", str(error)) from None
    except TooManyAccountsError as error:
        raise ParameterError("owner", str(error)) from None


def event_view(shard: int, record: Record, *, stages: bool) -> Event:
    """One transaction of the log as its position wrote it: as the part of a payment that it is, or as it stands."""
    part = None if stages else part_of(shard, record)
    if part is not None:
        record = record._replace(entries=tuple(own_entries(record)))
    # Without what became of it on the other shard.
    plain = views.transaction_view(shard, record._replace(saga=None, other_half=None))
    crossing = None if record.saga is None else _crossing(shard, record, record.saga)
    refers_to = plain.refers_to if part is None else views.reference(part.kind, part.refers_to)
    if part is None and record.transaction.kind is Kind.TRANSFER_RESERVED:
        refers_to = views.transaction_view(shard, record).refers_to
    payment = None if part is None else part.payment
    return Event(
        shard=shard,
        position=plain.position,
        transaction=plain.id if payment is None else format_identifier(Prefix.TRANSACTION, payment),
        kind=plain.kind if part is None else part.kind.text,
        recorded_at=plain.recorded_at,
        effective_at=plain.effective_at,
        refers_to=refers_to,
        description=plain.description,
        metadata=dict(plain.metadata),
        entries=plain.entries,
        account=None if record.account is None else views.account_view(record.account),
        hold=None if record.hold is None else views.hold_view(shard, record.hold, payment),
        crossing=crossing,
    )


def _crossing(shard: int, record: Record, saga: SagaState) -> Crossing:
    # The saga may have ended since: only the position that ended it says how.
    reserving = record.transaction.kind is Kind.TRANSFER_RESERVED
    terms = saga.terms
    counterpart = None
    if saga.counterpart is not None and not reserving:
        other = make_identifier(terms.other_shard, saga.counterpart)
        counterpart = format_identifier(Prefix.TRANSACTION, other)
    legs = [*((leg, -leg.amount) for leg in terms.debits), *((leg, leg.amount) for leg in terms.credits)]
    return Crossing(
        transaction=format_identifier(Prefix.TRANSACTION, make_identifier(shard, saga.saga)),
        kind=terms.operation.text,
        state=_CROSSING_STATES[record.transaction.kind],
        entries=[
            (format_identifier(Prefix.ACCOUNT, leg.account), leg.asset or "", amount) for leg, amount in legs
        ],
        counterpart=counterpart,
        refusal=None if reserving else saga.refusal,
    )


def _view_once(shard: int, record: Record, stages: bool) -> Event:
    """The view of a record, which all who follow the log have in common."""
    views_of_records = _stage_views if stages else _views
    return views_of_records.of(record, lambda: event_view(shard, record, stages=stages))


def _balances(state: AccountState, records: Sequence[Record]) -> list[views.Balance]:
    """An account's balance after each of these transactions that moved it."""
    return [
        views.logged_balance_view(
            msgspec.structs.replace(
                state, balance=entry.balance, held=entry.held_after, position=entry.position
            )
        )
        for record in records
        for entry in record.entries
        if entry.account == state.terms.account
    ]
