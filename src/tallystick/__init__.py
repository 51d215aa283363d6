"""Tallystick: a digital wallet and double-entry ledger on PostgreSQL.

    async with Ledger.connect(dsn) as ledger:
        outcome = await ledger.transfer(source, destination, 1250, "USD", idempotency_key="order-17")
"""

from tallystick.domain.outcomes import RefusalCode, Refused
from tallystick.ledger.errors import FaultyCommandError, OverloadedError, UnavailableError
from tallystick.service.errors import ParameterError
from tallystick.service.ledger import Ledger, TransferRequest

__all__ = [
    "FaultyCommandError",
    "Ledger",
    "OverloadedError",
    "ParameterError",
    "RefusalCode",
    "Refused",
    "TransferRequest",
    "UnavailableError",
]
