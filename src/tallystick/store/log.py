"""Writing the log: one batch is one database transaction, from the shard's lock to the commit."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Final

import asyncpg

from tallystick.domain import limits
from tallystick.domain.accounts import AccountKind, AccountState, AccountStatus, AccountTerms
from tallystick.domain.canonical import COPY_HEADER, COPY_TRAILER, NO_ROWS, EncodedBatch, genesis_hash
from tallystick.domain.commands import Kind, Note
from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.holds import HoldState, HoldStatus
from tallystick.domain.invariants import required
from tallystick.domain.layout import APPENDED_TABLES
from tallystick.domain.needs import Needs
from tallystick.domain.outcomes import Posted, RefusalCode, Refused
from tallystick.domain.rows import BatchRow, read_asked
from tallystick.domain.sagas import SagaState, SagaStatus, read_terms
from tallystick.domain.snapshot import Head, Original, RecordedRequest
from tallystick.store.commits import commit
from tallystick.store.connection import close_connection, connect_writer
from tallystick.store.errors import CommitUnknownError, SchemaError, ShardUnavailableError, translated
from tallystick.store.primary import Connection
from tallystick.store.queries import query

# A row as the driver returns it: values in the order of the columns.
Row = Sequence[Any] | asyncpg.Record

_HEAD_COLUMNS: Final = 5


class Loaded:
    """What the shard says about it."""

    def __init__(self) -> None:
        self.requests: dict[bytes, RecordedRequest] = {}
        self.accounts: dict[int, AccountState] = {}
        self.holds: dict[int, HoldState] = {}
        self.sagas: dict[int, SagaState] = {}
        self.originals: dict[int, Original] = {}


class LogWriter:
    """The one connection over which this process writes a shard's log. Not for concurrent use.

    A batch is `begin`, any `load`, `append`, `commit`; or `commit_nothing`; or `roll_back`. After an error that is
    not BatchRejectedError the connection is gone: `reconnect`.
    """

    def __init__(self, dsn: str, shard: int) -> None:
        self._dsn = dsn
        self._shard = shard
        self._genesis = genesis_hash(shard)
        self._derivation: Derivation | None = None
        self._connection: Connection | None = None
        self._beside: Connection | None = None
        self.on_lost: Callable[[], None] | None = None
        """Called when the connection is lost, so that a dead shard is noticed before it is needed."""

    async def reconnect(self) -> None:
        """Close the old connection and open a new one."""
        await self.close()
        self._connection = await connect_writer(self._dsn)
        self._connection.add_termination_listener(self._terminated)
        if self._derivation is None:
            with translated():
                row = await self._connection.fetchrow(query("account_key"))
            self._derivation = derivation(self._shard, row)

    @property
    def derivation(self) -> Derivation:
        """The inputs for deriving accounts that the ledger opens by itself.

        Raises:
            ShardUnavailableError: there was no connection to the shard yet.
        """
        if self._derivation is None:
            raise ShardUnavailableError("not connected")
        return self._derivation

    def _terminated(self, connection: object) -> None:
        if connection is self._connection and self.on_lost is not None:
            self.on_lost()

    async def close(self) -> None:
        """Close the connection; a transaction in progress is rolled back by the server."""
        connections, self._connection, self._beside = (self._connection, self._beside), None, None
        for connection in connections:
            if connection is not None:
                await close_connection(connection)

    def abandon(self) -> None:
        """Close the connections at once: whatever runs over them fails now."""
        for connection in (self._connection, self._beside):
            if connection is not None:
                connection.terminate()

    async def begin(self, needs: Needs) -> tuple[Head, int, Loaded]:
        """Take the shard's lock and read the head, the server's clock (microseconds) and `needs`."""
        connection = self._open_connection()
        with translated():
            await connection.execute(query("begin_batch"))
            return await self._read(connection, needs)

    async def look(self) -> tuple[Head, int]:
        """Read the head and the server's clock (microseconds), outside of any batch."""
        with translated():
            head, clock_us, _ = await self._read(self._open_connection(), Needs())
        return head, clock_us

    async def begin_after(self) -> None:
        """Take the shard's lock for a batch that is decided already.

        Nothing is read: a check of the database refuses the row of a batch that does not follow the head.
        """
        with translated():
            await self._open_connection().execute(query("begin_batch"))

    async def load(self, needs: Needs) -> Loaded:
        """Read accounts, holds, sagas and transactions to reverse, inside the current batch."""
        connection = self._open_connection()
        with translated():
            return await _load(connection, needs)

    async def peek(self, needs: Needs) -> tuple[int, Loaded]:
        """Read the server's clock and the committed state of `needs`, while a batch is being written.

        Raises:
            ShardUnavailableError: there was no answer in PEEK_TIMEOUT_SECONDS. Later batches wait for it.
        """
        beside, self._beside = self._beside, None
        try:
            with translated():
                async with asyncio.timeout(limits.PEEK_TIMEOUT_SECONDS):
                    beside = beside or await connect_writer(self._dsn)
                    _, clock_us, loaded = await self._read(beside, needs)
        except BaseException:
            # The next call connects again.
            if beside is not None:
                beside.terminate()
            raise
        self._beside = beside
        return clock_us, loaded

    async def _read(self, connection: Connection, needs: Needs) -> tuple[Head, int, Loaded]:
        rows = await connection.fetch(query("head"), [key.hex() for key in needs.requests])
        number, last_position, recorded_at_us, hashed, clock_us = rows[0][:_HEAD_COLUMNS]
        loaded = await _load(connection, needs)
        for row in rows:
            key, *recorded = row[_HEAD_COLUMNS:]
            if key is not None:
                loaded.requests[key.bytes] = recorded_request(*recorded)
        return Head(number, last_position, recorded_at_us, hashed or self._genesis), clock_us, loaded

    async def append(self, row: BatchRow, rows: EncodedBatch) -> None:
        """Append the row of the batch, and then, with binary COPY, the rows that it covers, in this order only.

        Raises:
            BatchRejectedError: the row does not continue the log, or a constraint or trigger refused the others.
        """
        connection = self._open_connection()
        with translated():
            await connection.execute(query("append_batch"), *row)
            for table, encoded in zip(APPENDED_TABLES, rows, strict=True):
                if encoded:
                    await connection.copy_to_table(
                        table.name,
                        source=_copy_stream(encoded),
                        columns=table.column_names,
                        format="binary",
                    )

    async def append_restoration(self, row: BatchRow, reason: str) -> None:
        """Append the row of a batch that covers lost positions, as the owner. Only then may it have no transactions.

        Raises:
            BatchRejectedError: the row does not continue the log, or the role is not the owner.
        """
        await self.append(row, NO_ROWS)
        with translated():
            await self._open_connection().execute(query("append_restoration"), row.number, reason)

    async def commit(self) -> None:
        """Commit the batch, on the synchronous standbys too.

        Raises:
            BatchRejectedError: the batch is not complete; nothing was written.
            CommitUnknownError: the connection was lost on the way, or the batch may be on no standby.
        """
        await commit(self._open_connection())

    async def commit_nothing(self) -> None:
        """End a batch that appends nothing, when everything that it has read is on the synchronous standbys.

        The answers to its requests come from the log. They may have been written in a commit that no standby has yet:
        its wait was cancelled, or its server started again.

        Raises:
            ShardUnavailableError: the standbys did not answer in time, or the connection was lost.
        """
        try:
            await commit(self._open_connection(), f"{query('await_standbys')};\nCOMMIT")
        except CommitUnknownError as error:
            raise ShardUnavailableError(str(error)) from error

    async def roll_back(self) -> None:
        """Roll the batch back."""
        with translated():
            await self._open_connection().execute("ROLLBACK")

    async def was_committed(self, row: BatchRow) -> bool:
        """Look in the log whether a batch was written, after the answer to its commit was lost.

        The lock is taken first: the server process that ran the lost commit holds it until the commit has ended,
        whatever its result. The batch's hash covers every request key in it, so its presence answers for all of them.
        What is found may be on the disk of one server only. When this returns, it is on the synchronous standbys.
        """
        connection = self._open_connection()
        with translated():
            await connection.execute(query("begin_batch"))
            found = await connection.fetchval(query("batch_exists"), row.number, row.hash)
        if not found:
            await self.roll_back()
            return False
        await self.commit_nothing()
        return True

    def _open_connection(self) -> Connection:
        if self._connection is None:
            raise ShardUnavailableError("not connected")
        return self._connection


