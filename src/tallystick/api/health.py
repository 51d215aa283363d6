"""Whether this server lives and can serve, and what it counts."""

import msgspec
from falcon.asgi import Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from tallystick.api.answers import Health, ShardHealth
from tallystick.api.endpoint import Tenants
from tallystick.service.engine import Engine


class Alive:
    """`/healthz`: the process answers."""

    async def on_get(self, _request: Request, response: Response) -> None:
        """Say so."""
        response.data = b'{"status":"ok"}'

    on_head = on_get


class Ready:
    """`/readyz`: which shards can be written to; 503 when none can."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def on_get(self, _request: Request, response: Response) -> None:
        """Ask every shard's batcher."""
        shards = [ShardHealth(shard.number, shard.batcher.available) for shard in self._engine.router.shards]
        ready = any(shard.available for shard in shards)
        response.status = 200 if ready else 503
        response.data = msgspec.json.encode(Health("ok" if ready else "unavailable", shards))

    on_head = on_get


class Metrics:
    """`/metrics`: for Prometheus, which sends an API key like everybody."""

    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    async def on_get(self, request: Request, response: Response) -> None:
        """Write all metrics of this process."""
        await self._tenants.ledger_of(request.get_header("Authorization"))
        response.content_type = CONTENT_TYPE_LATEST
        response.data = generate_latest()

    on_head = on_get
