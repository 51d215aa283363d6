"""Health checks: whether this server runs, and can serve."""

from typing import Annotated, Literal

import msgspec
from falcon.asgi import Request, Response
from msgspec import Meta

from tallystick.api.answers import Health, ShardHealth
from tallystick.api.draining import Draining
from tallystick.api.endpoint import read_query
from tallystick.ledger.condition import State
from tallystick.ledger.shard import Shard
from tallystick.service.engine import Engine
from tallystick.service.errors import ParameterError


class Alive:
    """`/healthz`: the process answers."""

    async def on_get(self, _request: Request, response: Response) -> None:
        """Answer 200."""
        response.data = b'{"status":"ok"}'

    on_head = on_get


class ReadyQuery(msgspec.Struct, forbid_unknown_fields=True):
    """The shards that a probe requires: any one, some, or all."""

    shard: Annotated[
        list[Annotated[str, Meta(pattern="^[0-9]{1,4}$")]],
        Meta(description="Only these shards: 200 only while each of them is up."),
    ] = []
    all: Annotated[
        Literal["", "true", "false"],
        Meta(description="Every shard: 200 only while all of them are up. `?all` is enough."),
    ] = "false"


class Ready:
    """`/readyz`: the shards that can be written to.

    503 if none can, or not all that were asked for, or the server is going to stop.
    """

    def __init__(self, engine: Engine, draining: Draining) -> None:
        self._engine = engine
        self._draining = draining

    async def on_get(self, request: Request, response: Response) -> None:
        """Answer with the known state of every shard, at once and without a query."""
        query: ReadyQuery = read_query(request, ReadyQuery)
        shards = {shard.number: _health(shard) for shard in self._engine.router.shards}
        wanted = {int(number) for number in query.shard}
        if unknown := wanted - shards.keys():
            raise ParameterError("shard", f"no shard {min(unknown)} is served here")
        shown = [shard for number, shard in shards.items() if not wanted or number in wanted]
        up = [shard.available for shard in shown]
        needed = all if wanted or query.all != "false" else any
        response.status = 200 if needed(up) and not self._draining.begun else 503
        status: Literal["ok", "degraded", "unavailable", "draining"] = "unavailable"
        if self._draining.begun:
            status = "draining"
        elif any(up):
            status = "ok" if all(up) else "degraded"
        response.data = msgspec.json.encode(Health(status, shown))

    on_head = on_get


def _health(shard: Shard) -> ShardHealth:
    state, since, reason = shard.condition.current()
    return ShardHealth(shard.number, state is State.UP, state.value, since, reason)
