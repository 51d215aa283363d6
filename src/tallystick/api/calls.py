"""What a call of the API is: how it comes in, and what there is to say about it beforehand."""

from collections.abc import Awaitable, Callable
from enum import Enum
from http import HTTPStatus
from typing import Any, NamedTuple

from msgspec import Struct

from tallystick.api.streams import Parts
from tallystick.domain.outcomes import RefusalCode, Refused
from tallystick.service.ledger import Ledger
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
