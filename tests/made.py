"""`make schema`: migrates an empty database, and writes down what that made beside the code that expects it."""

import json
import sys
from pathlib import Path

import psycopg

from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.store import made
from tallystick.store.migrate import migrate
from tallystick.store.schema_version import Half, known_migrations, run_after
from tests.crash.databases import SHARD, temporary_database, temporary_server

FILE = Path(made.__file__).with_suffix(".json")
FILE_BEFORE = FILE.with_suffix(".before.json")


def in_lines(things: list[made.SchemaObject]) -> str:
    """One thing in a line, so that a change shows what is changed."""
    return "[\n" + ",\n".join(json.dumps(thing) for thing in things) + "\n]\n"


def main() -> None:
    left = run_after(known_migrations())
    FILE_BEFORE.unlink(missing_ok=True)
    # As long as nothing is expected, nothing is mended.
    for file in (FILE, FILE_BEFORE) if left else (FILE,):
        file.write_text("[]\n", encoding="utf-8")
    with temporary_server() as server, temporary_database(server) as database:
        whole = schema_of(database.owner_dsn)
        before = schema_before(server)
    FILE.write_text(in_lines(whole), encoding="utf-8")
    if left:
        FILE_BEFORE.write_text(in_lines(before), encoding="utf-8")
    sys.stdout.write(f"written: {FILE}\n")


def schema_of(dsn: str) -> list[made.SchemaObject]:
    """What there is in a database."""
    with psycopg.connect(dsn) as connection:
        return made.look_at_schema(connection)


def schema_before(server: EmbeddedPostgres) -> list[made.SchemaObject]:
    """What there is before the last migrations."""
    server.create_database("before")
    migrate(server.dsn("before"), SHARD, half=Half.BEFORE)
    return schema_of(server.dsn("before"))


if __name__ == "__main__":
    main()
