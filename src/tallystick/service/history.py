"""An account's history: one line for each payment, whichever shards it crosses, or the lines of the log."""

from collections.abc import Sequence

from tallystick import views
from tallystick.domain import limits
from tallystick.domain.parts import STAGE_KINDS, amount_of, held_of, part_of, pending_part
from tallystick.ledger.crossing.earlier_credits import EarlierCredits
from tallystick.ledger.shard import Shard
from tallystick.store.reads import HistoryRow


class History:
    """Reads histories of one shard's accounts; `stages` asks for the lines of the log."""

    def __init__(self, shard: Shard, earlier_credits: EarlierCredits, *, stages: bool) -> None:
        self._shard = shard
        self._earlier_credits = earlier_credits
        self._stages = stages

    async def page(
        self, account: int, before: int | None, limit: int
    ) -> tuple[list[views.HistoryEntry], int | None]:
        """Up to `limit` lines below a position, newest first, and where the next page begins; None at the end.

        A page may have fewer lines before the end, if many payments moved nothing.
        """
        lines: list[views.HistoryEntry] = []
        for _ in range(limits.HISTORY_READS_PER_PAGE_MAX):
            rows = await self._shard.reader.history(account, before, limit + 1)
            lines += await self._lines(rows)
            if len(lines) > limit:
                return lines[:limit], lines[limit - 1].position
            if len(rows) <= limit:
                return lines, None
            before = rows[-1].entry.position
        return lines, before

    async def _lines(self, rows: Sequence[HistoryRow]) -> list[views.HistoryEntry]:
        number = self._shard.number
        stages = {row.entry.position for row in rows if row.transaction.kind in STAGE_KINDS}
        if self._stages or not stages:
            return [views.history_view(number, row.entry, row.transaction) for row in rows]
        read = list((await self._shard.reader.records(stages)).values())
        records = {
            record.transaction.position: record
            for record in await self._earlier_credits.completed(number, read)
        }
        lines = []
        for row in rows:
            line = views.history_view(number, row.entry, row.transaction)
            record = records.get(row.entry.position)
            if record is None:
                lines.append(line)
            elif (part := part_of(number, record) or pending_part(number, record)) is not None:
                amount, held = amount_of(record, row.entry), held_of(record, row.entry)
                lines.append(views.payment_line(line, part, amount, held))
        return lines
