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
    from tallystick.followers.errors import (
        NoStandbyError,
        PositionNotReachedError,
        StandbyUnavailableError,
        WebhookKeyMissingError,
    )
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
        AssetNotFoundError,
        HoldNotFoundError,
        IdempotencyKeyMissingError,
        IdempotencyKeyReusedError,
        NotFoundError,
        ParameterError,
        PreconditionFailedError,
        RateLimitedError,
        TooManyAssetsError,
        TooManyOpenedAccountsError,
        TooManyStreamsError,
        TooManyWebhooksError,
        TransactionNotFoundError,
        WebhookNotFoundError,
    )
    from tallystick.service.ledger import UNSET, Ledger, TransferRequest
    from tallystick.service.webhooks.endpoints import Webhooks
    from tallystick.store.errors import SchemaError, StoreError
    from tallystick.views import (
        Account,
        Asset,
        AssetTotal,
        Balance,
        BalanceChanges,
        Balances,
        Crossing,
        CrossingEntry,
        Entry,
        Event,
        Events,
        HistoryEntry,
        Hold,
        MinorUnits,
        NewSecret,
        Page,
        Refusal,
        SystemOwnerBalances,
        Told,
        Transaction,
        Webhook,
        WebhookProgress,
    )

__all__ = [
    "UNSET",
    "Account",
    "AccountNotFoundError",
    "Asset",
    "AssetConflictError",
    "AssetNotFoundError",
    "AssetTotal",
    "Attempt",
    "Balance",
    "BalanceChanges",
    "Balances",
    "ConfigurationError",
    "Crossing",
    "CrossingEntry",
    "Entry",
    "Event",
    "Events",
    "FaultyCommandError",
    "HistoryEntry",
    "Hold",
    "HoldNotFoundError",
    "IdempotencyKeyMissingError",
    "IdempotencyKeyReusedError",
    "Ledger",
    "MinorUnits",
    "MissingExtraError",
    "NewSecret",
    "NoStandbyError",
    "NotFoundError",
    "NotTakenError",
    "OverloadedError",
    "OwnerPlacementError",
    "Page",
    "ParameterError",
    "PositionNotReachedError",
    "PreconditionFailedError",
    "RateLimitedError",
    "Refusal",
    "RefusalCode",
    "Refused",
    "SchemaError",
    "ShardNotConfiguredError",
    "StandbyUnavailableError",
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
    "WebhookProgress",
    "Webhooks",
]

# Imported when they are first asked for: the command line starts without them.
_MODULES = {
    "Account": "tallystick.views",
    "AccountNotFoundError": "tallystick.service.errors",
    "Asset": "tallystick.views",
    "AssetConflictError": "tallystick.service.errors",
    "AssetNotFoundError": "tallystick.service.errors",
    "AssetTotal": "tallystick.views",
    "Attempt": "tallystick.followers.webhooks.messages",
    "Balance": "tallystick.views",
    "BalanceChanges": "tallystick.views",
    "Balances": "tallystick.views",
    "ConfigurationError": "tallystick.service.configuration",
    "Crossing": "tallystick.views",
    "CrossingEntry": "tallystick.views",
    "Entry": "tallystick.views",
    "Event": "tallystick.views",
    "Events": "tallystick.views",
    "FaultyCommandError": "tallystick.ledger.errors",
    "HistoryEntry": "tallystick.views",
    "Hold": "tallystick.views",
    "HoldNotFoundError": "tallystick.service.errors",
    "IdempotencyKeyMissingError": "tallystick.service.errors",
    "IdempotencyKeyReusedError": "tallystick.service.errors",
    "Ledger": "tallystick.service.ledger",
    "MinorUnits": "tallystick.views",
    "MissingExtraError": "tallystick.extras",
    "NewSecret": "tallystick.views",
    "NoStandbyError": "tallystick.followers.errors",
    "NotFoundError": "tallystick.service.errors",
    "NotTakenError": "tallystick.ledger.errors",
    "OverloadedError": "tallystick.ledger.errors",
    "OwnerPlacementError": "tallystick.ledger.errors",
    "Page": "tallystick.views",
    "ParameterError": "tallystick.service.errors",
    "PreconditionFailedError": "tallystick.service.errors",
    "PositionNotReachedError": "tallystick.followers.errors",
    "RateLimitedError": "tallystick.service.errors",
    "Refusal": "tallystick.views",
    "RefusalCode": "tallystick.domain.outcomes",
    "Refused": "tallystick.domain.outcomes",
    "SchemaError": "tallystick.store.errors",
    "ShardNotConfiguredError": "tallystick.ledger.errors",
    "StandbyUnavailableError": "tallystick.followers.errors",
    "StoreError": "tallystick.store.errors",
    "SystemOwnerBalances": "tallystick.views",
    "Told": "tallystick.views",
    "TooManyAssetsError": "tallystick.service.errors",
    "TooManyOpenedAccountsError": "tallystick.service.errors",
    "TooManyStreamsError": "tallystick.service.errors",
    "TooManyWebhooksError": "tallystick.service.errors",
    "Transaction": "tallystick.views",
    "TransactionNotFoundError": "tallystick.service.errors",
    "TransferRequest": "tallystick.service.ledger",
    "UNSET": "tallystick.service.ledger",
    "UnavailableError": "tallystick.ledger.errors",
    "Webhook": "tallystick.views",
    "WebhookKeyMissingError": "tallystick.followers.errors",
    "WebhookNotFoundError": "tallystick.service.errors",
    "WebhookProgress": "tallystick.views",
    "Webhooks": "tallystick.service.webhooks.endpoints",
}
_EARLIER_NAMES = {"ShardProgress": "WebhookProgress"}


def __getattr__(name: str) -> object:
    name = _EARLIER_NAMES.get(name, name)
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