async def _load(connection: Connection, needs: Needs) -> Loaded:
    loaded = Loaded()
    accounts, holds, originals = list(needs.accounts), list(needs.holds), list(needs.originals)
    if accounts or holds or originals:
        rows = await connection.fetch(query("account_states"), accounts, holds, originals)
        loaded.accounts = {row[0]: account_state(row) for row in rows}
    if holds:
        rows = await connection.fetch(query("hold_states"), holds)
        loaded.holds = {row[0]: hold_state(row) for row in rows}
    if needs.sagas:
        rows = await connection.fetch(query("saga_states"), list(needs.sagas))
        loaded.sagas = {row[0]: saga_state(row) for row in rows}
    if originals:
        rows = await connection.fetch(query("originals"), originals)
        loaded.originals = {original.position: original for original in originals_of(rows)}
    return loaded


def derivation(shard: int, row: Row | None) -> Derivation:
    """The content of the row of `account_key`. Raises SchemaError if the row is missing."""
    if row is None:
        raise SchemaError(f"shard {shard} has lost its row of account_key: restore it from a backup")
    return Derivation(shard, row[0], row[1])


async def _copy_stream(rows: bytes) -> AsyncIterator[bytes]:
    yield COPY_HEADER + rows + COPY_TRAILER


def recorded_request(
    position: int | None, code: int | None, param: str | None, detail: str | None, fingerprint: bytes
) -> RecordedRequest:
    """A row of `requests`, as the rules see it."""
    if position is not None:
        return RecordedRequest(fingerprint, Posted(position, asked=read_asked(param, detail)))
    return RecordedRequest(fingerprint, _refusal(code, param, detail))


