"""Answers of the API in addition to the public types, and the names of their lists in the OpenAPI document."""

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
    """The balances of many accounts, in the order of the request."""


class EventList(views.Events, frozen=True):
    """Events in the order of the log. A full page never changes."""


class AssetList(views.Page[views.Asset], frozen=True):
    """One page of assets: your own, then those of ISO 4217."""


class TransferOutcome(Struct, gc=False):
    """The outcome of one transfer of a batch: one of the two."""

    transaction: views.Transaction | None
    refusal: views.Refusal | None


class TransferBatch(Struct):
    """One outcome for each transfer, in their order."""

    outcomes: list[TransferOutcome]


class EncodedTransferBatch(Struct):
    """A `TransferBatch` whose outcomes are JSON already."""

    outcomes: list[Raw]


class ShardHealth(Struct):
    """The state of one shard, as this server knows it: whether it can be written to, since when, and why not."""

    shard: int
    available: bool
    state: Literal["up", "away", "silent", "failing"]
    since: datetime
    reason: str | None


class Health(Struct):
    """Whether this server can serve: all of the shards (`ok`), some (`degraded`), none, or is going to stop."""

    status: Literal["ok", "degraded", "unavailable", "draining"]
    shards: list[ShardHealth]


class Problem(Struct, omit_defaults=True):
    """A problem document (RFC 9457). `code` is stable; `param` names the field of the request that caused it.

    `type` is the path of the page about it. `instance` names the request, or what is recorded under its key.
    """

    type: str
    title: str
    status: int
    code: str
    detail: str
    param: str | None = None
    instance: str | None = None


def encoded_outcome(found: views.Transaction | Refused) -> Raw:
    """The JSON of the outcome of one transfer of a batch."""
    if isinstance(found, Refused):
        return Raw(encode(TransferOutcome(None, refusal_view(found))))
    return Raw(encode(TransferOutcome(found, None)))


def place_of(answer: Struct) -> str | None:
    """The path of what an answer shows; None for what has none of its own."""
    if isinstance(answer, views.Transaction):
        return f"/v1/transactions/{answer.id}"
    if isinstance(answer, views.Hold):
        return f"/v1/holds/{answer.id}"
    if isinstance(answer, views.Account):
        return f"/v1/accounts/{answer.id}"
    if isinstance(answer, views.NewSecret):
        return f"/v1/webhooks/{answer.webhook.id}"
    if isinstance(answer, views.Asset):
        return f"/v1/assets/{answer.code}"
    return None


def is_pending(answer: Struct) -> bool:
    """Whether a transaction is still on its way to another shard."""
    if isinstance(answer, views.Transaction):
        return answer.state == views.PENDING
    return isinstance(answer, views.Hold) and answer.status == "capturing"
