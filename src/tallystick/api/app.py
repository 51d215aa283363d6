"""The ASGI application: routes, errors, and the engine that lives as long as the server."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import falcon.asgi
import structlog
from falcon.asgi import Request, Response

from tallystick.api import problems
from tallystick.api.arrivals import Arrivals
from tallystick.api.calls import Operation
from tallystick.api.cors import Cors
from tallystick.api.documentation import Description, DocumentationPage
from tallystick.api.draining import Draining
from tallystick.api.edge import Edge
from tallystick.api.endpoint import Endpoint, MalformedError, Tenants, write_problem
from tallystick.api.error_codes import INTERNAL_ERROR
from tallystick.api.error_pages import ErrorPage, ErrorPages
from tallystick.api.health import Alive, Ready
from tallystick.api.operations import OPERATIONS
from tallystick.api.response import Answer
from tallystick.api.streams import Application, Streams
from tallystick.api.traced import Routes, Traced
from tallystick.background.alarms import Alarm, raise_alarm
from tallystick.domain import limits
from tallystick.ledger import metrics
from tallystick.service.configuration import CONFIGURATION_VARIABLE
from tallystick.service.engine import Engine
from tallystick.service.process import tune_garbage_collection
from tallystick.service.telemetry import start_tracing

if TYPE_CHECKING:
    from tallystick.background.tracing import Tracing

_log = structlog.get_logger(__name__)


class Lifespan:
    """Starts the engine with the server, and stops it after the last answer."""

    def __init__(self, engine: Engine, tracing: "Tracing | None") -> None:
        self._engine = engine
        self._tracing = tracing

    async def process_startup(self, scope: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """Begin to serve."""
        await self._engine.start()
        # If a worker served before it is connected, it would refuse payments that another worker can make.
        await self._engine.router.tried()
        _when_asked_to_stop(self._engine.end_streams)
        tune_garbage_collection()

    async def process_shutdown(self, scope: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """Answer the waiting requests, then close."""
        await self._engine.stop()
        if self._tracing is not None:
            await self._tracing.close()


def _when_asked_to_stop(act: Callable[[], None]) -> None:
    """Call a function at the signal to stop, because the server waits for open connections before it calls shutdown.

    The server's own handler of the signal still runs.
    """
    loop = asyncio.get_running_loop()
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)
        if not callable(before):
            continue

        def stop(
            number: int,
            frame: FrameType | None,
            before: Callable[[int, FrameType | None], Any] = before,
        ) -> None:
            loop.call_soon_threadsafe(act)
            before(number, frame)

        signal.signal(number, stop)


def create_app(draining: Draining, body_seconds_max: float = limits.IDLE_SECONDS_DEFAULT) -> Application:
    """The application for the configuration file in TALLYSTICK_CONFIG.

    A body must arrive within `body_seconds_max`.
    """
    arrivals = Arrivals(body_seconds_max)
    tracing = start_tracing()
    engine = Engine.of_file(Path(os.environ[CONFIGURATION_VARIABLE]), tracing)
    edge = Edge(application(engine, arrivals, draining, tracing), arrivals, draining)
    return edge if tracing is None else Traced(edge, tracing)


def application(
    engine: Engine, arrivals: Arrivals, draining: Draining, tracing: "Tracing | None" = None
) -> falcon.asgi.App[Request, Answer]:
    """The application on an engine that is not started yet."""
    middleware: list[Any] = [Lifespan(engine, tracing)]
    if engine.cors_allowed_origins:
        middleware.append(Cors(engine.cors_allowed_origins))
    app = falcon.asgi.App(response_type=Answer, middleware=middleware)
    if tracing is not None:
        app.add_middleware(Routes())
    # Errors are written as problem documents.
    app.add_error_handler(Exception, _answer_error)
    app.add_error_handler(falcon.HTTPError, _answer_error)
    tenants = Tenants(engine)
    open_streams = Streams(engine.streams_per_tenant)
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in OPERATIONS:
        # Shown from the start, so that an alarm sees the first one.
        metrics.FAULTY_ANSWERS.labels(operation.method)
        by_path.setdefault(operation.path, {})[operation.method] = operation
    for path, operations in by_path.items():
        app.add_route(path, Endpoint(tenants, operations, open_streams, arrivals))
    app.add_route("/healthz", Alive())
    app.add_route("/readyz", Ready(engine, draining))
    app.add_route("/openapi.json", Description())
    page = DocumentationPage()
    app.add_route("/docs", page)
    app.add_route("/errors", ErrorPages())
    app.add_route("/errors/{code}", ErrorPage())
    app.add_route("/docs/{name}", page, suffix="file")
    return app


async def _answer_error(
    request: Request, response: Response, error: Exception, _params: dict[str, Any]
) -> None:
    if isinstance(error, MalformedError):
        write_problem(request, response, error.answer)
        return
    answer = problems.of_error(error)
    if answer is None:
        metrics.FAULTY_ANSWERS.labels(request.method).inc()
        raise_alarm(_log, Alarm.A_BUG, method=request.method, path=request.path, exc_info=error)
        detail = (
            "This is a bug of the server. Send the same request again, with the same Idempotency-Key if any."
        )
        answer = problems.answer(INTERNAL_ERROR, detail)
    write_problem(request, response, answer)
