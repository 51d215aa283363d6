"""Traces of requests: the outermost stage, which is there only in a server that is asked for traces."""

from typing import TYPE_CHECKING, Any, Final

from falcon.asgi import Request, Response

from tallystick.api.streams import EVENT_STREAM, Application, Receive, Scope, Send

if TYPE_CHECKING:
    from tallystick.background.tracing import RequestTrace, Tracing

_TRACE: Final = "tallystick.trace"
# Probes and pages are not traced.
_TRACED_PATHS: Final = "/v1/"
_STREAM_HEADER: Final = (b"content-type", EVENT_STREAM.encode())


class Traced:
    """Traces the requests to the application behind it."""

    def __init__(self, application: Application, tracing: "Tracing") -> None:
        self._application = application
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not scope["path"].startswith(_TRACED_PATHS):
            await self._application(scope, receive, send)
            return
        with self._tracing.request(scope["method"], scope["headers"]) as traced:
            scope[_TRACE] = traced

            async def send_and_note(message: dict[str, Any]) -> None:
                if message["type"] == "http.response.start":
                    traced.answered(message["status"])
                    if _STREAM_HEADER in message["headers"]:
                        # It goes on for hours. What was traced is how long it took to begin.
                        traced.end()
                await send(message)

            await self._application(scope, receive, send_and_note)


class Routes:
    """Tells the trace of a request which operation it is for, by the form of its path."""

    async def process_resource(
        self, request: Request, _response: Response, _resource: object, _params: dict[str, Any]
    ) -> None:
        """Note the operation."""
        traced: RequestTrace | None = request.scope.get(_TRACE)
        if traced is not None:
            traced.routed(request.uri_template or "")
