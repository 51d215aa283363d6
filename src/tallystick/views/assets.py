"""Assets, as callers see them."""

import msgspec

from tallystick.views.fields import AssetCode


class Asset(msgspec.Struct, frozen=True):
    """An asset: what is counted. `scale` is the number of digits after the point."""

    code: AssetCode
    scale: int
    name: str
    custom: bool
