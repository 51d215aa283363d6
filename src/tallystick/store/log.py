"""Writing the log: one batch is one database transaction, from the shard's lock to the commit."""

from collections.abc import Collection, Iterable
from typing import Final

from psycopg import AsyncCursor
from psycopg.rows import TupleRow

from tallystick.domain.accounts import AccountKind, AccountState, AccountStatus, AccountTerms
from tallystick.domain.canonical import COPY_HEADER, COPY_TRAILER, EncodedBatch, genesis_hash
from tallystick.domain.commands import Kind
from tallystick.domain.holds import HoldState, HoldStatus
from tallystick.domain.needs import Needs
from tallystick.domain.outcomes import Posted, RefusalCode, Refused
from tallystick.domain.rows import BatchRow
from tallystick.domain.snapshot import Head, Original, RecordedRequest
from tallystick.store.connection import Connection, connect_writer
from tallystick.store.errors import ShardUnavailableError, translated, translated_commit
from tallystick.store.queries import query

# The advisory lock of a shard: this number above, the shard's below, so that no other user of the
# database takes it by accident.
_LOCK_SPACE: Final = 0x7A11 << 32

_COPIES: Final = (
    "copy_transactions",
    "copy_entries",
    "copy_accounts",
    "copy_holds",
    "copy_requests",
)


class Loaded:
    """What the shard says about it."""

    def __init__(self) -> None:
        self.requests: dict[bytes, RecordedRequest] = {}
        self.accounts: dict[int, AccountState] = {}
        self.holds: dict[int, HoldState] = {}
        self.originals: dict[int, Original] = {}


class LogWriter:
    """The one connection over which this process writes a shard's log. Not for concurrent use.

    A batch is `begin`, any `load`, `append`, `commit`; or `roll_back`. After an error that is not
    BatchRejectedError the connection is gone: `reconnect`.
    """

    def __init__(self, dsn: str, shard: int) -> None:
        self._dsn = dsn
        self._shard = shard
        self._genesis = genesis_hash(shard)
        self._connection: Connection | None = None

    async def reconnect(self) -> None:
        """Close what is left of the old connection and open a new one."""
        await self.close()
        self._connection = await connect_writer(self._dsn)

    async def close(self) -> None:
        """Close the connection; a transaction in progress is rolled back by the server."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def begin(self, needs: Needs) -> tuple[Head, int, Loaded]:
        """Take the shard's lock and read the head, the server's clock (microseconds) and what is needs."""
        connection = self._open_connection()
        with translated():
            async with connection.pipeline():
                await connection.execute("BEGIN")
                await connection.execute(query("lock_shard"), (_LOCK_SPACE | self._shard,))
                head_cursor = await connection.execute(query("head"))
                cursors = await _send_loads(connection, needs)
            row = await head_cursor.fetchone()
            loaded = await _receive_loads(cursors)
        if row is None:
            raise ShardUnavailableError("the shard's head could not be read")
        number, last_position, recorded_at_us, hashed, clock_us = row
        head = Head(number, last_position, recorded_at_us, hashed or self._genesis)
        # recorded_at never goes backwards within a shard, whatever the server's clock does.
        return head, max(clock_us, recorded_at_us), loaded

    async def load(self, needs: Needs) -> Loaded:
        """Read more, inside the batch that has begun."""
        connection = self._open_connection()
        with translated():
            async with connection.pipeline():
                cursors = await _send_loads(connection, needs)
            return await _receive_loads(cursors)

    async def append(self, rows: EncodedBatch) -> None:
        """Append the rows of the batch with binary COPY.

        Raises:
            BatchRejectedError: a constraint or trigger refused them.
        """
        connection = self._open_connection()
        with translated():
            for name, table in zip(_COPIES, rows, strict=True):
                if table:
                    async with connection.cursor().copy(query(name)) as copy:
                        await copy.write(COPY_HEADER + table + COPY_TRAILER)

    async def commit(self, row: BatchRow) -> None:
        """Close the batch with its row and commit.

        Raises:
            BatchRejectedError: the row does not continue the log; nothing was written.
            CommitUnknownError: the connection was lost on the way.
        """
        connection = self._open_connection()
        with translated_commit():
            async with connection.pipeline():
                await connection.execute(query("append_batch"), row)
                await connection.execute("COMMIT")

    async def roll_back(self) -> None:
        """End the batch without a trace."""
        with translated():
            await self._open_connection().execute("ROLLBACK")

    async def was_committed(self, row: BatchRow) -> bool:
        """Ask the ledger whether a batch whose commit was lost is there.

        The lock is taken first: the server process that ran the lost commit holds it until it has ended,
        one way or the other. The batch's hash covers every request key in it, so its presence answers for
        all of them.
        """
        connection = self._open_connection()
        with translated():
            async with connection.transaction():
                await connection.execute(query("lock_shard"), (_LOCK_SPACE | self._shard,))
                cursor = await connection.execute(query("batch_exists"), (row.number, row.hash))
                found = await cursor.fetchone()
        return found is not None and bool(found[0])

    def _open_connection(self) -> Connection:
        if self._connection is None:
            raise ShardUnavailableError("not connected")
        return self._connection


Cursors = dict[str, AsyncCursor[TupleRow]]


async def _send_loads(connection: Connection, needs: Needs) -> Cursors:
    cursors: Cursors = {}
    if needs.requests:
        keys = "{" + ",".join([key.hex() for key in needs.requests]) + "}"
        cursors["requests"] = await connection.execute(query("recorded_requests"), (keys,), binary=True)
    if needs.accounts or needs.holds or needs.originals:
        parameters = {
            "accounts": array(needs.accounts),
            "holds": array(needs.holds),
            "originals": array(needs.originals),
        }
        cursors["accounts"] = await connection.execute(query("account_states"), parameters, binary=True)
    if needs.holds:
        cursors["holds"] = await connection.execute(query("hold_states"), (array(needs.holds),))
    if needs.originals:
        cursors["originals"] = await connection.execute(query("originals"), (array(needs.originals),))
    return cursors


async def _receive_loads(cursors: Cursors) -> Loaded:
    loaded = Loaded()
    if "requests" in cursors:
        for key, *recorded in await cursors["requests"].fetchall():
            loaded.requests[key.bytes] = recorded_request(*recorded)
    if "accounts" in cursors:
        for row in await cursors["accounts"].fetchall():
            loaded.accounts[row[0]] = account_state(row)
    if "holds" in cursors:
        for row in await cursors["holds"].fetchall():
            loaded.holds[row[0]] = hold_state(row)
    if "originals" in cursors:
        for original in originals(await cursors["originals"].fetchall()):
            loaded.originals[original.position] = original
    return loaded


def array(numbers: Collection[int]) -> str:
    """Write numbers as PostgreSQL's array text: ten times faster than adapting a list item by item."""
    return "{" + ",".join(map(str, numbers)) + "}"


