"""Server-sent events: parts of a feed as they are sent, heartbeats, and consumers that do not read."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any, Final, NamedTuple

import structlog
from falcon.asgi import Request, Response, SSEvent

from tallystick import views
from tallystick.domain import limits
from tallystick.followers.errors import FeedError
from tallystick.ledger import metrics
from tallystick.ledger.errors import NotTakenError, OverloadedError
from tallystick.service.errors import (
    AccessDeniedError,
    AuthenticationError,
    ParameterError,
    TooManyStreamsError,
)
from tallystick.service.remembered import Remembered
from tallystick.store.errors import StoreError
from tallystick.views.encoding import encode

EVENT_STREAM: Final = "text/event-stream"
LAST_EVENT_ID: Final = "Last-Event-ID"

_log = structlog.get_logger(__name__)
_texts: Final[Remembered[bytes]] = Remembered(limits.FEED_EVENTS_REMEMBERED_MAX)


class StreamPart(NamedTuple):
    """What is sent at once: the messages of some events in the order of the log, or a heartbeat."""

    data: bytes
    event_count: int


Parts = AsyncGenerator[StreamPart, None]
# The parts of these events, by their identities.
_parts: Final[dict[tuple[int, ...], tuple[list[views.Event], StreamPart]]] = {}
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Authenticate = Callable[[], Awaitable[object]]


class Caller(NamedTuple):
    """The tenant of a stream, and a function that checks whether its key is still in force."""

    tenant: int
    authenticate: Authenticate


_CONSUMER: Final = "tallystick.consumer"
_NUMBER_DIGITS_MAX: Final = 19


class _Chunk(SSEvent):
    """The data that are sent at once."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = data

    def serialize(self, handler: Any = None) -> bytes:
        """The bytes to send."""
        return self._data


class Consumer:
    """The client that reads a stream. The task that serves it is cancelled when it has left, or does not read."""

    def __init__(self) -> None:
        self.gone = False
        self._task: asyncio.Task[Any] | None = None

    def serve(self) -> None:
        """Begin its stream, in this task. Other answers are not cancelled."""
        self._task = asyncio.current_task()

    def leave(self) -> None:
        """End the stream at once, also while it waits for events."""
        if not self.gone and self._task is not None:
            self._task.cancel()
        self.gone = True


class Consumers:
    """Ends a stream at once when its consumer closes the connection (ASGI: http.disconnect).

    Without this a stream would notice it only when it has events to send. Until then it would count as open.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if not _accepts_stream(scope):
            await self._application(scope, receive, send)
            return
        consumer = scope[_CONSUMER] = Consumer()

        async def listen() -> Mapping[str, Any]:
            message = await receive()
            if message["type"] == "http.disconnect":
                consumer.leave()
            return message

        try:
            await self._application(scope, listen, send)
        except asyncio.CancelledError:
            # It was cancelled only because the consumer has left, so this is no error.
            if not consumer.gone:
                raise


class Streams:
    """The open streams of this process: at most `STREAMS_MAX`, and a number for each tenant."""

    def __init__(self, per_tenant_max: int) -> None:
        self._per_tenant_max = per_tenant_max
        self._open: Counter[int] = Counter()

    def require_room(self, tenant: int) -> None:
        """Raise OverloadedError or TooManyStreamsError if too many are open, in total or of this tenant."""
        if self._open.total() >= limits.STREAMS_MAX:
            raise OverloadedError(f"{self._open.total()} streams are open")
        if self._open[tenant] >= self._per_tenant_max:
            raise TooManyStreamsError(f"{self._open[tenant]} streams of this tenant are open")

    def send(self, request: Request, response: Response, parts: Parts, name: str, caller: Caller) -> None:
        """Answer with a stream that lasts until the consumer leaves, does not read, or its key is revoked.

        Raises:
            OverloadedError, TooManyStreamsError: too many are open.
        """
        self.require_room(caller.tenant)
        response.content_type = EVENT_STREAM
        # No proxy may cache the stream, or wait for more of it.
        response.set_header("Cache-Control", "no-store")
        response.set_header("X-Accel-Buffering", "no")
        response.sse = self._chunks(parts, name, request.scope[_CONSUMER], caller)

    async def _chunks(
        self, parts: Parts, name: str, consumer: Consumer, caller: Caller
    ) -> AsyncGenerator[SSEvent, None]:
        if consumer.gone:
            return
        consumer.serve()
        sent = metrics.STREAM_EVENTS.labels(name)
        authenticated_at = time.monotonic()
        self._open[caller.tenant] += 1
        try:
            with metrics.STREAMS_OPEN.labels(name).track_inprogress():
                yield _Chunk(b"retry: %d\n\n" % limits.STREAM_RETRY_MS)
                async with aclosing(parts):
                    async for part in parts:
                        if time.monotonic() > authenticated_at + limits.STREAM_HEARTBEAT_SECONDS:
                            await _unless_unknown(caller.authenticate)
                            authenticated_at = time.monotonic()
                        with _Guard(name, consumer):
                            yield _Chunk(part.data)
                        sent.inc(part.event_count)
        except (NotTakenError, StoreError, FeedError, AuthenticationError, AccessDeniedError) as error:
            # The stream ends here. A consumer that connects again goes on from its position, or gets an error.
            _log.debug("stream ended", stream=name, reason=str(error))
        finally:
            self._open[caller.tenant] -= 1


async def event_parts(found: AsyncGenerator[views.Events, None]) -> Parts:
    """A feed as parts of a stream. All listeners share an event's JSON, and parts of the same events."""
    async with aclosing(found):
        async for one in found:
            yield _part_once(one.items) if one.items else _heartbeat(one.position)


