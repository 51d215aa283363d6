"""The columns of a row in its canonical bytes, for rows that are read column by column.

An unexpected NULL counts as zero or as an empty text. The checks and the chain will find that it is wrong.
"""

import struct
from typing import Final

NULL: Final = -1

_int16 = struct.Struct(">h").unpack_from
_int32 = struct.Struct(">i").unpack_from


def columns_of(row: bytes) -> list[bytes | None]:
    """The bytes of each column; None for NULL."""
    columns: list[bytes | None] = []
    offset = 2
    for _ in range(_int16(row)[0]):
        start = offset + 4
        length = _int32(row, offset)[0]
        if length == NULL:
            columns.append(None)
            offset = start
        else:
            offset = start + length
            columns.append(row[start:offset])
    return columns


def optional(column: bytes | None) -> int | None:
    """A number that may be NULL."""
    return None if column is None else int.from_bytes(column, "big", signed=True)


def number(column: bytes | None) -> int:
    """A number."""
    return 0 if column is None else int.from_bytes(column, "big", signed=True)


def optional_text(column: bytes | None) -> str | None:
    """A text that may be NULL."""
    return None if column is None else column.decode(errors="replace")


def text(column: bytes | None) -> str:
    """A text."""
    return "" if column is None else column.decode(errors="replace")
