"""What the API can do: one entry for each call, from which both the routes and the OpenAPI document are made."""

from collections.abc import Awaitable, Callable
from enum import Enum
from http import HTTPStatus
from typing import Any, NamedTuple

from msgspec import Struct

from tallystick.api import answers, event_answers, requests, webhooks
from tallystick.api.error_codes import POSITION_NOT_REACHED
from tallystick.api.streams import Parts
from tallystick.domain.outcomes import RefusalCode, Refused
from tallystick.service.errors import ParameterError
from tallystick.service.ledger import Ledger, TransferRequest
from tallystick.service.pieces import Pieces
from tallystick.service.rate_limits import Budget


class Key(Enum):
    """Whether a call takes an Idempotency-Key header."""

    REQUIRED = "required"
    NONE = "none"


class Call(NamedTuple):
    """One call as it came in, checked for its form."""

    ledger: Ledger
    pieces: Pieces
    identifier: str
    body: Any
    query: Any
    idempotency_key: str
    last_event_id: int | None = None


Handler = Callable[[Call], Awaitable[Struct | Refused]]
StreamHandler = Callable[[Call], Awaitable[Parts]]


class Operation(NamedTuple):
    """One call of the API: what it takes, what it answers, and who carries it out."""

    method: str
    path: str
    name: str
    summary: str
    handler: Handler
    answer: type[Struct]
    status: HTTPStatus = HTTPStatus.OK
    body: type[Struct] | None = None
    query: type[Struct] | None = None
    key: Key = Key.NONE
    # Why the ledger may refuse it, and which other errors there are than those of every call: see `error_codes`.
    refusals: tuple[RefusalCode, ...] = ()
    errors: tuple[str, ...] = ()
    # Who carries it out for callers that accept text/event-stream, and what each of its events is.
    stream: StreamHandler | None = None
    streamed: type[Struct] | None = None
    # Which budget it is taken from; None: reads where it is a GET, else writes.
    budget: Budget | None = None

    @property
    def taken_from(self) -> Budget:
        """The budget that a call is taken from."""
        return self.budget or (Budget.READS if self.method == "GET" else Budget.WRITES)


async def open_account(call: Call) -> answers.Account | Refused:
    """Open an account."""
    body: requests.OpenAccountRequest = call.body
    found = await call.ledger.open_account(
        body.owner,
        body.asset,
        kind=body.kind,
        min_balance=body.min_balance,
        max_balance=body.max_balance,
        metadata=body.metadata,
        near=body.near,
        idempotency_key=call.idempotency_key,
    )
    return found if isinstance(found, Refused) else answers.account(found)


async def list_accounts(call: Call) -> answers.AccountList:
    """List an owner's accounts."""
    query: requests.AccountsQuery = call.query
    page = await call.ledger.accounts(query.owner, cursor=query.cursor, limit=query.limit)
    return answers.AccountList([answers.account(item) for item in page.items], page.next_cursor)


async def get_account(call: Call) -> answers.Account:
    """Get an account."""
    return answers.account(await call.ledger.account(call.identifier))


async def change_account(call: Call) -> answers.Account | Refused:
    """Change an account."""
    body: requests.ChangeAccountRequest = call.body
    found = await call.ledger.change_account(
        call.identifier,
        status=body.status,
        min_balance=body.min_balance,
        max_balance=body.max_balance,
        metadata=body.metadata,
        idempotency_key=call.idempotency_key,
    )
    return found if isinstance(found, Refused) else answers.account(found)


async def get_balance(call: Call) -> answers.Balance:
    """Get a balance: at least as new as `min_position`."""
    query: requests.BalanceQuery = call.query
    found = await call.ledger.balance(
        call.identifier,
        at=query.at,
        effective_at=query.effective_at,
        min_position=query.min_position or 0,
        strong=query.consistency == "strong",
    )
    return answers.balance(found)


async def get_balances(call: Call) -> answers.BalanceList:
    """Get many balances."""
    body: requests.BalancesRequest = call.body
    found = await call.ledger.balances(
        body.accounts, min_positions=body.min_positions, strong=body.consistency == "strong"
    )
    return answers.balances(found)


async def get_system_owner_balances(call: Call) -> answers.SystemOwnerBalances:
    """Sum up what a system owner has on all shards."""
    return answers.system_owner_balances(await call.ledger.system_owner_balances(call.identifier))


