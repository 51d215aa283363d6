"""The calls about assets."""

from tallystick import views
from tallystick.api.calls import Call, optional_key
from tallystick.api.requests import AssetRequest, PageQuery


async def list_page(call: Call) -> views.Page[views.Asset]:
    """List the assets."""
    query: PageQuery = call.query
    return await call.ledger.assets_page(cursor=query.cursor, limit=query.limit)


async def get(call: Call) -> views.Asset:
    """Get an asset."""
    return await call.ledger.asset(call.identifier)


async def create(call: Call) -> views.Asset:
    """Define an asset."""
    body: AssetRequest = call.body
    return await call.ledger.create_asset(
        body.code, body.scale, body.name, idempotency_key=optional_key(call)
    )
