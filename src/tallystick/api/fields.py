"""The fields of requests and answers: what each one means, for those who read the OpenAPI document.

Amounts are strings of integer minor units, because many JSON readers lose digits of numbers above 2^53.
The schemas tell what is right; the service checks it, because its messages say more.
"""

from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta

from tallystick.domain import limits
from tallystick.domain.identifiers import Prefix, identifier_pattern
from tallystick.domain.system_owners import PATTERN
from tallystick.domain.webhooks import ID_PREFIX


def _identifier(prefix: str, what: str) -> Any:
    return Meta(description=what, extra_json_schema={"pattern": identifier_pattern(prefix)})


def text(what: str, characters_max: int) -> Any:
    """A text of at least one character."""
    return Meta(description=what, extra_json_schema={"minLength": 1, "maxLength": characters_max})


def number(what: str, minimum: int, maximum: int) -> Any:
    """A whole number between two others, which it may be too."""
    return Meta(description=what, extra_json_schema={"minimum": minimum, "maximum": maximum})


AccountId = Annotated[str, _identifier(Prefix.ACCOUNT, "An account.")]
Party = Annotated[
    str,
    Meta(
        description="An account, or a system owner: its account beside the other's is taken, opened if need be.",
        examples=["@fees"],
        extra_json_schema={"pattern": f"{identifier_pattern(Prefix.ACCOUNT)}|^{PATTERN}$"},
    ),
]
TransactionId = Annotated[str, _identifier(Prefix.TRANSACTION, "A transaction.")]
HoldId = Annotated[str, _identifier(Prefix.HOLD, "A hold.")]
WebhookId = Annotated[str, _identifier(ID_PREFIX, "A webhook endpoint.")]
Amount = (
    Annotated[
        str,
        Meta(
            description="Minor units: 1250 is $12.50.",
            examples=["1250"],
            extra_json_schema={"pattern": "^[1-9][0-9]{0,18}$"},
        ),
    ]
    | Annotated[int, Meta(extra_json_schema={"minimum": 1, "maximum": limits.AMOUNT_MAX})]
)
SignedAmount = (
    Annotated[
        str,
        Meta(
            description="Minor units: negative for a debit, positive for a credit.",
            examples=["-1250"],
            extra_json_schema={"pattern": "^-?[1-9][0-9]{0,18}$"},
        ),
    ]
    | Annotated[int, Meta(extra_json_schema={"minimum": -limits.AMOUNT_MAX, "maximum": limits.AMOUNT_MAX})]
)
Bound = (
    Annotated[
        str,
        Meta(
            description="A balance in minor units, or null for no bound.",
            examples=["0"],
            extra_json_schema={"pattern": "^(0|-?[1-9][0-9]{0,18})$"},
        ),
    ]
    | Annotated[int, Meta(extra_json_schema={"minimum": limits.INT64_MIN, "maximum": limits.INT64_MAX})]
    | None
)
AmountOut = Annotated[str, Meta(description="Minor units.", examples=["1250"])]
AssetCode = Annotated[str, Meta(description="An asset's code.", examples=["USD"])]
Owner = Annotated[str, text("Whose account it is, in your own words.", limits.OWNER_CHARACTERS_MAX)]
Description = Annotated[str, text("For people.", limits.DESCRIPTION_CHARACTERS_MAX)] | None
Metadata = Annotated[
    dict[str, str],
    Meta(
        description=f"Up to {limits.METADATA_KEYS_MAX} keys, {limits.METADATA_BYTES_MAX} bytes as JSON.",
        extra_json_schema={"maxProperties": limits.METADATA_KEYS_MAX},
    ),
]
PastTime = Annotated[datetime, Meta(description="A time that is not in the future, with its zone.")]
ShardNumber = Annotated[int, Meta(description="The shard that it lives on.")]
Position = Annotated[int, Meta(description="Where in the shard's log: 1, 2, 3, … without a gap.")]
