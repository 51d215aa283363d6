"""Read one shard's log by position: find the positions that callers ask for."""

from collections.abc import Collection
from typing import NamedTuple

from tallystick.domain.commands import Kind
from tallystick.store.connection import Database


class OpenedAccount(NamedTuple):
    """An account that was opened or changed, with its tenant and its owner."""

    account: int
    tenant: int
    owner: str


class FeedReader:
    """Finds positions in one shard's log. When it cannot, every method raises what the database's `rows` raises.

    A part of the log begins after one position and ends with another.
    """

    def __init__(self, database: Database) -> None:
        self._rows = database.rows

    async def positions(
        self,
        after: int,
        until: int,
        *,
        tenant: int,
        kinds: Collection[Kind] | None,
        accounts: Collection[int] | None,
        row_count: int,
    ) -> list[int]:
        """A tenant's first positions in a part of the log, of these kinds and accounts; None: of all."""
        wanted_kinds = None if kinds is None else [int(kind) for kind in kinds]
        arguments = (after, until, tenant, wanted_kinds, row_count)
        if accounts is None:
            rows = await self._rows("feed_positions", *arguments)
        else:
            rows = await self._rows("feed_positions_of_accounts", *arguments, list(accounts))
        return [row[0] for row in rows]

    async def watched(
        self, after: int, until: int, tenants: Collection[int], accounts: Collection[int]
    ) -> list[int]:
        """The positions in a part of the log that belong to one of these tenants, or change one of these accounts."""
        return [
            row[0] for row in await self._rows("feed_watched", after, until, list(tenants), list(accounts))
        ]

    async def opened(self, after: int, until: int) -> list[OpenedAccount]:
        """The accounts that were opened or changed in a part of the log."""
        return [OpenedAccount(*row) for row in await self._rows("feed_opened", after, until)]

    async def accounts_of_owner(self, tenant: int, owner: str, row_count: int) -> list[int]:
        """The identifiers of an owner's accounts, up to a number of them."""
        return [row[0] for row in await self._rows("feed_accounts_of_owner", tenant, owner, row_count)]
