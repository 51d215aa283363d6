"""The operations of the API: one entry for each call. The routes and the OpenAPI document are made from them."""

from collections.abc import Mapping
from http import HTTPStatus

from msgspec import UNSET, UnsetType

from tallystick import views
from tallystick.api import answers, assets, requests, streams, webhooks
from tallystick.api.api_keys import KEY_OPERATIONS
from tallystick.api.calls import Call, Key, Operation
from tallystick.api.error_codes import NO_STANDBY, POSITION_NOT_REACHED, STANDBY_UNAVAILABLE
from tallystick.api.reports import REPORT_OPERATIONS
from tallystick.domain.access import Action
from tallystick.domain.outcomes import RefusalCode, Refused
from tallystick.service.errors import ParameterError
from tallystick.service.ledger import TransferRequest
from tallystick.service.rate_limits import Budget


async def open_account(call: Call) -> views.Account | Refused:
    """Open an account."""
    body: requests.OpenAccountRequest = call.body
    return await call.ledger.open_account(
        body.owner,
        body.asset,
        kind=body.kind,
        min_balance=body.min_balance,
        max_balance=body.max_balance,
        metadata=body.metadata,
        near=body.near,
        idempotency_key=call.idempotency_key,
    )


async def list_accounts(call: Call) -> views.Page[views.Account]:
    """List an owner's accounts."""
    query: requests.AccountsQuery = call.query
    return await call.ledger.accounts(query.owner, cursor=query.cursor, limit=query.limit)


async def get_account(call: Call) -> views.Account:
    """Get an account."""
    return await call.ledger.account(call.identifier)


async def change_account(call: Call) -> views.Account | Refused:
    """Change an account."""
    body: requests.ChangeAccountRequest | requests.MergeAccountRequest = call.body
    metadata: Mapping[str, str] | None | UnsetType = UNSET
    metadata_changes: Mapping[str, str | None] | None = None
    if isinstance(body, requests.ChangeAccountRequest):
        metadata = body.metadata
    elif body.metadata is None:
        metadata = None
    elif body.metadata is not UNSET:
        metadata_changes = body.metadata
    return await call.ledger.change_account(
        call.identifier,
        status=body.status,
        min_balance=body.min_balance,
        max_balance=body.max_balance,
        metadata=metadata,
        metadata_changes=metadata_changes,
        if_match=call.tags,
        idempotency_key=call.idempotency_key,
    )


async def get_balance(call: Call) -> views.Balance:
    """Get a balance: at least as new as `min_position`."""
    query: requests.BalanceQuery = call.query
    return await call.ledger.balance(
        call.identifier,
        at=query.at,
        effective_at=query.effective_at,
        min_position=query.min_position or 0,
        strong=query.consistency == "strong",
        standby=query.consistency == "standby",
    )


async def get_balances(call: Call) -> views.Balances:
    """Get many balances."""
    body: requests.BalancesRequest = call.body
    return await call.ledger.balances(
        body.accounts,
        min_positions=body.min_positions,
        strong=body.consistency == "strong",
        standby=body.consistency == "standby",
    )


async def get_system_owner_balances(call: Call) -> views.SystemOwnerBalances:
    """Get the totals of a system owner on all shards."""
    return await call.ledger.system_owner_balances(call.identifier)


async def list_entries(call: Call) -> views.Page[views.HistoryEntry]:
    """List an account's history."""
    query: requests.EntriesQuery = call.query
    return await call.ledger.entries(
        call.identifier, cursor=query.cursor, limit=query.limit, stages=query.stages
    )


async def transfer(call: Call) -> views.Transaction | Refused:
    """Move money."""
    body: requests.TransferRequest = call.body
    return await call.ledger.transfer(
        body.source,
        body.destination,
        body.amount,
        body.asset,
        idempotency_key=call.idempotency_key,
        description=body.description,
        metadata=body.metadata,
        effective_at=body.effective_at,
    )


async def transfer_batch(call: Call) -> answers.EncodedTransferBatch:
    """Move money many times."""
    body: requests.TransferBatchRequest = call.body
    transfers = await call.pieces.each(call.ledger.tenant, body.transfers, _transfer_request)
    found = await call.ledger.transfers(transfers, atomic=body.atomic)
    return answers.EncodedTransferBatch(
        await call.pieces.each(call.ledger.tenant, found, answers.encoded_outcome)
    )


def _transfer_request(body: requests.BatchTransferRequest) -> TransferRequest:
    return TransferRequest(
        body.source,
        body.destination,
        body.amount,
        body.asset,
        body.idempotency_key,
        body.description,
        body.metadata,
        body.effective_at,
    )


