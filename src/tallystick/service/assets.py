"""Assets: those of ISO 4217 with the right scales, and those that a tenant defines."""

import re
import time
from functools import cache
from typing import Final

from iso4217 import Currency

from tallystick.domain import limits
from tallystick.ledger.directory import ReplicatedDirectory
from tallystick.service import parameters
from tallystick.service.cursor import read_name_cursor, write_name_cursor
from tallystick.service.errors import AssetConflictError, TooManyAssetsError
from tallystick.service.kept_requests import Asked, Kept, KeptRequests
from tallystick.store.directory import AssetRow
from tallystick.views import Asset, Page

_LIST: Final = "assets"
_PLACE: Final = re.compile(r"(own|public) [A-Z][A-Z0-9_]{2,11}", re.ASCII)


@cache
def iso_assets() -> dict[str, Asset]:
    """Every currency of ISO 4217 that has minor units, by code.

    The codes without a scale (gold, testing, no currency) are left out: define an asset of your own.
    """
    return {
        currency.code: Asset(currency.code, currency.exponent, currency.currency_name, custom=False)
        for currency in Currency
        if currency.exponent is not None
    }


def _place(asset: Asset) -> str:
    """The place in the list: a tenant's own assets come first."""
    return f"{'own' if asset.custom else 'public'} {asset.code}"


class Assets:
    """The assets that a tenant may open accounts in."""

    def __init__(self, directory: ReplicatedDirectory, kept: KeptRequests) -> None:
        self._directory = directory
        self._kept = kept
        self._known: dict[int, tuple[dict[str, Asset], float]] = {}

    async def all(self, tenant: int) -> list[Asset]:
        """A tenant's own assets, then those of ISO 4217, each by code."""
        return [
            *(await self._custom(tenant)).values(),
            *sorted(iso_assets().values(), key=lambda one: one.code),
        ]

    async def page(self, tenant: int, cursor: str | None, limit: int) -> Page[Asset]:
        """A part of `all`."""
        limit = parameters.page_limit(limit)
        after = read_name_cursor(_LIST, cursor, _PLACE)
        items = await self.all(tenant)
        rest = items if after is None else [asset for asset in items if _place(asset) > after]
        more = len(rest) > limit
        return Page(rest[:limit], write_name_cursor(_LIST, _place(rest[limit - 1])) if more else None)

    async def find(self, tenant: int, code: str) -> Asset | None:
        """An asset by its code."""
        if (asset := iso_assets().get(code)) is not None:
            return asset
        return (await self._custom(tenant)).get(code)

    async def create(
        self, tenant: int, code: str, scale: int, name: str, idempotency_key: str | None = None
    ) -> Asset:
        """Define a custom asset. Repeating it with the same values changes nothing.

        Raises:
            TooManyAssetsError: the tenant has the largest allowed number.
            AssetConflictError: the code is taken, by ISO 4217 or with another scale or name.
        """
        parameters.asset_code(code, "code")
        parameters.asset_scale(scale)
        parameters.text(name, "name", limits.ASSET_NAME_CHARACTERS_MAX)
        wanted = Asset(code, scale, name, custom=True)

        async def define(_: bytes) -> Asset:
            await self._define(tenant, wanted)
            return wanted

        asked = Asked("create_asset", {"code": code, "scale": scale, "name": name})
        answer, _ = await self._kept.once(Kept(tenant, idempotency_key), asked, define, Asset)
        return answer

    async def _define(self, tenant: int, wanted: Asset) -> None:
        code, scale, name = wanted.code, wanted.scale, wanted.name
        if code not in iso_assets():
            known = await self._custom(tenant)
            if code not in known and len(known) >= limits.ASSETS_PER_TENANT_MAX:
                raise TooManyAssetsError(f"the tenant has {len(known)} assets of its own")
            await self._directory.add_asset(tenant, AssetRow(code, scale, name))
            self._known.pop(tenant, None)
        found = await self.find(tenant, code)
        if found != wanted:
            raise AssetConflictError(f"{code} is defined already, with another scale or name")

    async def _custom(self, tenant: int) -> dict[str, Asset]:
        known = self._known.get(tenant)
        if known is not None and time.monotonic() < known[1]:
            return known[0]
        rows = await self._directory.assets(tenant)
        assets = {row.code: Asset(row.code, row.scale, row.name, custom=True) for row in rows}
        self._known[tenant] = assets, time.monotonic() + limits.ASSET_CACHE_SECONDS
        return assets