async def list_entries(call: Call) -> answers.HistoryList:
    """List an account's history."""
    query: requests.EntriesQuery = call.query
    page = await call.ledger.entries(
        call.identifier, cursor=query.cursor, limit=query.limit, stages=query.stages
    )
    return answers.HistoryList([answers.history_entry(item) for item in page.items], page.next_cursor)


async def transfer(call: Call) -> answers.Transaction | Refused:
    """Move money."""
    body: requests.TransferRequest = call.body
    found = await call.ledger.transfer(
        body.source,
        body.destination,
        body.amount,
        body.asset,
        idempotency_key=call.idempotency_key,
        description=body.description,
        metadata=body.metadata,
        effective_at=body.effective_at,
    )
    return found if isinstance(found, Refused) else answers.transaction(found)


async def transfer_batch(call: Call) -> answers.EncodedTransferBatch:
    """Move money many times."""
    body: requests.TransferBatchRequest = call.body
    transfers = [
        TransferRequest(
            one.source,
            one.destination,
            one.amount,
            one.asset,
            one.idempotency_key,
            one.description,
            one.metadata,
            one.effective_at,
        )
        for one in body.transfers
    ]
    found = await call.ledger.transfers(transfers, atomic=body.atomic)
    return answers.EncodedTransferBatch(
        await call.pieces.each(call.ledger.tenant, found, answers.encoded_outcome)
    )


async def post_transaction(call: Call) -> answers.Transaction | Refused:
    """Post a transaction of several entries."""
    body: requests.TransactionRequest = call.body
    found = await call.ledger.post(
        [(entry.account, entry.amount, entry.asset) for entry in body.entries],
        idempotency_key=call.idempotency_key,
        description=body.description,
        metadata=body.metadata,
        effective_at=body.effective_at,
    )
    return found if isinstance(found, Refused) else answers.transaction(found)


async def get_transaction(call: Call) -> answers.Transaction:
    """Get a transaction."""
    return answers.transaction(await call.ledger.transaction(call.identifier, stages=call.query.stages))


async def reverse(call: Call) -> answers.Transaction | Refused:
    """Reverse a transaction."""
    body: requests.ReverseRequest = call.body
    found = await call.ledger.reverse(
        call.identifier,
        body.amount,
        idempotency_key=call.idempotency_key,
        description=body.description,
        metadata=body.metadata,
        effective_at=body.effective_at,
    )
    return found if isinstance(found, Refused) else answers.transaction(found)


