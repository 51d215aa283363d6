"""The one description of the log's rows is that of the migrated database, and of the rows that rules append."""

from typing import Any

import psycopg
import pytest
from tests.crash.databases import ShardDatabase

from tallystick.domain.canonical import EncodedBatch
from tallystick.domain.layout import APPENDED_TABLES, BATCHES, ENTRIES, REQUESTS, TRANSACTIONS, Table
from tallystick.domain.rows import Appended, BatchRow, EntryRow, RequestRow, TransactionRow

COLUMNS = """
    SELECT attname, format_type(atttypid, atttypmod), NOT attnotnull FROM pg_attribute
    WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
ROWS: list[tuple[Table, Any]] = [
    (TRANSACTIONS, TransactionRow),
    (ENTRIES, EntryRow),
    (REQUESTS, RequestRow),
    (BATCHES, BatchRow),
]


@pytest.mark.parametrize("table", [*APPENDED_TABLES, BATCHES], ids=lambda table: table.name)
def test_columns_of_the_migrated_database(database: ShardDatabase, table: Table) -> None:
    with psycopg.connect(database.owner_dsn) as connection:
        found = connection.execute(COLUMNS, (table.name,)).fetchall()
    assert found == [(column.name, column.type.sql, column.optional) for column in table.columns]


@pytest.mark.parametrize(("table", "row"), ROWS, ids=lambda one: getattr(one, "name", ""))
def test_rows_have_a_field_for_each_column(table: Table, row: Any) -> None:
    """Times are numbers of microseconds, and say so."""
    fields = [
        f"{column.name}_us" if column.type.sql.startswith("timestamp") else column.name
        for column in table.columns
    ]
    assert list(row._fields) == fields


def test_a_batch_has_bytes_and_rows_for_each_table() -> None:
    names = [table.name for table in APPENDED_TABLES]
    assert list(EncodedBatch._fields) == names
    assert sorted(Appended._fields) == sorted(names)
