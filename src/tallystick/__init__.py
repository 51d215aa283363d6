"""Tallystick: a digital wallet and double-entry ledger on PostgreSQL.

async with Ledger.connect(configuration="tallystick.toml") as ledger:
    outcome = await ledger.transfer(source, destination, 1250, "USD", idempotency_key="order-17")

docs/python.md lists all names.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tallystick.domain.outcomes import RefusalCode, Refused
    from tallystick.extras import MissingExtraError
    from tallystick.followers.errors import PositionNotReachedError, WebhookKeyMissingError
    from tallystick.followers.webhooks.messages import Attempt
    from tallystick.ledger.errors import (
        FaultyCommandError,
        NotTakenError,
        OverloadedError,
        OwnerPlacementError,
        ShardNotConfiguredError,
        UnavailableError,
    )
    from tallystick.service.configuration import ConfigurationError
    from tallystick.service.errors import (
        AccountNotFoundError,
        AssetConflictError,
        HoldNotFoundError,
        IdempotencyKeyMissingError,
        NotFoundError,
        ParameterError,
        RateLimitedError,
        TooManyAssetsError,
        TooManyOpenedAccountsError,
        TooManyStreamsError,
        TooManyWebhooksError,
        TransactionNotFoundError,
        WebhookNotFoundError,
    )
    from tallystick.service.events import BalanceChanges, Crossing, Event, Events
    from tallystick.service.ledger import UNSET, Ledger, TransferRequest
    from tallystick.service.views import (
        Account,
        Asset,
        AssetTotal,
        Balance,
        Balances,
        Entry,
        HistoryEntry,
        Hold,
        Page,
        SystemOwnerBalances,
        Transaction,
    )
    from tallystick.service.webhooks.endpoints import NewSecret, ShardProgress, Told, Webhook, Webhooks
    from tallystick.store.errors import SchemaError, StoreError

__all__ = [
    "UNSET",
    "Account",
    "AccountNotFoundError",
    "Asset",
    "AssetConflictError",
    "AssetTotal",
    "Attempt",
    "Balance",
    "BalanceChanges",
    "Balances",
    "ConfigurationError",
    "Crossing",
    "Entry",
    "Event",
    "Events",
    "FaultyCommandError",
    "HistoryEntry",
    "Hold",
    "HoldNotFoundError",
    "IdempotencyKeyMissingError",
    "Ledger",
    "MissingExtraError",
    "NewSecret",
    "NotFoundError",
    "NotTakenError",
    "OverloadedError",
    "OwnerPlacementError",
    "Page",
    "ParameterError",
    "PositionNotReachedError",
    "RateLimitedError",
    "RefusalCode",
    "Refused",
    "SchemaError",
    "ShardNotConfiguredError",
    "ShardProgress",
    "StoreError",
    "SystemOwnerBalances",
    "Told",
    "TooManyAssetsError",
    "TooManyOpenedAccountsError",
    "TooManyStreamsError",
    "TooManyWebhooksError",
    "Transaction",
    "TransactionNotFoundError",
    "TransferRequest",
    "UnavailableError",
    "Webhook",
    "WebhookKeyMissingError",
    "WebhookNotFoundError",
    "Webhooks",
]

# Imported when they are first asked for: the command line starts without them.
_MODULES = {
    "Account": "tallystick.service.views",
    "AccountNotFoundError": "tallystick.service.errors",
    "Asset": "tallystick.service.views",
    "AssetConflictError": "tallystick.service.errors",
    "AssetTotal": "tallystick.service.views",
    "Attempt": "tallystick.followers.webhooks.messages",
    "Balance": "tallystick.service.views",
    "BalanceChanges": "tallystick.service.events",
    "Balances": "tallystick.service.views",
    "ConfigurationError": "tallystick.service.configuration",
    "Crossing": "tallystick.service.events",
    "Entry": "tallystick.service.views",
    "Event": "tallystick.service.events",
    "Events": "tallystick.service.events",
    "FaultyCommandError": "tallystick.ledger.errors",
    "HistoryEntry": "tallystick.service.views",
    "Hold": "tallystick.service.views",
    "HoldNotFoundError": "tallystick.service.errors",
    "IdempotencyKeyMissingError": "tallystick.service.errors",
    "Ledger": "tallystick.service.ledger",
    "MissingExtraError": "tallystick.extras",
    "NewSecret": "tallystick.service.webhooks.endpoints",
    "NotFoundError": "tallystick.service.errors",
    "NotTakenError": "tallystick.ledger.errors",
    "OverloadedError": "tallystick.ledger.errors",
    "OwnerPlacementError": "tallystick.ledger.errors",
    "Page": "tallystick.service.views",
    "ParameterError": "tallystick.service.errors",
    "PositionNotReachedError": "tallystick.followers.errors",
    "RateLimitedError": "tallystick.service.errors",
    "RefusalCode": "tallystick.domain.outcomes",
    "Refused": "tallystick.domain.outcomes",
    "SchemaError": "tallystick.store.errors",
    "ShardNotConfiguredError": "tallystick.ledger.errors",
    "ShardProgress": "tallystick.service.webhooks.endpoints",
    "StoreError": "tallystick.store.errors",
    "SystemOwnerBalances": "tallystick.service.views",
    "Told": "tallystick.service.webhooks.endpoints",
    "TooManyAssetsError": "tallystick.service.errors",
    "TooManyOpenedAccountsError": "tallystick.service.errors",
    "TooManyStreamsError": "tallystick.service.errors",
    "TooManyWebhooksError": "tallystick.service.errors",
    "Transaction": "tallystick.service.views",
    "TransactionNotFoundError": "tallystick.service.errors",
    "TransferRequest": "tallystick.service.ledger",
    "UNSET": "tallystick.service.ledger",
    "UnavailableError": "tallystick.ledger.errors",
    "Webhook": "tallystick.service.webhooks.endpoints",
    "WebhookKeyMissingError": "tallystick.followers.errors",
    "WebhookNotFoundError": "tallystick.service.errors",
    "Webhooks": "tallystick.service.webhooks.endpoints",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
