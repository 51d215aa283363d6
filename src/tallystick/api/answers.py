"""What the API answers beside the public types, and what the OpenAPI document calls lists of them."""

from datetime import datetime
from typing import Literal

from msgspec import Raw, Struct

from tallystick import views
from tallystick.domain.outcomes import Refused
from tallystick.views.encoding import encode
from tallystick.views.events import refusal_view


class AccountList(views.Page[views.Account], frozen=True):
    """One page of accounts."""


class HistoryList(views.Page[views.HistoryEntry], frozen=True):
    """One page of an account's history, newest first."""


class BalanceList(views.Balances, frozen=True):
    """The balances of many accounts, in the order in which they were asked for."""


class EventList(views.Events, frozen=True):
    """Events in the order of the log. A page that is full is the same for ever."""


class AssetList(Struct):
    """All assets."""

    items: list[views.Asset]


class TransferOutcome(Struct, gc=False):
    """What one transfer of a batch came to: one of the two."""

    transaction: views.Transaction | None
    refusal: views.Refusal | None


class TransferBatch(Struct):
    """One outcome for each transfer, in their order."""

    outcomes: list[TransferOutcome]


class EncodedTransferBatch(Struct):
    """A `TransferBatch` whose outcomes are JSON already."""

    outcomes: list[Raw]


class ShardHealth(Struct):
    """Whether one shard can be written to, as far as this server knows; since when, and why not."""

    shard: int
    available: bool
    state: Literal["up", "away", "silent", "failing"]
    since: datetime
    reason: str | None


class Health(Struct):
    """Whether this server can serve: all of the shards (`ok`), some of them (`degraded`), or none."""

    status: Literal["ok", "degraded", "unavailable"]
    shards: list[ShardHealth]


class Problem(Struct, omit_defaults=True):
    """A problem document (RFC 9457). `code` is stable; `param` names what of the request it is about."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    param: str | None = None


def encoded_outcome(found: views.Transaction | Refused) -> Raw:
    """The JSON of what one transfer of a batch came to."""
    if isinstance(found, Refused):
        return Raw(encode(TransferOutcome(None, refusal_view(found))))
    return Raw(encode(TransferOutcome(found, None)))


def awaited(answer: Struct) -> str | None:
    """Where to ask for what is still on its way to another shard; None when it has come to an end."""
    if isinstance(answer, views.Transaction) and answer.state == views.PENDING:
        return f"/v1/transactions/{answer.id}"
    if isinstance(answer, views.Hold) and answer.status == "capturing":
        return f"/v1/holds/{answer.id}"
    return None
