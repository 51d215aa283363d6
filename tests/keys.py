"""API keys, as `tallystick keys` makes them, without a process for each."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tallystick.service.authentication import ApiKeys
from tallystick.service.owners_directory import owners_directory

Result = TypeVar("Result")


def with_keys(owner_dsns: Mapping[int, str], act: Callable[[ApiKeys], Coroutine[Any, Any, Result]]) -> Result:
    """Do something with the API keys of a ledger, as its owner."""

    async def run() -> Result:
        async with owners_directory(dict(owner_dsns)) as directory:
            return await act(ApiKeys(directory))

    # In a thread of its own, so that the event loop of the tests is left alone.
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, run()).result()