async def place_hold(call: Call) -> answers.Hold | Refused:
    """Set money aside."""
    body: requests.HoldRequest = call.body
    found = await call.ledger.hold(
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
    return found if isinstance(found, Refused) else answers.hold(found)


async def get_hold(call: Call) -> answers.Hold:
    """Get a hold."""
    return answers.hold(await call.ledger.held(call.identifier))


async def capture(call: Call) -> answers.Hold | Refused:
    """Pay from a hold."""
    body: requests.CaptureRequest = call.body
    found = await call.ledger.capture(
        call.identifier,
        body.amount,
        final=body.final,
        idempotency_key=call.idempotency_key,
        description=body.description,
        metadata=body.metadata,
        effective_at=body.effective_at,
    )
    return found if isinstance(found, Refused) else answers.hold(found)


async def void(call: Call) -> answers.Hold | Refused:
    """Release a hold."""
    body: requests.VoidRequest = call.body
    found = await call.ledger.void(
        call.identifier,
        idempotency_key=call.idempotency_key,
        description=body.description,
        metadata=body.metadata,
        effective_at=body.effective_at,
    )
    return found if isinstance(found, Refused) else answers.hold(found)


async def list_assets(call: Call) -> answers.AssetList:
    """List all assets."""
    return answers.AssetList([answers.asset(asset) for asset in await call.ledger.assets()])


async def create_asset(call: Call) -> answers.Asset:
    """Define an asset."""
    body: requests.AssetRequest = call.body
    return answers.asset(await call.ledger.create_asset(body.code, body.scale, body.name))


async def list_events(call: Call) -> event_answers.EventList:
    """Read a page of the log."""
    query: requests.EventsQuery = call.query
    page = await call.ledger.events(
        shard=query.shard,
        after=query.after or 0,
        limit=query.limit,
        accounts=query.account,
        owner=query.owner,
        kinds=query.kind,
        stages=query.stages,
    )
    return event_answers.EventList([event_answers.event(item) for item in page.items], page.position)


async def follow_events(call: Call) -> Parts:
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
    return event_answers.event_parts(found)


async def follow_balance(call: Call) -> Parts:
    """Follow a balance."""
    query: requests.BalanceQuery = call.query
    for name in ("at", "effective_at"):
        if getattr(query, name) is not None:
            raise ParameterError(name, "expected no time: a stream begins now")
    found = await call.ledger.follow_balance(
        call.identifier, after=call.last_event_id, min_position=query.min_position or 0
    )
    return event_answers.balance_parts(found)


_ACCOUNT = "/v1/accounts/{identifier}"
_HOLD = "/v1/holds/{identifier}"
_TRANSACTION = "/v1/transactions/{identifier}"
_WEBHOOK = "/v1/webhooks/{identifier}"
_CREATED = HTTPStatus.CREATED

_NOT_AN_ACCOUNT = (RefusalCode.ACCOUNT_NOT_FOUND,)
# What may be said against any movement of money.
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
_OF_HOLD = (RefusalCode.HOLD_NOT_FOUND, RefusalCode.HOLD_NOT_OPEN, RefusalCode.HOLD_BUSY)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "POST", "/v1/accounts", "openAccount", "Open an account", open_account, answers.Account,
        _CREATED, body=requests.OpenAccountRequest, key=Key.REQUIRED,
        refusals=(RefusalCode.BOUNDS_INVALID, RefusalCode.ACCOUNT_NOT_FOUND),
        errors=("owner_placed_elsewhere", "too_many_accounts"),
    ),
    Operation(
        "GET", "/v1/accounts", "listAccounts", "List an owner's accounts", list_accounts, answers.AccountList,
        query=requests.AccountsQuery,
    ),
    Operation(
        "GET", _ACCOUNT, "getAccount", "Get an account", get_account, answers.Account, refusals=_NOT_AN_ACCOUNT,
    ),
    Operation(
        "PATCH", _ACCOUNT, "changeAccount", "Freeze, unfreeze, close, reopen or change an account",
        change_account, answers.Account, body=requests.ChangeAccountRequest, key=Key.REQUIRED,
        refusals=(*_NOT_AN_ACCOUNT, RefusalCode.ACCOUNT_NOT_EMPTY, RefusalCode.BOUNDS_INVALID),
    ),
    Operation(
        "GET", f"{_ACCOUNT}/balance", "getBalance", "Get a balance, now or at a past time", get_balance,
        answers.Balance, query=requests.BalanceQuery, stream=follow_balance, streamed=answers.Balance,
        refusals=_NOT_AN_ACCOUNT, errors=(POSITION_NOT_REACHED,),
    ),
    Operation(
        "POST", "/v1/balances", "getBalances", "Get the balances of up to 1,000 accounts", get_balances,
        answers.BalanceList, body=requests.BalancesRequest, errors=(POSITION_NOT_REACHED,), budget=Budget.READS,
    ),
    Operation(
        "GET", "/v1/system-owners/{identifier}/balances", "getSystemOwnerBalances",
        "Get what a system owner has on all shards", get_system_owner_balances, answers.SystemOwnerBalances,
    ),
    Operation(
        "GET", f"{_ACCOUNT}/entries", "listEntries", "List an account's history, newest first", list_entries,
        answers.HistoryList, query=requests.EntriesQuery,
        refusals=_NOT_AN_ACCOUNT,
    ),
    Operation(
        "POST", "/v1/transfers", "transfer", "Move money from one account to another", transfer,
        answers.Transaction, _CREATED, body=requests.TransferRequest, key=Key.REQUIRED,
        refusals=_PAYING,
    ),
    Operation(
        "POST", "/v1/transfers/batch", "transferBatch", "Move money up to 5,000 times in one call",
        transfer_batch, answers.TransferBatch, body=requests.TransferBatchRequest,
        errors=("idempotency_key_missing",),
    ),
    Operation(
        "POST", "/v1/transactions", "postTransaction", "Post one transaction of several entries",
        post_transaction, answers.Transaction, _CREATED, body=requests.TransactionRequest, key=Key.REQUIRED,
        refusals=(*_PAYING, RefusalCode.ENTRIES_UNBALANCED, RefusalCode.CROSSES_TOO_MANY_SHARDS),
    ),
    Operation(
        "GET", _TRANSACTION, "getTransaction", "Get a transaction", get_transaction, answers.Transaction,
        query=requests.TransactionQuery, refusals=(RefusalCode.TRANSACTION_NOT_FOUND,),
    ),
    Operation(
        "POST", f"{_TRANSACTION}/reverse", "reverseTransaction", "Reverse a transaction, whole or in part",
        reverse, answers.Transaction, _CREATED, body=requests.ReverseRequest, key=Key.REQUIRED,
        refusals=(
            *_MOVING, RefusalCode.TRANSACTION_NOT_FOUND, RefusalCode.TRANSACTION_NOT_REVERSIBLE,
            RefusalCode.REVERSAL_EXCEEDS_ORIGINAL,
        ),
    ),
    Operation(
        "POST", "/v1/holds", "placeHold", "Set money aside", place_hold, answers.Hold, _CREATED,
        body=requests.HoldRequest, key=Key.REQUIRED,
        refusals=_PAYING,
    ),
    Operation("GET", _HOLD, "getHold", "Get a hold", get_hold, answers.Hold, refusals=(RefusalCode.HOLD_NOT_FOUND,)),
    Operation(
        "POST", f"{_HOLD}/capture", "captureHold", "Pay from a hold, once or several times", capture,
        answers.Hold, body=requests.CaptureRequest, key=Key.REQUIRED,
        refusals=(*_MOVING, *_OF_HOLD, RefusalCode.CAPTURE_EXCEEDS_HOLD),
    ),
    Operation(
        "POST", f"{_HOLD}/void", "voidHold", "Release what is left of a hold", void, answers.Hold,
        body=requests.VoidRequest, key=Key.REQUIRED,
        refusals=_OF_HOLD,
    ),
    Operation(
        "GET", "/v1/events", "listEvents", "Read a shard's log by position, or follow it", list_events,
        event_answers.EventList, query=requests.EventsQuery, stream=follow_events, streamed=event_answers.Event,
    ),
    Operation("GET", "/v1/assets", "listAssets", "List all assets", list_assets, answers.AssetList),
    Operation(
        "POST", "/v1/assets", "createAsset", "Define an asset of your own", create_asset, answers.Asset, _CREATED,
        body=requests.AssetRequest,
        errors=("asset_exists", "too_many_assets"),
    ),
    Operation(
        "POST", "/v1/webhooks", "createWebhook", "Be told of what happens", webhooks.create, webhooks.NewSecret,
        _CREATED, body=webhooks.WebhookRequest,
        errors=("too_many_webhooks", "webhook_key_missing"),
    ),
    Operation("GET", "/v1/webhooks", "listWebhooks", "List webhook endpoints", webhooks.all_of, webhooks.WebhookList),
    Operation(
        "GET", _WEBHOOK, "getWebhook", "Get an endpoint, and how far it has been told", webhooks.get,
        webhooks.WebhookDetails,
        errors=("webhook_not_found",),
    ),
    Operation(
        "PATCH", _WEBHOOK, "changeWebhook", "Change, pause or resume an endpoint", webhooks.change,
        webhooks.Webhook, body=webhooks.ChangeWebhookRequest,
        errors=("webhook_not_found",),
    ),
    Operation(
        "DELETE", _WEBHOOK, "removeWebhook", "Remove an endpoint", webhooks.remove, webhooks.Webhook,
        errors=("webhook_not_found",),
    ),
    Operation(
        "POST", f"{_WEBHOOK}/rotate", "rotateWebhookSecret", "Give an endpoint a new secret", webhooks.rotate,
        webhooks.NewSecret, body=webhooks.RotateRequest,
        errors=("webhook_not_found", "webhook_key_missing"),
    ),
    Operation(
        "POST", f"{_WEBHOOK}/test", "testWebhook", "Send a test message now", webhooks.test, webhooks.TestResult,
        errors=("webhook_not_found",), budget=Budget.ENDPOINT_TESTS,
    ),
    Operation(
        "POST", f"{_WEBHOOK}/replay", "replayWebhook", "Deliver again from a position on", webhooks.replay,
        webhooks.WebhookProgress, body=webhooks.ReplayRequest,
        errors=("webhook_not_found",),
    ),
)  # fmt: skip
