"""The parts that all tenants of an installation share: the shards, and the tables beside the log."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

import structlog

from tallystick.background.alarms import show_alarms
from tallystick.domain import limits
from tallystick.domain.decide import NOTHING_DECIDED, Atomic, Decision
from tallystick.extras import MissingExtraError, require_extra
from tallystick.followers.webhooks.addresses import AddressRules
from tallystick.followers.webhooks.secret_keys import SecretKeys
from tallystick.ledger.crossing.earlier_credits import EarlierCredits
from tallystick.ledger.crossing.key_claims import KeyClaims, answers_of_group
from tallystick.ledger.crossing.saga.recovery import Crossings
from tallystick.ledger.crossing.ways import WAYS, way_of
from tallystick.ledger.directory import ReplicatedDirectory
from tallystick.ledger.request_queue import DecidedOutcome
from tallystick.ledger.rounds import Rounds
from tallystick.ledger.router import Router
from tallystick.ledger.shard_workers import ShardWorkers
from tallystick.ledger.writing import Units
from tallystick.service.account_quota import AccountQuota
from tallystick.service.admission import Admission
from tallystick.service.assets import Assets
from tallystick.service.authentication import ApiKeys
from tallystick.service.configuration import Configuration, read_configuration
from tallystick.service.following import ConfigurationFollower
from tallystick.service.kept_requests import KeptRequests
from tallystick.service.parties import Parties
from tallystick.service.pieces import Pieces
from tallystick.service.rate_limits import RateLimits, TenantConfiguration
from tallystick.service.refusal_budgets import RefusalBudgets
from tallystick.service.served_shard import ServedShard
from tallystick.service.webhooks.key_file import KeyFile
from tallystick.store.cache.balances import Cache
from tallystick.store.cache.rate_counters import RateCounters
from tallystick.store.directory import Directory

if TYPE_CHECKING:
    from tallystick.background.tracing import Tracing
    from tallystick.followers.webhooks.sending import Sender

_log = structlog.get_logger(__name__)


class Engine:
    """A running ledger. Tenants, API keys and custom assets are kept on every shard."""

    def __init__(
        self,
        dsns: Mapping[int, str],
        *,
        open_shards: Collection[int] | None = None,
        cross_shard: str = "saga",
        recover: bool = True,
        cache: str | None = None,
        cache_key: str | None = None,
        clock_tolerance_seconds: float = limits.CLOCK_TOLERANCE_SECONDS_DEFAULT,
        tracing: "Tracing | None" = None,
    ) -> None:
        """`dsns` has the connection string of each shard; `open_shards` is as for `Router`.

        `cross_shard`: how transfers cross from one to another, one of `WAYS`.
        `recover`: look for unfinished transfers of other processes between shards, as every server does.
        `cache`: the address of a cache for balances, `cache_key` what they are sealed with there.
        `clock_tolerance_seconds`: the difference of clocks above which nothing is written.
        `tracing`: traces what waits for batches, and batches.
        """
        self._recover = recover
        self._tracing = tracing
        self._cache = None if cache is None else Cache(cache, cache_key)
        # The weight of each tenant in the queues of the shards. It may change while this serves.
        self.tenant_weights: dict[int, int] = {}
        self._listeners_turns = Rounds(
            limits.FEED_COST_PER_ROUND,
            1,
            self.tenant_weights,
            pause_seconds=lambda: (
                limits.FEED_ROUND_PAUSE_IF_SHARED_SECONDS
                if self.router.is_shared
                else limits.FEED_ROUND_PAUSE_SECONDS
            ),
        )
        self._clock_tolerance_seconds = clock_tolerance_seconds
        self.router = Router(dsns, self._make_shard, open_shards=open_shards)
        self.pieces = Pieces(self.tenant_weights, lambda: self.router.is_shared)
        self.crossings = Crossings(lambda: self.router.shards)
        self.earlier_credits = EarlierCredits(self.crossings.find)
        self._key_claims = KeyClaims(self.crossings.find, lambda: self.router.placement)
        self._ways = {name: way_of(name)(lambda: self.router.shards, self.tenant_weights) for name in WAYS}
        self._way = self._ways[cross_shard]
        self.saga_wait_seconds = limits.SAGA_WAIT_SECONDS_DEFAULT
        self.directory = ReplicatedDirectory(
            {shard.number: Directory(shard.database) for shard in self.router.shards}
        )
        self._follower: ConfigurationFollower | None = None
        self.kept_requests = KeptRequests(self.directory)
        self.assets = Assets(self.directory, self.kept_requests)
        self.parties = Parties(self.router)
        self.api_keys = ApiKeys(self.directory)
        self.rate_limits = RateLimits(RateCounters(None))
        self.refusal_budgets = RefusalBudgets(self.rate_limits)
        self.admission = Admission(lambda: len(self.router.shards), self._refuse_overloaded)
        self.account_quota = AccountQuota(lambda: self.router.shards)
        for shard in self.router.shards:
            shard.batcher.on_committed(self._committed)
        self.effective_at_max_days_back = limits.EFFECTIVE_AT_DAYS_BACK_DEFAULT
        self.streams_per_tenant = limits.STREAMS_PER_TENANT_DEFAULT
        self.cors_allowed_origins: list[str] = []
        # Settings of tenants that do not exist yet: they may be created later.
        self._tenants_to_find: dict[str, TenantConfiguration] = {}
        self._address_rules = AddressRules()
        self._ca_path: Path | None = None
        self._key_path: Path | None = None
        self._webhooks: ShardWorkers | None = None

    @classmethod
    def of(
        cls,
        configuration: Configuration,
        *,
        recover: bool = True,
        deliver_webhooks: bool = False,
        tracing: "Tracing | None" = None,
    ) -> Self:
        """The engine of a configuration file. With `deliver_webhooks` it delivers webhooks, as servers do."""
        engine = cls(
            configuration.dsns,
            open_shards=configuration.open_shards,
            cross_shard=configuration.cross_shard,
            recover=recover,
            # A command reads PostgreSQL. Servers cache what it writes.
            cache=configuration.cache if recover else None,
            cache_key=configuration.cache_key,
            clock_tolerance_seconds=configuration.clock_tolerance_seconds,
            tracing=tracing,
        )
        if recover and configuration.cache is not None and configuration.cache_key is None:
            _log.warning("a program that can write to the cache can show any balance: set cache_key")
        engine.saga_wait_seconds = configuration.saga_wait_seconds
        engine.rate_limits = RateLimits(
            RateCounters(configuration.cache if recover else None),
            configuration.limits,
            configuration.key_limits,
            {one.id: one.limits for one in configuration.key},
        )
        engine.refusal_budgets = RefusalBudgets(engine.rate_limits)
        engine.api_keys = ApiKeys(engine.directory, configuration.trusted_proxies)
        engine.effective_at_max_days_back = configuration.effective_at_max_days_back
        engine.account_quota.accounts_max = configuration.accounts_per_tenant
        engine.streams_per_tenant = configuration.streams_per_tenant
        engine.cors_allowed_origins = configuration.cors_allowed_origins
        engine._tenants_to_find = {one.name: one for one in configuration.tenant}
        ca_file = configuration.webhooks_ca_file
        engine._ca_path = None if ca_file is None else Path(ca_file)
        engine._address_rules = AddressRules(
            configuration.webhooks_allow_http, configuration.webhooks_allow_private
        )
        key_file = configuration.webhooks_key_file
        engine._key_path = None if key_file is None else Path(key_file)
        if deliver_webhooks:
            engine._webhooks = engine._webhook_workers()
        return engine

    @classmethod
    def of_file(cls, path: Path, tracing: "Tracing | None" = None) -> Self:
        """The engine of a configuration file that it follows: shards that are added there are served too."""
        configuration = read_configuration(path)
        engine = cls.of(configuration, deliver_webhooks=True, tracing=tracing)
        engine.follow(path, configuration)
        return engine

    def _webhook_workers(self) -> ShardWorkers:
        require_extra("webhooks", "the delivery of webhooks")
        from tallystick.followers.webhooks.workers import webhook_workers  # noqa: PLC0415 - an extra

        return webhook_workers(
            lambda: self.router.shards,
            self.webhook_sender,
            self.secret_keys,
            self.earlier_credits,
        )

    @cached_property
    def webhook_sender(self) -> "Sender":
        """The sender of messages; raises MissingExtraError if its extra is not installed."""
        require_extra("webhooks", "sending webhooks")
        from tallystick.followers.webhooks.sending import Sender, trust_of  # noqa: PLC0415 - an extra

        trust = None if self._ca_path is None else trust_of(self._ca_path)
        return Sender(self._address_rules, trust=trust)

    def _make_shard(self, number: int, dsn: str) -> ServedShard:
        return ServedShard(
            number,
            dsn,
            self._cache,
            self._clock_tolerance_seconds,
            self.tenant_weights,
            listeners_turns=self._listeners_turns,
            tracing=self._tracing,
        )

    def follow(self, path: Path, configuration: Configuration) -> None:
        """Follow a file while this runs. `configuration` is what was read from it."""
        self._follower = ConfigurationFollower(path, configuration, self.add_shard, self._refresh)

    @cached_property
    def _key_file(self) -> KeyFile:
        # It is read only when it is needed, and not by every command.
        return KeyFile(self._key_path)

    @property
    def secret_keys(self) -> SecretKeys:
        """The keys that encrypt the secrets of webhooks."""
        return self._key_file.keys

    async def _refresh(self) -> None:
        """Read what may change while this runs: keys, the placement, tenants that the configuration names."""
        with suppress(MissingExtraError):  # then this process makes no webhooks, and needs no keys
            self._key_file.look()
        await self.router.refresh_placement()
        await self.api_keys.record_uses()
        for name, told in list(self._tenants_to_find.items()):
            if (tenant := await self.directory.find_tenant(name)) is not None:
                self.tenant_weights[tenant] = told.weight
                self.rate_limits.set_tenant(tenant, told.limits)
                del self._tenants_to_find[name]

    async def add_shard(self, number: int, dsn: str) -> None:
        """Serve one more shard."""
        shard = await self.router.add(number, dsn)
        shard.batcher.on_committed(self._committed)
        self.directory.add(number, Directory(shard.database))

    def _committed(self, decision: Decision) -> None:
        self.refusal_budgets.committed(decision)
        self.account_quota.committed(decision)

    def require_room(self, tenant: int, command_count: int) -> None:
        """Refuse a large request before it is handled, if all shards together have no room for it.

        Raises:
            OverloadedError: there is no room.
        """
        if sum(shard.batcher.room_of(tenant) for shard in self.router.shards) < command_count:
            self._refuse_overloaded()

    def _refuse_overloaded(self) -> NoReturn:
        self.router.shards[0].batcher.refuse_overloaded()

    async def submit(self, shard: ServedShard, units: Units) -> Sequence[DecidedOutcome]:
        """Have the commands of one request written, if their keys are free: see `Way.submit`.

        An `Atomic` is the only unit of its request.
        """
        refused = {} if self.router.is_home_of_all_keys(shard) else await self._key_claims.claim(shard, units)
        if not refused:
            return await self._way.submit(shard, units)
        if isinstance(units[0], Atomic):
            return answers_of_group(units, refused)
        left = [unit for place, unit in enumerate(units) if place not in refused]
        written = iter(await self._way.submit(shard, left) if left else ())
        return [
            DecidedOutcome(refused[place], NOTHING_DECIDED) if place in refused else next(written)
            for place in range(len(units))
        ]

    async def start(self) -> None:
        """Begin to serve.

        Raises:
            PreparationError: a server is not set up for the configured way to cross shards.
        """
        show_alarms()
        dsns = {shard.number: shard.dsn for shard in self.router.shards}
        await asyncio.to_thread(self._way.check, dsns)
        await self.router.start()
        if self._recover:
            self.crossings.start()
            for way in self._ways.values():
                way.start()
        if self._webhooks is not None:
            self._webhooks.start()
        if self._follower is not None:
            self._follower.start()

    async def connected(self) -> None:
        """Wait until every shard can be written to; raises UnavailableError if one could not be reached in time."""
        await self.router.connected()
        # Also read where keys and owners were placed before.
        await self._refresh()

    def end_streams(self) -> None:
        """End all streams, which would otherwise wait for ever. This comes first when the process stops."""
        for shard in self.router.shards:
            shard.feed.follower.close()

    async def stop(self) -> None:
        """Answer the waiting requests, then close all connections."""
        if self._follower is not None:
            await self._follower.stop()
        if self._webhooks is not None:
            await self._webhooks.stop()
        if "webhook_sender" in self.__dict__:
            await self.webhook_sender.close()
        await self.account_quota.stop()
        await self.crossings.stop()
        await asyncio.gather(*(way.stop() for way in self._ways.values()))
        await self.router.stop()
        if self._cache is not None:
            await self._cache.close()
