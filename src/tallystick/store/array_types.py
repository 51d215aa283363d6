"""The array types of our queries, so that no new session has to ask PostgreSQL about them.

The driver knows single values by itself. When a session first uses an array type, the driver looks it up in the
catalog, with a query that costs PostgreSQL more than the connection.
"""

from typing import Any, Final, NamedTuple

import asyncpg


class ArrayType(NamedTuple):
    """An array type of PostgreSQL itself. Its numbers are the same in every database."""

    name: str
    oid: int
    element_oid: int


ARRAY_TYPES: Final = (
    ArrayType("_int2", 1005, 21),
    ArrayType("_int4", 1007, 23),
    ArrayType("_int8", 1016, 20),
    ArrayType("_uuid", 2951, 2950),
)

# What the driver would have found.
_FOUND: Final = [
    {
        "oid": known.oid,
        "ns": "pg_catalog",
        "name": known.name,
        "kind": b"b",
        "basetype": None,
        "elemtype": known.element_oid,
        "elemdelim": ",",
        "range_subtype": None,
        "attrtypoids": None,
        "attrnames": None,
    }
    for known in ARRAY_TYPES
]


def know_array_types(connection: "asyncpg.Connection[Any]") -> None:
    """Tell a new connection of the driver about the array types."""
    connection.get_settings().register_data_types(_FOUND)
