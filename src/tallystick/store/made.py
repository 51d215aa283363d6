"""Whether a schema is as the migrations made it: tables, constraints, triggers, functions, rights.

The database itself enforces the rules of the log, and its owner can remove them: a trigger that was dropped for a
moment leaves no trace in any row. `made.json` lists what the migrations of this version make; `make schema` writes
it. If this version has migrations that run after its servers, `made.before.json` lists what is there before these.
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
from tallystick.store.schema_version import SchemaVersion

_FILE: Final = "made.json"
_FILE_BEFORE: Final = "made.before.json"
_DIFFERENCES_NAMED_MAX: Final = 5
_DEFINITION_CHARACTERS_MAX: Final = 120
# Additional objects of these kinds change what can be written or read. Others (an index, a function) are harmless.
_NO_MORE: Final = frozenset(
    {"column", "constraint", "trigger", "rule", "row security", "child", "persistence", "grant", "view"}
)
_READING: Final = "SELECT"
_READER: Final = "tallystick_reader"
# The migration that makes the views for people. It runs again as a whole, because `made.json` cannot make a view.
_READABLE_NAMES: Final = "readable_"
_READABLE_MIGRATION: Final = "migrations/0013.readable.sql"


class SchemaObject(NamedTuple):
    """One object of a schema, described in the same words for every version of PostgreSQL."""

    kind: str
    table: str
    name: str
    definition: str

    @property
    def is_readable(self) -> bool:
        """Whether it is one of the views for people, or something that only these views need."""
        return (self.table or self.name).startswith(_READABLE_NAMES)

    @property
    def is_right_of_reader(self) -> bool:
        """Whether it is a right of the role for people, which need not exist."""
        return self.kind == "grant" and self.name == _READER

    def __str__(self) -> str:
        if self.kind == "grant":
            return f"the right of {self.name} to {self.table}"
        place = f" of {self.table}" if self.table else ""
        return " ".join(filter(None, (self.kind, self.name))) + place


class Difference(NamedTuple):
    """One object that differs. Without `expected` it should not exist; without `found` it is missing."""

    expected: SchemaObject | None
    found: SchemaObject | None

    @property
    def thing(self) -> SchemaObject:
        """The object that differs."""
        thing = self.expected or self.found
        if thing is None:
            raise ValueError("a difference needs an expected or a found object")
        return thing

    def __str__(self) -> str:
        if self.found is None:
            return f"{self.thing} is missing"
        if self.expected is None:
            return f"{self.thing} should not be there ({_in_a_line(self.found)})"
        return f"{self.thing} was changed ({_in_a_line(self.found)})"


def look_at_schema(connection: psycopg.Connection) -> list[SchemaObject]:
    """All objects of the schema of a session."""
    return [SchemaObject(*row) for row in connection.execute(query("made_objects"))]


def differences(found: Iterable[SchemaObject], version: SchemaVersion) -> list[Difference]:
    """The differences from what the migrations make, in a fixed order.

    If this version does not know what all of the schema should be, these are the triggers that it knows and that are
    not there as it knows them: no migration takes away what protects the log.
    """
    made = _expected(_FILE_BEFORE if version.left else _FILE)
    if not version.is_known:
        made = {place: thing for place, thing in made.items() if thing.kind == "trigger"}
        found = [thing for thing in found if _place(thing) in made]
    tables = {table for _, table, _ in made}
    there = {_place(thing): thing for thing in found if thing.table in tables}
    wrong = [
        Difference(expected, there.get(place))
        for place, expected in made.items()
        if there.get(place) != expected and (place in there or not expected.is_right_of_reader)
    ]
    return wrong + [
        Difference(None, thing) for place, thing in there.items() if place not in made and _harms(thing)
    ]


def expect_as_made(connection: psycopg.Connection, version: SchemaVersion) -> None:
    """Make sure that the schema of a session is as the migrations made it.

    Raises:
        SchemaError: it differs. The message says what differs, and what to do.
    """
    wrong = differences(look_at_schema(connection), version)
    if wrong:
        raise SchemaError(
            f"the database is not as the migrations made it: {in_words(wrong)}. Run `tallystick migrate`, which "
            f"mends it, and then `tallystick verify`, which checks what was written meanwhile"
        )


def mend(connection: psycopg.Connection, version: SchemaVersion) -> list[Difference]:
    """Mend the schema of a session as the owner, and grant the rights of the reader. Returns what was mended.

    Raises:
        SchemaError: no statement can mend a difference.
    """
    mended = differences(look_at_schema(connection), version)
    schema = connection.execute(query("quoted_schema")).fetchone()
    if any(difference.thing.is_readable for difference in mended):
        connection.execute(_store_text(_READABLE_MIGRATION))
    for statement in _statements(mended, schema[0] if schema else ""):
        connection.execute(statement)
    connection.execute(query("grant_reader"))
    left = differences(look_at_schema(connection), version)
    if left:
        raise SchemaError(
            f"the database is not as the migrations made it, and it cannot be mended: {in_words(left)}. Look who "
            f"changed it, or restore it from a backup"
        )
    return mended


def in_words(wrong: Sequence[Difference]) -> str:
    """Name differences; if there are many, the first ones."""
    more = len(wrong) - _DIFFERENCES_NAMED_MAX
    return "; ".join(map(str, wrong[:_DIFFERENCES_NAMED_MAX])) + (f"; and {more} more" if more > 0 else "")


def _in_a_line(thing: SchemaObject) -> str:
    return textwrap.shorten(thing.definition, _DEFINITION_CHARACTERS_MAX, placeholder=" …")


@cache
def _expected(file: str) -> dict[tuple[str, str, str], SchemaObject]:
    things = msgspec.json.decode(_store_text(file), type=list[SchemaObject])
    return {_place(thing): thing for thing in things}


def _store_text(name: str) -> bytes:
    return resources.files("tallystick.store").joinpath(name).read_bytes()


def _place(thing: SchemaObject) -> tuple[str, str, str]:
    return thing.kind, thing.table, thing.name


def _harms(thing: SchemaObject) -> bool:
    if thing.kind == "index":
        return thing.definition.startswith("CREATE UNIQUE")
    if thing.kind == "grant" and thing.name != _READER:
        return thing.definition != _READING
    return thing.kind in _NO_MORE


# The kinds that a statement can mend, in the order of making them: triggers call functions.
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
    """The statements that remove wrong objects, and then those that make missing ones."""
    can = [
        difference
        for difference in wrong
        if difference.thing.kind in _MENDED
        and not (difference.thing.is_readable and difference.thing.kind == "function")
    ]
    can.sort(key=lambda difference: _MENDED.index(difference.thing.kind))
    takes = [
        _filled(_TAKING[difference.found.kind], difference.found, schema)
        for difference in can
        if difference.found and difference.found.kind in _TAKING
    ]
    makes = [
        _filled(_MAKING[difference.expected.kind], difference.expected, schema)
        for difference in can
        if difference.expected
    ]
    return takes + makes


def _filled(statement: LiteralString, thing: SchemaObject, schema: str) -> sql.Composed:
    return sql.SQL(statement).format(
        table=sql.Identifier(thing.table),
        name=sql.Identifier(thing.name),
        role=sql.SQL("PUBLIC") if thing.name == "public" else sql.Identifier(thing.name),
        # The definition comes from a file of this package.
        definition=sql.SQL(thing.definition.replace("{schema}", schema)),
    )
