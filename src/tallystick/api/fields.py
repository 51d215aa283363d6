"""The fields of requests, with their descriptions for the OpenAPI document.

The schemas describe valid values. The service checks them, because its messages are more precise.
"""

from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta

from tallystick.domain import limits
from tallystick.domain.identifiers import Prefix, identifier_pattern
from tallystick.domain.system_owners import PATTERN
from tallystick.views.fields import text


def number(what: str, minimum: int, maximum: int) -> Any:
    """A whole number from `minimum` to `maximum`."""
    return Meta(description=what, extra_json_schema={"minimum": minimum, "maximum": maximum})


def page_limit(what: str) -> Any:
    """The number of items on a page. A larger one than there may be means the largest."""
    return number(
        f"{what} A number above {limits.PAGE_ROWS_MAX} means {limits.PAGE_ROWS_MAX}.", 1, limits.INT64_MAX
    )


Party = Annotated[
    str,
    Meta(
        description="An account, or a system owner. Of a system owner the account on the other party's shard is "
        "used, and opened if needed.",
        examples=["@fees"],
        extra_json_schema={"pattern": f"{identifier_pattern(Prefix.ACCOUNT)}|^{PATTERN}$"},
    ),
]
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
Description = Annotated[str, text("For people.", limits.DESCRIPTION_CHARACTERS_MAX)] | None
PastTime = Annotated[datetime, Meta(description="A time that is not in the future, with its zone.")]
