"""What is derived from the layout of rows fits the bytes that PostgreSQL writes."""

import struct

import pytest

from tallystick.domain import layout
from tallystick.domain.layout import (
    BATCHES,
    ENTRIES,
    PLAIN_ENTRY,
    PLAIN_REQUEST,
    REQUESTS,
    TRANSACTIONS,
    Table,
)


def test_where_columns_begin() -> None:
    """After the number of columns come the lengths and values of those before, and the column's own length."""
    assert TRANSACTIONS.place("position") == 2 + 4
    assert TRANSACTIONS.place("tenant") == 2 + (4 + 8) + (4 + 8) + 4
    assert REQUESTS.place("position") == 2 + (4 + 16) + 4
    assert REQUESTS.place("batch", null=("position",)) == 2 + (4 + 16) + 4 + 4
    assert ENTRIES.place("asset", null=PLAIN_ENTRY) == 2 + 4 * (4 + 8) + 3 * 4 + 4


def test_a_column_after_one_of_no_fixed_length_has_no_place() -> None:
    with pytest.raises(KeyError):
        BATCHES.place("hash")


@pytest.mark.parametrize(
    ("table", "null"),
    [(TRANSACTIONS, layout.PLAIN_TRANSACTION), (ENTRIES, PLAIN_ENTRY), (REQUESTS, PLAIN_REQUEST)],
    ids=["transactions", "entries", "requests"],
)
def test_what_is_packed_is_unpacked(table: Table, null: tuple[str, ...]) -> None:
    """The reader leaves out only lengths that are always the same."""
    packed, unpacked = struct.Struct(table.packed(null)), struct.Struct(table.unpacked(null))
    assert packed.size == unpacked.size
    fixed = [column for column in table.columns if column.name in null or column.type.code]
    assert len(unpacked.unpack(bytes(unpacked.size))) == len(fixed) + sum(
        column.optional and column.name not in null for column in fixed
    )


def test_columns_are_named_once() -> None:
    for table in (*layout.APPENDED_TABLES, BATCHES):
        assert len(set(table.column_names)) == len(table.columns)