async def post_transaction(call: Call) -> views.Transaction | Refused:
    """Post a transaction of several entries."""
    body: requests.TransactionRequest = call.body
    return await call.ledger.post(
        [(entry.account, entry.amount, entry.asset) for entry in body.entries],
        idempotency_key=call.idempotency_key,
        description=body.description,
        metadata=body.metadata,
        effective_at=body.effective_at,
    )


async def get_transaction(call: Call) -> views.Transaction:
    """Get a transaction."""
    return await call.ledger.transaction(call.identifier, stages=call.query.stages)


async def reverse(call: Call) -> views.Transaction | Refused:
    """Reverse a transaction."""
    body: requests.ReverseRequest = call.body
    return await call.ledger.reverse(
        call.identifier,
        body.amount,
        idempotency_key=call.idempotency_key,
        description=body.description,
        metadata=body.metadata,
        effective_at=body.effective_at,
    )


async def place_hold(call: Call) -> views.Hold | Refused:
    """Set money aside."""
    body: requests.HoldRequest = call.body
    return await call.ledger.hold(
        body.source,
        body.destination,
        body.amount,
        body.asset,
        expires_in_seconds=body.expires_in,
        idempotency_key=call.idempotency_key,
        description=body.description,
        metadata=body.metadata,
        effective_at=body.effective_at,
    )


async def get_hold(call: Call) -> views.Hold:
    """Get a hold."""
    return await call.ledger.held(call.identifier)


async def capture(call: Call) -> views.Hold | Refused:
    """Pay from a hold."""
    body: requests.CaptureRequest = call.body
    return await call.ledger.capture(
        call.identifier,
        body.amount,
        final=body.final,
        idempotency_key=call.idempotency_key,
        description=body.description,
        metadata=body.metadata,
        effective_at=body.effective_at,
    )


async def void(call: Call) -> views.Hold | Refused:
    """Release a hold."""
    body: requests.VoidRequest = call.body
    return await call.ledger.void(
        call.identifier,
        idempotency_key=call.idempotency_key,
        description=body.description,
        metadata=body.metadata,
        effective_at=body.effective_at,
    )


async def list_events(call: Call) -> views.Events:
    """Read a page of the log."""
    query: requests.EventsQuery = call.query
    return await call.ledger.events(
        shard=query.shard,
        after=query.after or 0,
        limit=query.limit,
        accounts=query.account,
        owner=query.owner,
        kinds=query.kind,
        stages=query.stages,
    )


async def follow_events(call: Call) -> streams.Parts:
    """Follow the log."""
    query: requests.EventsQuery = call.query
    found = await call.ledger.follow_events(
        shard=query.shard,
        after=query.after if call.last_event_id is None else call.last_event_id,
        accounts=query.account,
        owner=query.owner,
        kinds=query.kind,
        stages=query.stages,
    )
    return streams.event_parts(found)


async def follow_balance(call: Call) -> streams.Parts:
    """Follow a balance."""
    query: requests.BalanceQuery = call.query
    for name in ("at", "effective_at"):
        if getattr(query, name) is not None:
            raise ParameterError(name, "expected no time: a stream begins now")
    if query.consistency == "standby":
        raise ParameterError("consistency", "expected no standby: a stream follows the primary")
    found = await call.ledger.follow_balance(
        call.identifier, after=call.last_event_id, min_position=query.min_position or 0
    )
    return streams.balance_parts(found)


_ACCOUNT = "/v1/accounts/{identifier}"
_HOLD = "/v1/holds/{identifier}"
_TRANSACTION = "/v1/transactions/{identifier}"
_WEBHOOK = "/v1/webhooks/{identifier}"
_CREATED = HTTPStatus.CREATED
_READ, _MOVE, _HOOKS = Action.READ_BOOKS, Action.MOVE_MONEY, Action.MANAGE_WEBHOOKS

