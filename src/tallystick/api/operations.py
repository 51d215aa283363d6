"""What the API can do: one entry for each call, from which both the routes and the OpenAPI document are made."""

from collections.abc import Awaitable, Callable
from enum import Enum
from http import HTTPStatus
from typing import Any, NamedTuple

from msgspec import Struct

from tallystick.api import wire
from tallystick.domain import limits
from tallystick.domain.outcomes import Refused
from tallystick.service import parameters
from tallystick.service.ledger import Ledger, TransferRequest


class Key(Enum):
    """Whether a call takes an Idempotency-Key header."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    NONE = "none"


class Call(NamedTuple):
    """One call as it came in, checked for its form."""

    ledger: Ledger
    identifier: str
    body: Any
    query: Any
    idempotency_key: str


Handler = Callable[[Call], Awaitable[Struct | Refused]]


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


async def open_account(call: Call) -> wire.Account | Refused:
    """Open an account."""
    body: wire.OpenAccountRequest = call.body
    found = await call.ledger.open_account(
        body.owner,
        body.asset,
        kind=body.kind,
        min_balance=body.min_balance,
        max_balance=body.max_balance,
        metadata=body.metadata,
        idempotency_key=call.idempotency_key or None,
    )
    return found if isinstance(found, Refused) else wire.account(found)


async def list_accounts(call: Call) -> wire.AccountList:
    """List an owner's accounts."""
    query: wire.AccountsQuery = call.query
    page = await call.ledger.accounts(query.owner, cursor=query.cursor, limit=query.limit)
    return wire.AccountList([wire.account(item) for item in page.items], page.next_cursor)


async def get_account(call: Call) -> wire.Account | Refused:
    """Get an account."""
    found = await call.ledger.account(call.identifier)
    return found if isinstance(found, Refused) else wire.account(found)


async def change_account(call: Call) -> wire.Account | Refused:
    """Change an account."""
    body: wire.ChangeAccountRequest = call.body
    found = await call.ledger.change_account(
        call.identifier,
        status=body.status,
        min_balance=body.min_balance,
        max_balance=body.max_balance,
        metadata=body.metadata,
        idempotency_key=call.idempotency_key or None,
    )
    return found if isinstance(found, Refused) else wire.account(found)


async def get_balance(call: Call) -> wire.Balance | Refused:
    """Get a balance. It is read from the database, so it is always at least as new as any position seen."""
    query: wire.BalanceQuery = call.query
    if query.min_position is not None:
        parameters.between(query.min_position, "min_position", 0, limits.LOCAL_NUMBER_MAX)
    found = await call.ledger.balance(call.identifier, at=query.at, effective_at=query.effective_at)
    return found if isinstance(found, Refused) else wire.balance(found)


async def list_entries(call: Call) -> wire.HistoryList | Refused:
    """List an account's history."""
    query: wire.Page = call.query
    page = await call.ledger.entries(call.identifier, cursor=query.cursor, limit=query.limit)
    if isinstance(page, Refused):
        return page
    return wire.HistoryList([wire.history_entry(item) for item in page.items], page.next_cursor)


async def transfer(call: Call) -> wire.Transaction | Refused:
    """Move money."""
    body: wire.TransferRequest = call.body
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
    return found if isinstance(found, Refused) else wire.transaction(found)