async def balance_parts(found: AsyncGenerator[views.BalanceChanges, None]) -> Parts:
    """One account's balances as parts of a stream."""
    async with aclosing(found):
        async for one in found:
            messages = [_message(item) for item in one.items]
            yield StreamPart(b"".join(messages), len(messages)) if messages else _heartbeat(one.position)


def _part_once(events: list[views.Event]) -> StreamPart:
    identities = tuple(map(id, events))
    found = _parts.get(identities)
    if found is None:
        part = StreamPart(b"".join(map(_message_once, events)), len(events))
        # The events are kept with it, so that no others can get their identities.
        found = _parts[identities] = events, part
        if len(_parts) > limits.FEED_PARTS_REMEMBERED_MAX:
            del _parts[next(iter(_parts))]
    return found[1]


def _heartbeat(position: int) -> StreamPart:
    """A comment, and the position of the stream, so that a consumer that is cut off now need not begin earlier."""
    return StreamPart(b": heartbeat\nid: %d\n\n" % position, 0)


def _message_once(event: views.Event) -> bytes:
    return _texts.of(event, lambda: _message(event))


def _message(shown: views.Event | views.Balance) -> bytes:
    """One event or balance as a message of server-sent events; its position is the id."""
    return b"id: %d\ndata: %b\n\n" % (shown.position, encode(shown))


async def _unless_unknown(authenticate: Authenticate) -> None:
    """Check whether a key is still in force. If no shard answers, a known caller goes on."""
    with suppress(NotTakenError, StoreError):
        await authenticate()


class _Guard:
    """Ends the stream if the client does not read in time."""

    def __init__(self, name: str, consumer: Consumer) -> None:
        self._name = name
        self._consumer = consumer
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(limits.STREAM_WRITE_SECONDS_MAX, self._drop)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _drop(self) -> None:
        metrics.STREAMS_DROPPED.labels(self._name).inc()
        _log.warning("stream dropped: its consumer does not read", stream=self._name)
        self._consumer.leave()


def _accepts_stream(scope: Scope) -> bool:
    return any(name == b"accept" and _accepted(value.decode("latin-1")) for name, value in scope["headers"])


def _accepted(accept: str) -> bool:
    return EVENT_STREAM in {one.partition(";")[0].strip().lower() for one in accept.split(",")}


def wanted(request: Request) -> bool:
    """Whether a request asks for a stream, as browsers' EventSource does."""
    return _CONSUMER in request.scope


def last_event_id(request: Request) -> int | None:
    """The position after which a consumer goes on; None if it has seen no event yet."""
    text = request.get_header(LAST_EVENT_ID)
    if not text:
        return None
    # A number with more digits is too large, and one with thousands of digits cannot be read at all.
    if (
        not (text.isascii() and text.isdigit())
        or len(text) > _NUMBER_DIGITS_MAX
        or int(text) > limits.LOCAL_NUMBER_MAX
    ):
        raise ParameterError(LAST_EVENT_ID, "expected the id of an event of this stream, which is a number")
    return int(text)
