"""The claim of an idempotency key is written after the money, in another transaction.

The database would refuse that: its trigger `requests_within_batch` must be gone.
"""

import asyncio
from contextlib import suppress
from typing import Final

import asyncpg

from tallystick.cli.main import main
from tallystick.domain.canonical import EncodedBatch
from tallystick.domain.layout import REQUESTS
from tallystick.domain.rows import BatchRow
from tallystick.store import migrate
from tallystick.store.log import LogWriter, _copy_stream

LATER_SECONDS: Final = 0.03
"""So that a process may die between the two transactions, and another one may write in between."""

_append, _commit = LogWriter.append, LogWriter.commit
_waiting: dict[LogWriter, bytes] = {}


async def append_without_claims(self: LogWriter, row: BatchRow, rows: EncodedBatch) -> None:
    """Append a batch without its claims. One that only refuses needs them."""
    claims = rows.requests if rows.transactions else b""
    _waiting[self] = claims
    await _append(self, row, rows._replace(requests=b"") if claims else rows)


async def commit_and_claim(self: LogWriter) -> None:
    """Commit the batch, and then write its claims."""
    await _commit(self)
    if claims := _waiting.pop(self, b""):
        await asyncio.sleep(LATER_SECONDS)
        # Another server may have claimed the same keys meanwhile, or the connection is lost.
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await self._open_connection().copy_to_table(
                REQUESTS.name, source=_copy_stream(claims), columns=REQUESTS.column_names, format="binary"
            )


LogWriter.append = append_without_claims  # type: ignore[method-assign]  # it is planted
LogWriter.commit = commit_and_claim  # type: ignore[method-assign]  # it is planted
vars(migrate).update(expect_as_made=lambda *_: None)

if __name__ == "__main__":
    main()
