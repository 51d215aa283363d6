"""The version of a schema: which migrations a database has, and which versions of this program can use it.

A migration runs before the servers of the version that brings it, or after them. One that runs before only adds, so
servers of the version before go on. One that runs after takes away what only they use, and its name ends in `.after`.
So a server that finds a migration which it does not know sees by its name whether it can use the database.
"""

from collections.abc import Collection, Sequence
from enum import Enum
from functools import cache
from importlib import resources
from typing import Final, NamedTuple

from tallystick.store.errors import SchemaError

_SUFFIX: Final = ".sql"
_AFTER: Final = ".after"
# Servers from before this one cannot write to a database that has it (decision 9). Its name is older than the rule.
_AFTER_WITHOUT_NAME: Final = frozenset({"0003.batch_first"})


class Half(Enum):
    """A part of an upgrade: what runs before the servers of the new version, and what runs after them."""

    BEFORE = "before"
    AFTER = "after"


class SchemaVersion(NamedTuple):
    """How a database that this version can use differs from the schema of this version."""

    left: tuple[str, ...] = ()
    """The migrations of this version that run after its servers, and did not yet."""
    newer: tuple[str, ...] = ()
    """The migrations of a newer version, which run before its servers."""
    is_known: bool = True
    """Whether this version knows what all of the schema should be."""

    @property
    def notes(self) -> list[str]:
        """What an operator should know of it."""
        notes = []
        if self.left:
            notes.append(
                f"{', '.join(self.left)} is left to do: run `tallystick migrate --after` as soon as all servers "
                f"are of this version"
            )
        if self.newer:
            notes.append(
                f"the database has {', '.join(self.newer)} of a newer version: it is served, and most of its schema "
                f"cannot be compared; replace this version by the newer one soon"
            )
        return notes


@cache
def known_migrations() -> tuple[str, ...]:
    """The names of this version's migrations, in their order."""
    names = (entry.name for entry in resources.files("tallystick.store").joinpath("migrations").iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)))


def runs_after(migration: str) -> bool:
    """Whether a migration runs after the servers of the version that brings it."""
    return migration.endswith(_AFTER) or migration in _AFTER_WITHOUT_NAME


def number_of(migration: str) -> int:
    """The number of a migration."""
    return int(migration.partition(".")[0])


def session_name(purpose: str) -> str:
    """The name of a session of a server in PostgreSQL's lists, with the newest migration that the server knows."""
    return f"tallystick {purpose} {number_of(known_migrations()[-1])}"


def run_after(known: Sequence[str]) -> tuple[str, ...]:
    """The last migrations of a version, if they run after its servers."""
    last = max((place for place, name in enumerate(known) if not runs_after(name)), default=-1)
    return tuple(known[last + 1 :])


def version_of(found: Collection[str], known: Sequence[str]) -> SchemaVersion:
    """Judge a database by its migrations.

    Args:
        found: the migrations that it has.
        known: those of this version, in their order.

    Raises:
        SchemaError: this version cannot use it. The message says what to do.
    """
    missing = [name for name in known if name not in found]
    newer = sorted(set(found).difference(known))
    if any(map(runs_after, newer)):
        raise newer_error(newer)
    if set(missing).difference(run_after(known)) or (missing and newer):
        raise SchemaError(f"the database lacks {', '.join(missing)}: run `tallystick migrate`")
    left = tuple(missing)
    return SchemaVersion(left, tuple(newer), not newer and left in {(), run_after(known)})


def newer_error(newer: Sequence[str]) -> SchemaError:
    """The error for a database that a newer version has migrated."""
    return SchemaError(f"the database has {', '.join(newer)} of a newer version: upgrade tallystick")


def to_run(missing: Sequence[str], half: Half | None, *, is_new: bool = False) -> list[str]:
    """Choose the migrations of one half among those that a database lacks, in their order. None: all of them.

    `is_new`: no server uses the database, and nothing can be taken away from any.

    Raises:
        SchemaError: the other half, or an earlier version, comes first. The message says what to do.
    """
    before = [name for name in missing if not runs_after(name)]
    if half is None:
        return list(missing)
    if half is Half.AFTER:
        if before:
            raise SchemaError(
                f"{', '.join(before)} comes first: run `tallystick migrate --before`, replace all servers by this "
                f"version, and then run `tallystick migrate --after`"
            )
        return list(missing)
    now = missing[: len(missing) - len(run_after(missing))]
    early = [name for name in now if runs_after(name)]
    if early and not is_new:
        raise SchemaError(
            f"{', '.join(early)} comes before {before[-1]}, and the servers that run now may not know it: upgrade to "
            f"the version in between first, or stop all servers and run `tallystick migrate`"
        )
    return list(now)
