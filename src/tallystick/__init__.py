"""Tallystick: a digital wallet and double-entry ledger on PostgreSQL.

async with Ledger.connect(dsn) as ledger:
    outcome = await ledger.transfer(source, destination, 1250, "USD", idempotency_key="order-17")
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tallystick.domain.outcomes import RefusalCode, Refused
    from tallystick.ledger.errors import FaultyCommandError, OverloadedError, UnavailableError
    from tallystick.service.errors import ParameterError
    from tallystick.service.ledger import Ledger, TransferRequest
    from tallystick.store.errors import SchemaError

__all__ = [
    "FaultyCommandError",
    "Ledger",
    "OverloadedError",
    "ParameterError",
    "RefusalCode",
    "Refused",
    "SchemaError",
    "TransferRequest",
    "UnavailableError",
]

# Imported when they are first asked for: the command line starts without them.
_MODULES = {
    "FaultyCommandError": "tallystick.ledger.errors",
    "Ledger": "tallystick.service.ledger",
    "OverloadedError": "tallystick.ledger.errors",
    "ParameterError": "tallystick.service.errors",
    "RefusalCode": "tallystick.domain.outcomes",
    "Refused": "tallystick.domain.outcomes",
    "SchemaError": "tallystick.store.errors",
    "TransferRequest": "tallystick.service.ledger",
    "UnavailableError": "tallystick.ledger.errors",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
