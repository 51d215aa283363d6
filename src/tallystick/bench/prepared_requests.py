"""HTTP requests that move money, ready to be sent."""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import msgspec

from tallystick.bench.payments import Payment
from tallystick.bench.settings import ASSET

_encode = msgspec.json.Encoder().encode


class PreparedRequest(NamedTuple):
    """One request: how many transfers it asks for, its key (none when each transfer has its own), its body."""

    transfers: int
    key: str | None
    body: bytes


def single_requests(payments: Iterator[Payment]) -> list[PreparedRequest]:
    """One request for each payment."""
    return [
        PreparedRequest(
            1,
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
        found.append(PreparedRequest(len(chunk), None, _encode({"transfers": transfers})))
    return found
