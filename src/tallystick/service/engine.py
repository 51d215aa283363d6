"""Everything that the tenants of one installation share: the shards, and what stands beside the log."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Self

from tallystick.domain import limits
from tallystick.ledger.batcher import Answer
from tallystick.ledger.directory import ReplicatedDirectory
from tallystick.ledger.recovery import Crossings
from tallystick.ledger.router import Router
from tallystick.ledger.shard import Shard
from tallystick.ledger.two_phase import PairAnswer, TwoPhase
from tallystick.ledger.two_phase_resolver import Resolver
from tallystick.ledger.writing import Units
from tallystick.service.assets import Assets
from tallystick.service.authentication import ApiKeys
from tallystick.service.configuration import Configuration, CrossShard, read_configuration
from tallystick.service.following import ConfigurationFollower
from tallystick.service.webhooks.addresses import AddressRules
from tallystick.service.webhooks.events import EncodeEvent
from tallystick.service.webhooks.sending import Sender, trust_of
from tallystick.service.webhooks.workers import WebhookWorkers
from tallystick.store.cache import Cache
from tallystick.store.directory import Directory
from tallystick.store.two_phase import check_prepared_transactions


class Engine:
    """A running ledger. Tenants, API keys and custom assets are kept on every shard."""

    def __init__(
        self,
        dsns: Mapping[int, str],
        *,
        open_shards: Collection[int] | None = None,
        cross_shard: CrossShard = "saga",
        recover: bool = True,
        cache: str | None = None,
    ) -> None:
        """Name the shards; `open_shards` as for `Router`.

        `cross_shard`: how transfers cross from one to another.
        `recover`: look for sagas that nobody drives, and for batches left prepared, as every server does.
        `cache`: the address of a cache for balances.
        """
        self._recover = recover
        self._resolver = Resolver(lambda: self.router.shards)
        self._two_phase = None
        self._cache = None if cache is None else Cache(cache)
        self.router = Router(dsns, open_shards=open_shards, cache=self._cache)
        self.crossings = Crossings(lambda: self.router.shards)
        if cross_shard == "two_phase":
            self._two_phase = TwoPhase(self.crossings.find)
        self.saga_wait_seconds = limits.SAGA_WAIT_SECONDS_DEFAULT
        self.directory = ReplicatedDirectory(
            {shard.number: Directory(shard.database) for shard in self.router.shards}
        )
        self._follower: ConfigurationFollower | None = None
        self.assets = Assets(self.directory)
        self.api_keys = ApiKeys(self.directory)
        self.webhook_sender = Sender(AddressRules())
        self._webhooks: WebhookWorkers | None = None

    @classmethod
    def of(
        cls, configuration: Configuration, *, recover: bool = True, encode_event: EncodeEvent | None = None
    ) -> Self:
        """The engine of a configuration file. With `encode_event` it delivers webhooks, as servers do."""
        engine = cls(
            configuration.dsns,
            open_shards=configuration.open_shards,
            cross_shard=configuration.cross_shard,
            recover=recover,
            # A command reads what is true, and what it writes is cached by the servers.
            cache=configuration.cache if recover else None,
        )
        engine.saga_wait_seconds = configuration.saga_wait_seconds
        ca_file = configuration.webhooks_ca_file
        engine.webhook_sender = Sender(
            AddressRules(configuration.webhooks_allow_http, configuration.webhooks_allow_private),
            trust=None if ca_file is None else trust_of(Path(ca_file)),
        )
        if encode_event is not None:
            engine._webhooks = WebhookWorkers(
                lambda: engine.router.shards, engine.webhook_sender, encode_event
            )
        return engine

    @classmethod
    def of_file(cls, path: Path, encode_event: EncodeEvent) -> Self:
        """The engine of a configuration file that it follows: shards that are added there are served too."""
        configuration = read_configuration(path)
        engine = cls.of(configuration, encode_event=encode_event)
        engine.follow(path, configuration)
        return engine

    def follow(self, path: Path, configuration: Configuration) -> None:
        """Follow a file, from what was read from it, while this runs."""
        self._follower = ConfigurationFollower(
            path, configuration, self.add_shard, self.router.refresh_placement
        )

    async def add_shard(self, number: int, dsn: str) -> None:
        """Serve one more shard, beside those that are served."""
        shard = await self.router.add(number, dsn)
        self.directory.add(number, Directory(shard.database))

    async def submit(self, shard: Shard, units: Units) -> Sequence[Answer | PairAnswer]:
        """Have the commands of one request written: see `Batcher.submit`. An `Atomic` comes alone."""
        if self._two_phase is None:
            return await shard.batcher.submit(units)
        return await self._two_phase.submit(shard, units)

    async def start(self) -> None:
        """Begin to serve.

        Raises:
            PreparedTransactionsError: a server is not set up for two-phase commit.
        """
        if self._two_phase is not None:
            dsns = {shard.number: shard.dsn for shard in self.router.shards}
            await asyncio.to_thread(check_prepared_transactions, dsns)
        await self.router.start()
        if self._recover:
            self.crossings.start()
            self._resolver.start()
        if self._webhooks is not None:
            self._webhooks.start()
        if self._follower is not None:
            self._follower.start()

    async def connected(self) -> None:
        """Wait until every shard can be written to; raises UnavailableError when one could not be reached in time."""
        await self.router.connected()

    def end_streams(self) -> None:
        """End all that follow the log, which would wait for ever, as the first thing when this process stops."""
        for shard in self.router.shards:
            shard.feed.follower.close()

    async def stop(self) -> None:
        """Answer what waits, then close all connections."""
        if self._follower is not None:
            await self._follower.stop()
        if self._webhooks is not None:
            await self._webhooks.stop()
        await self.webhook_sender.close()
        await self.crossings.stop()
        if self._two_phase is not None:
            await self._two_phase.stop()
        await self._resolver.stop()
        await self.router.stop()
        if self._cache is not None:
            await self._cache.close()
