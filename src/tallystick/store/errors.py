"""The driver's errors, translated in one place into the few that the rest of the product tells apart."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import psycopg_pool


class StoreError(Exception):
    """PostgreSQL did not do what was asked."""


class ShardUnavailableError(StoreError):
    """The shard's PostgreSQL cannot be reached, or did not answer in time. Nothing was written."""


class CommitUnknownError(StoreError):
    """The connection was lost during COMMIT: the batch was written or not, and the ledger must be asked."""


class BatchRejectedError(StoreError):
    """PostgreSQL refused the rows of a batch: a bug in what decided them. Nothing was written."""


class SchemaError(StoreError):
    """The database's schema is not the one that this version needs."""


# The server went away or told us to (57: operator intervention, 53: resources, 08: connection,
# 55P03 and 57014: a lock or statement took too long, 25006: a standby that was the primary before).
_UNAVAILABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg_pool.PoolTimeout,
    psycopg_pool.PoolClosed,
    TimeoutError,
    asyncio.TimeoutError,
    OSError,
)


@contextmanager
def translated() -> Iterator[None]:
    """Raise ShardUnavailableError or BatchRejectedError in place of what the driver raised."""
    try:
        yield
    except _UNAVAILABLE as error:
        raise ShardUnavailableError(_first_line(error)) from error
    except (psycopg.IntegrityError, psycopg.DataError, psycopg.ProgrammingError) as error:
        raise BatchRejectedError(_first_line(error)) from error


@contextmanager
def translated_commit() -> Iterator[None]:
    """Like `translated`, for the round trip that commits: a lost connection leaves the result unknown."""
    try:
        with translated():
            yield
    except ShardUnavailableError as error:
        raise CommitUnknownError(str(error)) from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
