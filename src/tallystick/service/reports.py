"""Reports over all shards: the trial balance, and balances by label."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from heapq import merge
from itertools import groupby
from operator import attrgetter
from typing import Annotated, Final

import msgspec

from tallystick import views
from tallystick.domain import limits
from tallystick.domain.accounts import AccountKind
from tallystick.domain.invariants import BrokenInvariantError
from tallystick.service import parameters
from tallystick.service.cursor import PlaceNumber, read_bound_cursor, write_bound_cursor
from tallystick.service.errors import ParameterError
from tallystick.service.served_shard import ServedShard
from tallystick.service.tenancy import Tenancy
from tallystick.store.reports import Group, KindTotal, Label, Labels, ReportReader

_LABELS: Final = {"owner": Label.OWNER, "kind": Label.KIND}
_METADATA: Final = "metadata."


class _Place(msgspec.Struct, array_like=True):
    """Where a page of balances begins: after a label and an asset, at these positions of the shards."""

    key: str
    asset: str
    positions: Annotated[dict[int, PlaceNumber], msgspec.Meta(min_length=1)]


class ReportCalls(Tenancy):
    """Reports of one tenant. Each shard is read at one position of its log."""

    async def trial_balance(self, *, at: datetime | None = None) -> views.TrialBalance:
        """All of the tenant's balances by asset and kind of account, now or as recorded at a past time.

        In each asset debits and credits are equal on every shard: clearing accounts have what is between two shards.

        Raises:
            BrokenInvariantError: they are not, so the log is broken.
        """
        positions = await self._positions(at)
        shards = [self._engine.router.numbered(number) for number in positions]
        reads = await asyncio.gather(*(self._kind_totals(shard, positions[shard.number]) for shard in shards))
        totals: dict[tuple[str, AccountKind], KindTotal] = {}
        for shard, found in zip(shards, reads, strict=True):
            _require_balanced(shard.number, positions[shard.number], found)
            for one in found:
                before = totals.get((one.asset, one.kind), KindTotal(one.asset, one.kind, 0, 0, 0))
                totals[one.asset, one.kind] = KindTotal(
                    one.asset,
                    one.kind,
                    before.accounts + one.accounts,
                    before.debit + one.debit,
                    before.credit + one.credit,
                )
        return _trial_balance(positions, [totals[key] for key in sorted(totals)])

    async def balance_groups(
        self,
        by: str,
        *,
        at: datetime | None = None,
        cursor: str | None = None,
        limit: int = limits.PAGE_ROWS_DEFAULT,
    ) -> views.BalanceGroups:
        """Balances summed by `owner`, `kind` or `metadata.KEY`, and by asset, in the order of the labels.

        The first page decides at which positions of the logs all pages are read.

        Raises:
            ParameterError: balances are not summed by this, or the cursor is not one of this list.
        """
        labels = _labels(by)
        limit = parameters.page_limit(limit)
        scope = ("balances", self._tenant, by, None if at is None else parameters.past_time(at, "at"))
        place = read_bound_cursor(cursor, scope, _Place) or _Place("", "", await self._positions(at))
        parameters.text(place.key, "cursor", limits.LABEL_CHARACTERS_MAX, 0)
        parameters.text(place.asset, "cursor", limits.LABEL_CHARACTERS_MAX, 0)
        if not all(map(self._engine.router.has_shard, place.positions)):
            raise ParameterError("cursor", "expected a cursor of this installation")
        shards = [self._engine.router.numbered(number) for number in place.positions]
        reads = await asyncio.gather(*(self._groups(shard, place, labels, limit + 1) for shard in shards))
        groups = _summed(reads)
        more = len(groups) > limit
        last = groups[limit - 1] if more else None
        return views.BalanceGroups(
            positions=_report_positions(place.positions),
            items=[_balance_group(labels.label, one) for one in groups[:limit]],
            next_cursor=(
                None
                if last is None
                else write_bound_cursor(_Place(last.key, last.asset, place.positions), scope)
            ),
        )

    async def _positions(self, at: datetime | None) -> dict[int, int]:
        """The position of each shard now, or at a past time."""
        shards = self._engine.router.shards
        if at is None:
            found = await asyncio.gather(*(shard.reader.head_position() for shard in shards))
        else:
            at_us = parameters.past_time(at, "at")
            found = await asyncio.gather(
                *(ReportReader(shard.database).position_at(at_us) for shard in shards)
            )
        return {shard.number: position for shard, position in zip(shards, found, strict=True)}

    async def _kind_totals(self, shard: ServedShard, position: int) -> list[KindTotal]:
        async with shard.expensive_reads.turn(self._tenant):
            return await ReportReader(shard.database).trial_balance(self._tenant, position)

    async def _groups(self, shard: ServedShard, place: _Place, labels: Labels, row_count: int) -> list[Group]:
        async with shard.expensive_reads.turn(self._tenant):
            return await ReportReader(shard.database).groups(
                self._tenant,
                place.positions[shard.number],
                labels,
                (place.key, place.asset),
                row_count,
            )


def _report_positions(positions: Mapping[int, int]) -> list[views.ReportPosition]:
    return [views.ReportPosition(number, positions[number]) for number in sorted(positions)]


def _trial_balance(positions: Mapping[int, int], totals: Sequence[KindTotal]) -> views.TrialBalance:
    by_asset = groupby(totals, key=attrgetter("asset"))
    return views.TrialBalance(
        positions=_report_positions(positions),
        lines=[
            views.TrialBalanceLine(
                one.asset,
                one.kind.name.lower(),
                one.accounts,
                views.MinorUnits(one.debit),
                views.MinorUnits(one.credit),
            )
            for one in totals
        ],
        totals=[
            views.TrialBalanceTotal(
                asset,
                views.MinorUnits(sum(one.debit for one in same)),
                views.MinorUnits(sum(one.credit for one in same)),
            )
            for asset, same in ((asset, list(found)) for asset, found in by_asset)
        ],
    )


def _balance_group(label: Label, group: Group) -> views.BalanceGroup:
    text = group.key.removeprefix("=") if group.key else None
    if label is Label.KIND:
        text = AccountKind(int(group.key.removeprefix("="))).name.lower()
    return views.BalanceGroup(
        text, group.asset, group.accounts, views.MinorUnits(group.balance), views.MinorUnits(group.held)
    )


def _labels(by: str) -> Labels:
    if by in _LABELS:
        return Labels(_LABELS[by])
    if isinstance(by, str) and by.startswith(_METADATA) and len(by) > len(_METADATA):
        key = by.removeprefix(_METADATA)
        return Labels(Label.METADATA, parameters.text(key, "by", limits.METADATA_KEY_CHARACTERS_MAX))
    raise ParameterError("by", "expected owner, kind, or metadata. and a key of the metadata")


def _summed(reads: Sequence[Sequence[Group]]) -> list[Group]:
    """The groups of all shards in the order of their labels, those of the same label and asset as one."""
    in_order = merge(*reads, key=_order)
    found = []
    for (key, asset), same in groupby(in_order, key=lambda one: (one.key, one.asset)):
        parts = list(same)
        found.append(
            Group(
                key,
                asset,
                sum(one.accounts for one in parts),
                sum(one.balance for one in parts),
                sum(one.held for one in parts),
            )
        )
    return found


def _order(group: Group) -> tuple[bytes, bytes]:
    """The order of the database: that of the bytes."""
    return group.key.encode(), group.asset.encode()


def _require_balanced(shard: int, position: int, totals: Sequence[KindTotal]) -> None:
    sums: dict[str, int] = {}
    for one in totals:
        sums[one.asset] = sums.get(one.asset, 0) + one.debit + one.credit
    for asset, difference in sums.items():
        if difference:
            raise BrokenInvariantError(
                f"the balance of shard {shard} at position {position}: {difference} {asset}"
            )
