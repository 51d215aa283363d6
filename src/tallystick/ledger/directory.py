"""Tenants, API keys, assets and webhook endpoints. Every shard has them, so any shard can identify a caller.

The first shard decides about new rows, and the others copy its decision. Each step may be repeated.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, Final, TypeVar

from tallystick.domain import limits
from tallystick.domain.access import StoredKey
from tallystick.domain.webhooks import WebhookEndpoint
from tallystick.ledger.errors import UnavailableError
from tallystick.store.directory import ApiKeyRow, AssetRow, Directory
from tallystick.store.errors import DirectoryConflictError, ShardUnavailableError
from tallystick.store.kept_requests import KeptRequests

Result = TypeVar("Result")
_RUN_AGAIN: Final = "run it again when that is back"
_MAKE_AGAIN: Final = (
    "when that is back, send the same request again with its idempotency key; without one, "
    "remove the endpoint and make another"
)


class DirectoryIncompleteError(UnavailableError):
    """Some shards have a change of the directory, and others could not be reached. The message names them."""


class ReplicatedDirectory:
    """The directory of all shards. Every method raises UnavailableError if too few of them answer."""

    def __init__(self, directories: Mapping[int, Directory]) -> None:
        """`directories` has the directory of each shard, by number."""
        self._directories = dict(sorted(directories.items()))
        # Shards that are asked last until this time, so that callers do not wait for a shard that is away each time.
        # The same holds while a late answer is missing.
        self._silent_until: dict[int, float] = {}
        self._late: dict[int, set[asyncio.Task[Any]]] = defaultdict(set)

    def add(self, number: int, directory: Directory) -> None:
        """Add a shard."""
        self._directories = dict(sorted({**self._directories, number: directory}.items()))

    @property
    def kept_requests(self) -> KeptRequests:
        """The requests beside the log that have a key. The first shard alone has them, so that it decides."""
        return next(iter(self._directories.values())).kept_requests

    # Reading: from the first shard that answers. If one is late, the next one is asked, too.

    async def find_api_key(self, hashed: bytes) -> StoredKey | None:
        """The key with a secret, if it is not revoked."""
        return await self._first(lambda directory: directory.find_api_key(hashed))

    async def list_api_keys(
        self, tenant: int | None, after: tuple[datetime, str] | None, row_count: int
    ) -> list[ApiKeyRow]:
        """The keys of a tenant, or of all, oldest first, after the time and the identifier of one of them."""
        return await self._first(lambda directory: directory.list_api_keys(tenant, after, row_count))

    async def newest_api_key(self, identifier: str) -> ApiKeyRow | None:
        """The version of a key that is in force. All shards are asked, as for `newest_endpoint`."""
        found = await self._each(lambda directory: directory.api_key(identifier))
        rows = [row for row in found if row is not None]
        revoked = [row for row in rows if row.key.revoked_at is not None]
        return max(revoked or rows, key=lambda row: (row.key.version, row.key.changed_at), default=None)

    async def find_tenant(self, name: str) -> int | None:
        """The number of a tenant by name."""
        return await self._first(lambda directory: directory.find_tenant(name))

    async def assets(self, tenant: int) -> list[AssetRow]:
        """A tenant's custom assets, by code."""
        return await self._first(lambda directory: directory.assets(tenant))

    async def webhook_endpoints(self, tenant: int) -> list[WebhookEndpoint]:
        """A tenant's webhook endpoints that were not removed, oldest first."""
        return await self._first(lambda directory: directory.webhook_endpoints(tenant))

    async def newest_endpoint(self, tenant: int, identifier: str) -> WebhookEndpoint | None:
        """The version of a webhook endpoint that is in force, even if it was removed.

        All shards are asked, because the last change may have reached only one of them.
        """
        found = await self._each(lambda directory: directory.webhook_endpoint(tenant, identifier))
        return max(filter(None, found), key=lambda one: (one.version, one.changed_at), default=None)

    async def _each(self, ask: Callable[[Directory], Awaitable[Result]]) -> list[Result]:
        """The answers of all shards that answer; raises UnavailableError if none does."""
        found: list[Result] = []

        async def asked(directory: Directory) -> None:
            with suppress(ShardUnavailableError, UnavailableError):
                found.append(await ask(directory))

        await asyncio.gather(*map(asked, self._directories.values()))
        if not found:
            raise UnavailableError("no shard can be reached now")
        return found

    async def stored_webhook_endpoints(self) -> list[WebhookEndpoint]:
        """Every version of a webhook endpoint that any shard has, of all tenants."""
        found: list[WebhookEndpoint] = []
        for number, directory in self._directories.items():
            try:
                found += await directory.stored_webhook_endpoints()
            except ShardUnavailableError as error:
                raise UnavailableError(f"shard {number} cannot be reached: {_RUN_AGAIN}") from error
        return found

    # Writing: to all shards, in their order.

    async def make_tenant(self, name: str) -> int:
        """The number of a tenant by name. A new tenant is created."""
        decided: list[int] = []

        async def make(directory: Directory) -> None:
            await directory.add_tenant(name, decided[0] if decided else None)
            found = await directory.find_tenant(name)
            if found is None or found != (decided or [found])[0]:
                raise DirectoryConflictError(
                    f"another tenant was made at the same moment as {name!r}: run `tallystick migrate`, "
                    f"and then this again"
                )
            decided.append(found)

        await self._all(f"tenant {name!r} was made", make)
        return decided[0]

    async def put_api_key(self, key: StoredKey, caller: str | None = None) -> bool:
        """Make or change a key. Returns False if another process has made this version before.

        Args:
            key: the key as it is to be.
            caller: the secret of the key that manages it; None: this is the owner of the tables.
        """
        made: list[bool] = []

        async def put(directory: Directory) -> None:
            if not made:
                # The first shard decides which of two equal versions is recorded.
                made.append(await directory.put_api_key(key, caller, decides=True))
            elif made[0]:
                await directory.put_api_key(key, caller, decides=False)

        await self._all("the key was made" if key.version == 1 else "the key was changed", put)
        return made[0]

    async def record_api_key_uses(self, identifiers: Collection[str], at: datetime) -> None:
        """Record when keys were last used, on the shards that answer."""
        await self._each(lambda directory: directory.record_api_key_uses(identifiers, at))

    async def add_asset(self, tenant: int, asset: AssetRow) -> None:
        """Define a custom asset, unless its code is taken."""
        decided = asset

        async def add(directory: Directory) -> None:
            nonlocal decided
            await directory.add_asset(tenant, decided)
            decided = next(row for row in await directory.assets(tenant) if row.code == asset.code)

        await self._all(f"asset {asset.code} was defined", add)

    @asynccontextmanager
    async def making_webhook_endpoints(self) -> AsyncIterator[None]:
        """Let no other process create an endpoint until the end of the block. The lock is on the first shard."""
        number, first = next(iter(self._directories.items()))
        try:
            async with first.making_webhook_endpoints():
                yield
        except ShardUnavailableError as error:
            raise DirectoryIncompleteError(
                f"no endpoint was made, because shard {number} cannot be reached: {_RUN_AGAIN}"
            ) from error

    async def put_webhook_endpoint(self, endpoint: WebhookEndpoint) -> bool:
        """Record a version of a webhook endpoint. Returns False if another process has made this version before."""
        made: list[bool] = []

        async def put(directory: Directory) -> None:
            if not made:
                # The first shard decides which of two equal versions is recorded.
                made.append(await directory.make_webhook_version(endpoint))
            elif made[0]:
                await directory.put_webhook_endpoint(endpoint)

        if endpoint.state != "active":
            # An endpoint that is paused or removed stops on the shards that answer.
            await self._each_that_answers(f"endpoint {endpoint.id} is {endpoint.state}", put)
            return made[0]
        makes_it = endpoint.version == 1
        await self._all(
            f"endpoint {endpoint.id} was recorded",
            put,
            _MAKE_AGAIN if makes_it else _RUN_AGAIN,
        )
        return made[0]

    async def revoke_api_key(self, identifier: str, caller: str | None = None) -> bool:
        """Revoke a key on every shard that answers. Returns False if there is no such valid key.

        Raises:
            DirectoryIncompleteError: a shard did not answer. The key is revoked on the others.
        """
        revoked: list[bool] = []

        async def revoke(directory: Directory) -> None:
            revoked.append(await directory.revoke_api_key(identifier, caller))

        await self._each_that_answers("the key was revoked", revoke)
        return any(revoked)

    async def _first(self, ask: Callable[[Directory], Awaitable[Result]]) -> Result:
        asked: dict[asyncio.Task[Result], int] = {}
        for number in sorted(self._directories, key=lambda number: (self._is_silent(number), number)):
            if number in self._silent_until:
                # Only one of many callers tries whether the shard answers again.
                self._leave_alone(number)
            asking = asyncio.create_task(_asked(ask, self._directories[number]), name="directory")
            asking.add_done_callback(_hear)
            asked[asking] = number
            if (answered := await self._answered(asked, limits.DIRECTORY_PATIENCE_SECONDS)) is not None:
                return answered.result()
            if asking in asked:
                self._leave_alone(number)
                self._late[number].add(asking)
                asking.add_done_callback(self._late[number].discard)
        if (answered := await self._answered(asked, limits.DIRECTORY_SECONDS_MAX)) is not None:
            return answered.result()
        raise UnavailableError("no shard can be reached now")

    async def _answered(
        self, asked: dict[asyncio.Task[Result], int], wait_seconds: float
    ) -> asyncio.Task[Result] | None:
        """The first of these shards that answers in time, if any. Shards that cannot be reached are not asked again.

        The other calls are not cancelled, because that takes long if a shard hangs. No request waits for them.
        """
        deadline = time.monotonic() + wait_seconds
        while asked and (left := deadline - time.monotonic()) > 0:
            done, _ = await asyncio.wait(asked, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for asking in done:
                number = asked.pop(asking)
                if isinstance(asking.exception(), ShardUnavailableError | UnavailableError):
                    self._leave_alone(number)
                else:
                    self._silent_until.pop(number, None)
                    return asking
        return None

    def _is_silent(self, number: int) -> bool:
        return bool(self._late[number]) or self._silent_until.get(number, 0.0) > time.monotonic()

    def _leave_alone(self, number: int) -> None:
        self._silent_until[number] = time.monotonic() + limits.DIRECTORY_SILENCE_SECONDS

    async def _each_that_answers(self, what: str, act: Callable[[Directory], Awaitable[None]]) -> None:
        done: list[int] = []
        silent: list[int] = []
        for number, directory in self._directories.items():
            try:
                await act(directory)
            except (ShardUnavailableError, UnavailableError):
                silent.append(number)
            else:
                done.append(number)
        if silent:
            raise DirectoryIncompleteError(
                f"{what} on {_named(done)}, but {_named(silent)} cannot be reached: {_RUN_AGAIN}"
            )

    async def _all(
        self, what: str, act: Callable[[Directory], Awaitable[None]], when_half_done: str = _RUN_AGAIN
    ) -> None:
        number = 0
        done: list[int] = []
        try:
            # Before the first write, so that nothing is half done if a shard is known to be away.
            for number, directory in self._directories.items():  # noqa: B007 - the error names it
                await directory.ping()
            for number, directory in self._directories.items():
                await act(directory)
                done.append(number)
        except (ShardUnavailableError, UnavailableError) as error:
            raise DirectoryIncompleteError(
                f"{what} on {_named(done)}, but shard {number} cannot be reached: "
                f"{when_half_done if done else _RUN_AGAIN}"
            ) from error


async def _asked(ask: Callable[[Directory], Awaitable[Result]], directory: Directory) -> Result:
    return await ask(directory)


def _hear(asking: asyncio.Task[Any]) -> None:
    """Read an answer that may come when it is no longer needed."""
    if not asking.cancelled():
        asking.exception()


def _named(numbers: list[int]) -> str:
    if not numbers:
        return "no shard"
    return f"shard{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
