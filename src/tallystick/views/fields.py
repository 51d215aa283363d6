"""The fields of public types, with their descriptions in the OpenAPI document.

In JSON amounts are strings, because many JSON readers lose digits of numbers above 2^53.
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from tallystick.domain import limits
from tallystick.domain.identifiers import Prefix, identifier_pattern
from tallystick.domain.webhooks import ID_PREFIX


class MinorUnits(int):
    """An amount: an integer of an asset's minor units, so 1250 is 12.50 USD. `encode` writes it as a string."""

    __slots__ = ()


def text(what: str, characters_max: int) -> Any:
    """A text of at least one character."""
    return Meta(description=what, extra_json_schema={"minLength": 1, "maxLength": characters_max})


def _identifier(prefix: str, what: str) -> Any:
    return Meta(description=what, extra_json_schema={"pattern": identifier_pattern(prefix)})


AccountId = Annotated[str, _identifier(Prefix.ACCOUNT, "An account.")]
TransactionId = Annotated[str, _identifier(Prefix.TRANSACTION, "A transaction.")]
HoldId = Annotated[str, _identifier(Prefix.HOLD, "A hold.")]
WebhookId = Annotated[str, _identifier(ID_PREFIX, "A webhook endpoint.")]
AssetCode = Annotated[str, Meta(description="An asset's code.", examples=["USD"])]
Owner = Annotated[str, text("The owner of the account: any text of yours.", limits.OWNER_CHARACTERS_MAX)]
Metadata = Annotated[
    dict[str, str],
    Meta(
        description=f"Up to {limits.METADATA_KEYS_MAX} keys, {limits.METADATA_BYTES_MAX} bytes as JSON.",
        extra_json_schema={"maxProperties": limits.METADATA_KEYS_MAX},
    ),
]
ShardNumber = Annotated[int, Meta(description="The shard that it lives on.")]
Position = Annotated[int, Meta(description="The position in the shard's log: 1, 2, 3, … without a gap.")]

_metadata_decoder: Final = msgspec.json.Decoder(dict[str, str])


def read_metadata(text: str | None) -> dict[str, str]:
    """Metadata from a row; empty if there is none."""
    return {} if text is None else _metadata_decoder.decode(text)
