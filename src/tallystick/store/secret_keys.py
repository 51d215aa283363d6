"""The keys that the secrets in one shard's database are encrypted with."""

from typing import NamedTuple

from tallystick.store.once import rows_once
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
    return [StoredWith(*row) for row in rows_once(dsn, query("webhook_secret_keys"))]
