"""Clients of a cache: of one server, of the master that Sentinels name, of a cluster. None tries anything again.

PostgreSQL is there, and quicker than a second try. What one of several servers may take to answer is shorter than
what a call may take, so that a server that hangs is found out, and another one asked.
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
    """The client of an address; it connects when it is used."""
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
    """The same, with the errors of the driver."""
    if address.kind == "sentinel":
        return _sentinel_client(address)
    if address.kind == "cluster":
        cluster = _Cluster(address)
        return CacheClient(cluster.send, cluster.end)
    server = _server(address)
    return CacheClient(server.execute_command, server.aclose)


def connection_pool(address: CacheAddress) -> ConnectionPool:
    """Connections to one server, or to the master that Sentinels name, for a library that brings its own commands."""
    server = _master(address, _sentinels(address)) if address.kind == "sentinel" else _server(address)
    return server.connection_pool


def cluster_settings(address: CacheAddress) -> dict[str, Any]:
    """How the nodes of a cluster are connected to, for the same library."""
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
    """Asks the master. Each new connection asks the Sentinels, one after the other, who that is."""
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
    """Asks the node that has a slot. It sends nothing but scripts and MGET, of keys of one slot."""

    # A key is never asked for on its way from one node to another: a script could set there what is then overwritten
    # by what comes after it. So ASK is not followed; MOVED is, by `send`.
    RedisClusterRequestTTL = 1

    def __init__(self, address: CacheAddress) -> None:
        self._given = address.hosts
        self._starting: asyncio.Task[RedisCluster] | None = None
        super().__init__(
            startup_nodes=[ClusterNode(host, port) for host, port in address.hosts],
            # One lost node is the loss of its shards alone.
            require_full_coverage=False,
            # That would close all connections after so many moves.
            reinitialize_steps=0,
            **_settings(address, limits.CACHE_NODE_TIMEOUT_SECONDS),
        )
        # The driver's own would ask a server which commands there are.
        self.commands_parser = _Keys()  # type: ignore[assignment]  # it does all that is asked of one

    async def send(self, *command: Any) -> Any:
        """Ask, and once more where a slot has moved: the first time has told where it is now."""
        for _ in range(2):
            try:
                return await self._ask(*command)
            except ClusterError as error:
                if type(error) is not ClusterError:
                    raise
        raise OSError("keys of the shard are on their way from one node of the cluster to another")

    async def end(self) -> None:
        """Close all connections, those of a beginning that failed too."""
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
        """Learn which node has which slot. It goes on when those who asked for it wait no longer."""
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
            # Perhaps all that were found have been replaced: those that were named are asked too the next time.
            for host, port in self._given:
                node = ClusterNode(host, port, **self.connection_kwargs)
                self.nodes_manager.startup_nodes.setdefault(node.name, node)
            raise

    async def _ask(self, *command: Any) -> Any:
        try:
            return await self.execute_command(*command)
        except RedisClusterException as error:
            # The driver's own are no RedisError.
            raise OSError(str(error)) from error
        except KeyError:
            # No node had the slot when they were asked: they are asked again the next time.
            self._initialize = True
            raise OSError("no node of the cluster has the shard's slot") from None


class _Keys:
    """Where keys stand in a command: in MGET, everywhere. Those of scripts the driver knows."""

    async def initialize(self, _node: object) -> None:
        """Nothing is to be asked for."""

    async def get_keys(self, *command: Any) -> Sequence[Any]:
        return command[1:]


def _seen(task: asyncio.Task[Any]) -> None:
    """Nobody may be left who waits for its error."""
    if not task.cancelled():
        task.exception()