def recorded_request(
    position: int | None, code: int | None, param: str | None, detail: str | None, fingerprint: bytes
) -> RecordedRequest:
    """A row of `requests`, as the rules see it."""
    if position is not None:
        return RecordedRequest(fingerprint, Posted(position))
    return RecordedRequest(fingerprint, Refused(RefusalCode(code or 0), param, detail or ""))


def account_state(row: TupleRow) -> AccountState:
    """A row of terms, balance, held and position, as the rules see it."""
    (
        account,
        tenant,
        owner,
        asset,
        kind,
        status,
        min_balance,
        max_balance,
        metadata,
        balance,
        held,
        position,
    ) = row
    terms = AccountTerms(
        account,
        tenant,
        owner,
        asset,
        AccountKind(kind),
        AccountStatus(status),
        min_balance,
        max_balance,
        metadata,
    )
    return AccountState(terms, balance, held, position)


def hold_state(row: TupleRow) -> HoldState:
    """A row of `holds`, as the rules see it."""
    hold, position, account, destination, amount, captured, status, expires_at_us = row
    return HoldState(
        hold, position, account, destination, amount, captured, HoldStatus(status), expires_at_us
    )


def originals(rows: Iterable[TupleRow]) -> list[Original]:
    """Transactions that may be reversed, from one row for each entry."""
    found: dict[int, Original] = {}
    for position, tenant, kind, account, amount, reversed_amount in rows:
        before = found[position].entries if position in found else ()
        found[position] = Original(
            position, tenant, Kind(kind), (*before, (account, amount)), reversed_amount
        )
    return list(found.values())