_NOT_AN_ACCOUNT = (RefusalCode.ACCOUNT_NOT_FOUND,)
# The refusals of any movement of money.
_MOVING = (
    RefusalCode.AMOUNT_INVALID,
    RefusalCode.ACCOUNT_NOT_FOUND,
    RefusalCode.ASSET_MISMATCH,
    RefusalCode.IDENTIFIER_TAKEN,
    RefusalCode.ACCOUNT_CLOSED,
    RefusalCode.ACCOUNT_FROZEN,
    RefusalCode.INSUFFICIENT_FUNDS,
    RefusalCode.BALANCE_LIMIT_EXCEEDED,
    RefusalCode.TRANSFER_CANCELLED,
)
_PAYING = (*_MOVING, RefusalCode.SAME_ACCOUNT)
_OF_READING_NOW = (POSITION_NOT_REACHED, NO_STANDBY, STANDBY_UNAVAILABLE)
_OF_HOLD = (RefusalCode.HOLD_NOT_FOUND, RefusalCode.HOLD_NOT_OPEN, RefusalCode.HOLD_BUSY)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "POST", "/v1/accounts", Action.OPEN_ACCOUNT, "openAccount", "Open an account", open_account, views.Account,
        _CREATED, body=requests.OpenAccountRequest, key=Key.REQUIRED, tagged=True,
        refusals=(RefusalCode.BOUNDS_INVALID, RefusalCode.ACCOUNT_NOT_FOUND),
        errors=("owner_placed_elsewhere", "too_many_accounts"),
        more=requests.more_of_opening, more_actions=(Action.OPEN_WITHOUT_BOUNDS,),
    ),
    Operation(
        "GET", "/v1/accounts", _READ, "listAccounts", "List an owner's accounts", list_accounts, answers.AccountList,
        query=requests.AccountsQuery,
    ),
    Operation(
        "GET", _ACCOUNT, _READ, "getAccount", "Get an account", get_account, views.Account, refusals=_NOT_AN_ACCOUNT,
        tagged=True,
    ),
    Operation(
        "PATCH", _ACCOUNT, Action.CHANGE_ACCOUNT, "changeAccount",
        "Freeze, unfreeze, close, reopen or change an account",
        change_account, views.Account, body=requests.ChangeAccountRequest, key=Key.REQUIRED,
        merge_body=requests.MergeAccountRequest, tagged=True,
        refusals=(
            *_NOT_AN_ACCOUNT, RefusalCode.PRECONDITION_FAILED, RefusalCode.ACCOUNT_NOT_EMPTY,
            RefusalCode.BOUNDS_INVALID, RefusalCode.METADATA_TOO_LARGE,
        ),
        more=requests.more_of_changing, more_actions=(Action.CHANGE_BOUNDS,),
    ),
    Operation(
        "GET", f"{_ACCOUNT}/balance", _READ, "getBalance", "Get a balance, now or at a past time", get_balance,
        views.Balance, query=requests.BalanceQuery, stream=follow_balance, streamed=views.Balance,
        refusals=_NOT_AN_ACCOUNT, errors=_OF_READING_NOW,
    ),
    Operation(
        "POST", "/v1/balances", _READ, "getBalances", "Get the balances of up to 1,000 accounts", get_balances,
        answers.BalanceList, body=requests.BalancesRequest, errors=_OF_READING_NOW, budget=Budget.READS,
    ),
    Operation(
        "GET", "/v1/system-owners/{identifier}/balances", _READ, "getSystemOwnerBalances",
        "Get the totals of a system owner on all shards", get_system_owner_balances, views.SystemOwnerBalances,
    ),
    Operation(
        "GET", f"{_ACCOUNT}/entries", _READ, "listEntries", "List an account's history, newest first", list_entries,
        answers.HistoryList, query=requests.EntriesQuery,
        refusals=_NOT_AN_ACCOUNT,
    ),
    Operation(
        "POST", "/v1/transfers", _MOVE, "transfer", "Move money from one account to another", transfer,
        views.Transaction, _CREATED, body=requests.TransferRequest, key=Key.REQUIRED,
        refusals=_PAYING,
    ),
    Operation(
        "POST", "/v1/transfers/batch", _MOVE, "transferBatch", "Move money up to 5,000 times in one call",
        transfer_batch, answers.TransferBatch, body=requests.TransferBatchRequest,
        errors=("idempotency_key_missing",),
    ),
    Operation(
        "POST", "/v1/transactions", _MOVE, "postTransaction", "Post one transaction of several entries",
        post_transaction, views.Transaction, _CREATED, body=requests.TransactionRequest, key=Key.REQUIRED,
        refusals=(*_PAYING, RefusalCode.ENTRIES_UNBALANCED, RefusalCode.CROSSES_TOO_MANY_SHARDS),
    ),
    Operation(
        "GET", _TRANSACTION, _READ, "getTransaction", "Get a transaction", get_transaction, views.Transaction,
        query=requests.TransactionQuery, refusals=(RefusalCode.TRANSACTION_NOT_FOUND,),
    ),
    Operation(
        "POST", f"{_TRANSACTION}/reverse", _MOVE, "reverseTransaction", "Reverse a transaction, whole or in part",
        reverse, views.Transaction, _CREATED, body=requests.ReverseRequest, key=Key.REQUIRED,
        refusals=(
            *_MOVING, RefusalCode.TRANSACTION_NOT_FOUND, RefusalCode.TRANSACTION_NOT_REVERSIBLE,
            RefusalCode.REVERSAL_EXCEEDS_ORIGINAL,
        ),
    ),
    Operation(
        "POST", "/v1/holds", _MOVE, "placeHold", "Set money aside", place_hold, views.Hold, _CREATED,
        body=requests.HoldRequest, key=Key.REQUIRED,
        refusals=_PAYING,
    ),
    Operation(
        "GET", _HOLD, _READ, "getHold", "Get a hold", get_hold, views.Hold,
        refusals=(RefusalCode.HOLD_NOT_FOUND,),
    ),
    Operation(
        "POST", f"{_HOLD}/capture", _MOVE, "captureHold", "Pay from a hold, once or several times", capture,
        views.Hold, body=requests.CaptureRequest, key=Key.REQUIRED,
        refusals=(*_MOVING, *_OF_HOLD, RefusalCode.CAPTURE_EXCEEDS_HOLD),
    ),
    Operation(
        "POST", f"{_HOLD}/void", _MOVE, "voidHold", "Release what is left of a hold", void, views.Hold,
        body=requests.VoidRequest, key=Key.REQUIRED,
        refusals=_OF_HOLD,
    ),
    Operation(
        "GET", "/v1/events", _READ, "listEvents", "Read a shard's log by position, or follow it", list_events,
        answers.EventList, query=requests.EventsQuery, stream=follow_events, streamed=views.Event,
    ),
    Operation(
        "GET", "/v1/assets", _READ, "listAssets", "List the assets", assets.list_page, answers.AssetList,
        query=requests.PageQuery,
    ),
    Operation(
        "GET", "/v1/assets/{identifier}", _READ, "getAsset", "Get an asset by its code", assets.get, views.Asset,
        errors=("asset_not_found",),
    ),
    Operation(
        "POST", "/v1/assets", Action.DEFINE_ASSETS, "createAsset", "Define an asset of your own", assets.create,
        views.Asset, _CREATED,
        body=requests.AssetRequest, key=Key.OPTIONAL,
        errors=("asset_exists", "too_many_assets"),
    ),
    Operation(
        "POST", "/v1/webhooks", _HOOKS, "createWebhook", "Make a webhook endpoint", webhooks.create, views.NewSecret,
        _CREATED, body=webhooks.WebhookRequest, key=Key.OPTIONAL, tagged=True,
        errors=("too_many_webhooks", "webhook_key_missing"),
    ),
    Operation(
        "GET", "/v1/webhooks", _HOOKS, "listWebhooks", "List webhook endpoints", webhooks.list_page,
        webhooks.WebhookList, query=requests.PageQuery,
    ),
    Operation(
        "GET", _WEBHOOK, _HOOKS, "getWebhook", "Get an endpoint, and its progress", webhooks.get,
        webhooks.WebhookDetails, tagged=True,
        errors=("webhook_not_found",),
    ),
    Operation(
        "PATCH", _WEBHOOK, _HOOKS, "changeWebhook", "Change, pause or resume an endpoint", webhooks.change,
        views.Webhook, body=webhooks.ChangeWebhookRequest, key=Key.OPTIONAL,
        merge_body=webhooks.ChangeWebhookRequest, tagged=True,
        errors=("webhook_not_found", RefusalCode.PRECONDITION_FAILED.text),
    ),
    Operation(
        "DELETE", _WEBHOOK, _HOOKS, "removeWebhook", "Remove an endpoint", webhooks.remove, views.Webhook,
        key=Key.OPTIONAL, tagged=True,
        errors=("webhook_not_found", RefusalCode.PRECONDITION_FAILED.text),
    ),
    Operation(
        "POST", f"{_WEBHOOK}/rotate", _HOOKS, "rotateWebhookSecret", "Give an endpoint a new secret", webhooks.rotate,
        views.NewSecret, body=webhooks.RotateRequest, key=Key.OPTIONAL, tagged=True,
        errors=("webhook_not_found", "webhook_key_missing"),
    ),
    Operation(
        "POST", f"{_WEBHOOK}/test", _HOOKS, "testWebhook", "Send a test message now", webhooks.test,
        webhooks.TestResult,
        key=Key.OPTIONAL, errors=("webhook_not_found",), budget=Budget.ENDPOINT_TESTS,
    ),
    Operation(
        "POST", f"{_WEBHOOK}/replay", _HOOKS, "replayWebhook", "Deliver again from a position on", webhooks.replay,
        views.WebhookProgress, body=webhooks.ReplayRequest, key=Key.OPTIONAL,
        errors=("webhook_not_found",),
    ),
    *REPORT_OPERATIONS,
    *KEY_OPERATIONS,
)  # fmt: skip
