"""Databases as the tests of faults have them; several files have others of their own."""

from tests.crash.conftest import database, shards

__all__ = ["database", "shards"]
