"""Named SQL: each query is one file in a folder `queries`, of the store or of another package."""

from functools import cache
from importlib import resources
from typing import LiteralString


@cache
def query(name: str, package: str = "tallystick.store") -> LiteralString:
    """The text of `queries/<name>.sql` of a package."""
    return resources.files(package).joinpath("queries", f"{name}.sql").read_text(encoding="utf-8")
