"""What the API answers, as far as a judge needs it. Nothing here knows the product's code.

Amounts come as texts; they are read as integers. Fields that are not listed are ignored.
"""

from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec

Message = TypeVar("Message")


class Entry(msgspec.Struct):
    """One account's change in a transaction, and what it has after it."""

    account: str
    asset: str
    amount: int
    balance: int | None
    held: int
    held_after: int | None


class Account(msgspec.Struct):
    """An account as it is, or as an event opened it."""

    id: str
    owner: str
    asset: str
    kind: str
    min_balance: int | None
    max_balance: int | None
    balance: int
    held: int
    available: int
    position: int
    shard: int


class Hold(msgspec.Struct):
    """A hold as of a position."""

    id: str
    status: str
    source: str
    destination: str
    amount: int
    captured: int
    remaining: int
    expires_at: datetime
    transaction: str
    position: int


class CrossingEntry(msgspec.Struct):
    """One account's part in a payment between shards."""

    account: str
    asset: str
    amount: int


class Crossing(msgspec.Struct):
    """A payment between shards as of a position."""

    transaction: str
    kind: str
    state: str
    entries: list[CrossingEntry]
    counterpart: str | None


class Event(msgspec.Struct):
    """One transaction of a shard's log, as of its position."""

    shard: int
    position: int
    transaction: str
    kind: str
    recorded_at: datetime
    refers_to: str | None
    description: str | None
    entries: list[Entry]
    account: Account | None
    hold: Hold | None
    crossing: Crossing | None


class Events(msgspec.Struct):
    """A page of events. The items are read later."""

    items: list[msgspec.Raw]
    next_after: int


class Transaction(msgspec.Struct):
    """The answer to a request that moved money."""

    id: str
    kind: str
    state: str
    position: int
    recorded_at: datetime
    refers_to: str | None
    description: str | None
    entries: list[Entry]


class Balance(msgspec.Struct):
    """A balance as of a position."""

    account: str
    balance: int
    held: int | None
    position: int
    source: str


class Balances(msgspec.Struct):
    """Several balances."""

    balances: list[Balance]


class HistoryEntry(msgspec.Struct):
    """One line of an account's history."""

    transaction: str
    kind: str
    position: int
    description: str | None
    amount: int
    balance: int
    held: int
    held_after: int


class Page(msgspec.Struct):
    """A page of a history, newest first. The items are read later."""

    items: list[msgspec.Raw]
    next_cursor: str | None


class Problem(msgspec.Struct):
    """Why a request was not carried out."""

    code: str
    param: str | None = None


class Shard(msgspec.Struct):
    """Whether a shard can be written to."""

    shard: int
    available: bool


class Health(msgspec.Struct):
    """Whether a server can serve."""

    shards: list[Shard]


_decoders: Final[dict[Any, Any]] = {}


def read(text: str | bytes, kind: type[Message]) -> Message:
    """Read a message. Texts of digits are read as integers where one is expected."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind, strict=False)
    found: Message = decoder.decode(text)
    return found
