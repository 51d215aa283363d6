"""HTTP requests that move money or read balances, ready to be sent."""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import msgspec

from tallystick_bench.payments import Payment
from tallystick_bench.settings import ASSET

_encode = msgspec.json.Encoder().encode


class PreparedRequest(NamedTuple):
    """One request: its number of transfers or balances, its idempotency key (if it needs one), its body."""

    size: int
    method: str
    path: str
    key: str | None
    body: bytes | None


def single_requests(payments: Iterator[Payment]) -> list[PreparedRequest]:
    """One request for each payment."""
    return [
        PreparedRequest(
            1,
            "POST",
            "/v1/transfers",
            key,
            _encode({"source": source, "destination": destination, "amount": str(amount), "asset": ASSET}),
        )
        for source, destination, amount, key in payments
    ]


def batch_requests(payments: Iterator[Payment], batch_size: int) -> list[PreparedRequest]:
    """One request for each `batch_size` payments."""
    found = []
    while chunk := list(islice(payments, batch_size)):
        transfers = [
            {
                "idempotency_key": key,
                "source": source,
                "destination": destination,
                "amount": str(amount),
                "asset": ASSET,
            }
            for source, destination, amount, key in chunk
        ]
        body = _encode({"transfers": transfers})
        found.append(PreparedRequest(len(chunk), "POST", "/v1/transfers/batch", None, body))
    return found


def balance_requests(accounts: Iterator[str]) -> list[PreparedRequest]:
    """One request for each account's balance."""
    return [PreparedRequest(1, "GET", f"/v1/accounts/{account}/balance", None, None) for account in accounts]


def balances_requests(accounts: Iterator[str], batch_size: int) -> list[PreparedRequest]:
    """One request for each `batch_size` accounts' balances."""
    found = []
    while chunk := list(islice(accounts, batch_size)):
        body = _encode({"accounts": chunk})
        found.append(PreparedRequest(len(chunk), "POST", "/v1/balances", None, body))
    return found
