"""Traces for OpenTelemetry: spans for each request, for its wait in a queue, and for the batch that it is written in.

Only a server that is asked for traces imports this module, which needs the extra `telemetry`. Spans say how
long and how many, by which operation and which shard. They have nothing that a request says: no account, owner,
amount or key.
"""

import asyncio
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from importlib.metadata import version
from typing import Final, NamedTuple

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tallystick.domain import limits

_NAME: Final = "tallystick"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER_METHOD: Final = "_OTHER"
_PARENT_HEADERS: Final = (b"traceparent", b"tracestate")
_SHARD: Final = "tallystick.shard"
_COMMANDS: Final = "tallystick.commands"
_REQUESTS: Final = "tallystick.requests"

Headers = Sequence[tuple[bytes, bytes]]


class Wait(NamedTuple):
    """A request that waits to be written: the span of its wait, and the span that it is a part of."""

    span: Span
    of: SpanContext


class BatchTrace:
    """The span of one batch."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def failed(self) -> None:
        """Note that it was not written, or not as one batch."""
        self._span.set_status(Status(StatusCode.ERROR))


class RequestTrace:
    """The span of one request, as its parts come to be known. After its end nothing of it changes."""

    def __init__(self, span: Span, method: str) -> None:
        self._span = span
        self._method = method

    def routed(self, route: str) -> None:
        """Note which operation it is for."""
        self._span.update_name(f"{self._method} {route}")
        self._span.set_attribute("http.route", route)

    def answered(self, status: int) -> None:
        """Note the status of its answer."""
        self._span.set_attribute("http.response.status_code", status)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._span.set_attribute("error.type", str(status))
            self._span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        """End it. Only the first call counts."""
        if self._span.is_recording():
            self._span.end()


class Tracing:
    """Makes spans, and sends them as the variables `OTEL_…` of the environment say."""

    def __init__(self) -> None:
        own = {
            SERVICE_NAME: _NAME,
            "service.version": version("tallystick"),
            SERVICE_INSTANCE_ID: str(uuid.uuid4()),
        }
        # What the environment says comes last, and so counts.
        resource = Resource.create({**own, **OTELResourceDetector().detect().attributes})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(_NAME, version("tallystick"))
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, method: str, headers: Headers) -> Iterator[RequestTrace]:
        """Trace a request, as a part of the trace that its `traceparent` names (W3C Trace Context)."""
        known = method if method in _METHODS else _OTHER_METHOD
        span = self._tracer.start_span(
            known,
            context=self._propagator.extract(_parents(headers)),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": known},
        )
        traced = RequestTrace(span, known)
        try:
            # Errors are not recorded: their texts may name what the request says.
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                yield traced
        finally:
            traced.end()

    def wait(self, shard: int, command_count: int) -> Wait | None:
        """Begin to trace the wait of the current request in the queue of a shard, if that request is traced."""
        request = trace.get_current_span()
        if not request.is_recording():
            return None
        span = self._tracer.start_span(
            "wait in the queue", attributes={_SHARD: shard, _COMMANDS: command_count}
        )
        return Wait(span, request.get_span_context())

    @contextmanager
    def batch(self, shard: int, command_count: int, waits: Sequence[Wait]) -> Iterator[BatchTrace | None]:
        """Trace the writing of a batch, if a request of it is traced. Their waits end.

        The span is a part of the trace of the first request, and has links to all of them. Each wait links to it.
        """
        if not waits:
            yield None
            return
        first = trace.set_span_in_context(trace.NonRecordingSpan(waits[0].of))
        span = self._tracer.start_span(
            "write a batch",
            context=first,
            attributes={_SHARD: shard, _COMMANDS: command_count, _REQUESTS: len(waits)},
            links=[Link(wait.of) for wait in waits],
        )
        for wait in waits:
            # A batch may be written again in parts.
            if wait.span.is_recording():
                wait.span.add_link(span.get_span_context())
                wait.span.end()
        try:
            yield BatchTrace(span)
        finally:
            span.end()

    async def close(self) -> None:
        """Send what is not sent yet, within a time limit."""
        closed = asyncio.Event()
        loop = asyncio.get_running_loop()

        def close() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # too late: the loop has ended
                loop.call_soon_threadsafe(closed.set)

        # Not a thread that the end of the process waits for.
        threading.Thread(target=close, name="last spans", daemon=True).start()
        with suppress(TimeoutError):
            await asyncio.wait_for(closed.wait(), limits.TRACES_CLOSE_SECONDS_MAX)


def _parents(headers: Headers) -> dict[str, str]:
    """The headers that name the trace of the caller. Of two `traceparent` none is right."""
    found = [(name, value) for name, value in headers if name in _PARENT_HEADERS]
    if Counter(name for name, _ in found)[_PARENT_HEADERS[0]] != 1:
        return {}
    return {name.decode(): value.decode("latin-1") for name, value in found}
