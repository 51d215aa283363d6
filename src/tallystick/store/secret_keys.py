"""The keys that the secrets in one shard's database are encrypted with."""

from typing import NamedTuple

import psycopg

from tallystick.domain import limits
from tallystick.store.errors import translated
from tallystick.store.queries import query


class StoredWith(NamedTuple):
    """An endpoint, its state, and the name of the key of one of its secrets; no name if it is not encrypted."""

    endpoint: str
    state: str
    key_name: str | None


def secret_keys_in(dsn: str) -> list[StoredWith]:
    """The keys of all endpoints.

    Raises:
        ShardUnavailableError: PostgreSQL cannot be reached.
    """
    with translated(), psycopg.connect(dsn, connect_timeout=limits.CONNECT_TIMEOUT_SECONDS) as connection:
        return [StoredWith(*row) for row in connection.execute(query("webhook_secret_keys"))]
