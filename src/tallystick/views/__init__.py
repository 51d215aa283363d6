"""The public types. The Python package returns them, and the API encodes them.

They are made from rows that never change, so the same request about the same position has the same answer. Times are
UTC.
"""

from tallystick.views.accounts import (
    Account,
    AssetTotal,
    Balance,
    Balances,
    SystemOwnerBalances,
    account_view,
    balance_view,
    logged_balance_view,
)
from tallystick.views.assets import Asset
from tallystick.views.events import (
    BalanceChanges,
    Crossing,
    CrossingEntry,
    Event,
    Events,
    Refusal,
    event_view,
)
from tallystick.views.fields import MinorUnits
from tallystick.views.history import HistoryEntry, history_view, payment_line
from tallystick.views.holds import Hold, hold_view
from tallystick.views.pages import Page
from tallystick.views.reports import (
    BalanceGroup,
    BalanceGroups,
    ReportPosition,
    Statement,
    StatementLine,
    TrialBalance,
    TrialBalanceLine,
    TrialBalanceTotal,
    statement_line,
)
from tallystick.views.transactions import PENDING, POSTED, REFUSED, Entry, Transaction, transaction_view
from tallystick.views.webhooks import (
    EventMessage,
    NewSecret,
    TestData,
    TestMessage,
    Told,
    Webhook,
    WebhookProgress,
    webhook_view,
)

__all__ = [
    "PENDING",
    "POSTED",
    "REFUSED",
    "Account",
    "Asset",
    "AssetTotal",
    "Balance",
    "BalanceChanges",
    "BalanceGroup",
    "BalanceGroups",
    "Balances",
    "Crossing",
    "CrossingEntry",
    "Entry",
    "Event",
    "EventMessage",
    "Events",
    "HistoryEntry",
    "Hold",
    "MinorUnits",
    "NewSecret",
    "Page",
    "Refusal",
    "ReportPosition",
    "Statement",
    "StatementLine",
    "SystemOwnerBalances",
    "TestData",
    "TestMessage",
    "Told",
    "Transaction",
    "TrialBalance",
    "TrialBalanceLine",
    "TrialBalanceTotal",
    "Webhook",
    "WebhookProgress",
    "account_view",
    "balance_view",
    "event_view",
    "history_view",
    "hold_view",
    "logged_balance_view",
    "payment_line",
    "statement_line",
    "transaction_view",
    "webhook_view",
]
