"""The layout of the rows of the log's tables: the columns in the order of their canonical bytes, and their types.

This is the only description of it in Python. The code that writes canonical bytes, reads them, or names columns to
PostgreSQL takes the layout from here. A test compares it with the columns of a migrated database.

Canonical bytes of a row are the number of its columns (int16), and then each column: its length (int32, -1 for NULL)
and its bytes.
"""

from collections.abc import Collection
from enum import Enum
from typing import Final, NamedTuple


class ColumnType(Enum):
    """A type as PostgreSQL names it, and its code for `struct`; no code if its length varies."""

    INT16 = ("smallint", "h")
    INT32 = ("integer", "i")
    INT64 = ("bigint", "q")
    TIME = ("timestamp with time zone", "q")
    UUID = ("uuid", "16s")
    TEXT = ("text", "")
    JSON = ("json", "")
    BYTES = ("bytea", "")

    def __init__(self, sql: str, code: str) -> None:
        self.sql = sql
        self.code = code


_LENGTH: Final = "i"
_SIZES: Final = {"h": 2, "i": 4, "q": 8, "16s": 16}
_COUNT_BYTES: Final = 2
_LENGTH_BYTES: Final = _SIZES[_LENGTH]


class Column(NamedTuple):
    """One column. `zero_is_null`: zero is written as NULL, because nearly all rows have it."""

    name: str
    type: ColumnType
    optional: bool = False
    zero_is_null: bool = False


class Table:
    """A table of the log, and its columns in the order of their canonical bytes."""

    def __init__(self, name: str, *columns: Column) -> None:
        self.name = name
        self.columns = columns
        self.column_names = tuple(column.name for column in columns)

    def index(self, name: str) -> int:
        """The index of a column."""
        return self.column_names.index(name)

    def packed(self, null: Collection[str] = (), before: str | None = None) -> str:
        """The format for `struct` to pack rows with NULL in these columns, up to the first column of variable length.

        Each column is its length, then its value if it is not NULL. The format ends before the column `before`.
        """
        form = ">h"
        for column in self.columns:
            if column.name == before or (column.name not in null and not column.type.code):
                break
            form += _LENGTH if column.name in null else f"{_LENGTH}{column.type.code}"
        return form

    def unpacked(self, null: Collection[str] = ()) -> str:
        """The format for `struct` to read the same rows, without the lengths of columns that are never NULL."""
        form = f">{_COUNT_BYTES}x"
        for column in self.columns:
            if column.name not in null and not column.type.code:
                break
            if column.name in null:
                form += _LENGTH
            else:
                form += f"{_LENGTH if column.optional else f'{_LENGTH_BYTES}x'}{column.type.code}"
        return form

    def place(self, name: str, null: Collection[str] = ()) -> int:
        """The offset of a column's value in a row with NULL in these columns.

        All columns before it have a fixed length.
        """
        place = _COUNT_BYTES
        for column in self.columns[: self.index(name)]:
            place += _LENGTH_BYTES + (0 if column.name in null else _SIZES[column.type.code])
        return place + _LENGTH_BYTES


TRANSACTIONS: Final = Table(
    "transactions",
    Column("position", ColumnType.INT64),
    Column("recorded_at", ColumnType.TIME),
    Column("tenant", ColumnType.INT32),
    Column("kind", ColumnType.INT16),
    Column("effective_at", ColumnType.TIME, optional=True),
    Column("refers_to", ColumnType.INT64, optional=True),
    Column("description", ColumnType.TEXT, optional=True),
    Column("metadata", ColumnType.JSON, optional=True),
)
ENTRIES: Final = Table(
    "entries",
    Column("account", ColumnType.INT64),
    Column("position", ColumnType.INT64),
    Column("amount", ColumnType.INT64),
    Column("balance", ColumnType.INT64),
    Column("held", ColumnType.INT64, optional=True, zero_is_null=True),
    Column("held_after", ColumnType.INT64, optional=True, zero_is_null=True),
    Column("bound", ColumnType.INT64, optional=True),
    Column("asset", ColumnType.TEXT),
)
ACCOUNTS: Final = Table(
    "accounts",
    Column("account", ColumnType.INT64),
    Column("position", ColumnType.INT64),
    Column("tenant", ColumnType.INT32),
    Column("kind", ColumnType.INT16),
    Column("status", ColumnType.INT16),
    Column("min_balance", ColumnType.INT64, optional=True),
    Column("max_balance", ColumnType.INT64, optional=True),
    Column("owner", ColumnType.TEXT),
    Column("asset", ColumnType.TEXT),
    Column("metadata", ColumnType.JSON, optional=True),
)
HOLDS: Final = Table(
    "holds",
    Column("hold", ColumnType.INT64),
    Column("position", ColumnType.INT64),
    Column("account", ColumnType.INT64),
    Column("destination", ColumnType.INT64),
    Column("amount", ColumnType.INT64),
    Column("captured", ColumnType.INT64),
    Column("expires_at", ColumnType.TIME),
    Column("status", ColumnType.INT16),
)
REQUESTS: Final = Table(
    "requests",
    Column("key", ColumnType.UUID),
    Column("position", ColumnType.INT64, optional=True),
    Column("batch", ColumnType.INT64, optional=True),
    Column("code", ColumnType.INT16, optional=True),
    Column("param", ColumnType.TEXT, optional=True),
    Column("detail", ColumnType.TEXT, optional=True),
    Column("fingerprint", ColumnType.BYTES),
)
SAGAS: Final = Table(
    "sagas",
    Column("saga", ColumnType.INT64),
    Column("position", ColumnType.INT64),
    Column("status", ColumnType.INT16),
    Column("counterpart", ColumnType.INT64, optional=True),
    Column("code", ColumnType.INT16, optional=True),
    Column("param", ColumnType.TEXT, optional=True),
    Column("detail", ColumnType.TEXT, optional=True),
    Column("terms", ColumnType.JSON, optional=True),
)
BATCHES: Final = Table(
    "batches",
    Column("number", ColumnType.INT64),
    Column("last_position", ColumnType.INT64),
    Column("recorded_at", ColumnType.TIME),
    Column("previous_hash", ColumnType.BYTES),
    Column("hash", ColumnType.BYTES),
)

APPENDED_TABLES: Final = (TRANSACTIONS, ENTRIES, ACCOUNTS, HOLDS, REQUESTS, SAGAS)
"""The tables that a batch appends to beside its own row, in the order of its canonical bytes."""

# The usual rows: a transaction without a note, an entry without a held amount, a request that was posted.
PLAIN_TRANSACTION: Final = ("effective_at", "refers_to", "description", "metadata")
PLAIN_ENTRY: Final = ("held", "held_after", "bound")
PLAIN_BOUNDED_ENTRY: Final = ("held", "held_after")
PLAIN_REQUEST: Final = ("batch", "code", "param", "detail")
