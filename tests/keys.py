"""API keys, as `tallystick keys` makes them, without a process for each."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tallystick.domain.access import ALL_SCOPES
from tallystick.ledger.directory import ReplicatedDirectory
from tallystick.service.api_keys import KeyManagement, create_key
from tallystick.service.authentication import DEFAULT_TENANT
from tallystick.service.errors import KeyNotFoundError
from tallystick.service.owners_directory import owners_directory
from tallystick.views.api_keys import NewApiKey

Result = TypeVar("Result")


class OwnersKeys:
    """The API keys of a ledger, for its owner. With nothing else asked for a key has all scopes."""

    def __init__(self, directory: ReplicatedDirectory) -> None:
        self.directory = directory
        self.management = KeyManagement(directory)

    async def create(self, name: str, tenant: str = DEFAULT_TENANT, **grant: Any) -> NewApiKey:
        return await create_key(self.directory, name, tenant, **{"scopes": ALL_SCOPES, **grant})

    async def revoke(self, identifier: str) -> bool:
        """Whether there was such a key in force."""
        try:
            await self.management.revoke(identifier)
        except KeyNotFoundError:
            return False
        return True


def with_keys(
    owner_dsns: Mapping[int, str], act: Callable[[OwnersKeys], Coroutine[Any, Any, Result]]
) -> Result:
    """Do something with the API keys of a ledger, as its owner."""

    async def run() -> Result:
        async with owners_directory(dict(owner_dsns)) as directory:
            return await act(OwnersKeys(directory))

    # In a thread of its own, so that the event loop of the tests is left alone.
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, run()).result()
