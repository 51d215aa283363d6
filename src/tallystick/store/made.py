"""Whether a schema is as the migrations made it: tables, constraints, triggers, functions, rights.

The database itself holds the log to its rules, and its owner can take them away: a trigger that was dropped for a
moment leaves no trace in any row. `made.json` is what the migrations of this version make, written by `make schema`.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Final, LiteralString, NamedTuple

import msgspec
import psycopg
from psycopg import sql

from tallystick.store.errors import SchemaError
from tallystick.store.queries import query

_FILE: Final = "made.json"
_DIFFERENCES_NAMED_MAX: Final = 5
_DEFINITION_CHARACTERS_MAX: Final = 120
# More of these changes what can be written or read; more of others (an index, a function) harms nothing.
_NO_MORE: Final = frozenset(
    {"column", "constraint", "trigger", "rule", "row security", "child", "persistence", "grant", "view"}
)
_READING: Final = "SELECT"
_READER: Final = "tallystick_reader"
# What makes all that people read: run again as a whole, for no statement makes a view of what is known of it.
_READABLE_NAMES: Final = "readable_"
_READABLE_MIGRATION: Final = "migrations/0013.readable.sql"


class Made(NamedTuple):
    """One thing that a schema is made of, in words that are the same on every version of PostgreSQL."""

    kind: str
    table: str
    name: str
    definition: str

    @property
    def is_readable(self) -> bool:
        """Whether it is one of the views for people, or of what they are made of, which nothing else needs."""
        return (self.table or self.name).startswith(_READABLE_NAMES)

    @property
    def is_right_of_reader(self) -> bool:
        """Whether it is what the role of people may do, whom there need not be."""
        return self.kind == "grant" and self.name == _READER

    def __str__(self) -> str:
        if self.kind == "grant":
            return f"the right of {self.name} to {self.table}"
        place = f" of {self.table}" if self.table else ""
        return " ".join(filter(None, (self.kind, self.name))) + place


class Difference(NamedTuple):
    """One thing that is not as it was made. Without `expected` it should not be there, without `found` it is gone."""

    expected: Made | None
    found: Made | None

    @property
    def thing(self) -> Made:
        """What it is about."""
        thing = self.expected or self.found
        if thing is None:
            raise ValueError("a difference is about something")
        return thing

    def __str__(self) -> str:
        if self.found is None:
            return f"{self.thing} is missing"
        if self.expected is None:
            return f"{self.thing} should not be there ({_in_a_line(self.found)})"
        return f"{self.thing} was changed ({_in_a_line(self.found)})"


def look_at_schema(connection: psycopg.Connection) -> list[Made]:
    """All that the schema of a session is made of."""
    return [Made(*row) for row in connection.execute(query("made_objects"))]


def differences(found: Iterable[Made]) -> list[Difference]:
    """What is not as the migrations make it, in a fixed order."""
    made = _expected()
    tables = {table for _, table, _ in made}
    there = {_place(one): one for one in found if one.table in tables}
    wrong = [
        Difference(expected, there.get(place))
        for place, expected in made.items()
        if there.get(place) != expected and (place in there or not expected.is_right_of_reader)
    ]
    return wrong + [
        Difference(None, one) for place, one in there.items() if place not in made and _harms(one)
    ]


def expect_as_made(connection: psycopg.Connection) -> None:
    """Make sure that the schema of a session is as the migrations made it.

    Raises:
        SchemaError: it is not; the message says what differs, and what to do.
    """
    wrong = differences(look_at_schema(connection))
    if wrong:
        raise SchemaError(
            f"the database is not as the migrations made it: {in_words(wrong)}. Run `tallystick migrate`, which "
            f"mends it, and then `tallystick verify`, which looks at what was written meanwhile"
        )


def mend(connection: psycopg.Connection) -> list[Difference]:
    """Make the schema of a session as it should be, as the owner, and grant the reader's rights; what was mended.

    Raises:
        SchemaError: there is something that no statement mends.
    """
    mended = differences(look_at_schema(connection))
    schema = connection.execute(query("quoted_schema")).fetchone()
    if any(one.thing.is_readable for one in mended):
        connection.execute(_store_text(_READABLE_MIGRATION))
    for statement in _statements(mended, schema[0] if schema else ""):
        connection.execute(statement)
    connection.execute(query("grant_reader"))
    left = differences(look_at_schema(connection))
    if left:
        raise SchemaError(
            f"the database is not as the migrations made it, and it cannot be mended: {in_words(left)}. Look who "
            f"changed it, or restore it from a backup"
        )
    return mended


def in_words(wrong: Sequence[Difference]) -> str:
    """Name differences; the first ones where there are many."""
    more = len(wrong) - _DIFFERENCES_NAMED_MAX
    return "; ".join(map(str, wrong[:_DIFFERENCES_NAMED_MAX])) + (f"; and {more} more" if more > 0 else "")


def _in_a_line(one: Made) -> str:
    return textwrap.shorten(one.definition, _DEFINITION_CHARACTERS_MAX, placeholder=" …")


@cache
def _expected() -> dict[tuple[str, str, str], Made]:
    return {_place(one): one for one in msgspec.json.decode(_store_text(_FILE), type=list[Made])}


def _store_text(name: str) -> bytes:
    return resources.files("tallystick.store").joinpath(name).read_bytes()


def _place(one: Made) -> tuple[str, str, str]:
    return one.kind, one.table, one.name


def _harms(one: Made) -> bool:
    if one.kind == "index":
        return one.definition.startswith("CREATE UNIQUE")
    if one.kind == "grant" and one.name != _READER:
        return one.definition != _READING
    return one.kind in _NO_MORE


# What a statement can mend, in the order in which it can be made: triggers call functions.
_MENDED: Final = ("function", "constraint", "index", "trigger", "grant", "rule", "row security")

_TAKING: Final[Mapping[str, LiteralString]] = {
    "constraint": "ALTER TABLE {table} DROP CONSTRAINT {name}",
    "index": "DROP INDEX {name}",
    "trigger": "DROP TRIGGER {name} ON {table}",
    "grant": "REVOKE ALL ON {table} FROM {role}",
    "rule": "DROP RULE {name} ON {table}",
    "row security": "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
}
_MAKING: Final[Mapping[str, LiteralString]] = {
    "function": "CREATE OR REPLACE FUNCTION {name}{definition}",
    "constraint": "ALTER TABLE {table} ADD CONSTRAINT {name} {definition}",
    "index": "{definition}",
    "trigger": "{definition}; ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}",
    "grant": "GRANT {definition} ON {table} TO {role}",
}


def _statements(wrong: Sequence[Difference], schema: str) -> list[sql.Composed]:
    """What takes away what is wrong, and then what makes what is missing."""
    can = [
        one
        for one in wrong
        if one.thing.kind in _MENDED and not (one.thing.is_readable and one.thing.kind == "function")
    ]
    can.sort(key=lambda one: _MENDED.index(one.thing.kind))
    takes = [
        _filled(_TAKING[one.found.kind], one.found, schema)
        for one in can
        if one.found and one.found.kind in _TAKING
    ]
    makes = [_filled(_MAKING[one.expected.kind], one.expected, schema) for one in can if one.expected]
    return takes + makes


def _filled(statement: LiteralString, one: Made, schema: str) -> sql.Composed:
    return sql.SQL(statement).format(
        table=sql.Identifier(one.table),
        name=sql.Identifier(one.name),
        role=sql.SQL("PUBLIC") if one.name == "public" else sql.Identifier(one.name),
        # It is ours, from a file beside this one.
        definition=sql.SQL(one.definition.replace("{schema}", schema)),
    )
