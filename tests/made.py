"""`make schema`: migrates an empty database, and writes down what that made beside the code that expects it."""

import json
import sys
from pathlib import Path

import psycopg

from tallystick.store import made
from tests.crash.databases import temporary_database, temporary_server

FILE = Path(made.__file__).with_suffix(".json")


def in_lines(things: list[made.SchemaObject]) -> str:
    """One thing in a line, so that a change shows what is changed."""
    return "[\n" + ",\n".join(json.dumps(thing) for thing in things) + "\n]\n"


def main() -> None:
    # As long as nothing is expected, nothing is mended.
    FILE.write_text("[]\n", encoding="utf-8")
    with (
        temporary_server() as server,
        temporary_database(server) as database,
        psycopg.connect(database.owner_dsn) as connection,
    ):
        FILE.write_text(in_lines(made.look_at_schema(connection)), encoding="utf-8")
    sys.stdout.write(f"written: {FILE}\n")


if __name__ == "__main__":
    main()
