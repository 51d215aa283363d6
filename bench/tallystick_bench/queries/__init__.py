"""Named SQL of the benchmark: each query is one file beside this one.

Files with the prefix `payments_` are scripts of pgbench, and not sent to a server as they are.
"""

from functools import cache
from importlib import resources
from pathlib import Path
from typing import LiteralString


@cache
def query(name: str) -> LiteralString:
    """The text of `<name>.sql`."""
    return resources.files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")


def script(name: str) -> Path:
    """The file `<name>.sql`, for a program that wants a file."""
    return Path(__file__).with_name(f"{name}.sql")
