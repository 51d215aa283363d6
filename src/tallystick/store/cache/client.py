"""Clients of a cache: of one server, of the master that Sentinels name, or of a cluster. None of them retries.

PostgreSQL can answer, and is faster than a second attempt. If there are several servers, the time limit for each is
shorter than that of the whole call, so that another server can be asked when one hangs.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ClusterError, NoScriptError, RedisClusterException, RedisError, ResponseError

from tallystick.domain import limits
from tallystick.store.cache.address import CacheAddress, Tls
from tallystick.store.cache.balances import CacheClient, CacheRefusedError, UnknownScriptError


def cache_client(address: CacheAddress) -> CacheClient:
    """The client for an address. It connects when it is first used."""
    client = _client(address)

    async def send(*command: Any) -> Any:
        try:
            return await client.send(*command)
        except NoScriptError as error:
            raise UnknownScriptError(str(error)) from error
        except ResponseError as error:
            raise CacheRefusedError(str(error)) from error
        except RedisError as error:
            raise OSError(str(error) or type(error).__name__) from error

    async def close() -> None:
        with suppress(RedisError):
            await client.close()

    return CacheClient(send, close)


def _client(address: CacheAddress) -> CacheClient:
    """The same client, which raises errors of the driver."""
    if address.kind == "sentinel":
        return _sentinel_client(address)
    if address.kind == "cluster":
        cluster = _Cluster(address)
        return CacheClient(cluster.send, cluster.end)
    server = _server(address)
    return CacheClient(server.execute_command, server.aclose)


def connection_pool(address: CacheAddress) -> ConnectionPool:
    """Connections to one server, or to the master that Sentinels name, for a library with its own commands."""
    server = _master(address, _sentinels(address)) if address.kind == "sentinel" else _server(address)
    return server.connection_pool


def cluster_settings(address: CacheAddress) -> dict[str, Any]:
    """The options for connections to the nodes of a cluster, for the same library."""
    return {"require_full_coverage": False, **_settings(address, limits.CACHE_NODE_TIMEOUT_SECONDS)}


def _server(address: CacheAddress) -> Redis:
    settings = _settings(address, limits.CACHE_TIMEOUT_SECONDS)
    if address.socket_path is not None:
        return Redis(unix_socket_path=address.socket_path, db=address.database, **settings)
    ((host, port),) = address.hosts
    return Redis(host=host, port=port, db=address.database, **settings)


def _sentinels(address: CacheAddress) -> Sentinel:
    return Sentinel(  # type: ignore[no-untyped-call]  # of the driver
        address.hosts,
        sentinel_kwargs={
            "username": address.sentinel_user,
            "password": address.sentinel_password,
            **_timeouts(limits.CACHE_SENTINEL_TIMEOUT_SECONDS),
            **({} if address.tls is None else _tls(address.tls)),
        },
    )


def _master(address: CacheAddress, sentinels: Sentinel) -> Redis:
    settings = _settings(address, limits.CACHE_NODE_TIMEOUT_SECONDS)
    master: Redis = sentinels.master_for(address.master, db=address.database, **settings)
    return master


def _sentinel_client(address: CacheAddress) -> CacheClient:
    """Sends to the master. Each new connection asks the Sentinels, one after the other, for its address."""
    sentinels = _sentinels(address)
    master = _master(address, sentinels)

    async def send(*command: Any) -> Any:
        try:
            return await master.execute_command(*command)  # type: ignore[no-untyped-call]  # of the driver
        except MasterNotFoundError:
            raise OSError(f"no Sentinel that answers knows a master {address.master!r} that works") from None

    async def close() -> None:
        await master.aclose()
        await sentinels.aclose()

    return CacheClient(send, close)


def _settings(address: CacheAddress, timeout_seconds: float) -> dict[str, Any]:
    settings = {
        "username": address.user,
        "password": address.password,
        "max_connections": limits.CACHE_CONNECTIONS_MAX,
        **_timeouts(timeout_seconds),
    }
    return settings if address.tls is None else settings | _tls(address.tls)


def _timeouts(timeout_seconds: float) -> dict[str, Any]:
    return {
        "socket_connect_timeout": timeout_seconds,
        "socket_timeout": timeout_seconds,
        "retry": Retry(NoBackoff(), 0),
    }


def _tls(tls: Tls) -> dict[str, Any]:
    return {
        "ssl": True,
        "ssl_ca_certs": tls.ca_path,
        "ssl_certfile": tls.certificate_path,
        "ssl_keyfile": tls.key_path,
        "ssl_cert_reqs": "required" if tls.check_certificate else "none",
        "ssl_check_hostname": tls.check_host,
    }


class _Cluster(RedisCluster):
    """Sends to the node that has a slot. It sends only scripts and MGET, for keys of one slot."""

    # Keys that are being moved between nodes are never used: the move could overwrite what a script sets meanwhile.
    # So ASK is not followed. MOVED is, by `send`.
    RedisClusterRequestTTL = 1

    def __init__(self, address: CacheAddress) -> None:
        self._given = address.hosts
        self._starting: asyncio.Task[RedisCluster] | None = None
        super().__init__(
            startup_nodes=[ClusterNode(host, port) for host, port in address.hosts],
            # A lost node affects only its own shards.
            require_full_coverage=False,
            # The default would close all connections after a number of moves.
            reinitialize_steps=0,
            **_settings(address, limits.CACHE_NODE_TIMEOUT_SECONDS),
        )
        # The driver's own parser would ask a server for its commands.
        self.commands_parser = _Keys()  # type: ignore[assignment]  # it has all methods that are used

    async def send(self, *command: Any) -> Any:
        """Send a command, and once more if its slot has moved: the first answer names the new node."""
        for _ in range(2):
            try:
                return await self._ask(*command)
            except ClusterError as error:
                if type(error) is not ClusterError:
                    raise
        raise OSError("keys of the shard are on their way from one node of the cluster to another")

    async def end(self) -> None:
        """Close all connections, including those of a failed start."""
        if self._starting is not None:
            self._starting.cancel()
            with suppress(RedisError, RedisClusterException, OSError, asyncio.CancelledError):
                await self._starting
        await self.aclose()
        await self.nodes_manager.aclose()
        await self.nodes_manager.aclose("startup_nodes")

    async def initialize(
        self,
        additional_startup_nodes_info: list[tuple[str, int]] | None = None,
        last_failed_node_name: str | None = None,
    ) -> RedisCluster:
        """Read which node has which slot. This goes on even if its callers stop waiting."""
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(
                self._start(additional_startup_nodes_info, last_failed_node_name)
            )
            self._starting.add_done_callback(_seen)
        return await asyncio.shield(self._starting)

    async def _start(self, more: list[tuple[str, int]] | None, failed: str | None) -> RedisCluster:
        try:
            return await super().initialize(more, failed)
        except RedisClusterException:
            # All known nodes may have been replaced. So the configured ones are asked again the next time.
            for host, port in self._given:
                node = ClusterNode(host, port, **self.connection_kwargs)
                self.nodes_manager.startup_nodes.setdefault(node.name, node)
            raise

    async def _ask(self, *command: Any) -> Any:
        try:
            return await self.execute_command(*command)
        except RedisClusterException as error:
            # The driver's own errors are not RedisErrors.
            raise OSError(str(error)) from error
        except KeyError:
            # No node had the slot. The nodes are asked again the next time.
            self._initialize = True
            raise OSError("no node of the cluster has the shard's slot") from None


class _Keys:
    """The positions of the keys in a command: all arguments of MGET. The driver knows those of scripts."""

    async def initialize(self, _node: object) -> None:
        """Nothing needs to be read."""

    async def get_keys(self, *command: Any) -> Sequence[Any]:
        return command[1:]


def _seen(task: asyncio.Task[Any]) -> None:
    """Read the error of a task that is not awaited, so that asyncio does not log it."""
    if not task.cancelled():
        task.exception()
