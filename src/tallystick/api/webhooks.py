"""The calls about webhook endpoints, with their requests and answers."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from tallystick.api.calls import Call, optional_key
from tallystick.api.fields import number
from tallystick.api.requests import PageQuery
from tallystick.domain import limits
from tallystick.domain.commands import KINDS
from tallystick.views.fields import Owner, text
from tallystick.views.pages import Page
from tallystick.views.webhooks import NewSecret, Webhook, WebhookProgress

Url = Annotated[str, text("The https URL that messages are sent to.", limits.WEBHOOK_URL_CHARACTERS_MAX)]
Kinds = Annotated[
    list[str],
    Meta(
        description="The kinds of transactions to send; none: all. A payment between shards has "
        "the kind that was asked for. A kind of stages, such as `transfer_reserved`, asks for stages.",
        extra_json_schema={"items": {"type": "string", "enum": list(KINDS)}},
    ),
]
FilterOwner = (
    Annotated[Owner, Meta(description="Only events about this owner's accounts; null: all owners.")] | None
)


class WebhookRequest(Struct, forbid_unknown_fields=True):
    """A new endpoint. It receives the events that it asks for, from now on."""

    url: Url
    kinds: Kinds = []
    owner: FilterOwner = None


class ChangeWebhookRequest(Struct, forbid_unknown_fields=True):
    """Changes of an endpoint. Fields that are left out stay. A paused endpoint receives its events later."""

    url: Url | UnsetType = UNSET
    kinds: Kinds | UnsetType = UNSET
    owner: FilterOwner | UnsetType = UNSET
    state: Literal["active", "paused"] | UnsetType = UNSET


class RotateRequest(Struct, forbid_unknown_fields=True):
    """How long messages are also signed with the previous secret."""

    overlap_seconds: Annotated[
        int,
        number("Seconds for which both secrets are valid.", 0, limits.WEBHOOK_SECRET_OVERLAP_SECONDS_MAX),
    ] = limits.WEBHOOK_SECRET_OVERLAP_SECONDS_DEFAULT


class ReplayRequest(Struct, forbid_unknown_fields=True):
    """The position from which to deliver again, inclusive."""

    shard: Annotated[
        int,
        number("The number of the shard.", limits.SHARD_NUMBER_MIN, limits.SHARD_NUMBER_MAX),
    ]
    position: Annotated[
        int,
        number("The first position to deliver.", 1, limits.LOCAL_NUMBER_MAX),
    ]


class WebhookDetails(Struct):
    """An endpoint, and its progress on each shard."""

    webhook: Webhook
    deliveries: list[WebhookProgress]
    unreachable_shards: Annotated[
        list[int], Meta(description="Shards that did not answer, and are missing in the deliveries.")
    ]


class WebhookList(Page[Webhook], frozen=True):
    """One page of endpoints, oldest first."""


class TestResult(Struct):
    """The receiver's answer. `error` is null if it accepted the message."""

    delivered: bool
    status: int | None
    error: str | None
    seconds: float


async def create(call: Call) -> NewSecret:
    """Make an endpoint."""
    body: WebhookRequest = call.body
    return await call.ledger.webhooks.create(
        body.url, body.kinds, body.owner, idempotency_key=optional_key(call)
    )


async def list_page(call: Call) -> Page[Webhook]:
    """List the endpoints."""
    query: PageQuery = call.query
    return await call.ledger.webhooks.page(cursor=query.cursor, limit=query.limit)


async def get(call: Call) -> WebhookDetails:
    """Get one endpoint."""
    found = await call.ledger.webhooks.get(call.identifier)
    progress = await call.ledger.webhooks.progress(call.identifier)
    return WebhookDetails(found, progress.deliveries, progress.unreachable_shards)


async def change(call: Call) -> Webhook:
    """Change an endpoint."""
    body: ChangeWebhookRequest = call.body
    return await call.ledger.webhooks.change(
        call.identifier,
        url=body.url,
        kinds=body.kinds,
        owner=body.owner,
        state=body.state,
        if_match=call.tags,
        idempotency_key=optional_key(call),
    )


async def remove(call: Call) -> Webhook:
    """Remove an endpoint."""
    return await call.ledger.webhooks.remove(
        call.identifier, if_match=call.tags, idempotency_key=optional_key(call)
    )


async def rotate(call: Call) -> NewSecret:
    """Give an endpoint a new secret."""
    body: RotateRequest = call.body
    return await call.ledger.webhooks.rotate(
        call.identifier, body.overlap_seconds, idempotency_key=optional_key(call)
    )


async def test(call: Call) -> TestResult:
    """Send a test message."""
    attempt = await call.ledger.webhooks.test(call.identifier, idempotency_key=optional_key(call))
    return TestResult(attempt.error is None, attempt.status, attempt.error, attempt.seconds)


async def replay(call: Call) -> WebhookProgress:
    """Deliver again from a position on."""
    body: ReplayRequest = call.body
    return await call.ledger.webhooks.replay(
        call.identifier, body.shard, body.position, idempotency_key=optional_key(call)
    )
