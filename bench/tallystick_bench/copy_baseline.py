"""The baseline `copy`: how fast PostgreSQL takes the ledger's rows if nothing is read or decided.

The same rows, in tables and indexes like the ledger's, in batches like the ledger's, with the same statements and one
commit for each batch, over one connection. The rows are encoded before the clock starts, so the result is the limit
of PostgreSQL. The time of encoding is reported too.
"""

import asyncio
import os
import threading
import time
from typing import Final, NamedTuple

import psycopg

from tallystick.domain import limits
from tallystick.domain.canonical import COPY_HEADER, COPY_TRAILER, encode
from tallystick.domain.commands import Kind
from tallystick.domain.fingerprint import RequestKind, fingerprint
from tallystick.domain.identifiers import Prefix, parse_identifier
from tallystick.domain.rows import Appended, BatchRow, EntryRow, RequestRow, TransactionRow
from tallystick.store.address import options_of
from tallystick_bench.measurement import MeasuredTurn
from tallystick_bench.payments import Payments
from tallystick_bench.queries import query
from tallystick_bench.settings import ASSET, FUNDS_PER_ACCOUNT, Stint
from tallystick_bench.target import Target

BATCH_TRANSFERS: Final = limits.BATCH_COMMANDS_MAX
_BATCHES_PER_CHUNK: Final = 10
"""Batches encoded before the clock starts again. It bounds the memory."""
_SETTINGS: Final = {"synchronous_commit": "on", "timezone": "UTC", "jit": "off"}


class _Batch(NamedTuple):
    """The data of one batch, in the order of sending."""

    transactions: bytes
    entries: bytes
    requests: bytes
    row: BatchRow


class CopyBaseline:
    """Encodes rows of random payments, and copies them."""

    def __init__(self, target: Target, payments: Payments) -> None:
        self._dsn = target.owner_dsn
        self._payments = payments
        self._number, self._position = target.fetch("copy_head")

    async def run(self, stint: Stint) -> tuple[MeasuredTurn, MeasuredTurn]:
        """Take one turn. Returns it twice: with the time of PostgreSQL alone, and with the time of encoding added."""
        stop = threading.Event()
        try:
            return await asyncio.to_thread(self._run, stint, stop)
        finally:
            stop.set()

    def _run(self, stint: Stint, stop: threading.Event) -> tuple[MeasuredTurn, MeasuredTurn]:
        transfers, copying_seconds, encoding_seconds = 0, 0.0, 0.0
        options = options_of(self._dsn, _SETTINGS)
        with psycopg.connect(self._dsn, autocommit=True, prepare_threshold=1, options=options) as connection:
            while copying_seconds < stint.seconds and not stop.is_set():
                batches = []
                for _ in range(_BATCHES_PER_CHUNK):
                    appended = self._rows()
                    started = time.perf_counter()
                    batches.append(self._encoded(appended))
                    encoding_seconds += time.perf_counter() - started
                started = time.perf_counter()
                for batch in batches:
                    _copy(connection, batch)
                copying_seconds += time.perf_counter() - started
                transfers += BATCH_TRANSFERS * _BATCHES_PER_CHUNK
        return MeasuredTurn(transfers, copying_seconds), MeasuredTurn(
            transfers, copying_seconds + encoding_seconds
        )

    def _rows(self) -> Appended:
        """The rows of one batch of transfers, as the ledger would append them."""
        now_us = time.time_ns() // 1000
        appended = Appended([], [], [], [], [], [])
        for source_text, destination_text, amount, _ in self._payments.take(BATCH_TRANSFERS):
            self._position += 1
            source = parse_identifier(Prefix.ACCOUNT, source_text)
            destination = parse_identifier(Prefix.ACCOUNT, destination_text)
            appended.transactions.append(
                TransactionRow(self._position, now_us, 1, Kind.TRANSFER, None, None, None, None)
            )
            appended.entries.append(
                EntryRow(source, self._position, -amount, FUNDS_PER_ACCOUNT - amount, 0, 0, 0, ASSET)
            )
            appended.entries.append(
                EntryRow(destination, self._position, amount, FUNDS_PER_ACCOUNT + amount, 0, 0, None, ASSET)
            )
            asked = fingerprint(RequestKind.TRANSFER, source, destination, amount, ASSET)
            appended.requests.append(
                RequestRow(os.urandom(16), self._position, None, None, None, None, asked)
            )
        return appended

    def _encoded(self, appended: Appended) -> _Batch:
        rows = encode(appended)
        self._number += 1
        row = BatchRow(
            self._number,
            self._position,
            appended.transactions[-1].recorded_at_us,
            os.urandom(32),
            os.urandom(32),
        )
        return _Batch(_framed(rows.transactions), _framed(rows.entries), _framed(rows.requests), row)


def _framed(rows: bytes) -> bytes:
    return COPY_HEADER + rows + COPY_TRAILER


def _copy(connection: psycopg.Connection, batch: _Batch) -> None:
    """Write one batch and commit it. The server runs the same statements as for the ledger."""
    connection.execute("BEGIN")
    for name, rows in (
        ("copy_transactions", batch.transactions),
        ("copy_entries", batch.entries),
        ("copy_requests", batch.requests),
    ):
        with connection.cursor().copy(query(name)) as copy:
            copy.write(rows)
    with connection.pipeline():
        connection.execute(query("copy_batch"), batch.row)
        connection.execute("COMMIT")