def _refusal(code: int | None, param: str | None, detail: str | None) -> Refused:
    return Refused(
        RefusalCode(required(code, "the code of a refusal in the log")),
        param,
        required(detail, "the detail of a refusal in the log"),
    )


def account_state(row: Row) -> AccountState:
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


def hold_state(row: Row) -> HoldState:
    """A row of `holds`, as the rules see it."""
    hold, position, account, destination, amount, captured, status, expires_at_us = row
    return HoldState(
        hold, position, account, destination, amount, captured, HoldStatus(status), expires_at_us
    )


def saga_state(row: Row) -> SagaState:
    """A row of a saga's beginning and end, as the rules see it."""
    (
        saga,
        position,
        status,
        tenant,
        terms,
        effective_at_us,
        description,
        metadata,
        reserved_at_us,
        counterpart,
        code,
        param,
        detail,
    ) = row
    return SagaState(
        saga=saga,
        position=position,
        status=SagaStatus(status),
        tenant=tenant,
        terms=read_terms(terms),
        note=Note(description, metadata, effective_at_us),
        reserved_at_us=reserved_at_us,
        counterpart=counterpart,
        refusal=None if code is None else _refusal(code, param, detail),
    )


def originals_of(rows: Iterable[Row]) -> list[Original]:
    """Transactions that may be reversed, from one row for each entry. A transaction without entries has one row."""
    found: dict[int, Original] = {}
    for position, tenant, kind, refers_to, account, amount, reversed_amount in rows:
        before = found[position].entries if position in found else ()
        entries = before if account is None else (*before, (account, amount))
        found[position] = Original(position, tenant, Kind(kind), entries, int(reversed_amount), refers_to)
    return list(found.values())
