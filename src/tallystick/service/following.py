"""A running server follows its configuration file: shards are added without a restart."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from tallystick.background.worker import Worker
from tallystick.domain import limits
from tallystick.files import file_mark
from tallystick.ledger.errors import NotTakenError
from tallystick.service.configuration import Configuration, ConfigurationError, read_configuration
from tallystick.service.migration import check_own_sessions, check_shards
from tallystick.store.address import is_same_address
from tallystick.store.errors import StoreError

_log = structlog.get_logger(__name__)

AddShard = Callable[[int, str], Awaitable[None]]
Refresh = Callable[[], Awaitable[None]]


class ConfigurationFollower:
    """Checks each second whether the file has changed, and applies changes that are possible while a server runs.

    The shards that take new owners are not read from the file but from the databases, where `tallystick migrate`
    records them. So all servers learn of them, also a server with an old file.
    """

    def __init__(
        self, path: Path, configuration: Configuration, add_shard: AddShard, refresh: Refresh
    ) -> None:
        """`configuration` is what was read from the file.

        `refresh` reads from the databases which shards take new owners.
        """
        self._path = path
        self._served = configuration
        self._add_shard = add_shard
        self._refresh = refresh
        self._seen = file_mark(path)
        self._said: str | None = None
        self._worker = Worker(
            "configuration", self._look, interval_seconds=limits.CONFIGURATION_CHECK_SECONDS
        )

    def start(self) -> None:
        """Begin to check."""
        self._worker.start()

    async def stop(self) -> None:
        """Stop checking."""
        await self._worker.stop()

    async def _look(self) -> None:
        try:
            await self._refresh()
            mark = file_mark(self._path)
            if mark != self._seen and await self._take_over():
                self._seen, self._said = mark, None
        except (ConfigurationError, StoreError, NotTakenError, OSError) as error:
            self._say(str(error))

    async def _take_over(self) -> bool:
        """Serve shards that were added to the file. False if the file must be read again."""
        wanted = read_configuration(self._path)
        if (refusal := self._refusal(wanted)) is not None:
            self._say(refusal)
            return False
        unreachable = await asyncio.to_thread(check_shards, wanted)
        await check_own_sessions(wanted, unreachable)
        added = [shard for shard in wanted.shards if shard.number not in self._served.dsns]
        for shard in added:
            if (lost := unreachable.get(shard.number)) is not None:
                self._say(str(lost))
                return False
        for shard in added:
            await self._add_shard(shard.number, shard.dsn)
        self._served = wanted
        _log.info("configuration taken over", shards=sorted(wanted.dsns), added=[one.number for one in added])
        return True

    def _refusal(self, wanted: Configuration) -> str | None:
        """Why a running server cannot apply a configuration; None if it can."""
        for number, dsn in self._served.dsns.items():
            if number not in wanted.dsns:
                return f"shard {number} is missing: it is still served; list it again"
            if not is_same_address(wanted.dsns[number], dsn):
                return f"the dsn of shard {number} was changed: restart the server for that"
        for name in wanted.__struct_fields__:
            if name not in {"shard", "node"} and getattr(wanted, name) != getattr(self._served, name):
                return f"{name} was changed: restart the server for that"
        return None

    def _say(self, why: str) -> None:
        # Once, and not each second until the file is corrected.
        if why != self._said:
            self._said = why
            _log.error("the configuration file is not taken over", path=str(self._path), reason=why)