async def transfer_batch(call: Call) -> wire.TransferBatch:
    """Move money many times."""
    body: wire.TransferBatchRequest = call.body
    requests = [
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
    found = await call.ledger.transfers(requests, atomic=body.atomic)
    return wire.TransferBatch([wire.outcome(one) for one in found])


async def post_transaction(call: Call) -> wire.Transaction | Refused:
    """Post a transaction of several entries."""
    body: wire.TransactionRequest = call.body
    found = await call.ledger.post(
        [(entry.account, entry.amount) for entry in body.entries],
        idempotency_key=call.idempotency_key,
        description=body.description,
        metadata=body.metadata,
        effective_at=body.effective_at,
    )
    return found if isinstance(found, Refused) else wire.transaction(found)


async def get_transaction(call: Call) -> wire.Transaction | Refused:
    """Get a transaction."""
    found = await call.ledger.transaction(call.identifier)
    return found if isinstance(found, Refused) else wire.transaction(found)


async def reverse(call: Call) -> wire.Transaction | Refused:
    """Reverse a transaction."""
    body: wire.ReverseRequest = call.body
    found = await call.ledger.reverse(
        call.identifier,
        body.amount,
        idempotency_key=call.idempotency_key,
        description=body.description,
        metadata=body.metadata,
        effective_at=body.effective_at,
    )
    return found if isinstance(found, Refused) else wire.transaction(found)


async def place_hold(call: Call) -> wire.Hold | Refused:
    """Set money aside."""
    body: wire.HoldRequest = call.body
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
    return found if isinstance(found, Refused) else wire.hold(found)


async def get_hold(call: Call) -> wire.Hold | Refused:
    """Get a hold."""
    found = await call.ledger.held(call.identifier)
    return found if isinstance(found, Refused) else wire.hold(found)


async def capture(call: Call) -> wire.Hold | Refused:
    """Pay from a hold."""
    body: wire.CaptureRequest = call.body
    found = await call.ledger.capture(
        call.identifier,
        body.amount,
        final=body.final,
        idempotency_key=call.idempotency_key,
        description=body.description,
        metadata=body.metadata,
        effective_at=body.effective_at,
    )
    return found if isinstance(found, Refused) else wire.hold(found)


async def void(call: Call) -> wire.Hold | Refused:
    """Release a hold."""
    body: wire.VoidRequest = call.body
    found = await call.ledger.void(
        call.identifier,
        idempotency_key=call.idempotency_key,
        description=body.description,
        metadata=body.metadata,
        effective_at=body.effective_at,
    )
    return found if isinstance(found, Refused) else wire.hold(found)


async def list_assets(call: Call) -> wire.AssetList:
    """List all assets."""
    return wire.AssetList([wire.asset(asset) for asset in await call.ledger.assets()])


async def create_asset(call: Call) -> wire.Asset:
    """Define an asset."""
    body: wire.AssetRequest = call.body
    return wire.asset(await call.ledger.create_asset(body.code, body.scale, body.name))


_ACCOUNT = "/v1/accounts/{identifier}"
_HOLD = "/v1/holds/{identifier}"
_TRANSACTION = "/v1/transactions/{identifier}"
_CREATED = HTTPStatus.CREATED

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "POST", "/v1/accounts", "openAccount", "Open an account", open_account, wire.Account,
        _CREATED, body=wire.OpenAccountRequest, key=Key.OPTIONAL,
    ),
    Operation(
        "GET", "/v1/accounts", "listAccounts", "List an owner's accounts", list_accounts, wire.AccountList,
        query=wire.AccountsQuery,
    ),
    Operation("GET", _ACCOUNT, "getAccount", "Get an account", get_account, wire.Account),
    Operation(
        "PATCH", _ACCOUNT, "changeAccount", "Freeze, unfreeze, close, reopen or change an account",
        change_account, wire.Account, body=wire.ChangeAccountRequest, key=Key.OPTIONAL,
    ),
    Operation(
        "GET", f"{_ACCOUNT}/balance", "getBalance", "Get a balance, now or at a past time", get_balance,
        wire.Balance, query=wire.BalanceQuery,
    ),
    Operation(
        "GET", f"{_ACCOUNT}/entries", "listEntries", "List an account's history, newest first", list_entries,
        wire.HistoryList, query=wire.Page,
    ),
    Operation(
        "POST", "/v1/transfers", "transfer", "Move money from one account to another", transfer,
        wire.Transaction, _CREATED, body=wire.TransferRequest, key=Key.REQUIRED,
    ),
    Operation(
        "POST", "/v1/transfers/batch", "transferBatch", "Move money up to 5,000 times in one call",
        transfer_batch, wire.TransferBatch, body=wire.TransferBatchRequest,
    ),
    Operation(
        "POST", "/v1/transactions", "postTransaction", "Post one transaction of several entries",
        post_transaction, wire.Transaction, _CREATED, body=wire.TransactionRequest, key=Key.REQUIRED,
    ),
    Operation("GET", _TRANSACTION, "getTransaction", "Get a transaction", get_transaction, wire.Transaction),
    Operation(
        "POST", f"{_TRANSACTION}/reverse", "reverseTransaction", "Reverse a transaction, whole or in part",
        reverse, wire.Transaction, _CREATED, body=wire.ReverseRequest, key=Key.REQUIRED,
    ),
    Operation(
        "POST", "/v1/holds", "placeHold", "Set money aside", place_hold, wire.Hold, _CREATED,
        body=wire.HoldRequest, key=Key.REQUIRED,
    ),
    Operation("GET", _HOLD, "getHold", "Get a hold", get_hold, wire.Hold),
    Operation(
        "POST", f"{_HOLD}/capture", "captureHold", "Pay from a hold, once or several times", capture,
        wire.Hold, body=wire.CaptureRequest, key=Key.REQUIRED,
    ),
    Operation(
        "POST", f"{_HOLD}/void", "voidHold", "Release what is left of a hold", void, wire.Hold,
        body=wire.VoidRequest, key=Key.REQUIRED,
    ),
    Operation("GET", "/v1/assets", "listAssets", "List all assets", list_assets, wire.AssetList),
    Operation(
        "POST", "/v1/assets", "createAsset", "Define an asset of your own", create_asset, wire.Asset, _CREATED,
        body=wire.AssetRequest,
    ),
)  # fmt: skip
