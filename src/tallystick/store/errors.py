"""Errors of the store. The errors of the drivers are translated to these in one place.

- `StoreError`: PostgreSQL did not execute a statement
  - `ShardUnavailableError`: it cannot be reached
  - `CommitUnknownError`: the connection was lost during COMMIT, or the commit may be on no standby
  - `BatchRejectedError`: it refused the rows, which is a bug
    - `NotPermittedError`: the role lacks a right, or an API key does
    - `LastAdminKeyError`: a tenant would have no API key left that may manage keys
  - `SchemaError`: the schema does not fit this version
    - `PreparationError`: the database or a role is not prepared
  - `DirectoryConflictError`: the shards do not agree
- `CacheError` (in `cache/balances`): the cache did not answer
- `CacheRefusedError`, `UnknownScriptError` (in `cache/balances`): what a client of the cache raises
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg
import psycopg


class StoreError(Exception):
    """PostgreSQL did not execute a statement."""

    sqlstate: str | None = None
    """The SQLSTATE, if PostgreSQL gave one."""


class ShardUnavailableError(StoreError):
    """The shard's PostgreSQL cannot be reached, or did not answer in time. Nothing was written to the log."""


class CommitUnknownError(StoreError):
    """The answer to COMMIT is missing, or PostgreSQL warns that the commit may be on no synchronous standby.

    Whether the batch was written must be looked up in the log.
    """


class BatchRejectedError(StoreError):
    """PostgreSQL refused the rows of a batch: a bug in what decided them. Nothing was written."""


class NotPermittedError(BatchRejectedError):
    """The connected role lacks a right."""


class LastAdminKeyError(BatchRejectedError):
    """A tenant would have no API key left that may manage keys."""


class SchemaError(StoreError):
    """The database's schema is not the one that this version needs."""


class PreparationError(SchemaError):
    """A database or a role is not prepared for the ledger. The message has the statements that repair it."""


class DirectoryConflictError(StoreError):
    """The shards do not agree about tenants, API keys, assets or webhook endpoints."""


# Classes of SQLSTATE that are about the statement, not about the server: data, integrity, syntax or access
# (https://www.postgresql.org/docs/current/errcodes-appendix.html). Everything else means that the server
# cannot serve now: shutting down, out of resources, a standby, a statement that took too long.
_STATEMENT_CLASSES: Final = ("22", "23", "42")
_NOT_PERMITTED: Final = "42501"

# The driver's errors for a lost connection. InternalClientError is one of them: it is raised for an unused session
# that was ended, if the server's last message was read and the end of the connection was not
# (https://github.com/MagicStack/asyncpg/issues/784).
CONNECTION_LOST: Final = (asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError, OSError)


@contextmanager
def translated() -> Iterator[None]:
    """Translate errors of a driver to ShardUnavailableError or BatchRejectedError."""
    try:
        yield
    except (asyncpg.PostgresError, psycopg.Error) as error:
        sqlstate: str | None = getattr(error, "sqlstate", None)
        if (sqlstate or "").startswith(_STATEMENT_CLASSES):
            kind: type[StoreError] = NotPermittedError if sqlstate == _NOT_PERMITTED else BatchRejectedError
        else:
            kind = ShardUnavailableError
        failure = kind(_first_line(error))
        failure.sqlstate = sqlstate
        raise failure from error
    except asyncpg.DataError as error:
        raise BatchRejectedError(_first_line(error)) from error
    except CONNECTION_LOST as error:
        raise ShardUnavailableError(_first_line(error)) from error


@contextmanager
def translated_commit() -> Iterator[None]:
    """Like `translated`, for the round trip that commits: any error but a refusal leaves the result unknown."""
    try:
        with translated():
            yield
    except BatchRejectedError:
        raise
    except Exception as error:
        raise CommitUnknownError(_first_line(error)) from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
