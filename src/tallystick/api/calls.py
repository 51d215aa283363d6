"""Calls of the API: a call as it arrives, and the description of an operation."""

from collections.abc import AsyncIterator, Awaitable, Callable
from enum import Enum
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from msgspec import Struct

from tallystick.api.streams import Parts
from tallystick.domain.access import SCOPE_NEEDED, Action, Scope
from tallystick.domain.outcomes import RefusalCode, Refused
from tallystick.ledger.directory import ReplicatedDirectory
from tallystick.service.authentication import Access
from tallystick.service.ledger import Ledger
from tallystick.service.pieces import Pieces
from tallystick.service.rate_limits import Budget


class Key(Enum):
    """Whether a call takes an Idempotency-Key header."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    NONE = "none"


class Call(NamedTuple):
    """One call, whose form is valid."""

    ledger: Ledger
    pieces: Pieces
    identifier: str
    body: Any
    query: Any
    # Empty if there is none, which calls that need one do not see.
    idempotency_key: str
    access: Access
    directory: ReplicatedDirectory
    last_event_id: int | None = None
    # Of `If-Match`; None: any.
    tags: frozenset[str] | None = None


def optional_key(call: Call) -> str | None:
    """The key of a call that need not have one."""
    return call.idempotency_key or None


Handler = Callable[[Call], Awaitable[Struct | Refused]]
StreamHandler = Callable[[Call], Awaitable[Parts]]
CSV_TYPE: Final = "text/csv"
TableHandler = Callable[[Call], Awaitable[AsyncIterator[bytes]]]
MoreNeeded = Callable[[Any], Action | None]


class Operation(NamedTuple):
    """One operation of the API: its parameters, its answer, and the function that carries it out."""

    method: str
    path: str
    # What it does: `domain.access` says which scope this takes.
    action: Action
    name: str
    summary: str
    handler: Handler
    answer: type[Struct]
    status: HTTPStatus = HTTPStatus.OK
    body: type[Struct] | None = None
    query: type[Struct] | None = None
    key: Key = Key.NONE
    # The form of a body that is a JSON Merge Patch (RFC 7396); None: the call takes none.
    merge_body: type[Struct] | None = None
    # Whether the answer has an entity tag. A call that changes something then takes `If-Match`.
    tagged: bool = False
    # The possible refusals, and errors in addition to those of every call: see `error_codes`.
    refusals: tuple[RefusalCode, ...] = ()
    errors: tuple[str, ...] = ()
    # The function for callers that accept text/event-stream, and the type of its events.
    stream: StreamHandler | None = None
    streamed: type[Struct] | None = None
    # The function for callers that accept text/csv.
    table: TableHandler | None = None
    # The budget that counts it; None: `reads` for a GET, else `writes`.
    budget: Budget | None = None
    # What some bodies ask for in addition, and what that may be.
    more: MoreNeeded | None = None
    more_actions: tuple[Action, ...] = ()

    @property
    def scope(self) -> Scope:
        """The scope that every call takes."""
        return SCOPE_NEEDED[self.action]

    @property
    def is_conditional(self) -> bool:
        """Whether the call takes `If-Match`."""
        return self.tagged and self.method in {"PATCH", "DELETE"}

    @property
    def taken_from(self) -> Budget:
        """The budget that counts this call."""
        return self.budget or (Budget.READS if self.method == "GET" else Budget.WRITES)
