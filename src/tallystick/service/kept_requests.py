"""Calls beside the log with an idempotency key: each is carried out once, and has the same answer for a time.

A request is claimed before it is carried out, with all that is drawn at random for it. A server that dies in between
leaves a claim that lapses. The same request then does the same again, with what was drawn the first time.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, NamedTuple, TypeVar

import msgspec

from tallystick.domain import limits
from tallystick.domain.fingerprint import request_key
from tallystick.followers.errors import WebhookKeyMissingError
from tallystick.ledger.directory import ReplicatedDirectory
from tallystick.ledger.errors import UnavailableError
from tallystick.service import parameters
from tallystick.service.current_request import note_replayed
from tallystick.service.errors import (
    AssetConflictError,
    IdempotencyKeyReusedError,
    NotFoundError,
    ParameterError,
    PreconditionFailedError,
    TooManyAssetsError,
    TooManyWebhooksError,
)
from tallystick.store.errors import ShardUnavailableError
from tallystick.store.kept_requests import Claim
from tallystick.store.kept_requests import KeptRequests as Store
from tallystick.views.encoding import encode

Answer = TypeVar("Answer", bound=msgspec.Struct)

_DIGEST_BYTES: Final = 16
# They are raised before anything is changed, so the key stays free.
_NOTHING_DONE: Final = (
    AssetConflictError,
    NotFoundError,
    ParameterError,
    PreconditionFailedError,
    TooManyAssetsError,
    TooManyWebhooksError,
    WebhookKeyMissingError,
)


class Asked(NamedTuple):
    """What a request asks for: the call, and its fields by name."""

    operation: str
    fields: Mapping[str, object]

    def fingerprint(self) -> bytes:
        """The call and a digest of each field, so that a different request is refused with the field's name."""
        digests = {name: _digest(value) for name, value in self.fields.items()}
        return msgspec.msgpack.encode([self.operation, digests])


class Kept(NamedTuple):
    """A request's key (None: it has none), and what is drawn for it if this is its first try."""

    tenant: int
    idempotency_key: str | None
    drawn: bytes = b""


class KeptRequests:
    """The requests with keys, on the first shard."""

    def __init__(self, directory: ReplicatedDirectory) -> None:
        self._directory = directory

    async def once(
        self,
        kept: Kept,
        asked: Asked,
        act: Callable[[bytes], Awaitable[Answer]],
        kind: type[Answer],
    ) -> tuple[Answer, bytes]:
        """Carry out a request, unless it has an answer. Returns the answer, and what was drawn for it.

        `act` is called with what was drawn. It may be called again for the same request if its server was lost.

        Raises:
            IdempotencyKeyReusedError: the key is that of another request.
            UnavailableError: the first shard cannot be reached, or the request is being carried out for long.
        """
        if kept.idempotency_key is None:
            return await act(kept.drawn), kept.drawn
        key = request_key(kept.tenant, parameters.idempotency_key(kept.idempotency_key))
        store = self._directory.kept_requests
        try:
            claimed = await _claimed(store, key, kept, asked.fingerprint(), kind)
            if not isinstance(claimed, Claim):
                note_replayed()
                return claimed
            answer = await _carried_out(store, key, claimed, act)
            if not await store.answer(key, encode(answer)):
                # The claim had lapsed, and another server was quicker: its answer is the one.
                found = await store.find(key)
                if found is not None and found.answer is not None:
                    answer = msgspec.json.decode(found.answer, type=kind)
        except ShardUnavailableError as error:
            raise UnavailableError(str(error)) from error
        return answer, claimed.drawn


async def _claimed(
    store: Store, key: bytes, kept: Kept, fingerprint: bytes, kind: type[Answer]
) -> Claim | tuple[Answer, bytes]:
    """A claim of the request, or its answer with what was drawn for it. Waits while another server carries it out."""
    deadline = time.monotonic() + limits.REQUEST_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        claim = await store.claim(key, kept.tenant, fingerprint, kept.drawn)
        if claim is not None:
            return claim
        found = await store.find(key)
        if found is not None:
            if found.fingerprint != fingerprint:
                raise IdempotencyKeyReusedError(_differing_field(found.fingerprint, fingerprint))
            if found.answer is not None:
                return msgspec.json.decode(found.answer, type=kind), found.drawn
        await asyncio.sleep(limits.KEPT_REQUEST_LOOK_SECONDS)
    raise UnavailableError("the same request with the same key is still being carried out")


async def _carried_out(
    store: Store, key: bytes, claim: Claim, act: Callable[[bytes], Awaitable[Answer]]
) -> Answer:
    try:
        return await act(claim.drawn)
    except _NOTHING_DONE:
        with suppress(ShardUnavailableError):
            # An earlier try may have done a part of it.
            await (store.forget if claim.tries == 1 else store.release)(key, claim.tries)
        raise
    except Exception:
        with suppress(ShardUnavailableError):
            await store.release(key, claim.tries)
        raise


def _digest(value: object) -> bytes:
    return hashlib.sha256(msgspec.json.encode(value)).digest()[:_DIGEST_BYTES]


def _differing_field(recorded: bytes, requested: bytes) -> str:
    """The first field in which two requests differ; `path` if they are other calls."""
    first, second = (
        msgspec.msgpack.decode(one, type=tuple[str, dict[str, bytes]]) for one in (recorded, requested)
    )
    if first[0] != second[0]:
        return "path"
    names = {**first[1], **second[1]}
    return next((name for name in names if first[1].get(name) != second[1].get(name)), "body")
