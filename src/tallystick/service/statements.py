"""An account's statement: the movements of a period, from its opening to its closing balance."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from tallystick import views
from tallystick.domain import limits
from tallystick.domain.identifiers import local_of, make_identifier, shard_of
from tallystick.domain.invariants import BrokenInvariantError
from tallystick.domain.parts import STAGE_KINDS, Part, part_of
from tallystick.domain.record import Record, payment_of
from tallystick.service import halves, parameters
from tallystick.service.cursor import PlaceNumber, read_bound_cursor, write_bound_cursor
from tallystick.service.errors import ParameterError
from tallystick.service.served_shard import ServedShard
from tallystick.service.tenancy import Tenancy
from tallystick.store.reads import HistoryRow
from tallystick.store.reports import Period, ReportReader


class _Place(msgspec.Struct, array_like=True):
    """Where a page of a statement begins: after a position. The statement ends at `closed`."""

    after: PlaceNumber
    closed: PlaceNumber


class StatementCalls(Tenancy):
    """Statements of one tenant's accounts."""

    async def statement(
        self,
        account: str,
        since: datetime,
        until: datetime,
        *,
        cursor: str | None = None,
        limit: int = limits.PAGE_ROWS_DEFAULT,
    ) -> views.Statement:
        """The movements that were recorded from `since` up to `until`, without `until` itself, oldest first.

        A period is closed by positions. It is `final` once nothing can come into it any more: as soon as the log has
        gone on after it, and ten minutes after its end at the latest. All pages have the same balances and positions.

        Raises:
            ParameterError: the period is empty or in the future, or the cursor is not one of this statement.
            AccountNotFoundError: the tenant has no such account.
        """
        identifier = parameters.account(account, "id")
        since_us, until_us = parameters.past_time(since, "since"), parameters.past_time(until, "until")
        if since_us >= until_us:
            raise ParameterError("until", "expected a time after since")
        limit = parameters.page_limit(limit)
        scope = ("statement", self._tenant, identifier, since_us, until_us)
        place = read_bound_cursor(cursor, scope, _Place)
        state = await self._state(account)
        shard = self._shard(identifier)
        reader = ReportReader(shard.database)
        async with shard.expensive_reads.turn(self._tenant):
            # What came into the period between two pages is in none of them.
            closed_max = limits.INT64_MAX if place is None else place.closed
            period = await reader.period(identifier, since_us, until_us, closed_max)
            after = period.opened if place is None else place.after
            rows = await reader.entries(identifier, after, period.closed, limit + 1)
        page, more = rows[:limit], len(rows) > limit
        # A cursor may be changed, and what it says is no reason to doubt the log.
        _require_sums(page, period.opening_balance if place is None else None, None if more else period)
        return views.Statement(
            account=account,
            owner=state.terms.owner,
            asset=state.terms.asset,
            since=since,
            until=until,
            opened_at_position=period.opened,
            closed_at_position=period.closed,
            final=period.is_final,
            opening_balance=views.MinorUnits(period.opening_balance),
            closing_balance=views.MinorUnits(period.closing_balance),
            items=await self._lines_of(shard, [row for row in page if row.entry.amount]),
            next_cursor=_cursor_after(page, period, scope) if more else None,
        )

    async def _lines_of(self, shard: ServedShard, rows: Sequence[HistoryRow]) -> list[views.StatementLine]:
        """The lines of entries, each with the accounts on the other side, which may be on other shards."""
        positions = [row.entry.position for row in rows]
        read = list((await shard.reader.records(positions)).values()) if rows else []
        records = {
            record.transaction.position: record
            for record in await self._engine.earlier_credits.completed(shard.number, read)
        }
        payments = await self._payments(shard.number, records.values())
        lines = []
        for row in rows:
            record = records[row.entry.position]
            payment = payment_of(shard.number, record.transaction)
            part = part_of(shard.number, record) or Part(record.transaction.kind, payment, None)
            entries = payments[payment].entries
            others = [one for one in entries if (one.amount < 0) != (row.entry.amount < 0)]
            lines.append(
                views.statement_line(
                    shard.number, row.entry, row.transaction, part, [one.account for one in others]
                )
            )
        return lines

    async def _payments(self, shard: int, records: Iterable[Record]) -> Mapping[int, views.Transaction]:
        """The payments that records belong to, whole, by their identifiers."""
        known: dict[int, Record] = {}
        wanted: dict[int, list[int]] = {}
        for record in records:
            payment = payment_of(shard, record.transaction)
            if record.transaction.kind not in STAGE_KINDS:
                known[payment] = record
            else:
                wanted.setdefault(shard_of(payment), []).append(local_of(payment))
        reads = [
            self._engine.router.numbered(number).reader.records(those) for number, those in wanted.items()
        ]
        for number, found in zip(wanted, await asyncio.gather(*reads), strict=True):
            known |= {make_identifier(number, position): record for position, record in found.items()}
        whole = await halves.whole(self._engine, list(known.values()))
        return {
            payment: views.transaction_view(shard_of(payment), record)
            for payment, record in zip(known, whole, strict=True)
        }


def _cursor_after(page: Sequence[HistoryRow], period: Period, scope: tuple[str | int, ...]) -> str:
    last = page[-1].entry
    return write_bound_cursor(_Place(last.position, period.closed), scope)


def _require_sums(page: Sequence[HistoryRow], before: int | None, ended: Period | None) -> None:
    """Each balance follows from the one before it, and the last one is the closing balance.

    `before` is the balance before the page, if it is known.

    Raises:
        BrokenInvariantError: the log is broken, or the code is.
    """
    balance = before
    for row in page:
        if balance is not None and balance + row.entry.amount != row.entry.balance:
            raise BrokenInvariantError(f"the running balance at position {row.entry.position} is missing")
        balance = row.entry.balance
    if ended is not None and balance not in {None, ended.closing_balance}:
        raise BrokenInvariantError(f"a part of the statement up to position {ended.closed} is missing")
